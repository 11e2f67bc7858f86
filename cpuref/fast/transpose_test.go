package fast_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/cpuref/fast"
	"vkconv/tensorio"
)

// transposedProblem draws a transposed convolution and what goes with it.
func transposedProblem(r *rand.Rand) (conv.Transposed, [][]float32) {
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	for {
		groups := pick(1, 1, 2, 3, 7)
		cg, kg := pick(1, 2, 5, 17), pick(1, 1, 3, 8, 19)
		params := conv.Params{Groups: groups, Stride: [2]int{pick(1, 1, 2, 3, 5), pick(1, 2, 4)}, Dilation: [2]int{pick(1, 1, 2, 3), pick(1, 2, 4)},
			Padding: conv.Padding{Top: pick(0, 0, 1, 3), Left: pick(0, 1, 2), Bottom: pick(0, 1, 4), Right: pick(0, 0, 2)}}
		if r.IntN(3) == 0 {
			params.Activation = convtest.RandomActivation(r)
		}
		x := conv.Shape{pick(0, 1, 1, 2), groups * cg, pick(1, 2, 7, 16), pick(1, 3, 9, 17)}
		w := conv.Shape{groups * cg, kg, pick(1, 2, 3, 4), pick(1, 2, 3, 5)}
		t, err := params.TransposedProblem(x, w, [2]int{pick(0, 0, 1, 2), pick(0, 1, 3)}, r.IntN(2) == 0)
		if err != nil {
			continue
		}
		in := [][]float32{nil, nil, nil, nil} // x, weight, bias, dy
		for i, n := range []int{t.Input().Len(), t.Weight().Len(), t.Of.C, t.Output().Len()} {
			in[i] = make([]float32, n)
			for e := range in[i] {
				in[i][e] = float32(r.NormFloat64())
			}
		}
		return t, in
	}
}

func TestTransposed(t *testing.T) {
	eachSet(t, 3, func(t *testing.T, pool *fast.Pool) {
		worst := map[string]float64{}
		for i := range convtest.Cases(120) {
			r := rand.New(rand.NewPCG(21, uint64(i)))
			q, in := transposedProblem(r)
			checkTransposed(t, pool, fmt.Sprintf("case %d", i), q, in, nil, worst)
			if t.Failed() {
				return
			}
		}
		t.Log("worst share of the bound", worst)
	})
}

// checkTransposed compares with want (y, dx, dweight, dbias), or where that is
// nil with the oracle.
func checkTransposed(t *testing.T, pool *fast.Pool, name string, q conv.Transposed, in [][]float32, want [][]float64, worst map[string]float64) {
	t.Helper()
	ctx := context.Background()
	var guarded []*convtest.Guarded
	for i, n := range []string{"x", "weight", "bias", "dy"} {
		guarded = append(guarded, convtest.Guard(n, in[i]))
	}
	y, dx := convtest.Poisoned("y", q.Output().Len()), convtest.Poisoned("dx", q.Input().Len())
	dw, db := convtest.Poisoned("dweight", q.Weight().Len()), convtest.Poisoned("dbias", q.Of.C)
	plan, err := fast.NewConvTranspose2D(pool, q, guarded[1].Data, guarded[2].Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Run(ctx, y.Data, guarded[0].Data); err != nil {
		t.Fatal(err)
	}
	sums := [][]conv.Sum{cpuref.ConvTranspose2D(q, in[0], in[1], in[2])}
	out := []*convtest.Guarded{y}
	back, err := fast.NewConvTranspose2DBackward(pool, q, guarded[1].Data)
	if q.Activation.Kind != conv.Identity {
		if !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("%s: a gradient through %v: %v", name, q.Activation.Kind, err)
		}
	} else {
		if err != nil {
			t.Fatal(err)
		}
		g := fast.Grads{X: dx.Data, Weight: dw.Data}
		out = append(out, dx, dw)
		if q.Bias {
			g.Bias = db.Data
			out = append(out, db)
		}
		if err := back.Run(ctx, g, guarded[0].Data, guarded[3].Data); err != nil {
			t.Fatal(err)
		}
		wantGrads := cpuref.ConvTranspose2DBackward(q, in[0], in[1], in[3])
		sums = append(sums, wantGrads.X, wantGrads.Weight, wantGrads.Bias)
	}
	for _, b := range append(guarded, out...) {
		if err := b.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, o := range out {
		var exact []float64
		if want != nil {
			exact = want[i]
		}
		v := conv.Judge(o.Data, sums[i], exact, conv.ProductRoundings)
		worst[o.Name] = max(worst[o.Name], v.Worst)
		if !v.OK() {
			t.Errorf("%s: %+v: %s[%d] is %g, want %g within %g", name, q, o.Name, v.Index, v.Got, v.Want, v.Bound)
		}
	}
}

// Results of PyTorch's ConvTranspose2d.
func TestOutsideTransposed(t *testing.T) {
	eachSet(t, 2, func(t *testing.T, pool *fast.Pool) {
		paths, err := filepath.Glob("../../convtest/testdata/transposed/*.npz")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no cases (%v)", err)
		}
		worst := map[string]float64{}
		for _, path := range paths {
			a, err := tensorio.OpenNPZ(path)
			if err != nil {
				t.Fatal(err)
			}
			ints := func(name string) []int {
				v, err := a.Array(name)
				if err != nil {
					t.Fatal(err)
				}
				n, err := v.Ints()
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			floats := func(name string) (conv.Shape, []float64) {
				if !a.Has(name) {
					return conv.Shape{}, nil
				}
				v, err := a.Array(name)
				if err != nil {
					t.Fatal(err)
				}
				f, err := v.Float64()
				if err != nil {
					t.Fatal(err)
				}
				var shape conv.Shape
				copy(shape[:], v.Shape)
				return shape, f
			}
			s, d, pad, op := ints("stride"), ints("dilation"), ints("padding"), ints("output_padding")
			params := conv.Params{Stride: [2]int(s), Dilation: [2]int(d), Groups: ints("groups")[0],
				Padding: conv.Padding{Top: pad[0], Left: pad[1], Bottom: pad[2], Right: pad[3]}}
			in := make([][]float32, 4)
			var shapes [2]conv.Shape
			for i, name := range []string{"x", "weight", "bias", "dy"} {
				shape, v := floats(name)
				if i < 2 {
					shapes[i] = shape
				}
				in[i] = make([]float32, len(v))
				for e := range v {
					in[i][e] = float32(v[e])
				}
			}
			want := make([][]float64, 4)
			for i, name := range []string{"y", "dx", "dweight", "dbias"} {
				_, want[i] = floats(name)
			}
			q, err := params.TransposedProblem(shapes[0], shapes[1], [2]int(op), a.Has("bias"))
			a.Close()
			if err != nil {
				t.Fatal(err)
			}
			checkTransposed(t, pool, filepath.Base(path), q, in, want, worst)
		}
		t.Logf("%d cases: %v", len(paths), worst)
	})
}
