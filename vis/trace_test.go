package vis

import (
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// One output's gradient by the input, of a kernel of ones, is the mask times
// the bilinear share at each of its samples' neighbours, by the oracle.
func TestTraceIsWhatTheOracleReads(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	for range 30 {
		params := conv.Params{Stride: [2]int{1 + r.IntN(2), 1 + r.IntN(3)}, Dilation: [2]int{1 + r.IntN(3), 1 + r.IntN(2)}, Padding: conv.Padding{Top: r.IntN(3), Left: r.IntN(3), Bottom: 2, Right: 1}}
		p, err := params.DeformProblem(conv.Deform{OffsetGroups: 2, Mask: true}, conv.Shape{1, 2, 9, 11}, conv.Shape{1, 2, 3, 2}, false)
		if err != nil {
			t.Fatal(err)
		}
		offset, mask := make([]float32, p.Offset().Len()), make([]float32, p.MaskShape().Len())
		for i := range offset {
			offset[i] = float32(r.NormFloat64() * 2)
		}
		for i := range mask {
			mask[i] = r.Float32()
		}
		weight := make([]float32, p.Weight().Len())
		for i := range weight {
			weight[i] = 1
		}
		oy, ox, group := r.IntN(p.Ho), r.IntN(p.Wo), r.IntN(2)
		dy := make([]float32, p.Output().Len())
		dy[oy*p.Wo+ox] = 1
		want := cpuref.DeformConv2DBackward(p, make([]float32, p.Input().Len()), offset, mask, weight, dy).X[group*p.H*p.W:][:p.H*p.W]
		got := make([]float64, p.H*p.W)
		for _, s := range Trace([]Level{LevelOf(p, offset, mask, group)}, oy, ox) {
			for y := range p.H {
				for x := range p.W {
					got[y*p.W+x] += s.Mask * max(0, 1-math.Abs(s.Y-float64(y))) * max(0, 1-math.Abs(s.X-float64(x)))
				}
			}
		}
		for i := range got {
			if math.Abs(got[i]-want[i].Value) > 1e-5 {
				t.Fatalf("%+v: pixel %d is read with weight %g, the oracle says %g", p, i, got[i], want[i].Value)
			}
		}
	}
}

// Without offsets three levels read what explain counts: here 3×3 at dilations
// 1, 2 of stride 2 and 3, worked out by hand along one axis.
func TestTraceStack(t *testing.T) {
	level := func(d, s, in int) Level {
		out := (in+2*d-2*d-1)/s + 1
		return Level{Kernel: [2]int{3, 3}, Stride: [2]int{s, s}, Dilation: [2]int{d, d}, Padding: [2]int{d, d}, Input: [2]int{in, in}, Output: [2]int{out, out}}
	}
	levels := []Level{level(1, 1, 60), level(2, 2, 60), level(3, 1, 30)}
	if n, err := Samples(levels); n != 729 || err != nil {
		t.Errorf("%d places, %v", n, err)
	}
	got := map[[2]float64]int{}
	samples := Trace(levels, 14, 15)
	for _, s := range samples {
		got[[2]float64{s.Y, s.X}]++
		if s.Y != s.GridY || s.X != s.GridX || s.Mask != 1 {
			t.Fatalf("%+v is displaced", s)
		}
	}
	want := map[[2]float64]int{}
	for a := -1; a <= 1; a++ {
		for b := -1; b <= 1; b++ {
			for c := -1; c <= 1; c++ {
				for d := -1; d <= 1; d++ {
					for e := -1; e <= 1; e++ {
						for f := -1; f <= 1; f++ {
							want[[2]float64{float64(2*(14+3*a) + 2*b + c), float64(2*(15+3*d) + 2*e + f)}]++
						}
					}
				}
			}
		}
	}
	if len(samples) != 729 || len(got) != len(want) {
		t.Fatalf("%d samples at %d places, want 729 at %d", len(samples), len(got), len(want))
	}
	for at, n := range want {
		if got[at] != n {
			t.Errorf("%v is sampled %d times, want %d", at, got[at], n)
		}
	}
	// The same offset everywhere shifts by it at each level's own scale.
	for i := range levels {
		plane := levels[i].Output[0] * levels[i].Output[1]
		levels[i].Offset = make([]float32, 18*plane)
		for k := range 9 {
			for j := range plane {
				levels[i].Offset[2*k*plane+j], levels[i].Offset[(2*k+1)*plane+j] = 0.5, -0.25
			}
		}
	}
	for i, s := range Trace(levels, 14, 15) {
		// Displaced by Δ at the top, then by Δ at a level of stride 2, and so on: 2Δ + Δ + Δ.
		if math.Abs(s.Y-samples[i].Y-2) > 1e-9 || math.Abs(s.X-samples[i].X+1) > 1e-9 || s.GridY != samples[i].Y {
			t.Fatalf("%+v was %+v", s, samples[i])
		}
	}
	if y, x := Nearest(levels, 28.4, 30.4); y != 14 || x != 15 {
		t.Errorf("the output about 28, 30 is %d, %d", y, x)
	}
	// At a corner what lies in the padding ends at its level.
	for l := range levels {
		levels[l].Offset = nil
	}
	// Along one axis, from output 0: to 0 and 3, not −3; times 2, to 0, 2 and 4, 6,
	// 8, not −2; each to three neighbours but 0, which has two: 14 places.
	if n := len(Trace(levels, 0, 0)); n != 14*14 {
		t.Errorf("%d samples at the corner, want %d", n, 14*14)
	}
}

func TestSamplesRefuses(t *testing.T) {
	l := Level{Kernel: [2]int{9, 9}}
	if _, err := Samples([]Level{l, l, l}); err == nil {
		t.Error("half a million places were accepted")
	}
}
