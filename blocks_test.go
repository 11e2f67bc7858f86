package vkconv_test

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// wished is a gradient to be computed: what it must be and, after made, where it is.
type wished struct {
	name  string
	shape conv.Shape
	sums  []conv.Sum
	t     *vkconv.Tensor
}

// blockCase is a pass over tensors of a type with what it must give.
type blockCase struct {
	name      string
	typ       conv.Type
	roundings int
	wishes    []*wished
	run       func() error
}

// poison makes the tensors that a pass writes, all of them NaN.
func (c *blockCase) poison(t *testing.T, e *vkconv.Engine) {
	for _, w := range c.wishes {
		nan := make([]float64, w.shape.Len())
		for i := range nan {
			nan[i] = math.NaN()
		}
		if w.t == nil {
			w.t = tensorAs(t, e, c.typ, w.shape, nan)
		} else if err := w.t.Upload64(nan); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *blockCase) read(t *testing.T) (all [][]float64) {
	for _, w := range c.wishes {
		v := make([]float64, w.shape.Len())
		if err := w.t.Download64(ctx, v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func bits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

func bits64(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// judged runs a pass twice, holds every result to the oracle and the second run to
// the first, bit by bit.
func (c *blockCase) judged(t *testing.T, e *vkconv.Engine, worst map[string]float64) {
	t.Helper()
	c.poison(t, e)
	if err := c.run(); err != nil {
		t.Fatalf("%v %s: %v", c.typ, c.name, err)
	}
	first := c.read(t)
	for i, w := range c.wishes {
		v := judge(c.typ, first[i], w.sums, c.roundings)
		if worst[w.name] = max(worst[w.name], math.Round(v.Worst*1e4)/1e4); !v.OK() {
			t.Fatalf("%v %s: %s[%d] is %g, want %g within %g", c.typ, c.name, w.name, v.Index, v.Got, v.Want, v.Bound)
		}
	}
	c.poison(t, e)
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
	for i, again := range c.read(t) {
		if !slices.EqualFunc(again, first[i], bits64) {
			t.Errorf("%v %s: %s has other bits the second time", c.typ, c.name, c.wishes[i].name)
		}
	}
}

// packBackward is a random pack's backward pass on an engine.
func packBackward(t *testing.T, e *vkconv.Engine, c convtest.PackCase) *blockCase {
	p := c.Problem
	dy := c.OutputGrad()
	g := cpuref.DeformPackBackward(p, c.X, c.Filter, c.Predictor, dy)
	params, deform := paramsOf(p), deformOf(p)
	weights := vkconv.PackWeights{Weight: c.Filter.Weight, Bias: c.Filter.Bias, Offset: c.Predictor.Weight, OffsetBias: c.Predictor.Bias}
	l, err := e.NewDeformPackBackward(p.Input(), weights, p.Weight(), params, deform)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	t.Cleanup(l.Close)
	n := len(c.Predictor.Bias)
	b := &blockCase{name: c.Name, roundings: conv.SampleRoundings, wishes: []*wished{
		{"dx", p.Input(), g.X, nil}, {"dweight", p.Weight(), g.Filter.Weight, nil}, {"dbias", conv.Shape{1, p.K, 1, 1}, g.Filter.Bias, nil},
		{"doffset_weight", conv.Shape{n, p.C, p.R, p.S}, g.Predictor.Weight, nil}, {"doffset_bias", conv.Shape{1, n, 1, 1}, g.Predictor.Bias, nil}}}
	x, d := tensor(t, e, p.Input(), c.X), tensor(t, e, p.Output(), dy)
	b.run = func() error {
		w := b.wishes
		return l.Run(ctx, vkconv.PackGradients{X: w[0].t, Weight: w[1].t, Bias: w[2].t, Offset: w[3].t, OffsetBias: w[4].t}, x, d)
	}
	return b
}

// asppBackward is a random ASPP's backward pass on an engine.
func asppBackward(t *testing.T, e *vkconv.Engine, c convtest.ASPPCase) *blockCase {
	dy := c.OutputGrad()
	g := cpuref.ASPPBackward(c.Problem, c.X, c.Filters, dy)
	filter := func(i int) vkconv.Filter { return vkconv.Filter{Weight: c.Filters[i].Weight, Bias: c.Filters[i].Bias} }
	n := len(c.Problem.Branches)
	weights := vkconv.ASPPWeights{Point: filter(0), Pool: filter(n), Project: filter(n + 1)}
	for i := 1; i < n; i++ {
		weights.Dilated = append(weights.Dilated, filter(i))
	}
	l, err := e.NewASPPBackward(c.Problem.Input(), c.Params, weights)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	t.Cleanup(l.Close)
	b := &blockCase{name: c.Name, roundings: conv.ProductRoundings, wishes: []*wished{{"dx", c.Problem.Input(), g.X, nil}}}
	for i, q := range c.Problem.Layers() {
		b.wishes = append(b.wishes, &wished{"dweight", q.Weight(), g.Filters[i].Weight, nil}, &wished{"dbias", conv.Shape{1, q.K, 1, 1}, g.Filters[i].Bias, nil})
	}
	x, d := tensor(t, e, c.Problem.Input(), c.X), tensor(t, e, c.Problem.Output(), dy)
	b.run = func() error {
		at := func(i int) vkconv.FilterGradients {
			return vkconv.FilterGradients{Weight: b.wishes[1+2*i].t, Bias: b.wishes[2+2*i].t}
		}
		out := vkconv.ASPPGradients{X: b.wishes[0].t, Point: at(0), Pool: at(n), Project: at(n + 1)}
		for i := 1; i < n; i++ {
			out.Dilated = append(out.Dilated, at(i))
		}
		return l.Run(ctx, out, x, d)
	}
	return b
}

// pyramidBackward is a random pyramid's backward pass on an engine.
func pyramidBackward(t *testing.T, e *vkconv.Engine, c convtest.PyramidCase) *blockCase {
	l, err := e.NewPyramidBackward(c.Problem.Input(), len(c.DLevels))
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	t.Cleanup(l.Close)
	b := &blockCase{name: c.Name, roundings: conv.ProductRoundings,
		wishes: []*wished{{"dx", c.Problem.Input(), cpuref.PyramidBackward(c.Problem, c.DLevels), nil}}}
	levels := make([]*vkconv.Tensor, len(c.DLevels))
	for i, d := range c.DLevels {
		if d != nil {
			levels[i] = tensor(t, e, c.Problem.Levels[i].Output(), d)
		}
	}
	b.run = func() error { return l.Run(ctx, b.wishes[0].t, levels) }
	return b
}

// Gradients through whole blocks, every one within its bound, and the same twice.
func TestBlocksBackward(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		worst := map[string]float64{}
		for i := range 1 + convtest.Cases(20)/8 {
			for _, kind := range []func(t *testing.T) *blockCase{
				func(t *testing.T) *blockCase { return packBackward(t, e, convtest.RandomPack(convtest.Seed(), i)) },
				func(t *testing.T) *blockCase { return asppBackward(t, e, convtest.RandomASPP(convtest.Seed(), i)) },
				func(t *testing.T) *blockCase {
					return pyramidBackward(t, e, convtest.RandomPyramid(convtest.Seed(), i))
				},
			} {
				kind(t).judged(t, e, worst)
			}
		}
		t.Logf("worst shares of the bound: %v", worst)
	})
}

// All of a backward pass waits in one submission, and takes no memory.
func TestBlocksBackwardAreOneSubmission(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, b := range []*blockCase{packBackward(t, e, convtest.RandomPack(1, 0)), asppBackward(t, e, convtest.RandomASPP(1, 1)),
			pyramidBackward(t, e, convtest.RandomPyramid(1, 3))} {
			b.poison(t, e)
			if err := e.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			before := e.Memory()
			if _, err := e.Time(ctx, b.run); err != nil { // refuses more than one submission
				t.Errorf("%s: %v", b.name, err)
			}
			if m := e.Memory(); m.InUse != before.InUse {
				t.Errorf("%s: running takes memory: %+v, before %+v", b.name, m, before)
			}
		}
	})
}

// mmcv's published gradients of the layer with its zero predictor, where it and
// torchvision agree: those by the masks, and by the offsets of no tap that samples at −1.
func TestPackBackwardPublished(t *testing.T) {
	const path = "convtest/testdata/known/mmcv_deform_pack_v2.npz"
	c, err := tensorio.ReadCase(path)
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := tensorio.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	want := arrays["mmcv_doffset_weight"].Data.([]float64)
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		b := packBackward(t, e, convtest.PackCase{Name: filepath.Base(path), Problem: c.Problem, X: c.X,
			Filter:    cpuref.Filter[float32]{Weight: c.Weight},
			Predictor: cpuref.Filter[float32]{Weight: c.OffsetWeight, Bias: c.OffsetBias}})
		l, err := e.NewDeformPackBackward(c.Problem.Input(), vkconv.PackWeights{Weight: c.Weight, Offset: c.OffsetWeight, OffsetBias: c.OffsetBias},
			c.Problem.Weight(), c.Params, c.Deform)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		b.poison(t, e)
		x, dy := tensor(t, e, c.Input(), c.X), tensor(t, e, c.Output(), c.DY)
		if err := l.Run(ctx, vkconv.PackGradients{Offset: b.wishes[3].t}, x, dy); err != nil {
			t.Fatal(err)
		}
		got := b.read(t)[3]
		for i, w := range want {
			// Channels: Δy, Δx of taps 0 to 3, then masks. Tap 3 never samples at −1.
			if i/4 >= 6 && math.Abs(got[i]-w) > 1e-5 {
				t.Errorf("doffset_weight[%d] is %g, mmcv has %g", i, got[i], w)
			}
		}
	})
}

func TestBlocksBackwardMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		small := conv.Shape{1, 1, 3, 3}
		one := func(n int) []float32 { return make([]float32, n) }
		x, dy := tensor(t, e, small, one(9)), tensor(t, e, small, one(9))
		wrong := tensor(t, e, conv.Shape{1, 1, 2, 2}, one(4))
		pack, err := e.NewDeformPackBackward(small, vkconv.PackWeights{Weight: one(9), Offset: one(18 * 9), OffsetBias: one(18)}, conv.Shape{1, 1, 3, 3},
			conv.Params{Padding: conv.Pad(1)}, conv.Deform{})
		if err != nil {
			t.Fatal(err)
		}
		weights := vkconv.ASPPWeights{Point: vkconv.Filter{Weight: one(1)}, Pool: vkconv.Filter{Weight: one(1)}, Project: vkconv.Filter{Weight: one(3)},
			Dilated: []vkconv.Filter{{Weight: one(9)}}}
		aspp, err := e.NewASPPBackward(small, vkconv.ASPPParams{Channels: 1, Out: 1, Rates: []int{2}}, weights)
		if err != nil {
			t.Fatal(err)
		}
		pyramid, err := e.NewPyramidBackward(small, 2)
		if err != nil {
			t.Fatal(err)
		}
		_, noBias := e.NewDeformPackBackward(small, vkconv.PackWeights{Weight: one(9), Offset: one(18 * 9)}, conv.Shape{1, 1, 3, 3}, conv.Params{Padding: conv.Pad(1)}, conv.Deform{})
		_, noRate := e.NewASPPBackward(small, vkconv.ASPPParams{Channels: 1, Out: 1}, weights)
		_, noLevel := e.NewPyramidBackward(small, 0)
		for _, c := range []struct {
			err, kind error
			says      string
		}{
			{pack.Run(ctx, vkconv.PackGradients{X: wrong}, x, dy), conv.ErrShape, "gradient by the input"},
			{pack.Run(ctx, vkconv.PackGradients{Offset: wrong}, x, dy), conv.ErrShape, "predictor: "},
			{pack.Run(ctx, vkconv.PackGradients{}, nil, dy), conv.ErrShape, "input is nil"},
			{pack.Run(ctx, vkconv.PackGradients{Weight: wrong}, x, dy), conv.ErrShape, "gradient by the weight is 1×1×2×2"},
			{noBias, conv.ErrShape, "162 weights and 0 biases"},
			{aspp.Run(ctx, vkconv.ASPPGradients{X: wrong}, x, dy), conv.ErrShape, "gradient by the input"},
			{aspp.Run(ctx, vkconv.ASPPGradients{Dilated: make([]vkconv.FilterGradients, 2)}, x, dy), conv.ErrShape, "2 dilated gradients for 1 rates"},
			{aspp.Run(ctx, vkconv.ASPPGradients{}, x, nil), conv.ErrShape, "dy is nil"},
			{noRate, conv.ErrShape, "1 dilated weights for 0 rates"},
			{pyramid.Run(ctx, x, []*vkconv.Tensor{nil}), conv.ErrShape, "1 tensors for a pyramid of 2 levels"},
			{pyramid.Run(ctx, x, []*vkconv.Tensor{nil, nil}), conv.ErrShape, "no level"},
			{pyramid.Run(ctx, wrong, []*vkconv.Tensor{wrong, nil}), conv.ErrShape, "level 1"},
			{noLevel, conv.ErrParams, "0 levels"},
		} {
			if !errors.Is(c.err, c.kind) || !strings.Contains(fmt.Sprint(c.err), c.says) {
				t.Errorf("%v, want %q", c.err, c.says)
			}
		}
		if err := errors.Join(pack.SetWeights(vkconv.PackWeights{Weight: one(9), Offset: one(18 * 9), OffsetBias: one(18)}), aspp.SetWeights(weights)); err != nil {
			t.Error(err)
		}
		pack.Close()
		aspp.Close()
		pyramid.Close()
		if err := pack.Run(ctx, vkconv.PackGradients{}, x, dy); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("a closed layer runs: %v", err)
		}
	})
}
