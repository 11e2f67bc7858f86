package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Pyramid is a planned image pyramid on the device: every level is the one
// before, filtered by the 5-tap binomial (1 4 6 4 1)/16 along both axes and
// taken at every second pixel, REDUCE of Burt and Adelson, "The Laplacian Pyramid
// as a Compact Image Code", 1983 (a = 3/8). Beyond the border the edge pixel is
// repeated. n pixels become ⌈n/2⌉.
type Pyramid struct{ levels []*Conv2D }

// NewPyramid plans so many levels above inputs of shape x (N×C×H×W). Errors
// match [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewPyramid(x conv.Shape, levels int) (*Pyramid, error) {
	if levels < 1 || levels > 32 {
		return nil, fmt.Errorf("%w: a pyramid has %d levels, must have 1 to 32", conv.ErrParams, levels)
	}
	if x[1] < 1 {
		return nil, fmt.Errorf("%w: input is %v, channels must be at least 1", conv.ErrShape, x)
	}
	// A depthwise convolution of stride 2.
	binomial := [...]float32{1. / 16, 4. / 16, 6. / 16, 4. / 16, 1. / 16}
	var weight []float32
	for range x[1] {
		for _, v := range binomial {
			for _, h := range binomial {
				weight = append(weight, v*h) // exact
			}
		}
	}
	params := conv.Params{Stride: [2]int{2, 2}, Padding: conv.Pad(2), Groups: x[1], Mode: conv.Replicate}
	p := &Pyramid{}
	for range levels {
		l, err := e.NewConv2D(x, weight, nil, conv.Shape{x[1], 1, 5, 5}, params)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.levels = append(p.levels, l)
		x = l.p.Output()
	}
	return p, nil
}

// Shapes returns the levels' shapes, the largest first; the input is not among them.
func (p *Pyramid) Shapes() (s []conv.Shape) {
	for _, l := range p.levels {
		s = append(s, l.p.Output())
	}
	return s
}

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
