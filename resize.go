package vkconv

import (
	"context"

	"vkconv/conv"
)

// Resize is a planned bilinear resize: PyTorch's interpolate with
// mode="bilinear", to a given size. Positions are worked out in whole numbers.
type Resize struct {
	unweighted
	r conv.Resize
}

// resize checks the arguments, and that the plan's tables of rows and columns fit the machine.
func (e *Engine) resize(x conv.Shape, ho, wo int, alignCorners bool) (conv.Resize, error) {
	r, err := conv.NewResize(x, ho, wo, alignCorners)
	if err != nil {
		return r, err
	}
	const most = 64 // bytes of a row or column: where it samples, twice, and who reads it
	return r, fits("the resize's tables", most*(int64(r.H)+int64(r.W)+int64(r.Ho)+int64(r.Wo)), 0, hostMemory())
}

// NewResize plans a resize of inputs of shape x (N×C×H×W) to ho rows and wo
// columns. Errors match [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewResize(x conv.Shape, ho, wo int, alignCorners bool, options ...LayerOption) (*Resize, error) {
	r, err := e.resize(x, ho, wo, alignCorners)
	if err != nil {
		return nil, err
	}
	u, err := e.planUnweighted("resize", double{r, false}, options, func() (operator, error) { return e.back.resize(r, false) })
	if err != nil {
		return nil, err
	}
	return &Resize{u, r}, nil
}

// Problem returns what the layer computes.
func (l *Resize) Problem() conv.Resize { return l.r }

// Run queues y = resize(x). Both may be channels of wider tensors.
func (l *Resize) Run(ctx context.Context, y, x *Tensor) error {
	return l.l.run(ctx, operand{"output", y, l.r.Output(), output}, operand{"input", x, l.r.Input(), input})
}

// ResizeBackward is a planned backward pass of [Resize].
type ResizeBackward struct {
	unweighted
	r conv.Resize
}

// NewResizeBackward plans the gradient of a resize, with the arguments of
// [Engine.NewResize]. A run gives the same bits every time.
func (e *Engine) NewResizeBackward(x conv.Shape, ho, wo int, alignCorners bool, options ...LayerOption) (*ResizeBackward, error) {
	r, err := e.resize(x, ho, wo, alignCorners)
	if err != nil {
		return nil, err
	}
	u, err := e.planUnweighted("resize backward", double{r, true}, options, func() (operator, error) { return e.back.resize(r, true) })
	if err != nil {
		return nil, err
	}
	return &ResizeBackward{u, r}, nil
}

// Problem returns what the layer differentiates.
func (l *ResizeBackward) Problem() conv.Resize { return l.r }

// Run queues dx, the gradient by the input, given dy, that by the output. Both
// may be channels of wider tensors.
func (l *ResizeBackward) Run(ctx context.Context, dx, dy *Tensor) error {
	return l.l.run(ctx, operand{"dx", dx, l.r.Input(), output}, operand{"dy", dy, l.r.Output(), input})
}
