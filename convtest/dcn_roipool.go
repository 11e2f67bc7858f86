package convtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// RoICase is a deformable RoI pooling with its data; Offset and Mask are nil
// where it has none.
type RoICase struct {
	Name                  string
	Q                     conv.RoIPool
	X, RoIs, Offset, Mask []float32
}

// Want asks the oracle for the result.
func (c RoICase) Want() []conv.Sum { return cpuref.RoIPool(c.Q, c.X, c.RoIs, c.Offset, c.Mask) }

// OutputGrad draws the gradient by the output, the same every time.
func (c RoICase) OutputGrad() []float32 {
	n := c.Q.Output().Len()
	return Normal(rand.New(rand.NewPCG(7, uint64(n))), n)
}

// WantGrads asks the oracle for the gradients.
func (c RoICase) WantGrads(dy []float32) cpuref.Gradients {
	return cpuref.RoIPoolBackward(c.Q, c.X, c.RoIs, c.Offset, c.Mask, dy)
}

// RandomRoIPool returns the i-th random RoI pooling of a seed, plain, always
// the same one: regions inside, across the border, empty, turned around, on
// whole and half pixels, not finite and of images that do not exist.
func RandomRoIPool(seed uint64, i int) RoICase {
	r := rand.New(rand.NewPCG(seed+57, uint64(i)))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	p := conv.RoIPoolParams{Bins: [2]int{pick(1, 2, 3, 5, 7), pick(1, 2, 3, 4, 7)}, SamplingRatio: pick(0, 0, 1, 2, 3),
		SpatialScale: [...]float32{0, 1, 0.5, 0.0625, 0.3}[r.IntN(5)], Gamma: [...]float32{0, 0.1, 0.5, 2}[r.IntN(4)],
		Offset: r.IntN(4) > 0, Mask: r.IntN(2) == 0}
	x := conv.Shape{pick(0, 1, 1, 2, 3), pick(1, 2, 3, 5), pick(1, 2, 5, 8, 13), pick(1, 3, 7, 9, 16)}
	q, err := p.Problem(x, pick(0, 1, 2, 3, 5))
	return randomRoI(r, seed, i, q, err)
}

// RandomPSRoIPool is [RandomRoIPool] for position-sensitive pooling.
func RandomPSRoIPool(seed uint64, i int) RoICase {
	r := rand.New(rand.NewPCG(seed+58, uint64(i)))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	p := conv.PSRoIPoolParams{GroupSize: pick(1, 2, 3), PooledSize: pick(1, 2, 3, 5), PartSize: pick(0, 1, 2, 4), SamplePerPart: pick(1, 2, 3, 4),
		SpatialScale: [...]float32{0, 1, 0.5, 0.0625, 0.3}[r.IntN(5)], TransStd: [...]float32{0, 0.1, 0.5, 2}[r.IntN(4)],
		Classes: pick(1, 1, 2, 3), Offset: r.IntN(4) > 0, Mask: r.IntN(2) == 0}
	p.OutputChannels = p.Classes * pick(1, 2, 3)
	x := conv.Shape{pick(0, 1, 1, 2, 3), p.OutputChannels * p.GroupSize * p.GroupSize, pick(1, 2, 5, 8, 13), pick(1, 3, 7, 9, 16)}
	q, err := p.Problem(x, pick(0, 1, 2, 3, 5))
	return randomRoI(r, seed, i, q, err)
}

func randomRoI(r *rand.Rand, seed uint64, i int, q conv.RoIPool, err error) RoICase {
	if err != nil {
		panic(err) // the draws above all fit
	}
	c := RoICase{Q: q, X: Normal(r, q.Input().Len()), RoIs: make([]float32, q.RoIShape().Len())}
	c.Name = fmt.Sprintf("seed %d case %d: %+v", seed, i, q)
	for j := range q.RoIs {
		roi := c.RoIs[5*j:][:5]
		roi[0] = float32(r.IntN(max(q.N, 1)))
		for k := range 4 {
			extent := float64([]int{q.W, q.H}[k%2])
			v := (r.Float64()*1.4 - 0.2) * extent
			switch r.IntN(4) {
			case 0:
				v = math.Round(v)
			case 1:
				v = math.Round(v) + 0.5
			}
			roi[1+k] = float32(v / float64(q.SpatialScale))
		}
		if r.IntN(4) > 0 { // mostly the right way around
			roi[1], roi[3] = min(roi[1], roi[3]), max(roi[1], roi[3])
			roi[2], roi[4] = min(roi[2], roi[4]), max(roi[2], roi[4])
		}
		if r.IntN(20) == 0 {
			roi[r.IntN(5)] = [...]float32{float32(math.NaN()), float32(math.Inf(1)), 1e30, -1e30, -1, 1e9}[r.IntN(6)]
		}
	}
	if q.Offset {
		c.Offset = Normal(r, q.OffsetShape().Len())
		for j := range c.Offset {
			switch r.IntN(16) {
			case 0:
				c.Offset[j] = 0
			case 1:
				c.Offset[j] = [...]float32{1e30, -1e30, 30, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}[r.IntN(6)]
			}
		}
	}
	if q.Mask {
		c.Mask = make([]float32, q.MaskShape().Len())
		for j := range c.Mask {
			c.Mask[j] = r.Float32()
		}
	}
	return c
}

// RoIForward is [Forward] for RoI pooling; run computes y.
func RoIForward(t *testing.T, n int, random func(seed uint64, i int) RoICase, run func(c RoICase, y []float32) error) {
	t.Helper()
	manyCases(t, n, func(seed uint64, i int, worst map[string]float64) {
		c := random(seed, i)
		in := []*Guarded{Guard("x", c.X), Guard("rois", c.RoIs), Guard("offset", c.Offset), Guard("mask", c.Mask)}
		want := c.Want()
		y := Poisoned("y", len(want))
		guarded := RoICase{Name: c.Name, Q: c.Q, X: in[0].Data, RoIs: in[1].Data, Offset: in[2].Data, Mask: in[3].Data}
		compare(t, c.Name, run(guarded, y.Data), in, []*Guarded{y}, [][]conv.Sum{want}, conv.RoIPoolRoundings, worst)
	})
}

// RoIBackward is [Backward] for RoI pooling; run computes g.X, g.Offset and g.Mask.
func RoIBackward(t *testing.T, n int, random func(seed uint64, i int) RoICase, run func(c RoICase, g Grads, dy []float32) error) {
	t.Helper()
	manyCases(t, n, func(seed uint64, i int, worst map[string]float64) {
		c := random(seed, i)
		in := []*Guarded{Guard("x", c.X), Guard("rois", c.RoIs), Guard("offset", c.Offset), Guard("mask", c.Mask), Guard("dy", c.OutputGrad())}
		want := c.WantGrads(in[4].Data)
		out := []*Guarded{Poisoned("dx", len(want.X)), Poisoned("doffset", len(want.Offset)), Poisoned("dmask", len(want.Mask))}
		guarded := RoICase{Name: c.Name, Q: c.Q, X: in[0].Data, RoIs: in[1].Data, Offset: in[2].Data, Mask: in[3].Data}
		g := Grads{X: out[0].Data, Offset: out[1].Data, Mask: out[2].Data}
		compare(t, c.Name, run(guarded, g, in[4].Data), in, out, [][]conv.Sum{want.X, want.Offset, want.Mask}, conv.RoIPoolRoundings, worst)
	})
}
