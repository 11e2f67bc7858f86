package main

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// resize is a bilinear resize; dy is nil for the forward pass alone.
type resize struct {
	r     conv.Resize
	x, dy []float32
}

func (o resize) kind() string     { return "resize" }
func (o resize) describe() string { return shapeOf(o.r.Input(), o.r.Output()) }

func (o resize) oracle() []answer {
	all := want("y", o.r.Output(), cpuref.Resize(o.r, o.x), conv.ResizeRoundings)
	if o.dy != nil {
		all = append(all, want("dx", o.r.Input(), cpuref.ResizeBackward(o.r, o.dy), conv.ResizeRoundings)...)
	}
	return all
}

func (o resize) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	r := o.r
	forward, err := e.NewResize(r.Input(), r.Ho, r.Wo, r.AlignCorners)
	if err != nil {
		return nil, err
	}
	defer forward.Close()
	backward, err := e.NewResizeBackward(r.Input(), r.Ho, r.Wo, r.AlignCorners)
	if err != nil {
		return nil, err
	}
	defer backward.Close()
	return unweighted(ctx, e, r.Input(), r.Output(), o.x, o.dy, forward.Run, backward.Run)
}

// globalPool is a global average pooling; dy is nil for the forward pass alone.
type globalPool struct {
	p     conv.GlobalPool
	x, dy []float32
}

func (o globalPool) kind() string     { return "global pool" }
func (o globalPool) describe() string { return shapeOf(o.p.Input(), o.p.Output()) }

func (o globalPool) oracle() []answer {
	all := want("y", o.p.Output(), cpuref.GlobalPool(o.p, o.x), conv.PoolRoundings)
	if o.dy != nil {
		all = append(all, want("dx", o.p.Input(), cpuref.GlobalPoolBackward(o.p, o.dy), conv.PoolRoundings)...)
	}
	return all
}

func (o globalPool) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	forward, err := e.NewGlobalPool(o.p.Input())
	if err != nil {
		return nil, err
	}
	defer forward.Close()
	backward, err := e.NewGlobalPoolBackward(o.p.Input())
	if err != nil {
		return nil, err
	}
	defer backward.Close()
	return unweighted(ctx, e, o.p.Input(), o.p.Output(), o.x, o.dy, forward.Run, backward.Run)
}

// unweighted runs an operator from one tensor to another, and backward where
// there is a dy.
func unweighted(ctx context.Context, e *vkconv.Engine, input, output conv.Shape, x, dy []float32,
	forward, backward func(ctx context.Context, to, from *vkconv.Tensor) error) (map[string][]float32, error) {
	t := tensors{e: e}
	defer t.free()
	in, y, grad := t.of(input, x), t.result("y", output), t.of(output, dy)
	var dx *vkconv.Tensor
	if dy != nil {
		dx = t.result("dx", input)
	}
	if t.err != nil {
		return nil, t.err
	}
	err := forward(ctx, y, in)
	if err == nil && dy != nil {
		err = backward(ctx, dx, grad)
	}
	return t.results(ctx, err)
}

// pyramid is an image pyramid; dlevels is nil for the forward pass alone.
type pyramid struct {
	p       conv.Pyramid
	x       []float32
	dlevels [][]float32
}

func (o pyramid) kind() string { return "pyramid" }

func (o pyramid) describe() string {
	shapes := o.p.Shapes()
	return shapeOf(o.p.Input(), shapes[len(shapes)-1])
}

func (o pyramid) oracle() (all []answer) {
	for i, sums := range cpuref.Pyramid(o.p, o.x) {
		all = append(all, want(fmt.Sprintf("level%d", i+1), o.p.Levels[i].Output(), sums, conv.ProductRoundings)...)
	}
	if o.dlevels != nil {
		all = append(all, want("dx", o.p.Input(), cpuref.PyramidBackward(o.p, o.dlevels), conv.ProductRoundings)...)
	}
	return all
}

func (o pyramid) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	t := tensors{e: e}
	defer t.free()
	x := t.of(o.p.Input(), o.x)
	var levels []*vkconv.Tensor
	for i, s := range o.p.Shapes() {
		levels = append(levels, t.result(fmt.Sprintf("level%d", i+1), s))
	}
	l, err := e.NewPyramid(o.p.Input(), len(levels))
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer l.Close()
	if err := l.Run(ctx, levels, x); err != nil || o.dlevels == nil {
		return t.results(ctx, err)
	}
	b, err := e.NewPyramidBackward(o.p.Input(), len(levels))
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var dlevels []*vkconv.Tensor
	for i, s := range o.p.Shapes() {
		dlevels = append(dlevels, t.of(s, o.dlevels[i]))
	}
	return t.results(ctx, b.Run(ctx, t.result("dx", o.p.Input()), dlevels))
}
