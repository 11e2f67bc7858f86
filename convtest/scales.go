package convtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// ScaleCase is a resize or a pooling with its data.
type ScaleCase struct {
	Name   string
	Resize *conv.Resize     // nil for a pooling
	Pool   *conv.GlobalPool // nil for a resize
	X, Dy  []float32
}

// RandomScale returns the i-th random resize or pooling of a seed: up, down, by
// odd ratios, from and to single pixels, corners aligned or not.
func RandomScale(seed uint64, i int) ScaleCase {
	r := rand.New(rand.NewPCG(seed, uint64(i)|1<<41))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	x := conv.Shape{pick(0, 1, 1, 2, 3), pick(1, 2, 3, 7, 16), pick(1, 2, 3, 5, 8, 17), pick(1, 2, 4, 7, 16, 33)}
	if r.IntN(4) == 0 {
		p, err := conv.NewGlobalPool(x)
		if err != nil {
			panic(err)
		}
		return ScaleCase{Name: fmt.Sprintf("seed %d scale case %d: pool %v", seed, i, x), Pool: &p,
			X: Normal(r, x.Len()), Dy: Normal(r, p.Output().Len())}
	}
	ho, wo := pick(1, 2, 3, 9, 16, 31), pick(1, 2, 5, 8, 14, 33, 40)
	if r.IntN(3) == 0 {
		k := pick(2, 3, 8)
		ho, wo = min(k*x[2], 40), min(k*x[3], 66)
	}
	p, err := conv.NewResize(x, ho, wo, r.IntN(2) == 0)
	if err != nil {
		panic(err)
	}
	return ScaleCase{Name: fmt.Sprintf("seed %d scale case %d: resize %v to %d×%d, corners aligned %v", seed, i, x, ho, wo, p.AlignCorners),
		Resize: &p, X: Normal(r, x.Len()), Dy: Normal(r, p.Output().Len())}
}

// Want asks the oracle for y and dx, and tells the roundings for their bounds.
func (c ScaleCase) Want() (y, dx []conv.Sum, roundings int) {
	if c.Pool != nil {
		return cpuref.GlobalPool(*c.Pool, c.X), cpuref.GlobalPoolBackward(*c.Pool, c.Dy), conv.PoolRoundings
	}
	return cpuref.Resize(*c.Resize, c.X), cpuref.ResizeBackward(*c.Resize, c.Dy), conv.ResizeRoundings
}

// RunScale computes y from x, and dx from dy.
type RunScale func(c ScaleCase, y, dx, x, dy []float32) error

// Scales is [Forward] and [Backward] for resizing and pooling.
func Scales(t *testing.T, n int, run RunScale) {
	t.Helper()
	seed := Seed()
	worst := map[string]float64{}
	for i := range n {
		c := RandomScale(seed, i)
		wantY, wantX, roundings := c.Want()
		x, dy, y, dx := Guard("x", c.X), Guard("dy", c.Dy), Poisoned("y", len(wantY)), Poisoned("dx", len(wantX))
		if err := run(c, y.Data, dx.Data, x.Data, dy.Data); err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		for _, g := range []*Guarded{x, dy, y, dx} {
			if err := g.Check(); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
		for _, out := range []struct {
			got  *Guarded
			want []conv.Sum
		}{{y, wantY}, {dx, wantX}} {
			v := conv.Judge(out.got.Data, out.want, nil, roundings)
			kind := "resize "
			if c.Pool != nil {
				kind = "pool "
			}
			worst[kind+out.got.Name] = max(worst[kind+out.got.Name], v.Worst)
			if !v.OK() {
				t.Fatalf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", c.Name, out.got.Name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
			}
		}
	}
	t.Logf("%d random cases, seed %d: worst share of the bound %v", n, seed, worst)
}
