package cpuref_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/diff/fd"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
)

// numerically compares gradients with central differences of the forward
// formula in float64. Steps are small: a step that crosses a whole pixel shows.
func numerically(t *testing.T, name string, in [][]float64, dy []float64, forward func(in [][]float64) []conv.Sum, got [][]conv.Sum) {
	t.Helper()
	for j := range in {
		saved := in[j]
		if len(got[j]) != len(saved) {
			t.Fatalf("%s: gradient %d has %d elements, want %d", name, j, len(got[j]), len(saved))
		}
		numeric := fd.Gradient(nil, func(v []float64) (l float64) {
			in[j] = v
			for i, s := range forward(in) {
				if dy[i] != 0 {
					l += s.Value * dy[i]
				}
			}
			return l
		}, saved, &fd.Settings{Formula: fd.Central, Step: 1e-6})
		in[j] = saved
		for e, s := range got[j] {
			if !(math.Abs(s.Value-numeric[e]) <= 1e-7*(1+s.Abs)) {
				t.Fatalf("%s: gradient %d element %d is %g, numerically %g", name, j, e, s.Value, numeric[e])
			}
		}
	}
}

func TestDCNGradientsNumerically(t *testing.T) {
	for i, tried := 0, 0; tried < convtest.Cases(100); i++ {
		random := convtest.RandomDCNv3
		if i%2 == 1 {
			random = convtest.RandomDCNv4
		}
		c := random(convtest.Seed()+5, i)
		d := c.D
		if d.N == 0 || d.Scale == 1e-3 || d.Output().Len()*d.Points()*len(c.Offset) > 200_000 {
			continue
		}
		tried++
		r := rand.New(rand.NewPCG(9, uint64(i)))
		// Positions away from whole pixels, where the formula has kinks.
		for j := range c.Offset {
			c.Offset[j] = float32(r.NormFloat64())
		}
		for n := range d.N {
			for g := range d.Groups {
				for p := range d.Points() {
					row, col := d.Point(p)
					_, _, ky, kx := d.Base(0, 0, row, col)
					for axis, k := range []int{kx, ky} {
						for out := range d.Ho * d.Wo {
							v := math.Floor(2*r.NormFloat64()) + 0.1 + 0.8*r.Float64()
							c.Offset[(n*d.Offset()[1]+d.OffsetChannel(g, p)+axis)*d.Ho*d.Wo+out] = float32(v/float64(d.Scale)) - float32(k)
						}
					}
				}
			}
		}
		for j := range c.Mask {
			c.Mask[j] = float32(r.NormFloat64())
		}
		dy := normals(r, d.Output().Len())
		in := [][]float64{wide(c.X), wide(c.Offset)}
		if d.Packed {
			g := cpuref.DCNv4Backward(d, in[0], in[1], dy)
			numerically(t, c.Name, in, dy, func(in [][]float64) []conv.Sum { return cpuref.DCNv4(d, in[0], in[1]) }, [][]conv.Sum{g.X, g.Offset})
			continue
		}
		in = append(in, wide(c.Mask))
		g := cpuref.DCNv3Backward(d, in[0], in[1], in[2], dy)
		numerically(t, c.Name, in, dy, func(in [][]float64) []conv.Sum { return cpuref.DCNv3(d, in[0], in[1], in[2]) },
			[][]conv.Sum{g.X, g.Offset, g.Mask})
	}
}

func TestRoIPoolGradientsNumerically(t *testing.T) {
	for i, tried := 0, 0; tried < convtest.Cases(100); i++ {
		random := convtest.RandomRoIPool
		if i%2 == 1 {
			random = convtest.RandomPSRoIPool
		}
		c := random(convtest.Seed()+5, i)
		q := c.Q
		if q.N == 0 || q.RoIs == 0 || len(c.X)*q.Output().Len() > 50_000 {
			continue
		}
		tried++
		r := rand.New(rand.NewPCG(9, uint64(i)))
		for j := range c.Offset {
			c.Offset[j] = float32(r.NormFloat64())
		}
		dy := normals(r, q.Output().Len())
		for j, s := range c.Want() { // regions that are no regions
			if math.IsNaN(s.Value) {
				dy[j] = 0
			}
		}
		rois := wide(c.RoIs)
		in, of := [][]float64{wide(c.X)}, []int{0}
		if q.Offset {
			in, of = append(in, wide(c.Offset)), append(of, 1)
		}
		if q.Mask {
			in, of = append(in, wide(c.Mask)), append(of, 2)
		}
		spread := func(in [][]float64) (all [3][]float64) {
			for j, k := range of {
				all[k] = in[j]
			}
			return all
		}
		a := spread(in)
		g := cpuref.RoIPoolBackward(q, a[0], rois, a[1], a[2], dy)
		var got [][]conv.Sum
		for _, k := range of {
			got = append(got, [][]conv.Sum{g.X, g.Offset, g.Mask}[k])
		}
		numerically(t, c.Name, in, dy, func(in [][]float64) []conv.Sum {
			a := spread(in)
			return cpuref.RoIPool(q, a[0], rois, a[1], a[2])
		}, got)
	}
}
