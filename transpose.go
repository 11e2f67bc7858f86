package vkconv

import (
	"context"

	"vkconv/conv"
)

// ConvTranspose2D is a planned transposed convolution: PyTorch's ConvTranspose2d.
type ConvTranspose2D struct {
	*layer
	t conv.Transposed
}

// NewConvTranspose2D plans a transposed convolution of inputs of shape x
// (N×C×H×W) with a weight of shape w (C×K/groups×R×S) and a bias of K elements,
// or nil. outputPadding adds rows and columns at the end, where a stride leaves
// the output's size open. Errors are those of [conv.Params.TransposedProblem].
func (e *Engine) NewConvTranspose2D(x conv.Shape, weight, bias []float32, w conv.Shape, params conv.Params, outputPadding [2]int, options ...LayerOption) (*ConvTranspose2D, error) {
	t, err := params.TransposedProblem(x, w, outputPadding, hasBias(bias, options))
	if err != nil {
		return nil, err
	}
	biases := 0
	if t.Bias {
		biases = t.Of.C
	}
	l, err := e.plan("conv_transpose2d", t.Of, double{t, false}, biases, weight, bias, options, func(weight, bias []float32) (operator, error) { return e.back.convTranspose2D(t, weight, bias) })
	if err != nil {
		return nil, err
	}
	return &ConvTranspose2D{l, t}, nil
}

// Problem returns what the layer computes.
func (l *ConvTranspose2D) Problem() conv.Transposed { return l.t }

// Run queues y = conv_transpose2d(x).
func (l *ConvTranspose2D) Run(ctx context.Context, y, x *Tensor) error {
	return l.run(ctx, operand{"output", y, l.t.Output(), output}, operand{"input", x, l.t.Input(), input})
}

// ConvTranspose2DBackward is a planned backward pass of [ConvTranspose2D].
type ConvTranspose2DBackward struct {
	gradient
	t conv.Transposed
}

// NewConvTranspose2DBackward plans the gradients of a transposed convolution,
// with the arguments of [Engine.NewConvTranspose2D], like
// [Engine.NewConv2DBackward].
func (e *Engine) NewConvTranspose2DBackward(x conv.Shape, weight []float32, w conv.Shape, params conv.Params, outputPadding [2]int, options ...LayerOption) (*ConvTranspose2DBackward, error) {
	whole, err := params.TransposedProblem(x, w, outputPadding, true)
	if err != nil {
		return nil, err
	}
	a := params.Activation
	params.Activation = conv.Activation{}
	t := whole
	t.Activation = conv.Activation{}
	edge, weight, options, err := e.edged(a, weight, options)
	if err != nil {
		return nil, err
	}
	l, err := e.plan("conv_transpose2d backward", t.Of, double{t, true}, 0, weight, nil, options, func(weight, _ []float32) (operator, error) {
		return e.back.convTranspose2DBackward(t, weight, optionsOf(options))
	})
	g, err := e.newGradient(l, err, t.Output(), a, edge, options, func(bias []float32, options ...LayerOption) (*layer, error) {
		l, err := e.NewConvTranspose2D(x, weight, bias, w, params, outputPadding, options...)
		if err != nil {
			return nil, err
		}
		return l.layer, nil
	})
	if err != nil {
		return nil, err
	}
	return &ConvTranspose2DBackward{g, whole}, nil
}

// Problem returns what the layer differentiates.
func (l *ConvTranspose2DBackward) Problem() conv.Transposed { return l.t }

// Run queues the gradients by the input x, the weight and the bias, given dy,
// the gradient by the output.
func (l *ConvTranspose2DBackward) Run(ctx context.Context, g Gradients, x, dy *Tensor) error {
	return l.edge.run(ctx, func() error {
		list := l.operands(g, x, dy)
		t, err := l.edge.all(ctx, &list)
		if err != nil {
			return err
		}
		return l.differentiate(ctx, t[6], func(again *layer, z *Tensor) error { return (&ConvTranspose2D{again, l.t}).Run(ctx, z, t[5]) },
			func(dy *Tensor) error {
				list := l.operands(gradientsOf(t), t[5], dy)
				return l.run(ctx, list[:]...)
			})
	})
}

// operands are those of the pass, in its order.
func (l *ConvTranspose2DBackward) operands(g Gradients, x, dy *Tensor) operandList {
	return g.operands(l.t.Input(), l.t.Weight(), l.t.Output()[1], conv.Shape{}, conv.Shape{},
		operand{"input", x, l.t.Input(), input}, operand{"dy", dy, l.t.Output(), input})
}
