package vkconv

import (
	"context"

	"vkconv/conv"
)

// window is what poolings and their gradients share.
type window struct {
	unweighted
	p conv.Pool
}

// Problem returns what the layer computes or differentiates.
func (w window) Problem() conv.Pool { return w.p }

func (e *Engine) planWindow(name string, p conv.Pool, err error, backward bool) (window, error) {
	if err != nil {
		return window{}, err
	}
	u, err := e.planSingle(name, p.Maximum && backward, double{}, nil, func() (operator, error) { return e.back.window(p, backward) })
	return window{u, p}, err
}

func (w window) run(ctx context.Context, y, x *Tensor) error {
	return w.l.run(ctx, operand{"output", y, w.p.Output(), output}, operand{"input", x, w.p.Input(), input})
}

// MaxPool is a planned maximum over windows: torch.nn.MaxPool2d.
type MaxPool struct{ window }

// NewMaxPool plans the pooling of inputs of shape x (N×C×H×W). Errors match
// [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewMaxPool(x conv.Shape, params conv.PoolParams) (*MaxPool, error) {
	p, err := params.Max(x)
	w, err := e.planWindow("max pool", p, err, false)
	if err != nil {
		return nil, err
	}
	return &MaxPool{w}, nil
}

// Run queues y = maxpool(x). Both may be channels of wider tensors.
func (l *MaxPool) Run(ctx context.Context, y, x *Tensor) error { return l.run(ctx, y, x) }

// MaxPoolBackward is a planned backward pass of [MaxPool].
type MaxPoolBackward struct{ window }

// NewMaxPoolBackward plans the gradient of a pooling, with the arguments of
// [Engine.NewMaxPool]. It finds the maxima in x again and keeps no indices.
func (e *Engine) NewMaxPoolBackward(x conv.Shape, params conv.PoolParams) (*MaxPoolBackward, error) {
	p, err := params.Max(x)
	w, err := e.planWindow("max pool backward", p, err, true)
	if err != nil {
		return nil, err
	}
	return &MaxPoolBackward{w}, nil
}

// Run queues dx, the gradient by the input, given the input x and dy, the gradient
// by the output.
func (l *MaxPoolBackward) Run(ctx context.Context, dx, x, dy *Tensor) error {
	return l.l.run(ctx, operand{"dx", dx, l.p.Input(), output}, operand{"input", x, l.p.Input(), input}, operand{"dy", dy, l.p.Output(), input})
}

// AvgPool is a planned mean over windows: torch.nn.AvgPool2d.
type AvgPool struct{ window }

// NewAvgPool plans the pooling of inputs of shape x (N×C×H×W). Errors match
// [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewAvgPool(x conv.Shape, params conv.PoolParams) (*AvgPool, error) {
	p, err := params.Average(x)
	w, err := e.planWindow("avg pool", p, err, false)
	if err != nil {
		return nil, err
	}
	return &AvgPool{w}, nil
}

// Run queues y = avgpool(x). Both may be channels of wider tensors.
func (l *AvgPool) Run(ctx context.Context, y, x *Tensor) error { return l.run(ctx, y, x) }

// AvgPoolBackward is a planned backward pass of [AvgPool].
type AvgPoolBackward struct{ window }

// NewAvgPoolBackward plans the gradient of a pooling, with the arguments of
// [Engine.NewAvgPool].
func (e *Engine) NewAvgPoolBackward(x conv.Shape, params conv.PoolParams) (*AvgPoolBackward, error) {
	p, err := params.Average(x)
	w, err := e.planWindow("avg pool backward", p, err, true)
	if err != nil {
		return nil, err
	}
	return &AvgPoolBackward{w}, nil
}

// Run queues dx, the gradient by the input, given dy, that by the output. Both may
// be channels of wider tensors.
func (l *AvgPoolBackward) Run(ctx context.Context, dx, dy *Tensor) error {
	return l.l.run(ctx, operand{"dx", dx, l.p.Input(), output}, operand{"dy", dy, l.p.Output(), input})
}
