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

// numbers are float64 numbers as T.
func numbers[T cpuref.Float](v []float64) []T {
	if v == nil {
		return nil
	}
	w := make([]T, len(v))
	for i := range v {
		w[i] = T(v[i])
	}
	return w
}

// filterOf is a filter as a type holds it, which for float64 tensors is float32.
func filterOf[T cpuref.Float](typ conv.Type, f cpuref.Filter[float32]) cpuref.Filter[T] {
	return cpuref.Filter[T]{Weight: numbers[T](float64sOf(rounded(typ, f.Weight))), Bias: numbers[T](float64sOf(rounded(typ, f.Bias)))}
}

func float64sOf(v []float32) []float64 { return cpuref.Exactly(v).Value }

// gradientAs is a gradient by an output as a type holds it, small enough for
// float16 to hold what comes of it.
func gradientAs(typ conv.Type, dy []float32) []float64 {
	v := heldAs(typ, dy)
	for i := range v {
		if typ == conv.Float16 {
			v[i] = float64(typ.Round(float32(v[i] / 16)))
		}
	}
	return v
}

// packCase is a random pack on an engine, forward and backward; nil where offsets
// come too near to whole pixels.
func packCase(t *testing.T, e *vkconv.Engine, typ conv.Type, c convtest.PackCase) *blockCase {
	p := c.Problem
	x, dy := heldAs(typ, c.X), gradientAs(typ, c.OutputGrad())
	var y []conv.Sum
	var g cpuref.PackGradients
	if typ == conv.Float64 {
		filter, predictor := filterOf[float64](typ, c.Filter), filterOf[float64](typ, c.Predictor)
		y, g = cpuref.DeformPack(p, x, filter, predictor), cpuref.DeformPackBackward(p, x, filter, predictor, dy)
	} else {
		filter, predictor := filterOf[float32](typ, c.Filter), filterOf[float32](typ, c.Predictor)
		if !cpuref.PredictedClear(p, halved(x), predictor) {
			return nil
		}
		y, g = cpuref.DeformPack(p, halved(x), filter, predictor), cpuref.DeformPackBackward(p, halved(x), filter, predictor, halved(dy))
	}
	params, deform := paramsOf(p), deformOf(p)
	weights := vkconv.PackWeights{Weight: c.Filter.Weight, Bias: c.Filter.Bias, Offset: c.Predictor.Weight, OffsetBias: c.Predictor.Bias}
	f, err1 := e.NewDeformPack(p.Input(), weights, p.Weight(), params, deform, vkconv.Stored(typ))
	l, err2 := e.NewDeformPackBackward(p.Input(), weights, p.Weight(), params, deform, vkconv.Stored(typ))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("%v %s: %v", typ, c.Name, err)
	}
	t.Cleanup(f.Close)
	t.Cleanup(l.Close)
	if err := errors.Join(f.SetWeights(weights), l.SetWeights(weights)); err != nil {
		t.Fatal(err)
	}
	n := len(c.Predictor.Bias)
	b := &blockCase{name: c.Name, typ: typ, roundings: conv.SampleRoundings, wishes: []*wished{{"y", p.Output(), y, nil},
		{"dx", p.Input(), g.X, nil}, {"dweight", p.Weight(), g.Filter.Weight, nil}, {"dbias", conv.Shape{1, p.K, 1, 1}, g.Filter.Bias, nil},
		{"doffset_weight", conv.Shape{n, p.C, p.R, p.S}, g.Predictor.Weight, nil}, {"doffset_bias", conv.Shape{1, n, 1, 1}, g.Predictor.Bias, nil}}}
	in, d := tensorAs(t, e, typ, p.Input(), x), tensorAs(t, e, typ, p.Output(), dy)
	b.run = func() error {
		w := b.wishes
		return errors.Join(f.Run(ctx, w[0].t, in),
			l.Run(ctx, vkconv.PackGradients{X: w[1].t, Weight: w[2].t, Bias: w[3].t, Offset: w[4].t, OffsetBias: w[5].t}, in, d))
	}
	return b
}

// asppBlock is a random ASPP on an engine, forward and backward.
func asppBlock(t *testing.T, e *vkconv.Engine, typ conv.Type, c convtest.ASPPCase) *blockCase {
	x, dy := heldAs(typ, c.X), gradientAs(typ, c.OutputGrad())
	var y []conv.Sum
	var g cpuref.ASPPGradients
	if typ == conv.Float64 {
		var filters []cpuref.Filter[float64]
		for _, f := range c.Filters {
			filters = append(filters, filterOf[float64](typ, f))
		}
		y, g = cpuref.ASPP(c.Problem, x, filters), cpuref.ASPPBackward(c.Problem, x, filters, dy)
	} else {
		var filters []cpuref.Filter[float32]
		for _, f := range c.Filters {
			filters = append(filters, filterOf[float32](typ, f))
		}
		y, g = cpuref.ASPP(c.Problem, halved(x), filters), cpuref.ASPPBackward(c.Problem, halved(x), filters, halved(dy))
	}
	filter := func(i int) vkconv.Filter { return vkconv.Filter{Weight: c.Filters[i].Weight, Bias: c.Filters[i].Bias} }
	n := len(c.Problem.Branches)
	weights := vkconv.ASPPWeights{Point: filter(0), Pool: filter(n), Project: filter(n + 1)}
	for i := 1; i < n; i++ {
		weights.Dilated = append(weights.Dilated, filter(i))
	}
	f, err1 := e.NewASPP(c.Problem.Input(), c.Params, weights, vkconv.Stored(typ))
	l, err2 := e.NewASPPBackward(c.Problem.Input(), c.Params, weights, vkconv.Stored(typ))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("%v %s: %v", typ, c.Name, err)
	}
	t.Cleanup(f.Close)
	t.Cleanup(l.Close)
	if err := errors.Join(f.SetWeights(weights), l.SetWeights(weights)); err != nil {
		t.Fatal(err)
	}
	b := &blockCase{name: c.Name, typ: typ, roundings: conv.ProductRoundings,
		wishes: []*wished{{"y", c.Problem.Output(), y, nil}, {"dx", c.Problem.Input(), g.X, nil}}}
	for i, q := range c.Problem.Layers() {
		b.wishes = append(b.wishes, &wished{"dweight", q.Weight(), g.Filters[i].Weight, nil}, &wished{"dbias", conv.Shape{1, q.K, 1, 1}, g.Filters[i].Bias, nil})
	}
	in, d := tensorAs(t, e, typ, c.Problem.Input(), x), tensorAs(t, e, typ, c.Problem.Output(), dy)
	b.run = func() error {
		at := func(i int) vkconv.FilterGradients {
			return vkconv.FilterGradients{Weight: b.wishes[2+2*i].t, Bias: b.wishes[3+2*i].t}
		}
		out := vkconv.ASPPGradients{X: b.wishes[1].t, Point: at(0), Pool: at(n), Project: at(n + 1)}
		for i := 1; i < n; i++ {
			out.Dilated = append(out.Dilated, at(i))
		}
		return errors.Join(f.Run(ctx, b.wishes[0].t, in), l.Run(ctx, out, in, d))
	}
	return b
}

// pyramidBlock is a random pyramid on an engine, forward and backward.
func pyramidBlock(t *testing.T, e *vkconv.Engine, typ conv.Type, c convtest.PyramidCase) *blockCase {
	f, err1 := e.NewPyramid(c.Problem.Input(), len(c.DLevels), vkconv.Stored(typ))
	l, err2 := e.NewPyramidBackward(c.Problem.Input(), len(c.DLevels), vkconv.Stored(typ))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("%v %s: %v", typ, c.Name, err)
	}
	t.Cleanup(f.Close)
	t.Cleanup(l.Close)
	x := heldAs(typ, c.X)
	dlevels, halves := make([][]float64, len(c.DLevels)), make([][]float32, len(c.DLevels))
	given := make([]*vkconv.Tensor, len(c.DLevels))
	for i, d := range c.DLevels {
		if d != nil {
			dlevels[i] = heldAs(typ, d)
			halves[i] = halved(dlevels[i])
			given[i] = tensorAs(t, e, typ, c.Problem.Levels[i].Output(), dlevels[i])
		}
	}
	var y [][]conv.Sum
	var dx []conv.Sum
	if typ == conv.Float64 {
		y, dx = cpuref.Pyramid(c.Problem, x), cpuref.PyramidBackward(c.Problem, dlevels)
	} else {
		y, dx = cpuref.Pyramid(c.Problem, halved(x)), cpuref.PyramidBackward(c.Problem, halves)
	}
	b := &blockCase{name: c.Name, typ: typ, roundings: conv.ProductRoundings, wishes: []*wished{{"dx", c.Problem.Input(), dx, nil}}}
	for i, sums := range y {
		b.wishes = append(b.wishes, &wished{"level", c.Problem.Levels[i].Output(), sums, nil})
	}
	in := tensorAs(t, e, typ, c.Problem.Input(), x)
	b.run = func() error {
		var levels []*vkconv.Tensor
		for _, w := range b.wishes[1:] {
			levels = append(levels, w.t)
		}
		return errors.Join(f.Run(ctx, levels, in), l.Run(ctx, b.wishes[0].t, given))
	}
	return b
}

// blocksOf are one of each kind.
func blocksOf(t *testing.T, e *vkconv.Engine, typ conv.Type, seed uint64, i int) (all []*blockCase) {
	if b := packCase(t, e, typ, convtest.RandomPack(seed, i)); b != nil {
		all = append(all, b)
	}
	return append(all, asppBlock(t, e, typ, convtest.RandomASPP(seed, i)), pyramidBlock(t, e, typ, convtest.RandomPyramid(seed, i)))
}

// Whole blocks forward and backward in every type, every result within its bound,
// and the same twice.
func TestBlocks(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		types, worst := typesOf(t, e), map[conv.Type]map[string]float64{}
		for i := range 1 + convtest.Cases(20)/8 {
			for _, typ := range []conv.Type{types[0], types[1+i%(len(types)-1)]} { // the others in turn
				if worst[typ] == nil {
					worst[typ] = map[string]float64{}
				}
				for _, b := range blocksOf(t, e, typ, convtest.Seed(), i) {
					b.judged(t, e, worst[typ])
				}
			}
		}
		for typ, w := range worst {
			t.Logf("%v: worst shares of the bound: %v", typ, w)
		}
	})
}

// All of a block waits in one submission, and takes no memory.
func TestBlocksAreOneSubmission(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, typ := range typesOf(t, e) {
			for _, b := range blocksOf(t, e, typ, 1, 1) {
				b.poison(t, e)
				if typ == conv.Float16 || typ == conv.BFloat16 { // the first run makes the workspace
					if err := b.run(); err != nil {
						t.Fatal(err)
					}
				}
				if err := e.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				before := e.Memory()
				if _, err := e.Time(ctx, b.run); err != nil { // refuses more than one submission
					t.Errorf("%v %s: %v", typ, b.name, err)
				}
				if m := e.Memory(); m.InUse != before.InUse {
					t.Errorf("%v %s: running takes memory: %+v, before %+v", typ, b.name, m, before)
				}
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
		b := packCase(t, e, conv.Float32, convtest.PackCase{Name: filepath.Base(path), Problem: c.Problem, X: c.X,
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
		if err := l.Run(ctx, vkconv.PackGradients{Offset: b.wishes[4].t}, x, dy); err != nil {
			t.Fatal(err)
		}
		got := b.read(t)[4]
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
		half, err := e.NewASPPBackward(small, vkconv.ASPPParams{Channels: 1, Out: 1, Rates: []int{2}}, weights, vkconv.Stored(conv.Float16))
		if err != nil {
			t.Fatal(err)
		}
		defer half.Close()
		narrow := func() *vkconv.Tensor { return tensorAs(t, e, conv.Float16, small, make([]float64, 9)) }
		_, atomics := e.NewASPP(small, vkconv.ASPPParams{Channels: 1, Out: 1, Rates: []int{2}}, weights, vkconv.Atomics())
		_, winograd := e.NewPyramid(small, 1, vkconv.AllowWinograd())
		_, double := e.NewPyramidBackward(small, 1, vkconv.Weights64(nil, nil))
		_, noType := e.NewPyramid(small, 1, vkconv.Stored(9))
		for _, c := range []struct {
			err, kind error
			says      string
		}{
			{atomics, conv.ErrUnsupported, "ASPP takes no option but Stored"},
			{winograd, conv.ErrUnsupported, "a pyramid takes no option but Stored"},
			{double, conv.ErrUnsupported, "pyramid backward takes no option but Stored"},
			{noType, conv.ErrParams, "element type is 9"},
			{half.Run(ctx, vkconv.ASPPGradients{X: narrow()}, x, narrow()), conv.ErrShape, "input holds float32, the layer was made for float16"},
			{half.Run(ctx, vkconv.ASPPGradients{X: x}, narrow(), narrow()), conv.ErrShape, "gradient by the input holds float32"},
			{half.Run(ctx, vkconv.ASPPGradients{Point: vkconv.FilterGradients{Weight: narrow()}}, narrow(), narrow()), conv.ErrShape, "gradient by the weight is 1×1×3×3"},
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
