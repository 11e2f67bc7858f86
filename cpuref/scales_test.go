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

// Gradients of resizing and pooling against numeric differentiation.
func TestScaleGradientsNumerically(t *testing.T) {
	for i := range convtest.Cases(150) {
		c := convtest.RandomScale(convtest.Seed()+7, i)
		if len(c.X) > 300 {
			continue
		}
		r := rand.New(rand.NewPCG(9, uint64(i)))
		dy := make([]float64, len(c.Dy))
		for j := range dy {
			dy[j] = r.NormFloat64()
		}
		forward := func(x []float64) []conv.Sum {
			if c.Pool != nil {
				return cpuref.GlobalPool(*c.Pool, x)
			}
			return cpuref.Resize(*c.Resize, x)
		}
		var got []conv.Sum
		if c.Pool != nil {
			got = cpuref.GlobalPoolBackward(*c.Pool, dy)
		} else {
			got = cpuref.ResizeBackward(*c.Resize, dy)
		}
		numeric := fd.Gradient(nil, func(x []float64) (loss float64) {
			for j, s := range forward(x) {
				loss += s.Value * dy[j]
			}
			return loss
		}, wide(c.X), &fd.Settings{Formula: fd.Central, Step: 1e-3})
		for j, s := range got {
			if !(math.Abs(s.Value-numeric[j]) <= 1e-8*(1+s.Abs)) {
				t.Fatalf("%s: dx[%d] is %g, numerically %g", c.Name, j, s.Value, numeric[j])
			}
		}
	}
}

// Positions that can be worked out by hand, and that sizes of millions lose nothing.
func TestResizePositions(t *testing.T) {
	for _, c := range []struct {
		n, m    int
		aligned bool
		want    [][2]float64 // pixel, fraction
	}{
		{2, 4, false, [][2]float64{{0, 0}, {0, 0.25}, {0, 0.75}, {1, 0.25}}},
		{4, 2, false, [][2]float64{{0, 0.5}, {2, 0.5}}},
		{3, 5, true, [][2]float64{{0, 0}, {0, 0.5}, {1, 0}, {1, 0.5}, {2, 0}}},
		{5, 1, true, [][2]float64{{0, 0}}},
		{1, 3, false, [][2]float64{{0, 0}, {0, 0}, {0, 1.0 / 3}}},
	} {
		r, err := conv.NewResize(conv.Shape{1, 1, 1, c.n}, 1, c.m, c.aligned)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range r.Columns() {
			if (got != conv.Between{At: int(c.want[i][0]), Fraction: c.want[i][1]}) {
				t.Errorf("output %d of %d from %d pixels, aligned %v: %+v, want %+v", i, c.m, c.n, c.aligned, got, c.want[i])
			}
		}
	}
	r, err := conv.NewResize(conv.Shape{1, 1, 1, 3_000_000}, 1, 4_000_000, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Columns()[3_999_999]; got != (conv.Between{At: 2_999_999, Fraction: 0.125}) {
		t.Errorf("the last output lies at %+v", got)
	}
	for i, s := range conv.Readers(r.Columns(), 3_000_000) {
		if s.End-s.First > 4 || s.End <= s.First {
			t.Fatalf("pixel %d is read by outputs %+v", i, s)
		}
	}
}
