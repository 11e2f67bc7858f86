package cpuref_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/diff/fd"

	"vkconv/conv"
	"vkconv/cpuref"
)

func values(sums []conv.Sum) []float64 {
	v := make([]float64, len(sums))
	for i, s := range sums {
		v[i] = s.Value
	}
	return v
}

func normals(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func dot(a, b []float64) (s float64) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func TestConvTranspose2D(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		p      conv.Params
		x, w   conv.Shape
		extra  [2]int
		output conv.Shape
	}{
		{conv.Params{}, conv.Shape{1, 1, 3, 3}, conv.Shape{1, 2, 3, 3}, [2]int{}, conv.Shape{1, 2, 5, 5}}, // ONNX's convtranspose
		{conv.Params{Stride: [2]int{3, 2}, Groups: 2}, conv.Shape{2, 4, 3, 2}, conv.Shape{4, 3, 3, 3}, [2]int{1, 1}, conv.Shape{2, 6, 10, 6}},
		{conv.Params{Dilation: [2]int{2, 3}, Padding: conv.Padding{Top: 1, Left: 2, Bottom: 0, Right: 1}}, conv.Shape{1, 2, 4, 5}, conv.Shape{2, 1, 2, 3}, [2]int{1, 2}, conv.Shape{1, 1, 6, 10}},
	} {
		q, err := c.p.TransposedProblem(c.x, c.w, c.extra, true)
		if err != nil {
			t.Fatal(err)
		}
		if q.Output() != c.output || q.Input() != c.x {
			t.Fatalf("%+v: output %v, want %v", c, q.Output(), c.output)
		}
		x, w, b, z := normals(r, c.x.Len()), normals(r, c.w.Len()), normals(r, c.output[1]), normals(r, c.output.Len())
		// ⟨convT(x), z⟩ = ⟨x, conv(z)⟩ defines the transposed map.
		unbiased := q
		unbiased.Bias = false
		y := values(cpuref.ConvTranspose2D(unbiased, x, w, nil))
		if a, b := dot(y, z), dot(x, values(cpuref.Conv2D(q.Of, z, w, nil))); math.Abs(a-b) > 1e-9*(1+math.Abs(a)) {
			t.Errorf("%+v: ⟨convT(x), z⟩ = %g, ⟨x, conv(z)⟩ = %g", c, a, b)
		}
		g := cpuref.ConvTranspose2DBackward(q, x, w, z)
		in := [][]float64{x, w, b}
		for j, got := range [][]conv.Sum{g.X, g.Weight, g.Bias} {
			at := in[j]
			numeric := fd.Gradient(nil, func(v []float64) float64 {
				in[j] = v
				return dot(values(cpuref.ConvTranspose2D(q, in[0], in[1], in[2])), z)
			}, at, &fd.Settings{Formula: fd.Central, Step: 1e-4})
			in[j] = at
			for e, s := range got {
				if !(math.Abs(s.Value-numeric[e]) <= 1e-6*(1+s.Abs)) {
					t.Fatalf("%+v: gradient %d element %d is %g, numerically %g", c, j, e, s.Value, numeric[e])
				}
			}
		}
	}
}
