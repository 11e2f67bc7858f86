package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Pyramid is a planned image pyramid on the device: every level is the one
// before, filtered and taken at every second pixel, see [conv.NewPyramid].
type Pyramid struct {
	p      conv.Pyramid
	levels []*Conv2D
}

// NewPyramid plans so many levels above inputs of shape x (N×C×H×W). Errors
// match [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewPyramid(x conv.Shape, levels int) (*Pyramid, error) {
	q, err := conv.NewPyramid(x, levels)
	if err != nil {
		return nil, err
	}
	p := &Pyramid{p: q}
	weight := q.Weight()
	for _, q := range q.Levels {
		l, err := e.NewConv2D(q.Input(), weight, nil, q.Weight(), levelParams(q))
		if err != nil {
			p.Close()
			return nil, err
		}
		p.levels = append(p.levels, l)
	}
	return p, nil
}

// levelParams are the parameters of a level's convolution.
func levelParams(q conv.Problem) conv.Params {
	return conv.Params{Stride: [2]int{q.StrideY, q.StrideX}, Padding: q.Pad, Groups: q.Groups, Mode: q.Mode}
}

// Problem returns what the pyramid computes.
func (p *Pyramid) Problem() conv.Pyramid { return p.p }

// Shapes returns the levels' shapes, the largest first; the input is not among them.
func (p *Pyramid) Shapes() []conv.Shape { return p.p.Shapes() }

// Run queues the levels of x, into tensors of the shapes that Shapes tells.
func (p *Pyramid) Run(ctx context.Context, levels []*Tensor, x *Tensor) error {
	if len(levels) != len(p.levels) {
		return fmt.Errorf("%w: %d tensors for a pyramid of %d levels", conv.ErrShape, len(levels), len(p.levels))
	}
	for i, l := range p.levels {
		if err := l.Run(ctx, levels[i], x); err != nil {
			return fmt.Errorf("level %d: %w", i+1, err)
		}
		x = levels[i]
	}
	return nil
}

// Close gives the plans' memory back when the work queued so far is done with it.
func (p *Pyramid) Close() {
	for _, l := range p.levels {
		l.Close()
	}
}
