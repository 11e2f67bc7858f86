package fast

import (
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
)

// TestPlansAgree: vector kernels make the plans of plain code, bit for bit, whatever
// lies outside, is NaN, infinite or far.
func TestPlansAgree(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		ks := current.Load().ks
		plain := *ks
		plain.planSamples, plain.planGrads = nil, nil
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		for seed := range 300 {
			r := rand.New(rand.NewPCG(uint64(seed), 77))
			h, w, wo := 1+r.IntN(12), 1+r.IntN(12), 1+r.IntN(9)
			n := 1 + r.IntN(41)
			var room []int32
			from := placed{h: h, w: w, baseY: r.IntN(5) - 2, baseX: r.IntN(5) - 2}
			from.begin(&room, 3, 3+n, 60, wo, pick(r, 1, 2, 1<<29), 1)
			draw := func() []float32 {
				s := make([]float32, n)
				for i := range s {
					s[i] = float32(r.NormFloat64()) * pick[float32](r, 1, 3, 30)
					if r.IntN(30) == 0 {
						s[i] = pick(r, nan, inf, -inf, 1e30, -1e30, 1<<31, -1<<31, 0, -1)
					}
				}
				return walled(t, s, true)
			}
			from.dy, from.dx = draw(), draw()
			if r.IntN(2) == 0 {
				from.f = draw()
			}
			border := pick(r, conv.BorderFade, conv.BorderCut)
			quads := ceilDiv(n, 4)
			a, b := make([]sample4, quads), make([]sample4, quads)
			if ks.sampleRow(a, &from, border) != plain.sampleRow(b, &from, border) {
				t.Fatalf("seed %d: one meets the image, the other does not", seed)
			}
			for q := range a {
				if a[q].at != b[q].at || a[q].m != b[q].m || !same(a[q].w[0][:], b[q].w[0][:]) || !same(a[q].w[1][:], b[q].w[1][:]) {
					t.Fatalf("seed %d, quad %d: %+v, must be %+v", seed, q, a[q], b[q])
				}
			}
			y0 := r.IntN(h)
			y1 := y0 + 1 + r.IntN(h-y0)
			from.h, from.baseY = y1-y0, from.baseY-y0
			g, o := make([]gradPlan, quads), make([]gradPlan, quads)
			if ks.gradRow(g, &from, h, y0, y1, border) != plain.gradRow(o, &from, h, y0, y1, border) {
				t.Fatalf("seed %d: one meets rows %d to %d, the other does not", seed, y0, y1)
			}
			for q := range g {
				x, y := [][2]float32{{g[q].fy[0], g[q].fx[0]}, {g[q].f[0], g[q].fy[3]}}, [][2]float32{{o[q].fy[0], o[q].fx[0]}, {o[q].f[0], o[q].fy[3]}}
				if g[q].at != o[q].at || g[q].m != o[q].m || g[q].shift != o[q].shift || !same(x, y) ||
					!same(g[q].w[0][:], o[q].w[0][:]) || !same(g[q].w[1][:], o[q].w[1][:]) {
					t.Fatalf("seed %d, quad %d: %+v, must be %+v", seed, q, g[q], o[q])
				}
			}
		}
	})
}

// same compares bits, any NaN with any.
func same(a, b [][2]float32) bool {
	for i := range a {
		for e, v := range a[i] {
			if math.Float32bits(v) != math.Float32bits(b[i][e]) && (v == v || b[i][e] == b[i][e]) {
				return false
			}
		}
	}
	return true
}
