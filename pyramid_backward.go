package vkconv

import (
	"context"
	"fmt"
	"sync"

	"vkconv/conv"
)

// PyramidBackward is a planned backward pass of [Pyramid]. A level is made of
// the one below, so that its gradient goes down through all of them; where a
// level has one of its own, it joins there:
//
//	tₗ = dₗ + Rᵀ(tₗ₊₁)        dx = Rᵀ(t₁)
type PyramidBackward struct {
	block
	p      conv.Pyramid
	levels []*Conv2DBackward
	sums   []*Add // of each level but the topmost

	mu            sync.Mutex // one run at a time over these tensors
	below, totals []*Tensor  // of each level but the topmost: what comes from above, and the sum
}

// NewPyramidBackward plans the gradient of a pyramid, with the arguments of
// [Engine.NewPyramid]. A run gives the same bits every time.
func (e *Engine) NewPyramidBackward(x conv.Shape, levels int, options ...LayerOption) (*PyramidBackward, error) {
	b, err := e.newBlock("pyramid backward", options)
	if err != nil {
		return nil, err
	}
	q, err := conv.NewPyramid(x, levels)
	if err != nil {
		return nil, err
	}
	p := &PyramidBackward{block: b, p: q}
	if err := p.plan(e); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *PyramidBackward) plan(e *Engine) error {
	weight := p.p.Weight()
	for i, q := range p.p.Levels {
		l, err := e.NewConv2DBackward(q.Input(), weight, q.Weight(), levelParams(q), p.stored())
		if err != nil {
			return err
		}
		p.levels = append(p.levels, l)
		if i == len(p.p.Levels)-1 {
			return nil
		}
		sum, err := e.NewAdd(q.Output(), p.stored())
		if err != nil {
			return err
		}
		p.sums = append(p.sums, sum)
		for _, to := range []*[]*Tensor{&p.below, &p.totals} {
			t, err := e.NewTensorAs(p.typ, q.Output())
			if err != nil {
				return err
			}
			*to = append(*to, t)
		}
	}
	return nil
}

// Problem returns what the pyramid differentiates.
func (p *PyramidBackward) Problem() conv.Pyramid { return p.p }

// Run queues dx, the gradient by the input, given those by the levels; nil for a
// level that nothing depends on but the levels above it. One at least is given.
func (p *PyramidBackward) Run(ctx context.Context, dx *Tensor, dlevels []*Tensor) error {
	if len(dlevels) != len(p.levels) {
		return fmt.Errorf("%w: %d tensors for a pyramid of %d levels", conv.ErrShape, len(dlevels), len(p.levels))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.edge.run(ctx, func() error {
		dx, err := p.edge.to("dx", dx, p.p.Input())
		if err != nil {
			return err
		}
		inside := make([]*Tensor, len(dlevels))
		for i, d := range dlevels {
			if d == nil {
				continue
			}
			if inside[i], err = p.edge.in(ctx, "dy", d, p.p.Levels[i].Output()); err != nil {
				return fmt.Errorf("level %d: %w", i+1, err)
			}
		}
		return p.run(ctx, dx, inside)
	})
}

func (p *PyramidBackward) run(ctx context.Context, dx *Tensor, dlevels []*Tensor) error {
	var above *Tensor // what came down to the level
	for i := len(p.levels) - 1; i >= 0; i-- {
		total := dlevels[i]
		switch {
		case above == nil:
		case total == nil:
			total = above
		default:
			total = p.totals[i]
			if err := p.sums[i].Run(ctx, total, dlevels[i], above); err != nil {
				return fmt.Errorf("level %d: %w", i+1, err)
			}
		}
		if total == nil {
			continue
		}
		to := dx
		if i > 0 {
			to = p.below[i-1]
		}
		if err := p.levels[i].inputGradient(ctx, to, total); err != nil {
			return fmt.Errorf("level %d: %w", i+1, err)
		}
		above = to
	}
	if above == nil {
		return fmt.Errorf("%w: no level of the pyramid has a gradient", conv.ErrShape)
	}
	return nil
}

// Workspace returns the bytes of device memory that a run uses beyond its tensors.
func (p *PyramidBackward) Workspace() (n int64) {
	for _, l := range p.levels {
		n += l.Workspace()
	}
	return n + bytes(p.below...) + bytes(p.totals...) + p.edge.bytes()
}

// Close gives the plans' memory back when the work queued so far is done with it.
func (p *PyramidBackward) Close() {
	for _, l := range p.levels {
		l.Close()
	}
	for _, a := range p.sums {
		a.Close()
	}
	free(p.below...)
	free(p.totals...)
	p.edge.close()
}
