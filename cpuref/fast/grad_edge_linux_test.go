package fast

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// TestBackwardWalls is TestWalls for gradients.
func TestBackwardWalls(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(1)
		defer pool.Close()
		for seed := range 30 {
			r := rand.New(rand.NewPCG(uint64(seed), 15))
			p := randomProblem(r, seed%2 == 0)
			p.Activation = conv.Activation{}
			d := randomTensors(r, p)
			for _, atEnd := range []bool{true, false} {
				poisoned := func(n int) []float32 {
					s := walled(t, make([]float32, n), atEnd)
					for i := range s {
						s[i] = sentinel
					}
					return s
				}
				in := tensors{}
				in.x.s, in.w.s, in.off.s, in.mask.s = walled(t, d.x.s, atEnd), walled(t, d.w.s, atEnd), walled(t, d.off.s, atEnd), walled(t, d.mask.s, atEnd)
				dy := walled(t, floats(p.Output().Len()), atEnd)
				g := Grads{X: poisoned(p.Input().Len()), Weight: poisoned(p.Weight().Len())}
				var want cpuref.Gradients
				roundings := conv.ProductRoundings
				if p.Deformable() {
					roundings = conv.SampleRoundings
					g.Offset = poisoned(p.Offset().Len())
					if p.Mask {
						g.Mask = poisoned(p.MaskShape().Len())
					}
					want = cpuref.DeformConv2DBackward(p, d.x.s, d.off.s, d.mask.s, d.w.s, dy)
				} else {
					want = cpuref.Conv2DBackward(p, d.x.s, d.w.s, dy)
				}
				if p.Bias {
					g.Bias = poisoned(p.K)
				}
				run, _ := backwardOf(t, pool, p, in)
				if err := run(context.Background(), g, dy); err != nil {
					t.Fatal(err)
				}
				for i, pair := range []struct {
					got  []float32
					want []conv.Sum
				}{{g.X, want.X}, {g.Weight, want.Weight}, {g.Bias, want.Bias}, {g.Offset, want.Offset}, {g.Mask, want.Mask}} {
					if v := conv.Judge(pair.got, pair.want, nil, roundings); !v.OK() {
						t.Fatalf("%+v: gradient %d, element %d is %v, must be %v ± %v", p, i, v.Index, v.Got, v.Want, v.Bound)
					}
				}
			}
		}
	})
}

// TestGradKernelWalls holds the kernels to the portable ones, on slices without
// an element to spare.
func TestGradKernelWalls(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		ks := current.Load().ks
		r := rand.New(rand.NewPCG(4, 15))
		same := func(name string, got, want []float32) {
			t.Helper()
			for i, v := range got {
				if w := want[i]; !(math.Abs(float64(v-w)) <= 1e-4*(1+math.Abs(float64(w)))) && !(v != v && w != w) {
					t.Fatalf("%s: element %d is %v, must be %v", name, i, v, w)
				}
			}
		}
		clone := func(s []float32) []float32 { return append([]float32(nil), s...) }
		for range 200 {
			n, stride := 8*(1+r.IntN(5)), 8+r.IntN(9)
			var at [8]int32
			most := 0
			for i := range at {
				at[i] = int32(r.IntN(50))
				most = max(most, int(at[i]))
			}
			src, dst := walled(t, floats(most+n), true), walled(t, floats((n-1)*stride+8), true)
			want := clone(dst)
			transposeGo(want, stride, src, &at, n)
			ks.transpose(dst, stride, src, &at, n)
			same("transpose", dst, want)
			n = 4 * (1 + r.IntN(12))
			stride = n + r.IntN(9)
			src, dst = walled(t, floats(3*stride+n), true), walled(t, floats(4*n), true)
			want = clone(dst)
			transposeFoursGo(want, src, stride, n)
			ks.transposeFours(dst, src, stride, n)
			same("transposeFours", dst, want)

			n = 1 + r.IntN(40)
			even, odd := walled(t, floats(n), true), walled(t, floats(n+1), true)[:n]
			both := walled(t, make([]float32, 2*n), true)
			want = clone(both)
			mergeGo(want, even, odd, n)
			ks.merge(both, even, odd, n)
			same("merge", both, want)

			taps := make([]int32, r.IntN(24))
			most = 0
			for i := range taps {
				taps[i] = int32(r.IntN(60))
				most = max(most, int(taps[i]))
			}
			rows, yStride, xStride := 1+r.IntN(4), n+r.IntN(3), n+r.IntN(70)
			x, dy := walled(t, floats((rows-1)*xStride+most+n), true), walled(t, floats((rows-1)*yStride+n), true)
			sums := walled(t, floats(len(taps)), true)
			want = clone(sums)
			planeDotGo(want, dy, yStride, rows, n, x, xStride, taps)
			ks.planeDot(sums, dy, yStride, rows, n, x, xStride, taps)
			same("planeDot", sums, want)

			h, w, channels := 1+r.IntN(4), 2+r.IntN(5), 1+r.IntN(20)
			plans := make([]gradPlan, 1+r.IntN(3))
			for i := range 4 * len(plans) {
				plans[i/4].set(i%4, w, h, 0, h, r.IntN(h+3)-2, r.IntN(w+3)-2, r.Float32(), r.Float32(), 1, conv.Border(r.IntN(2)))
			}
			colStride := 4*len(plans) + r.IntN(3)
			col, image := walled(t, floats((channels-1)*colStride+4*len(plans)), true), walled(t, floats(channels*h*w), true)
			for i := range image { // what does not count may be anything
				if r.IntN(9) == 0 && h > 2 {
					image[i] = float32(math.NaN())
				}
			}
			sums = walled(t, floats(16*len(plans)), true)
			want = clone(sums)
			dotsGo(want, plans, col, colStride, image, h*w, channels)
			ks.dots(sums, plans, col, colStride, image, h*w, channels)
			same("dots", sums, want)

			pitch := ks.lanes * (1 + r.IntN(3))
			from, to := walled(t, floats(4*len(plans)*pitch), true), walled(t, floats(h*w*pitch), true)
			want = clone(to)
			scatterGo(want, plans, from, pitch)
			ks.scatter(to, plans, from, pitch)
			same("scatter", to, want)
		}
	})
}
