package bench

import (
	"context"
	"fmt"
	"math"

	"vkconv"
	"vkconv/conv"
)

// gradNames are what gradients are called, in the order in which they are kept.
var gradNames = [...]string{"dx", "dweight", "dbias", "doffset", "dmask"}

// grads is a layer's backward pass planned on an engine, with its tensors.
type grads struct {
	d       data
	e       *vkconv.Engine
	op      interface{ Describe() string }
	back    func(ctx context.Context) error
	release []func()
	out     [len(gradNames)]*vkconv.Tensor // nil where the layer has none
}

// newGrads plans the backward pass and uploads what it needs.
func newGrads(e *vkconv.Engine, l Layer, d data) (*grads, error) {
	g := &grads{d: d, e: e}
	p := d.p
	in := make([]*vkconv.Tensor, 4) // x, offset, mask, dy
	for i, from := range []struct {
		shape conv.Shape
		data  []float32
	}{{p.Input(), d.x}, {p.Offset(), d.offset}, {p.MaskShape(), d.mask}, {p.Output(), d.dy}} {
		if from.data == nil {
			continue
		}
		t, err := e.TensorOf(from.shape, from.data)
		if err != nil {
			return g, err
		}
		in[i] = t
		g.release = append(g.release, t.Free)
	}
	for i, of := range []struct {
		shape conv.Shape
		sums  []conv.Sum
	}{{p.Input(), d.grads.X}, {p.Weight(), d.grads.Weight}, {conv.Shape{1, p.K, 1, 1}, d.grads.Bias}, {p.Offset(), d.grads.Offset}, {p.MaskShape(), d.grads.Mask}} {
		if of.sums == nil {
			continue
		}
		t, err := e.NewTensor(of.shape)
		if err != nil {
			return g, err
		}
		g.out[i] = t
		g.release = append(g.release, t.Free)
	}
	to := vkconv.Gradients{X: g.out[0], Weight: g.out[1], Bias: g.out[2], Offset: g.out[3], Mask: g.out[4]}
	if l.Deform != nil {
		op, err := e.NewDeformConv2DBackward(p.Input(), d.weight, p.Weight(), l.Params, *l.Deform)
		if err != nil {
			return g, err
		}
		g.op, g.release = op, append(g.release, op.Close)
		g.back = func(ctx context.Context) error { return op.Run(ctx, to, in[0], in[1], in[2], in[3]) }
		return g, nil
	}
	op, err := e.NewConv2DBackward(p.Input(), d.weight, p.Weight(), l.Params)
	if err != nil {
		return g, err
	}
	g.op, g.release = op, append(g.release, op.Close)
	g.back = func(ctx context.Context) error { return op.Run(ctx, to, in[0], in[3]) }
	return g, nil
}

func (g *grads) run(ctx context.Context) error { return g.back(ctx) }
func (g *grads) describe() string              { return g.op.Describe() }

func (g *grads) close() {
	for _, f := range g.release {
		f()
	}
}

// output returns all gradients one behind the other.
func (g *grads) output(ctx context.Context) (all []float32, err error) {
	for _, t := range g.out {
		if t == nil {
			continue
		}
		one := make([]float32, t.Shape().Len())
		if err := t.Download(ctx, one); err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

// verify runs once into gradients that are all NaN and judges each.
func (g *grads) verify(ctx context.Context) (worst float64, err error) {
	for _, t := range g.out {
		if t == nil {
			continue
		}
		poison := make([]float32, t.Shape().Len())
		for i := range poison {
			poison[i] = float32(math.NaN())
		}
		if err := t.Upload(poison); err != nil {
			return 0, err
		}
	}
	if err := g.run(ctx); err != nil {
		return 0, err
	}
	all, err := g.output(ctx)
	if err != nil {
		return 0, err
	}
	sums := g.d.grads
	for i, want := range [][]conv.Sum{sums.X, sums.Weight, sums.Bias, sums.Offset, sums.Mask} {
		v := conv.Judge(all[:len(want)], want, nil, g.d.roundings())
		if !v.OK() {
			return 0, fmt.Errorf("%w: %s[%d] is %g, must be %g within %.3g (%.3g times the bound)",
				ErrMismatch, gradNames[i], v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
		all, worst = all[len(want):], max(worst, v.Worst)
	}
	return worst, nil
}
