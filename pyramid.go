package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Pyramid is a planned image pyramid on the device: every level is the one
// before, filtered and taken at every second pixel, see [conv.NewPyramid].
type Pyramid struct {
	block
	p      conv.Pyramid
	levels []*Conv2D
}

// NewPyramid plans so many levels above inputs of shape x (N×C×H×W). Errors
// match [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault. [Stored]
// is an option of it: of 16-bit tensors a level is made of the one before as it was
// in float32.
func (e *Engine) NewPyramid(x conv.Shape, levels int, options ...LayerOption) (*Pyramid, error) {
	b, err := e.newBlock("a pyramid", options)
	if err != nil {
		return nil, err
	}
	q, err := conv.NewPyramid(x, levels)
	if err != nil {
		return nil, err
	}
	p := &Pyramid{block: b, p: q}
	weight := q.Weight()
	for _, q := range q.Levels {
		l, err := e.NewConv2D(q.Input(), weight, nil, q.Weight(), levelParams(q), b.stored())
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
	return p.edge.run(ctx, func() error {
		x, err := p.edge.in(ctx, "input", x, p.p.Input())
		if err != nil {
			return err
		}
		for i, l := range p.levels {
			to, err := p.edge.to("output", levels[i], l.p.Output())
			if err == nil {
				err = l.Run(ctx, to, x)
			}
			if err != nil {
				return fmt.Errorf("level %d: %w", i+1, err)
			}
			x = to
		}
		return nil
	})
}

// Workspace returns the bytes of device memory that a run uses beyond its tensors.
func (p *Pyramid) Workspace() int64 {
	n := p.edge.bytes()
	for _, l := range p.levels {
		n += l.Workspace()
	}
	return n
}

// Close gives the plans' memory back when the work queued so far is done with it.
func (p *Pyramid) Close() {
	for _, l := range p.levels {
		l.Close()
	}
	p.edge.close()
}
