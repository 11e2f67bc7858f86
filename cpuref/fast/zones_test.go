package fast

import (
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// TestZones: zones cover every output once, and are what makes large dilations cheap.
func TestZones(t *testing.T) {
	for seed := range 300 {
		r := rand.New(rand.NewPCG(uint64(seed), 13))
		p := randomProblem(r, false)
		if seed%2 == 0 {
			d := 1 + r.IntN(20)
			p = mustProblem(t, conv.Params{Dilation: [2]int{d, d}, Padding: conv.Pad(d), Stride: [2]int{1 + r.IntN(2), 1}},
				conv.Shape{1, 1, 20 + r.IntN(30), 20 + r.IntN(30)}, conv.Shape{1, 1, 3, 3}, false)
		}
		seen := make([]int, p.Ho*p.Wo)
		for _, z := range zonesOf(p, 16) {
			for q := range z.pixels() {
				oy, ox := z.place(q)
				seen[oy*p.Wo+ox]++
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("%+v: output %d is in %d zones", p, i, n)
			}
		}
	}
	p := mustProblem(t, conv.Params{Dilation: [2]int{12, 12}, Padding: conv.Pad(12)},
		conv.Shape{1, 64, 33, 33}, conv.Shape{64, 64, 3, 3}, true)
	if n := len(zonesOf(p, 16)); n != 9 {
		t.Errorf("dilation 12 on 33×33 has %d zones, must have 9", n)
	}
	eachSet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		d := randomTensors(rand.New(rand.NewPCG(1, 14)), p)
		y := compute(t, pool, p, d)
		for i := 0; i < len(y); i += 7 {
			sum := cpuref.Conv2DAt(p, d.x.s, d.w.s, d.b.s, 0, i/(33*33), i/33%33, i%33)
			if conv.Share(y[i], sum.Value, sum.Bound(conv.ProductRoundings)) > 1 {
				t.Fatalf("element %d is %v, must be %v", i, y[i], sum.Value)
			}
		}
	})
}
