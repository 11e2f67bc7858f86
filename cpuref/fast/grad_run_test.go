package fast

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"vkconv/conv"
	"vkconv/cpuref"
)

// backwardOf makes the backward plan of a problem: its run and what it tells.
func backwardOf(t *testing.T, pool *Pool, p conv.Problem, d tensors) (func(ctx context.Context, g Grads, dy []float32) error, int64) {
	t.Helper()
	if p.Deformable() {
		b, err := NewDeformConv2DBackward(pool, p, d.w.s)
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, g Grads, dy []float32) error {
			return b.Run(ctx, g, d.x.s, d.off.s, d.mask.s, dy)
		}, b.Workspace()
	}
	b, err := NewConv2DBackward(pool, p, d.w.s)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, g Grads, dy []float32) error { return b.Run(ctx, g, d.x.s, dy) }, b.Workspace()
}

func allGrads(p conv.Problem) Grads {
	g := Grads{X: make([]float32, p.Input().Len()), Weight: make([]float32, p.Weight().Len())}
	if p.Bias {
		g.Bias = make([]float32, p.K)
	}
	if p.Deformable() {
		g.Offset = make([]float32, p.Offset().Len())
	}
	if p.Mask {
		g.Mask = make([]float32, p.MaskShape().Len())
	}
	return g
}

func TestBackwardAllocations(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(1)
		defer pool.Close()
		for seed := range 16 {
			r := rand.New(rand.NewPCG(uint64(seed), 12))
			p := randomProblem(r, seed%2 == 1)
			p.Activation = conv.Activation{}
			d := randomTensors(r, p)
			run, _ := backwardOf(t, pool, p, d)
			g, dy := allGrads(p), floats(p.Output().Len())
			if n := testing.AllocsPerRun(5, func() {
				if err := run(context.Background(), g, dy); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%+v: a run allocates %v times", p, n)
			}
		}
	})
}

// TestBackwardWorkspace: what a worker's buffers and the partial sums grow to is
// at most what the plan told.
func TestBackwardWorkspace(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		for seed := range 30 {
			r := rand.New(rand.NewPCG(uint64(seed), 13))
			p := randomProblem(r, seed%2 == 1)
			p.Activation = conv.Activation{}
			d := randomTensors(r, p)
			pool := NewPool(1)
			var s scratch
			j := &job{x: d.x.s, offset: d.off.s, mask: d.mask.s}
			j.g, j.dy = allGrads(p), floats(p.Output().Len())
			walk := func(plan tiler, tiles int) {
				for i := range tiles {
					plan.tile(i, j, &s)
				}
			}
			weights := func(w *weightGrad) int64 {
				if j.y = j.g.Weight; w.depth != nil {
					walk(w.depth, w.depth.units())
					return 0
				}
				j.part = make([]float32, w.slices*p.Weight().Len())
				walk(w, w.units)
				if w.slices == 1 {
					return 0
				}
				return 4 * int64(len(j.part))
			}
			var told, parts int64
			if p.Deformable() {
				b, err := NewDeformConv2DBackward(pool, p, d.w.s)
				if err != nil {
					t.Fatal(err)
				}
				walk(b.offset, p.N*b.cols.spans)
				walk(b.input, b.input.units)
				parts, told = weights(b.weight), b.Workspace()
			} else {
				b, err := NewConv2DBackward(pool, p, d.w.s)
				if err != nil {
					t.Fatal(err)
				}
				if j.y, j.x = j.g.X, j.dy; b.input.padded != nil {
					walk(b.input.padded, p.N*len(b.input.padded.list))
				} else if b.input.depth != nil {
					walk(b.input.depth, b.input.depth.units())
				} else if b.input.direct == nil {
					walk(b.input, b.input.tiles)
				}
				j.x = d.x.s
				parts, told = weights(b.weight), b.Workspace()
			}
			if got := s.bytes() + s.grad.bytes() + parts; got > told || told > 1<<24 {
				t.Errorf("%+v: runs take %d bytes, Workspace told %d", p, got, told)
			}
			pool.Close()
		}
	})
}

// bytes is what a worker's buffers for backward plans hold.
func (s *gradScratch) bytes() int64 {
	return int64(4*(cap(s.rows)+cap(s.outs)+cap(s.acc)+cap(s.cols)+cap(s.dots)) + int(unsafe.Sizeof(gradPlan{}))*cap(s.plans))
}

func TestBackwardCancel(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	for _, deform := range []bool{false, true} {
		p := mustProblem(t, conv.Params{Padding: conv.Pad(1)}, conv.Shape{2, 32, 40, 40}, conv.Shape{32, 32, 3, 3}, true)
		if deform {
			p.OffsetGroups, p.Mask = 1, true
		}
		d := randomTensors(rand.New(rand.NewPCG(1, 14)), p)
		run, _ := backwardOf(t, pool, p, d)
		g, dy := allGrads(p), floats(p.Output().Len())
		looks := &endsAfter{Context: context.Background(), checks: 1 << 30}
		if err := run(looks, g, dy); err != nil {
			t.Fatal(err)
		}
		// Wherever the context ends, the run says so.
		all := 1<<30 - looks.checks
		for after := 0; after < all; after += 1 + all/20 {
			if err := run(&endsAfter{Context: context.Background(), checks: after}, g, dy); !errors.Is(err, context.Canceled) {
				t.Errorf("a run cancelled after %d of %d looks returned %v", after, all, err)
			}
		}
		if err := run(context.Background(), g, dy); err != nil {
			t.Error("the pool is of no use after a cancelled run:", err)
		}
	}
}

// TestBackwardConcurrent runs one plan from many goroutines at once.
func TestBackwardConcurrent(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	for _, deform := range []bool{false, true} {
		p := mustProblem(t, conv.Params{Padding: conv.Pad(1)}, conv.Shape{2, 8, 20, 20}, conv.Shape{16, 8, 3, 3}, true)
		if deform {
			p.OffsetGroups, p.Mask = 2, true
		}
		d := randomTensors(rand.New(rand.NewPCG(2, 14)), p)
		run, _ := backwardOf(t, pool, p, d)
		want, dy := allGrads(p), floats(p.Output().Len())
		if err := run(context.Background(), want, dy); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				g := allGrads(p)
				for range 5 {
					if err := run(context.Background(), g, dy); err != nil {
						t.Error(err)
					}
					for i, v := range [][]float32{g.X, g.Weight, g.Bias, g.Offset, g.Mask} {
						for e, w := range [][]float32{want.X, want.Weight, want.Bias, want.Offset, want.Mask}[i] {
							if v[e] != w {
								t.Errorf("gradient %d differs in a concurrent run", i)
								return
							}
						}
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestBackwardNotFinite: a NaN reaches the gradients it is a term of, and no others.
func TestBackwardNotFinite(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		nan := float32(math.NaN())
		for seed := range 30 {
			r := rand.New(rand.NewPCG(uint64(seed), 16))
			p := randomProblem(r, seed%3 != 0)
			p.Activation = conv.Activation{}
			d := randomTensors(r, p)
			dy := floats(p.Output().Len())
			if p.Deformable() || seed%2 == 0 {
				d.x.s[r.IntN(len(d.x.s))] = nan
			} else {
				dy[r.IntN(len(dy))] = nan
			}
			if p.Deformable() {
				for range 2 {
					d.off.s[r.IntN(len(d.off.s))] = nan
				}
				if p.Mask {
					d.mask.s[r.IntN(len(d.mask.s))] = nan
				}
			}
			run, _ := backwardOf(t, pool, p, d)
			g := allGrads(p)
			if err := run(context.Background(), g, dy); err != nil {
				t.Fatal(err)
			}
			roundings := conv.ProductRoundings
			var sums cpuref.Gradients
			if p.Deformable() {
				roundings = conv.SampleRoundings
				sums = cpuref.DeformConv2DBackward(p, d.x.s, d.off.s, d.mask.s, d.w.s, dy)
			} else {
				sums = cpuref.Conv2DBackward(p, d.x.s, d.w.s, dy)
			}
			for i, pair := range []struct {
				got  []float32
				want []conv.Sum
			}{{g.X, sums.X}, {g.Weight, sums.Weight}, {g.Bias, sums.Bias}, {g.Offset, sums.Offset}, {g.Mask, sums.Mask}} {
				if i == 1 && !p.Deformable() && seed%2 == 1 {
					continue // padding is multiplied by dy, as zeros: see the package's documentation
				}
				if v := conv.Judge(pair.got, pair.want, nil, roundings); !v.OK() {
					t.Fatalf("%+v: gradient %d, element %d is %v, must be %v ± %v", p, i, v.Index, v.Got, v.Want, v.Bound)
				}
			}
		}
	})
}
