package vkconv

import (
	"context"

	"vkconv/conv"
)

// Add is a planned sum of two tensors, as residual connections need: torch.add
// without broadcasting. Both operands have the gradient of the sum, so it has no
// backward pass; where a tensor is used twice, Add sums its gradients.
type Add struct {
	unweighted
	shape conv.Shape
}

// NewAdd plans the sum of tensors of that shape. Errors match [conv.ErrShape] where
// the argument is at fault. [Stored] is an option of it.
func (e *Engine) NewAdd(x conv.Shape, options ...LayerOption) (*Add, error) {
	if err := x.Check("input"); err != nil {
		return nil, err
	}
	u, err := e.planSingle("add", true, double{conv.Elementwise{Shape: x, Sum: true}, false}, options, func() (operator, error) { return e.back.add(x.Len()) })
	if err != nil {
		return nil, err
	}
	return &Add{u, x}, nil
}

// Run queues y = a + b.
func (l *Add) Run(ctx context.Context, y, a, b *Tensor) error {
	return l.l.run(ctx, operand{"output", y, l.shape, output}, operand{"a", a, l.shape, input}, operand{"b", b, l.shape, input})
}

// Activation is a planned activation with nothing before it; behind a convolution
// it costs nothing, see [conv.Params].
type Activation struct {
	unweighted
	shape conv.Shape
}

// NewActivation plans an activation of tensors of shape x. Errors match
// [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault. [Stored] is
// an option of it.
func (e *Engine) NewActivation(x conv.Shape, a conv.Activation, options ...LayerOption) (*Activation, error) {
	u, err := e.planActivation("activation", x, a, false, options)
	if err != nil {
		return nil, err
	}
	return &Activation{u, x}, nil
}

func (e *Engine) planActivation(name string, x conv.Shape, a conv.Activation, backward bool, options []LayerOption) (unweighted, error) {
	if err := a.Validate(); err != nil {
		return unweighted{}, err
	}
	if err := x.Check("input"); err != nil {
		return unweighted{}, err
	}
	return e.planSingle(name, backward, double{conv.Elementwise{Shape: x, Activation: a}, backward}, options, func() (operator, error) { return e.back.activation(x, a, backward) })
}

// Run queues y = a(x). Both may be channels of wider tensors.
func (l *Activation) Run(ctx context.Context, y, x *Tensor) error {
	return l.l.run(ctx, operand{"output", y, l.shape, output}, operand{"input", x, l.shape, input})
}

// ActivationBackward is a planned backward pass of [Activation].
type ActivationBackward struct {
	unweighted
	shape conv.Shape
}

// NewActivationBackward plans the gradient of an activation, with the arguments of
// [Engine.NewActivation]. What it is at kinks, [conv.Activation.Derivative] says.
func (e *Engine) NewActivationBackward(x conv.Shape, a conv.Activation, options ...LayerOption) (*ActivationBackward, error) {
	u, err := e.planActivation("activation backward", x, a, true, options)
	if err != nil {
		return nil, err
	}
	return &ActivationBackward{u, x}, nil
}

// Run queues dx = dy · a'(x). Of ReLU, ReLU6 and LeakyReLU with a positive slope x
// may be what the activation gave, as a layer does with it fused.
func (l *ActivationBackward) Run(ctx context.Context, dx, x, dy *Tensor) error {
	return l.l.run(ctx, operand{"dx", dx, l.shape, output}, operand{"input", x, l.shape, input}, operand{"dy", dy, l.shape, input})
}
