package bench

import (
	"context"
	"time"

	"vkconv"
	"vkconv/conv"
)

// gradNames are what gradients are called, in the order in which they are kept.
var gradNames = [...]string{"dx", "dweight", "dbias", "doffset", "dmask"}

// grads is a layer's backward pass planned on an engine, with its tensors.
type grads struct {
	d       data
	op      interface{ Describe() string }
	back    func(ctx context.Context) error
	plan    time.Duration
	release []func()
	in      [4]*vkconv.Tensor // x, offset, mask, dy; nil where the layer has none
	out     [len(gradNames)]*vkconv.Tensor
}

// sources are what the inputs hold.
func (g *grads) sources() [4][]float32 { return [4][]float32{g.d.x, g.d.offset, g.d.mask, g.d.dy} }

// newGrads plans the backward pass and uploads what it needs.
func newGrads(e *vkconv.Engine, c Case, d data) (*grads, error) {
	g := &grads{d: d}
	p, l := d.p, c.Layers[0]
	for i, shape := range []conv.Shape{p.Input(), p.Offset(), p.MaskShape(), p.Output()} {
		if g.sources()[i] == nil {
			continue
		}
		t, err := e.NewTensor(shape)
		if err != nil {
			return g, err
		}
		g.in[i] = t
		g.release = append(g.release, t.Free)
	}
	if _, err := g.upload(); err != nil {
		return g, err
	}
	for i, of := range []struct {
		shape conv.Shape
		sums  []conv.Sum
	}{{p.Input(), d.grads.X}, {p.Weight(), d.grads.Weight}, {conv.Shape{1, p.K, 1, 1}, d.grads.Bias}, {p.Offset(), d.grads.Offset}, {p.MaskShape(), d.grads.Mask}} {
		if of.sums == nil || !c.wants(gradNames[i]) {
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
	begin := time.Now()
	if l.Deform != nil {
		op, err := e.NewDeformConv2DBackward(p.Input(), d.weight, p.Weight(), l.Params, *l.Deform)
		if err != nil {
			return g, err
		}
		g.plan, g.op, g.release = time.Since(begin), op, append(g.release, op.Close)
		g.back = func(ctx context.Context) error { return op.Run(ctx, to, g.in[0], g.in[1], g.in[2], g.in[3]) }
		return g, nil
	}
	op, err := e.NewConv2DBackward(p.Input(), d.weight, p.Weight(), l.Params)
	if err != nil {
		return g, err
	}
	g.plan, g.op, g.release = time.Since(begin), op, append(g.release, op.Close)
	g.back = func(ctx context.Context) error { return op.Run(ctx, to, g.in[0], g.in[3]) }
	return g, nil
}

func (g *grads) run(ctx context.Context) error { return g.back(ctx) }
func (g *grads) describe() string              { return g.op.Describe() }
func (g *grads) planned() time.Duration        { return g.plan }
func (g *grads) every() int                    { return g.d.every }

func (g *grads) close() {
	for _, f := range g.release {
		f()
	}
}

func (g *grads) upload() (bytes int64, err error) {
	for i, from := range g.sources() {
		if from == nil {
			continue
		}
		if err := g.in[i].Upload(from); err != nil {
			return 0, err
		}
		bytes += 4 * int64(len(from))
	}
	return bytes, nil
}

// output returns all gradients one behind the other.
func (g *grads) output(ctx context.Context) (all []float32, err error) {
	return downloadAll(ctx, g.out[:])
}

// verify runs once into gradients that are all NaN and judges each.
func (g *grads) verify(ctx context.Context) (worst float64, err error) {
	if err := poison(g.out[:]); err != nil {
		return 0, err
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
		if g.out[i] == nil {
			continue
		}
		v := judgeSome(all[:len(want)], want, g.d.roundings())
		if !v.OK() {
			return 0, mismatch(gradNames[i], v)
		}
		all, worst = all[len(want):], max(worst, v.Worst)
	}
	return worst, nil
}
