//go:build cgo

package kernels

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/tensorio"
)

// outside is what another program computed, nil where it did not.
type outside struct{ y, dx, dw, db []float64 }

// judgeTransposed checks a transposed convolution and its gradients.
func judgeTransposed(t *testing.T, d *gpu.Device, name string, q conv.Transposed, x, w, bias, dy []float32, out outside, worst map[string]float64) {
	t.Helper()
	y := convtest.Grads{X: make([]float32, q.Output().Len())}
	plan, err := NewConvTranspose2D(d, q, w, bias)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer plan.Close()
	err = runGradients(d, [4][]float32{x}, y, func(s *gpu.Stream, g Grads, in [4]Tensor) error { return plan.Record(s, g.X, in[0]) })
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	back, err := NewConvTranspose2DBackward(d, q, w)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer back.Close()
	g := convtest.Grads{X: make([]float32, len(x)), Weight: make([]float32, len(w)), Bias: make([]float32, q.Of.C)}
	err = runGradients(d, [4][]float32{x, nil, nil, dy}, g, func(s *gpu.Stream, g Grads, in [4]Tensor) error {
		return back.RecordBackward(s, g, in[0], Tensor{}, Tensor{}, in[3])
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	biased := q
	biased.Bias = true
	want := cpuref.ConvTranspose2DBackward(biased, x, w, dy)
	judge(t, name, worst, conv.ProductRoundings, []judged{{"y", y.X, cpuref.ConvTranspose2D(q, x, w, bias), out.y}, {"dx", g.X, want.X, out.dx},
		{"dweight", g.Weight, want.Weight, out.dw}, {"dbias", g.Bias, want.Bias, out.db}})
}

func TestConvTranspose(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r, worst, ran := rand.New(rand.NewPCG(convtest.Seed(), 9)), map[string]float64{}, 0
		for ran < convtest.Cases(40) {
			groups := 1 + r.IntN(4)*r.IntN(2)
			x := conv.Shape{r.IntN(3), groups * (1 + r.IntN(12)), 1 + r.IntN(9), 1 + r.IntN(12)}
			w := conv.Shape{x[1], 1 + r.IntN(12), 1 + r.IntN(4), 1 + r.IntN(4)}
			params := conv.Params{Stride: [2]int{1 + r.IntN(3), 1 + r.IntN(4)}, Dilation: [2]int{1 + r.IntN(3), 1 + r.IntN(3)}, Groups: groups,
				Padding: conv.Padding{Top: r.IntN(3), Left: r.IntN(3), Bottom: r.IntN(3), Right: r.IntN(3)}}
			if r.IntN(3) == 0 { // seldom: each is a pipeline of its own
				params.Activation = convtest.RandomActivation(r)
			}
			q, err := params.TransposedProblem(x, w, [2]int{r.IntN(3), r.IntN(3)}, r.IntN(2) == 0)
			if err != nil {
				continue
			}
			ran++
			var bias []float32
			if q.Bias {
				bias = convtest.Normal(r, q.Of.C)
			}
			judgeTransposed(t, d, fmt.Sprintf("%+v", q), q, convtest.Normal(r, x.Len()), convtest.Normal(r, w.Len()), bias, convtest.Normal(r, q.Output().Len()), outside{}, worst)
			if t.Failed() {
				return
			}
		}
		t.Logf("%d random cases, worst share of the bound %v", ran, worst)
	})
}

// TestConvTransposeOutside compares with PyTorch's transposed convolutions.
func TestConvTransposeOutside(t *testing.T) {
	paths, err := filepath.Glob("../convtest/testdata/transposed/*.npz")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		worst := map[string]float64{}
		for _, path := range paths {
			a, err := tensorio.OpenNPZ(path)
			if err != nil {
				t.Fatal(err)
			}
			transposedCase(t, d, filepath.Base(path), a, worst)
			a.Close()
		}
		t.Logf("%d outside cases, worst share of the bound %v", len(paths), worst)
	})
}

func transposedCase(t *testing.T, d *gpu.Device, name string, a *tensorio.Archive, worst map[string]float64) {
	t.Helper()
	array := func(of string) tensorio.Array {
		if !a.Has(of) {
			return tensorio.Array{}
		}
		v, err := a.Array(of)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	floats := func(of string) []float32 {
		if !a.Has(of) {
			return nil
		}
		v, err := array(of).Float32()
		if err != nil {
			t.Fatalf("%s: %s: %v", name, of, err)
		}
		return v
	}
	doubles := func(of string) []float64 {
		if !a.Has(of) {
			return nil
		}
		v, err := array(of).Float64()
		if err != nil {
			t.Fatalf("%s: %s: %v", name, of, err)
		}
		return v
	}
	ints := func(of string, otherwise ...int) []int {
		if !a.Has(of) {
			return otherwise
		}
		v, err := array(of).Ints()
		if err != nil {
			t.Fatalf("%s: %s: %v", name, of, err)
		}
		return v
	}
	shape := func(of string) conv.Shape {
		v := array(of).Shape
		return conv.Shape{v[0], v[1], v[2], v[3]}
	}
	pad, extra := ints("padding", 0, 0, 0, 0), ints("output_padding", 0, 0)
	params := conv.Params{Stride: [2]int(ints("stride", 1, 1)), Dilation: [2]int(ints("dilation", 1, 1)), Groups: ints("groups", 1)[0],
		Padding: conv.Padding{Top: pad[0], Left: pad[1], Bottom: pad[2], Right: pad[3]}}
	q, err := params.TransposedProblem(shape("x"), shape("weight"), [2]int(extra), a.Has("bias"))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	judgeTransposed(t, d, name, q, floats("x"), floats("weight"), floats("bias"), floats("dy"),
		outside{doubles("y"), doubles("dx"), doubles("dweight"), doubles("dbias")}, worst)
}
