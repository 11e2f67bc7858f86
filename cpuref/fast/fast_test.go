package fast

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

var seeds = flag.Int("seeds", 150, "random problems of each kind")

// guarded is a slice between bands that nobody may touch.
type guarded struct {
	all, s []float32
}

const band = 64

var sentinel = math.Float32frombits(0x7fc0dead) // a NaN of our own

func guard(n int) guarded {
	g := guarded{all: make([]float32, n+2*band)}
	for i := range g.all {
		g.all[i] = sentinel
	}
	g.s = g.all[band : band+n : band+n]
	return g
}

func (g guarded) check(t *testing.T, name string) {
	t.Helper()
	for i, v := range g.all {
		if (i < band || i >= len(g.all)-band) && math.Float32bits(v) != math.Float32bits(sentinel) {
			t.Fatalf("%s: the guard band was overwritten at %d (%d elements)", name, i-band, len(g.s))
		}
	}
}

func randomised(r *rand.Rand, n int) guarded {
	g := guard(n)
	for i := range g.s {
		g.s[i] = float32(r.NormFloat64())
	}
	return g
}

// eachSet runs a test with every instruction set.
func eachSet(t *testing.T, f func(t *testing.T)) {
	for _, name := range InstructionSets() {
		t.Run(name, func(t *testing.T) {
			if err := SetInstructionSet(name); err != nil {
				t.Fatal(err)
			}
			defer SetInstructionSet("")
			f(t)
		})
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomProblem draws until the shapes fit.
func randomProblem(r *rand.Rand, deform bool) conv.Problem {
	for {
		groups := pick(r, 1, 1, 1, 2, 3, 4)
		cg, kg := 1+r.IntN(9), 1+r.IntN(19)
		if r.IntN(8) == 0 {
			cg, kg = 40+r.IntN(60), 1+r.IntN(70)
		}
		if r.IntN(4) == 0 {
			groups, cg, kg = 1+r.IntN(12), 1, 1+r.IntN(2)
		}
		p := conv.Params{
			Stride:   [2]int{pick(r, 1, 1, 2, 3), pick(r, 1, 1, 2, 3)},
			Dilation: [2]int{pick(r, 1, 1, 2, 3, 7), pick(r, 1, 1, 2, 3, 7)},
			Padding:  conv.Padding{Top: r.IntN(8), Left: r.IntN(8), Bottom: r.IntN(8), Right: r.IntN(8)},
			Groups:   groups,
			Mode:     pick(r, conv.Zeros, conv.Zeros, conv.Zeros, conv.Reflect, conv.Replicate, conv.Circular),
		}
		if r.IntN(4) == 0 {
			p.Padding = conv.Padding{}
		}
		x := conv.Shape{pick(r, 1, 1, 2, 3), cg * groups, 1 + r.IntN(40), 1 + r.IntN(40)}
		if r.IntN(4) == 0 {
			x[2], x[3] = 1+r.IntN(6), 1+r.IntN(6)
		}
		w := conv.Shape{kg * groups, cg, pick(r, 1, 1, 2, 3, 3, 3, 5), pick(r, 1, 1, 2, 3, 3, 3, 5)}
		if deform {
			p.Mode = conv.Zeros
		}
		q, err := p.Problem(x, w, r.IntN(2) == 0)
		if err != nil || q.Output().Len()*w[1]*w[2]*w[3] > 1<<21 {
			continue
		}
		if r.IntN(3) == 0 {
			kinds := []conv.ActivationKind{conv.ReLU, conv.ReLU6, conv.LeakyReLU, conv.SiLU, conv.GELU, conv.Sigmoid, conv.Clamp}
			q.Activation = conv.Activation{Kind: pick(r, kinds...), Slope: 0.1, Min: -0.5, Max: 1.5}
		}
		if !deform {
			return q
		}
		q.OffsetGroups = pick(r, 1, 1, 2, 3, 4)
		if r.IntN(4) == 0 {
			q.OffsetGroups = x[1]
		}
		q.Mask = r.IntN(2) == 0
		q.Border = pick(r, conv.BorderFade, conv.BorderFade, conv.BorderCut)
		if x[1]%q.OffsetGroups == 0 {
			return q
		}
	}
}

type tensors struct{ x, w, b, off, mask guarded }

func randomTensors(r *rand.Rand, p conv.Problem) (d tensors) {
	d.x, d.w, d.b = randomised(r, p.Input().Len()), randomised(r, p.Weight().Len()), guard(0)
	if p.Bias {
		d.b = randomised(r, p.K)
	}
	if !p.Deformable() {
		return d
	}
	d.off, d.mask = randomised(r, p.Offset().Len()), guard(0)
	scale := pick(r, 0.5, 3, 12)
	for i := range d.off.s {
		d.off.s[i] *= float32(scale)
		switch r.IntN(40) {
		case 0:
			d.off.s[i] = float32(math.Round(float64(d.off.s[i])))
		case 1:
			d.off.s[i] = pick(r, 1e30, -1e30, float32(math.Inf(1)), float32(math.Inf(-1)), 1<<31, -1<<31, -1e-9, 0)
		}
	}
	if p.Mask {
		d.mask = randomised(r, p.MaskShape().Len())
	}
	return d
}

// compute runs a plan on guarded buffers with a poisoned output, checks that
// nothing but the output changed, and returns it.
func compute(t *testing.T, pool *Pool, p conv.Problem, d tensors) []float32 {
	t.Helper()
	var before [][]float32
	all := []guarded{d.x, d.w, d.b, d.off, d.mask}
	for _, g := range all {
		before = append(before, slices.Clone(g.s))
	}
	y := guard(p.Output().Len())
	runInto(t, pool, p, y.s, d.x.s, d.w.s, d.b.s, d.off.s, d.mask.s)
	y.check(t, fmt.Sprintf("y of %+v", p))
	for i, g := range all {
		for j := range g.s {
			if math.Float32bits(g.s[j]) != math.Float32bits(before[i][j]) {
				t.Fatalf("%+v: an input was changed", p)
			}
		}
	}
	return y.s
}

func runInto(t *testing.T, pool *Pool, p conv.Problem, y, x, w, b, off, mask []float32) {
	t.Helper()
	var err error
	if p.Deformable() {
		var plan *DeformConv2D
		if plan, err = NewDeformConv2D(pool, p, w, b); err == nil {
			err = plan.Run(context.Background(), y, x, off, mask)
		}
	} else {
		var plan *Conv2D
		if plan, err = NewConv2D(pool, p, w, b); err == nil {
			err = plan.Run(context.Background(), y, x)
		}
	}
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
}

func judge(t *testing.T, p conv.Problem, d tensors, y []float32) {
	t.Helper()
	var v conv.Verdict
	if p.Deformable() {
		v = conv.Judge(y, cpuref.DeformConv2D(p, d.x.s, d.off.s, d.mask.s, d.w.s, d.b.s), nil, conv.SampleRoundings)
	} else {
		v = conv.Judge(y, cpuref.Conv2D(p, d.x.s, d.w.s, d.b.s), nil, conv.ProductRoundings)
	}
	if !v.OK() {
		t.Fatalf("%+v: element %d is %v, must be %v ± %v (%.3g of the bound)", p, v.Index, v.Got, v.Want, v.Bound, v.Worst)
	}
}

func TestRandom(t *testing.T) {
	for _, deform := range []bool{false, true} {
		t.Run(map[bool]string{false: "conv", true: "deform"}[deform], func(t *testing.T) {
			eachSet(t, func(t *testing.T) {
				pool := NewPool(2)
				defer pool.Close()
				count := *seeds
				if testing.Short() {
					count = min(count, 30)
				}
				for seed := range count {
					r := rand.New(rand.NewPCG(uint64(seed), 5))
					p := randomProblem(r, deform)
					d := randomTensors(r, p)
					judge(t, p, d, compute(t, pool, p, d))
				}
			})
		})
	}
}

// TestSameBits: the number of workers decides nothing.
func TestSameBits(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		one, many := NewPool(1), NewPool(5)
		defer one.Close()
		defer many.Close()
		for seed := range 30 {
			r := rand.New(rand.NewPCG(uint64(seed), 6))
			p := randomProblem(r, seed%2 == 0)
			d := randomTensors(r, p)
			a, b := compute(t, one, p, d), compute(t, many, p, d)
			for i := range a {
				if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
					t.Fatalf("%+v: element %d is %v with one worker, %v with five", p, i, a[i], b[i])
				}
			}
		}
	})
}

func mustProblem(t testing.TB, p conv.Params, x, w conv.Shape, bias bool) conv.Problem {
	t.Helper()
	q, err := p.Problem(x, w, bias)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestFarApart: taps and padding that reach further than any buffer.
func TestFarApart(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for _, c := range []struct {
			p    conv.Params
			x, w conv.Shape
		}{
			{conv.Params{Dilation: [2]int{1, 1 << 30}, Padding: conv.Padding{Left: 1 << 30}, Groups: 2}, conv.Shape{1, 2, 3, 5}, conv.Shape{2, 1, 1, 2}},
			{conv.Params{Dilation: [2]int{1 << 30, 1}, Padding: conv.Padding{Bottom: 1 << 30}, Groups: 2}, conv.Shape{1, 2, 5, 3}, conv.Shape{2, 1, 2, 1}},
			{conv.Params{Dilation: [2]int{1 << 30, 1 << 30}, Padding: conv.Pad(1 << 30)}, conv.Shape{1, 2, 5, 3}, conv.Shape{2, 2, 3, 3}},
			{conv.Params{Stride: [2]int{1 << 20, 1 << 20}, Padding: conv.Pad(1 << 21)}, conv.Shape{1, 2, 5, 3}, conv.Shape{2, 2, 3, 3}},
			{conv.Params{Stride: [2]int{1 << 20, 1 << 20}, Padding: conv.Pad(1 << 21), Groups: 2}, conv.Shape{1, 2, 5, 3}, conv.Shape{2, 1, 3, 3}},
			{conv.Params{Padding: conv.Pad(40)}, conv.Shape{1, 1, 50, 40}, conv.Shape{1, 1, 100, 3}},
			{conv.Params{Padding: conv.Pad(6)}, conv.Shape{1, 2, 30, 20}, conv.Shape{9, 2, 17, 13}},
		} {
			p := mustProblem(t, c.p, c.x, c.w, true)
			d := randomTensors(rand.New(rand.NewPCG(1, 15)), p)
			judge(t, p, d, compute(t, pool, p, d))
			if p.Mode == conv.Zeros {
				p.OffsetGroups = 1
				d = randomTensors(rand.New(rand.NewPCG(1, 15)), p)
				judge(t, p, d, compute(t, pool, p, d))
			}
		}
	})
}

// TestNotFinite: a NaN or infinite pixel reaches what it is a term of, and
// nothing else; a NaN offset makes a NaN sample.
func TestNotFinite(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for seed := range 60 {
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			p := randomProblem(r, seed%3 != 0)
			d := randomTensors(r, p)
			d.x.s[r.IntN(len(d.x.s))] = nan
			d.x.s[0] = pick(r, nan, inf, 1)
			if p.Deformable() {
				for range 3 {
					d.off.s[r.IntN(len(d.off.s))] = nan
				}
				if p.Mask {
					d.mask.s[r.IntN(len(d.mask.s))] = nan
				}
			}
			judge(t, p, d, compute(t, pool, p, d))
		}
	})
}

func TestRefusals(t *testing.T) {
	pool := NewPool(1)
	p := mustProblem(t, conv.Params{}, conv.Shape{1, 2, 4, 4}, conv.Shape{3, 2, 3, 3}, true)
	w, b := make([]float32, 54), make([]float32, 3)
	if _, err := NewConv2D(pool, p, w[1:], b); !errors.Is(err, conv.ErrShape) {
		t.Error("short weight:", err)
	}
	if _, err := NewConv2D(pool, p, w, b[1:]); !errors.Is(err, conv.ErrShape) {
		t.Error("short bias:", err)
	}
	if _, err := NewConv2D(nil, p, w, b); !errors.Is(err, conv.ErrParams) {
		t.Error("no pool:", err)
	}
	if _, err := NewDeformConv2D(pool, p, w, b); !errors.Is(err, conv.ErrParams) {
		t.Error("not deformable:", err)
	}
	c, err := NewConv2D(pool, p, w, b)
	if err != nil {
		t.Fatal(err)
	}
	y, x := make([]float32, 12), make([]float32, 32)
	ctx := context.Background()
	if err := c.Run(ctx, y[1:], x); !errors.Is(err, conv.ErrShape) {
		t.Error("short y:", err)
	}
	if err := c.Run(ctx, y, x[1:]); !errors.Is(err, conv.ErrShape) {
		t.Error("short x:", err)
	}
	if err := c.SetWeights(w[1:], b); !errors.Is(err, conv.ErrShape) {
		t.Error("short weight:", err)
	}
	q := p
	q.OffsetGroups, q.Mask = 1, true
	if _, err := NewConv2D(pool, q, w, b); !errors.Is(err, conv.ErrParams) {
		t.Error("deformable:", err)
	}
	d, err := NewDeformConv2D(pool, q, w, b)
	if err != nil {
		t.Fatal(err)
	}
	off, mask := make([]float32, 72), make([]float32, 36)
	if err := d.Run(ctx, y, x, off[1:], mask); !errors.Is(err, conv.ErrShape) {
		t.Error("short offset:", err)
	}
	if err := d.Run(ctx, y, x, off, mask[1:]); !errors.Is(err, conv.ErrShape) {
		t.Error("short mask:", err)
	}
	huge := mustProblem(t, conv.Params{}, conv.Shape{1, 1, 1 << 16, 1 << 16}, conv.Shape{1, 1, 1, 1}, false)
	if _, err := NewConv2D(pool, huge, w[:1], nil); !errors.Is(err, conv.ErrUnsupported) {
		t.Error("plane of 2^32 pixels:", err)
	}
	if err := SetInstructionSet("mmx"); err == nil {
		t.Error("instruction set mmx was accepted")
	}
	pool.Close()
	if err := c.Run(ctx, y, x); !errors.Is(err, ErrClosed) {
		t.Error("closed pool:", err)
	}
}
