package vkconv

import (
	"context"

	"vkconv/conv"
)

// GlobalPool is a planned global average pooling, N×C×H×W to N×C×1×1: PyTorch's
// adaptive_avg_pool2d to one pixel.
type GlobalPool struct {
	unweighted
	p conv.GlobalPool
}

// NewGlobalPool plans the pooling of inputs of shape x. Errors match
// [conv.ErrShape] where the argument is at fault.
func (e *Engine) NewGlobalPool(x conv.Shape, options ...LayerOption) (*GlobalPool, error) {
	p, err := conv.NewGlobalPool(x)
	if err != nil {
		return nil, err
	}
	u, err := e.planUnweighted("global pool", double{p, false}, options, func() (operator, error) { return e.back.globalPool(p, false) })
	if err != nil {
		return nil, err
	}
	return &GlobalPool{u, p}, nil
}

// Problem returns what the layer computes.
func (l *GlobalPool) Problem() conv.GlobalPool { return l.p }

// Run queues y = mean(x). Both may be channels of wider tensors.
func (l *GlobalPool) Run(ctx context.Context, y, x *Tensor) error {
	return l.l.run(ctx, operand{"output", y, l.p.Output(), output}, operand{"input", x, l.p.Input(), input})
}

// GlobalPoolBackward is a planned backward pass of [GlobalPool].
type GlobalPoolBackward struct {
	unweighted
	p conv.GlobalPool
}

// NewGlobalPoolBackward plans the gradient of a pooling, with the argument of
// [Engine.NewGlobalPool].
func (e *Engine) NewGlobalPoolBackward(x conv.Shape, options ...LayerOption) (*GlobalPoolBackward, error) {
	p, err := conv.NewGlobalPool(x)
	if err != nil {
		return nil, err
	}
	u, err := e.planUnweighted("global pool backward", double{p, true}, options, func() (operator, error) { return e.back.globalPool(p, true) })
	if err != nil {
		return nil, err
	}
	return &GlobalPoolBackward{u, p}, nil
}

// Problem returns what the layer differentiates.
func (l *GlobalPoolBackward) Problem() conv.GlobalPool { return l.p }

// Run queues dx, the gradient by the input, given dy, that by the output. Both
// may be channels of wider tensors.
func (l *GlobalPoolBackward) Run(ctx context.Context, dx, dy *Tensor) error {
	return l.l.run(ctx, operand{"dx", dx, l.p.Input(), output}, operand{"dy", dy, l.p.Output(), input})
}
