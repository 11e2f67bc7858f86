package convtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// DCNCase is a DCNv3 or DCNv4 with its data; of DCNv4 Offset is the packed tensor.
type DCNCase struct {
	Name            string
	D               conv.DCN
	X, Offset, Mask []float32
}

// Want asks the oracle for the result.
func (c DCNCase) Want() []conv.Sum {
	if c.D.Packed {
		return cpuref.DCNv4(c.D, c.X, c.Offset)
	}
	return cpuref.DCNv3(c.D, c.X, c.Offset, c.Mask)
}

// OutputGrad draws the gradient by the output, the same every time.
func (c DCNCase) OutputGrad() []float32 {
	n := c.D.Output().Len()
	return Normal(rand.New(rand.NewPCG(6, uint64(n))), n)
}

// WantGrads asks the oracle for the gradients.
func (c DCNCase) WantGrads(dy []float32) cpuref.Gradients {
	if c.D.Packed {
		return cpuref.DCNv4Backward(c.D, c.X, c.Offset, dy)
	}
	return cpuref.DCNv3Backward(c.D, c.X, c.Offset, c.Mask, dy)
}

// RandomDCNv3 returns the i-th random DCNv3 of a seed, always the same one:
// small and awkward shapes, scales that are not 1, removed centers, softmax
// over small and large values, and the offsets of [Offsets] with now and then a NaN.
func RandomDCNv3(seed uint64, i int) DCNCase { return randomDCN(seed, 31, i, conv.DCNParams.V3) }

// RandomDCNv4 is [RandomDCNv3] for DCNv4.
func RandomDCNv4(seed uint64, i int) DCNCase { return randomDCN(seed, 32, i, conv.DCNParams.V4) }

func randomDCN(seed, salt uint64, i int, version func(conv.DCNParams, conv.Shape) (conv.DCN, error)) DCNCase {
	r := rand.New(rand.NewPCG(seed+salt, uint64(i)))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	for {
		p := conv.DCNParams{Groups: pick(1, 1, 2, 3, 4), RemoveCenter: r.IntN(4) == 0, Softmax: r.IntN(2) == 0,
			OffsetScale: [...]float32{0, 1, 1, 2, 0.5, 1.7, -0.3, 1e-3}[r.IntN(8)]}
		if r.IntN(2) == 0 {
			p.Kernel = [2]int{pick(1, 2, 3, 5), pick(1, 2, 3, 4)}
		}
		if r.IntN(2) == 0 {
			p.Stride = [2]int{pick(1, 2, 3), pick(1, 2, 4)}
		}
		if r.IntN(2) == 0 {
			p.Dilation = [2]int{pick(1, 2, 3, 5), pick(1, 2, 3, 4)}
		}
		p.Padding = conv.Padding{Top: pick(0, 1, 1, 2, 5), Left: pick(0, 1, 1, 2, 6), Bottom: pick(0, 1, 1, 3), Right: pick(0, 1, 1, 4)}
		x := conv.Shape{pick(0, 1, 1, 1, 2, 3), p.Groups * pick(1, 2, 3, 4, 5, 8, 11, 16), pick(1, 2, 3, 5, 8, 11), pick(1, 2, 3, 4, 7, 9, 17)}
		d, err := version(p, x)
		if err != nil || d.Output().Len()*d.Points() > 30_000 {
			continue
		}
		c := DCNCase{D: d, X: Normal(r, x.Len())}
		c.Name = fmt.Sprintf("seed %d case %d: %+v", seed, i, d)
		// Masks at large, raw ones up to where exp underflows.
		mask := Normal(r, d.N*d.Groups*d.Points()*d.Ho*d.Wo)
		for j, width := 0, [...]float32{1, 1, 10, 100}[r.IntN(4)]; j < len(mask) && d.Softmax; j++ {
			mask[j] *= width
		}
		as := conv.Problem{N: d.N, R: 1, S: d.Points(), H: d.H, W: d.W, Ho: d.Ho, Wo: d.Wo, OffsetGroups: d.Groups}
		offset := Offsets(r, as)
		for j := 0; len(offset) > 0 && i%16 == 3 && j < 3; j++ {
			offset[r.IntN(len(offset))] = float32(math.NaN())
		}
		c.Offset, c.Mask = offset, mask
		if d.Packed {
			c.Offset, c.Mask = pack(d, offset, mask), nil
		}
		return c
	}
}

// pack makes DCNv4's tensor; what fills it up must not matter.
func pack(d conv.DCN, offset, mask []float32) []float32 {
	packed := make([]float32, d.Offset().Len())
	for i := range packed {
		packed[i] = float32(math.NaN())
	}
	apart := d
	apart.Packed = false
	pixels := d.Ho * d.Wo
	move := func(from []float32, fromChannels, fromChannel, n, toChannel int) {
		copy(packed[(n*d.Offset()[1]+toChannel)*pixels:][:pixels], from[(n*fromChannels+fromChannel)*pixels:])
	}
	for n := range d.N {
		for g := range d.Groups {
			for t := range d.Points() {
				for k := range 2 {
					move(offset, apart.Offset()[1], apart.OffsetChannel(g, t)+k, n, d.OffsetChannel(g, t)+k)
				}
				move(mask, apart.MaskShape()[1], apart.MaskChannel(g, t), n, d.MaskChannel(g, t))
			}
		}
	}
	return packed
}

// DCNForward is [Forward] for DCNv3 or DCNv4; run computes y.
func DCNForward(t *testing.T, n int, random func(seed uint64, i int) DCNCase, run func(c DCNCase, y []float32) error) {
	t.Helper()
	manyCases(t, n, func(seed uint64, i int, worst map[string]float64) {
		c := random(seed, i)
		in := []*Guarded{Guard("x", c.X), Guard("offset", c.Offset), Guard("mask", c.Mask)}
		want := c.Want()
		y := Poisoned("y", len(want))
		guarded := DCNCase{Name: c.Name, D: c.D, X: in[0].Data, Offset: in[1].Data, Mask: in[2].Data}
		compare(t, c.Name, run(guarded, y.Data), in, []*Guarded{y}, [][]conv.Sum{want}, conv.DCNRoundings, worst)
	})
}

// DCNBackward is [Backward] for DCNv3 or DCNv4; run computes g.X, g.Offset and g.Mask.
func DCNBackward(t *testing.T, n int, random func(seed uint64, i int) DCNCase, run func(c DCNCase, g Grads, dy []float32) error) {
	t.Helper()
	manyCases(t, n, func(seed uint64, i int, worst map[string]float64) {
		c := random(seed, i)
		in := []*Guarded{Guard("x", c.X), Guard("offset", c.Offset), Guard("mask", c.Mask), Guard("dy", c.OutputGrad())}
		want := c.WantGrads(in[3].Data)
		out := []*Guarded{Poisoned("dx", len(want.X)), Poisoned("doffset", len(want.Offset)), Poisoned("dmask", len(want.Mask))}
		guarded := DCNCase{Name: c.Name, D: c.D, X: in[0].Data, Offset: in[1].Data, Mask: in[2].Data}
		g := Grads{X: out[0].Data, Offset: out[1].Data, Mask: out[2].Data}
		compare(t, c.Name, run(guarded, g, in[3].Data), in, out, [][]conv.Sum{want.X, want.Offset, want.Mask}, conv.DCNRoundings, worst)
	})
}

// manyCases runs one for n cases of the seed and logs the worst shares of the bound.
func manyCases(t *testing.T, n int, one func(seed uint64, i int, worst map[string]float64)) {
	t.Helper()
	seed := Seed()
	worst := map[string]float64{}
	for i := range n {
		one(seed, i, worst)
		if t.Failed() {
			t.Fatalf("stopped at case %d of seed %d", i, seed)
		}
	}
	t.Logf("%d random cases, seed %d: worst share of the bound %v", n, seed, worst)
}

// compare judges the outcome of one run: its error, the guards of what it read
// and wrote, and every output against the oracle's sums.
func compare(t *testing.T, name string, err error, in, out []*Guarded, want [][]conv.Sum, roundings int, worst map[string]float64) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, g := range append(in, out...) {
		if err := g.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, o := range out {
		v := conv.Judge(o.Data, want[i], nil, roundings)
		worst[o.Name] = max(worst[o.Name], math.Round(v.Worst*1e4)/1e4)
		if !v.OK() {
			t.Errorf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", name, o.Name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
	}
}
