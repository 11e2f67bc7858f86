package fast

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
)

// operation is one operator's run, forward or backward, on tensors of its own.
type operation struct {
	name  string
	run   func(ctx context.Context) error
	told  int64       // Workspace
	fixed int64       // what of it does not belong to a worker
	out   [][]float32 // what it writes
}

// everyOperation makes each operator of the package, forward and backward, on
// shapes large enough for many units of work.
func everyOperation(t *testing.T, pool *Pool) (list []operation) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 31))
	random := func(n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32(r.NormFloat64())
		}
		return s
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(name string, told int64, run func(ctx context.Context) error, out ...[]float32) *operation {
		list = append(list, operation{name: name, run: run, told: told, out: out})
		return &list[len(list)-1]
	}

	// Convolutions: each way that a plan may take.
	for _, c := range []struct {
		name           string
		c, k           int
		h, w           int
		r, s           int
		p              conv.Params
		deform         bool
		forwardOptions []Option
	}{
		{"conv2d", 24, 40, 25, 27, 3, 3, conv.Params{Padding: conv.Pad(1)}, false, nil},
		{"dilated in zones", 16, 32, 33, 33, 3, 3, conv.Params{Padding: conv.Pad(12), Dilation: [2]int{12, 12}}, false, nil},
		{"strided", 16, 24, 31, 30, 3, 3, conv.Params{Padding: conv.Pad(1), Stride: [2]int{2, 2}}, false, nil},
		{"odd stride", 6, 9, 40, 37, 3, 2, conv.Params{Padding: conv.Pad(1), Stride: [2]int{3, 3}}, false, nil},
		{"pointwise", 48, 64, 20, 20, 1, 1, conv.Params{}, false, nil},
		{"grouped", 24, 48, 20, 20, 3, 3, conv.Params{Padding: conv.Pad(1), Groups: 4}, false, nil},
		{"reflected", 8, 12, 22, 21, 3, 3, conv.Params{Padding: conv.Pad(1), Mode: conv.Reflect}, false, nil},
		{"far replicated", 4, 6, 12, 12, 3, 3, conv.Params{Padding: conv.Pad(40), Dilation: [2]int{40, 40}, Mode: conv.Replicate}, false, nil},
		{"depthwise", 32, 32, 28, 28, 3, 3, conv.Params{Padding: conv.Pad(1), Groups: 32}, false, nil},
		{"depthwise strided", 32, 64, 29, 28, 5, 5, conv.Params{Padding: conv.Pad(2), Stride: [2]int{2, 2}, Groups: 32}, false, nil},
		{"winograd, large tiles", 16, 72, 38, 39, 3, 3, conv.Params{Padding: conv.Pad(1)}, false, []Option{AllowWinograd}},
		{"winograd", 16, 24, 24, 24, 3, 3, conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}, false, []Option{AllowWinograd}},
		{"deformable", 24, 40, 22, 23, 3, 3, conv.Params{Padding: conv.Pad(1)}, true, nil},
		{"deformable grouped", 24, 48, 20, 20, 3, 3, conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}, Groups: 2}, true, nil},
	} {
		g := max(c.p.Groups, 1)
		p := mustProblem(t, c.p, conv.Shape{2, c.c, c.h, c.w}, conv.Shape{c.k, c.c / g, c.r, c.s}, true)
		if c.deform {
			p.OffsetGroups, p.Mask = 2, true
		}
		x, w, b, y, dy := random(p.Input().Len()), random(p.Weight().Len()), random(p.K), make([]float32, p.Output().Len()), random(p.Output().Len())
		grads := allGrads(p)
		outs := [][]float32{grads.X, grads.Weight, grads.Bias, grads.Offset, grads.Mask}
		// The same between channels of wider tensors.
		gapY, gapX := 7, 5
		wideX, wideY := random(2*(p.Input().Len()/2+gapX)), make([]float32, 2*(p.Output().Len()/2+gapY))
		apart := Strides{Y: p.Output().Len()/2 + gapY, X: p.Input().Len()/2 + gapX}
		if c.deform {
			off, mask := random(p.Offset().Len()), random(p.MaskShape().Len())
			f, err := NewDeformConv2D(pool, p, w, b)
			must(err)
			add(c.name, f.Workspace(), func(ctx context.Context) error { return f.Run(ctx, y, x, off, mask) }, y)
			add(c.name+", wide", f.Workspace(), func(ctx context.Context) error { return f.RunStrided(ctx, wideY, wideX, off, mask, apart) }, wideY)
			back, err := NewDeformConv2DBackward(pool, p, w)
			must(err)
			add(c.name+", backward", back.Workspace(), func(ctx context.Context) error { return back.Run(ctx, grads, x, off, mask, dy) }, outs...).fixed = back.weight.fixed()
			continue
		}
		f, err := NewConv2D(pool, p, w, b, c.forwardOptions...)
		must(err)
		add(c.name, f.Workspace(), func(ctx context.Context) error { return f.Run(ctx, y, x) }, y)
		add(c.name+", wide", f.Workspace(), func(ctx context.Context) error { return f.RunStrided(ctx, wideY, wideX, apart) }, wideY)
		back, err := NewConv2DBackward(pool, p, w)
		must(err)
		add(c.name+", backward", back.Workspace(), func(ctx context.Context) error { return back.Run(ctx, grads, x, dy) }, outs...).fixed = back.weight.fixed()
	}

	for _, stride := range []int{1, 2} {
		q, err := conv.Params{Stride: [2]int{stride, stride}, Padding: conv.Pad(1)}.TransposedProblem(conv.Shape{2, 12, 17, 18}, conv.Shape{12, 20, 3, 3}, [2]int{}, true)
		must(err)
		x, w, b, y, dy := random(q.Input().Len()), random(q.Weight().Len()), random(q.Of.C), make([]float32, q.Output().Len()), random(q.Output().Len())
		f, err := NewConvTranspose2D(pool, q, w, b)
		must(err)
		name := fmt.Sprintf("transposed, stride %d", stride)
		add(name, f.Workspace(), func(ctx context.Context) error { return f.Run(ctx, y, x) }, y)
		back, err := NewConvTranspose2DBackward(pool, q, w)
		must(err)
		g := Grads{X: make([]float32, len(x)), Weight: make([]float32, len(w)), Bias: make([]float32, len(b))}
		add(name+", backward", back.Workspace(), func(ctx context.Context) error { return back.Run(ctx, g, x, dy) }, g.X, g.Weight, g.Bias).fixed = back.weight.fixed()
	}

	// The others take the random suite's tensors, of the first case that is no small one.
	for k, draw := range []func(uint64, int) convtest.DCNCase{convtest.RandomDCNv3, convtest.RandomDCNv4} {
		name := []string{"dcnv3", "dcnv4"}[k]
		c := draw(1, 0)
		for i := 1; c.D.Output().Len() < 2000 || c.D.N < 2; i++ {
			c = draw(1, i)
		}
		f, err := NewDCN(pool, c.D)
		must(err)
		y, dy := make([]float32, c.D.Output().Len()), random(c.D.Output().Len())
		dx, do := make([]float32, len(c.X)), make([]float32, len(c.Offset))
		var dm []float32
		if !c.D.Packed {
			dm = make([]float32, len(c.Mask))
		}
		add(name, f.Workspace(), func(ctx context.Context) error { return f.Run(ctx, y, c.X, c.Offset, c.Mask) }, y)
		add(name+", backward", f.Workspace(), func(ctx context.Context) error {
			return f.Backward(ctx, dx, do, dm, c.X, c.Offset, c.Mask, dy)
		}, dx, do, dm)
	}
	for k, draw := range []func(uint64, int) convtest.RoICase{convtest.RandomRoIPool, convtest.RandomPSRoIPool} {
		name := []string{"roi pooling", "position-sensitive roi pooling"}[k]
		c := draw(1, 0)
		for i := 1; c.Q.RoIs*c.Q.K < 6 || !c.Q.Offset || !c.Q.Mask || c.Q.N*c.Q.C < 6; i++ {
			c = draw(1, i)
		}
		f := NewRoIPool(pool, c.Q)
		y, dy := make([]float32, c.Q.Output().Len()), random(c.Q.Output().Len())
		dx, do, dm := make([]float32, len(c.X)), make([]float32, len(c.Offset)), make([]float32, len(c.Mask))
		add(name, f.Workspace(), func(ctx context.Context) error { return f.Run(ctx, y, c.X, c.RoIs, c.Offset, c.Mask) }, y)
		add(name+", backward", f.Workspace(), func(ctx context.Context) error {
			return f.Backward(ctx, dx, do, dm, c.X, c.RoIs, c.Offset, c.Mask, dy)
		}, dx, do, dm)
	}

	small, large := conv.Shape{2, 5, 12, 13}, conv.Shape{2, 5, 25, 30}
	resize, err := conv.NewResize(small, 25, 30, false)
	must(err)
	global, err := conv.NewGlobalPool(small)
	must(err)
	a, b, one := random(small.Len()), random(large.Len()), random(10)
	up, down, mean, spread := make([]float32, large.Len()), make([]float32, small.Len()), make([]float32, 10), make([]float32, small.Len())
	f, back := NewResize(pool, resize), NewResizeBackward(pool, resize)
	add("resize", f.Workspace(), func(ctx context.Context) error { return f.Run(ctx, up, a, Strides{}) }, up)
	add("resize, backward", back.Workspace(), func(ctx context.Context) error { return back.Run(ctx, down, b, Strides{}) }, down)
	g, gBack := NewGlobalPool(pool, global), NewGlobalPoolBackward(pool, global)
	add("global pooling", g.Workspace(), func(ctx context.Context) error { return g.Run(ctx, mean, a, Strides{}) }, mean)
	add("global pooling, backward", gBack.Workspace(), func(ctx context.Context) error { return gBack.Run(ctx, spread, one, Strides{}) }, spread)
	return list
}

// TestEveryAllocations: in the steady state no operator allocates, with several
// workers too.
func TestEveryAllocations(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		for _, workers := range []int{1, 2} {
			pool := NewPool(workers)
			for _, o := range everyOperation(t, pool) {
				run := func() {
					if err := o.run(context.Background()); err != nil {
						t.Fatal(o.name, err)
					}
				}
				// Which worker meets which tile is chance: until each has met the largest, buffers grow.
				for range 20 * (workers - 1) {
					run()
				}
				if n := testing.AllocsPerRun(10, run); n != 0 {
					t.Errorf("%s, %d workers: a run allocates %v times", o.name, workers, n)
				}
			}
			pool.Close()
		}
	})
}

// TestEveryWorkspace: what a pool's only worker has grown to is at most what the
// plan told; each has a pool of its own, since plans share what there is.
func TestEveryWorkspace(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		all := NewPool(1)
		n := len(everyOperation(t, all))
		all.Close()
		for i := range n {
			pool := NewPool(1)
			o := everyOperation(t, pool)[i]
			if err := o.run(context.Background()); err != nil {
				t.Fatal(o.name, err)
			}
			pool.Close() // and the worker's buffers are at rest
			if got := pool.scratch[0].bytes() + pool.scratch[0].grad.bytes() + o.fixed; got > o.told {
				t.Errorf("%s: a run takes %d bytes, Workspace told %d", o.name, got, o.told)
			}
		}
	})
}

// TestEveryCancel: wherever the context ends, between any two tiles, a run says
// so, and the next one is whole.
func TestEveryCancel(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, o := range everyOperation(t, pool) {
		looks := &endsAfter{Context: context.Background(), checks: 1 << 30}
		if err := o.run(looks); err != nil {
			t.Fatal(o.name, err)
		}
		want := copies(o.out)
		all := 1<<30 - looks.checks
		if all < 4 {
			t.Errorf("%s looks at its context %d times in all", o.name, all)
		}
		for after := 0; after < all; after += 1 + all/6 {
			if err := o.run(&endsAfter{Context: context.Background(), checks: after}); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: a run cancelled after %d of %d looks returned %v", o.name, after, all, err)
			}
		}
		if err := o.run(context.Background()); err != nil {
			t.Error(o.name, err)
		}
		o.same(t, want)
	}
}

// TestEverySameBits: the number of workers decides nothing.
func TestEverySameBits(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		var want [][][]float32
		for turn, workers := range []int{1, 2, 3, 7} {
			pool := NewPool(workers)
			for i, o := range everyOperation(t, pool) {
				for _, s := range o.out {
					for e := range s {
						s[e] = float32(math.NaN())
					}
				}
				if err := o.run(context.Background()); err != nil {
					t.Fatal(o.name, err)
				}
				if turn == 0 {
					want = append(want, copies(o.out))
				} else {
					o.same(t, want[i])
				}
			}
			pool.Close()
		}
	})
}

func (o *operation) same(t *testing.T, want [][]float32) {
	t.Helper()
	for k := range want {
		if !slices.EqualFunc(o.out[k], want[k], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: output %d has other bits", o.name, k)
		}
	}
}

func copies(s [][]float32) (c [][]float32) {
	for _, v := range s {
		c = append(c, slices.Clone(v))
	}
	return c
}
