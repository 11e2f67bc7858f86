package cpuref_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/diff/fd"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
)

// numeric compares gradients with numeric differentiation of loss by each of the
// arrays that it depends on.
func numeric(t *testing.T, name string, loss func() float64, arrays [][]float64, grads [][]conv.Sum) {
	t.Helper()
	for k, v := range arrays {
		if len(grads[k]) != len(v) {
			t.Fatalf("%s: gradient %d has %d elements, want %d", name, k, len(grads[k]), len(v))
		}
		for i := range v {
			was := v[i]
			want := fd.Derivative(func(x float64) float64 {
				v[i] = x
				defer func() { v[i] = was }()
				return loss()
			}, was, &fd.Settings{Formula: fd.Central, Step: 1e-5})
			if got := grads[k][i].Value; !(math.Abs(got-want) <= 1e-6*(1+math.Abs(want)+grads[k][i].Abs)) {
				t.Fatalf("%s: gradient %d[%d] is %.12g, numerically %.12g", name, k, i, got, want)
			}
		}
	}
}

func smooth(r *rand.Rand) conv.Activation {
	return conv.Activation{Kind: []conv.ActivationKind{conv.Identity, conv.SiLU, conv.GELU, conv.Sigmoid}[r.IntN(4)]}
}

func draw64(r *rand.Rand, n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func TestASPPNumerically(t *testing.T) {
	for i := range convtest.Cases(20) {
		r := rand.New(rand.NewPCG(convtest.Seed(), uint64(i)))
		params := conv.ASPPParams{Channels: 1 + r.IntN(2), Out: 1 + r.IntN(2), Rates: [][]int{{1, 2}, {}, {3}}[r.IntN(3)], Activation: smooth(r)}
		p, err := params.Problem(conv.Shape{1 + r.IntN(2), 1 + r.IntN(2), 1 + r.IntN(4), 1 + r.IntN(4)})
		if err != nil {
			t.Fatal(err)
		}
		x, dy := draw64(r, p.Input().Len()), draw64(r, p.Output().Len())
		var filters []cpuref.Filter[float64]
		arrays := [][]float64{x}
		for _, q := range p.Layers() {
			f := cpuref.Filter[float64]{Weight: draw64(r, q.Weight().Len()), Bias: draw64(r, q.K)}
			filters = append(filters, f)
			arrays = append(arrays, f.Weight, f.Bias)
		}
		g := cpuref.ASPPBackward(p, x, filters, dy)
		grads := [][]conv.Sum{g.X}
		for _, f := range g.Filters {
			grads = append(grads, f.Weight, f.Bias)
		}
		loss := func() (l float64) {
			for j, s := range cpuref.ASPP(p, x, filters) {
				l += s.Value * dy[j]
			}
			return l
		}
		numeric(t, fmt.Sprintf("case %d: %+v", i, params), loss, arrays, grads)
	}
}

func TestPyramidNumerically(t *testing.T) {
	for i := range convtest.Cases(20) {
		c := convtest.RandomPyramid(convtest.Seed(), i)
		if c.Problem.Input().Len() > 400 {
			continue
		}
		x := wide(c.X)
		var dlevels [][]float64
		for _, d := range c.DLevels {
			if d == nil {
				dlevels = append(dlevels, nil)
				continue
			}
			dlevels = append(dlevels, wide(d))
		}
		loss := func() (l float64) {
			for k, level := range cpuref.Pyramid(c.Problem, x) {
				for j, s := range level {
					if dlevels[k] != nil {
						l += s.Value * dlevels[k][j]
					}
				}
			}
			return l
		}
		numeric(t, c.Name, loss, [][]float64{x}, [][]conv.Sum{cpuref.PyramidBackward(c.Problem, dlevels)})
	}
}

func TestDeformPackNumerically(t *testing.T) {
	tried := 0
	for i := 0; tried < 1+convtest.Cases(40)/10; i++ {
		c := convtest.RandomPack(convtest.Seed(), i)
		p := c.Problem
		if p.N == 0 || p.Cost().MACs > 2000 || p.Input().Len() > 120 || len(c.Predictor.Weight) > 600 {
			continue
		}
		r := rand.New(rand.NewPCG(convtest.Seed(), uint64(i)))
		p.Activation = smooth(r)
		x, dy := wide(c.X), draw64(r, p.Output().Len())
		filter := cpuref.Filter[float64]{Weight: wide(c.Filter.Weight)}
		if p.Bias {
			filter.Bias = wide(c.Filter.Bias)
		}
		predictor := cpuref.Filter[float64]{Weight: wide(c.Predictor.Weight), Bias: wide(c.Predictor.Bias)}
		for j := range predictor.Weight { // offsets off the whole pixels, whatever the weights do
			predictor.Weight[j] = 1e-3 * r.NormFloat64()
		}
		for j := range predictor.Bias {
			predictor.Bias[j] = math.Floor(2*r.NormFloat64()) + 0.2 + 0.6*r.Float64()
		}
		tried++
		g := cpuref.DeformPackBackward(p, x, filter, predictor, dy)
		loss := func() (l float64) {
			for j, s := range cpuref.DeformPack(p, x, filter, predictor) {
				l += s.Value * dy[j]
			}
			return l
		}
		arrays := [][]float64{x, filter.Weight, predictor.Weight, predictor.Bias}
		grads := [][]conv.Sum{g.X, g.Filter.Weight, g.Predictor.Weight, g.Predictor.Bias}
		if p.Bias {
			arrays, grads = append(arrays, filter.Bias), append(grads, g.Filter.Bias)
		}
		numeric(t, c.Name, loss, arrays, grads)
	}
}
