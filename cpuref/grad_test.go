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

// Gradients against numeric differentiation of the forward formula in float64.
// Offsets keep away from whole pixels, where the formula has kinks.
func TestGradientsNumerically(t *testing.T) {
	tried := 0
	for i := 0; tried < convtest.Cases(120); i++ {
		c := convtest.Random(convtest.Seed()+100, i)
		p := c.Problem
		if p.Cost().MACs > 3000 || p.N == 0 || p.Input().Len()+p.Offset().Len() > 500 {
			continue
		}
		tried++
		if p.Deformable() && tried%2 == 0 {
			p.Border = conv.BorderCut
		}
		r := rand.New(rand.NewPCG(9, uint64(i)))
		for j := range c.Offset {
			c.Offset[j] = float32(math.Floor(float64(r.NormFloat64()*2))) + 0.1 + 0.8*r.Float32()
		}
		dy := make([]float64, p.Output().Len())
		for j := range dy {
			dy[j] = r.NormFloat64()
		}
		in := [][]float64{wide(c.X), wide(c.Weight), wide(c.Bias), wide(c.Offset), wide(c.Mask)}
		loss := func() (l float64) {
			var y []conv.Sum
			if p.Deformable() {
				y = cpuref.DeformConv2D(p, in[0], in[3], in[4], in[1], in[2])
			} else {
				y = cpuref.Conv2D(p, in[0], in[1], in[2])
			}
			for j, s := range y {
				l += s.Value * dy[j]
			}
			return l
		}
		var g cpuref.Gradients
		if p.Deformable() {
			g = cpuref.DeformConv2DBackward(p, in[0], in[3], in[4], in[1], dy)
		} else {
			g = cpuref.Conv2DBackward(p, in[0], in[1], dy)
		}
		for j, got := range [][]conv.Sum{g.X, g.Weight, g.Bias, g.Offset, g.Mask} {
			name := []string{"dx", "dweight", "dbias", "doffset", "dmask"}[j]
			if len(got) != len(in[j]) {
				t.Fatalf("%s: %s has %d elements, want %d", c.Name, name, len(got), len(in[j]))
			}
			saved := in[j]
			// Each gradient is linear in the loss's own scale: a step of 1e-4 leaves 1e-8.
			numeric := fd.Gradient(nil, func(v []float64) float64 {
				in[j] = v
				return loss()
			}, saved, &fd.Settings{Formula: fd.Central, Step: 1e-4})
			in[j] = saved
			for e, s := range got {
				if diff := math.Abs(s.Value - numeric[e]); !(diff <= 1e-6*(1+s.Abs)) {
					t.Fatalf("%s: %s[%d] is %g, numerically %g", c.Name, name, e, s.Value, numeric[e])
				}
			}
		}
	}
}

func wide(v []float32) []float64 {
	if v == nil {
		return nil
	}
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// BorderCut against the conditions of the original code, written out: nothing
// outside [0, H) × [0, W), and beyond the last row or column its value.
func TestBorderCut(t *testing.T) {
	image := []float64{1, 2, 4, 8, 16, 32} // 2×3
	for _, c := range []struct{ y, x, want float64 }{
		{0, 0, 1}, {-0.25, 0, 0}, {0, -0.25, 0}, {0.5, 0, 4.5}, {1, 2, 32}, {1.75, 2, 32}, {1.75, 0.5, 12}, {0.5, 2.5, 18}, {2, 0, 0}, {0, 3, 0},
	} {
		at := cpuref.Place{Y: int(math.Floor(c.y)), X: int(math.Floor(c.x)), Fy: c.y - math.Floor(c.y), Fx: c.x - math.Floor(c.x)}
		if got := cpuref.Bilinear(image, 2, 3, at, conv.BorderCut).Value; math.Abs(got-c.want) > 1e-12 {
			t.Errorf("sample at (%g, %g) is %g, want %g", c.y, c.x, got, c.want)
		}
	}
}
