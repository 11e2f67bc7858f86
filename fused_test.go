package vkconv_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
)

// typesOf are the types that an engine's tensors may be of.
func typesOf(t *testing.T, e *vkconv.Engine) []conv.Type {
	all := []conv.Type{conv.Float32, conv.Float16, conv.BFloat16}
	if float64s(t, e) {
		all = append(all, conv.Float64)
	}
	return all
}

// tensorAs makes a tensor of a type that holds data.
func tensorAs(t *testing.T, e *vkconv.Engine, typ conv.Type, s conv.Shape, data []float64) *vkconv.Tensor {
	t.Helper()
	x, err := e.NewTensorAs(typ, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Free)
	if err := x.Upload64(data); err != nil {
		t.Fatal(err)
	}
	return x
}

// heldAs are numbers that a type holds, near to data: of float64 with bits that
// float32 has not, but whole numbers and halves, where samples have kinks, stay.
func heldAs(typ conv.Type, data []float32) []float64 {
	if data == nil {
		return nil
	}
	r := rand.New(rand.NewPCG(9, uint64(len(data))))
	v := make([]float64, len(data))
	for i, f := range data {
		v[i] = float64(typ.Round(f))
		if typ == conv.Float64 && 2*v[i] != math.Round(2*v[i]) {
			v[i] *= 1 + (r.Float64()-0.5)*0x1p-23
		}
	}
	return v
}

// judge holds a result stored as a type to sums of package cpuref, which has them
// in float64 itself.
func judge(typ conv.Type, got []float64, sums []conv.Sum, roundings int) conv.VerdictOf[float64] {
	if typ == conv.Float64 {
		return conv.Judge64(got, cpuref.Twice(sums, roundings), roundings)
	}
	sums = slices.Clone(sums)
	for i, s := range sums {
		sums[i] = typ.Stored(s, roundings)
	}
	v := conv.Judge(halved(got), sums, nil, roundings)
	return conv.VerdictOf[float64]{Worst: v.Worst, Index: v.Index, Got: float64(v.Got), Want: v.Want, Bound: v.Bound}
}

// fused is a random convolution of any kind with an activation behind it, and its
// backward pass on an engine.
func fused(t *testing.T, e *vkconv.Engine, typ conv.Type, i int) *blockCase {
	c := convtest.Random(convtest.Seed()+5, i)
	p := c.Problem
	p.Activation = convtest.RandomActivation(rand.New(rand.NewPCG(convtest.Seed(), uint64(i))))
	x, weight, bias, dy := heldAs(typ, c.X), heldAs(typ, c.Weight), heldAs(typ, c.Bias), heldAs(typ, c.OutputGrad())
	offset, mask := heldAs(typ, c.Offset), heldAs(typ, c.Mask)
	var g cpuref.Gradients
	if typ == conv.Float64 {
		g = cpuref.ActivatedBackward(p, x, offset, mask, weight, bias, dy)
	} else {
		g = cpuref.ActivatedBackward(p, halved(x), halved(offset), halved(mask), halved(weight), halved(bias), halved(dy))
	}
	b := &blockCase{name: convtest.Describe(p), typ: typ, roundings: conv.SampleRoundings, wishes: []*wished{{"dx", p.Input(), g.X, nil},
		{"dweight", p.Weight(), g.Weight, nil}, {"dbias", conv.Shape{1, p.K, 1, 1}, g.Bias, nil}}}
	if p.Deformable() {
		b.wishes = append(b.wishes, &wished{"doffset", p.Offset(), g.Offset, nil})
	}
	if p.Mask {
		b.wishes = append(b.wishes, &wished{"dmask", p.MaskShape(), g.Mask, nil})
	}
	out := func() vkconv.Gradients {
		var v [5]*vkconv.Tensor
		for i, w := range b.wishes {
			v[i] = w.t
		}
		return vkconv.Gradients{X: v[0], Weight: v[1], Bias: v[2], Offset: v[3], Mask: v[4]}
	}
	in, d := tensorAs(t, e, typ, p.Input(), x), tensorAs(t, e, typ, p.Output(), dy)
	options := fusedOptions(typ, weight, bias)
	if p.Deformable() {
		l, err := e.NewDeformConv2DBackward(p.Input(), halved(weight), p.Weight(), paramsOf(p), deformOf(p), options...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		at := tensorAs(t, e, typ, p.Offset(), offset)
		var m *vkconv.Tensor
		if p.Mask {
			m = tensorAs(t, e, typ, p.MaskShape(), mask)
		}
		b.run = func() error { return l.Run(ctx, out(), in, at, m, d) }
		return b
	}
	// Made with other weights, which are replaced.
	zeros := make([]float64, len(bias))
	if bias == nil {
		zeros = nil
	}
	l, err := e.NewConv2DBackward(p.Input(), make([]float32, len(weight)), p.Weight(), paramsOf(p), fusedOptions(typ, make([]float64, len(weight)), zeros)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	switch {
	case typ == conv.Float64:
		err = l.SetWeights64(weight, bias)
	case typ == conv.Float32 && i%8 == 0:
		var from *vkconv.Tensor
		if bias != nil {
			from = tensor(t, e, conv.Shape{1, p.K, 1, 1}, c.Bias)
		}
		err = l.SetWeightsFrom(tensor(t, e, p.Weight(), c.Weight), from)
	default:
		err = l.SetWeights(c.Weight, c.Bias) // which the layer rounds
	}
	if err != nil {
		t.Fatal(err)
	}
	b.run = func() error { return l.Run(ctx, out(), in, d) }
	return b
}

// fusedOptions are those of a backward pass through an activation.
func fusedOptions(typ conv.Type, weight, bias []float64) []vkconv.LayerOption {
	if typ == conv.Float64 {
		return []vkconv.LayerOption{vkconv.Stored(typ), vkconv.Weights64(weight, bias)}
	}
	return []vkconv.LayerOption{vkconv.Stored(typ), vkconv.ForwardBias(halved(bias))}
}

// fusedTransposed is the same of a transposed convolution.
func fusedTransposed(t *testing.T, e *vkconv.Engine, typ conv.Type, i int) *blockCase {
	c := convtest.RandomTransposed(convtest.Seed()+5, i)
	q := c.Problem
	q.Activation = convtest.RandomActivation(rand.New(rand.NewPCG(convtest.Seed()+1, uint64(i))))
	x, weight, bias, dy := heldAs(typ, c.X), heldAs(typ, c.Weight), heldAs(typ, c.Bias), heldAs(typ, c.OutputGrad())
	var g cpuref.Gradients
	if typ == conv.Float64 {
		g = cpuref.ActivatedTransposeBackward(q, x, weight, bias, dy)
	} else {
		g = cpuref.ActivatedTransposeBackward(q, halved(x), halved(weight), halved(bias), halved(dy))
	}
	b := &blockCase{name: c.Name, typ: typ, roundings: conv.ProductRoundings, wishes: []*wished{{"dx", q.Input(), g.X, nil},
		{"dweight", q.Weight(), g.Weight, nil}, {"dbias", conv.Shape{1, q.Output()[1], 1, 1}, g.Bias, nil}}}
	params := paramsOf(q.Of)
	params.Activation = q.Activation
	l, err := e.NewConvTranspose2DBackward(q.Input(), halved(weight), q.Weight(), params, c.OutputPadding, fusedOptions(typ, weight, bias)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	in, d := tensorAs(t, e, typ, q.Input(), x), tensorAs(t, e, typ, q.Output(), dy)
	b.run = func() error {
		return l.Run(ctx, vkconv.Gradients{X: b.wishes[0].t, Weight: b.wishes[1].t, Bias: b.wishes[2].t}, in, d)
	}
	return b
}

// Convolutions of every kind with an activation fused behind them, in every type.
func TestBackwardThroughActivation(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		types, worst := typesOf(t, e), map[conv.Type]map[string]float64{}
		for i := range 1 + convtest.Cases(30)/4 {
			typ := types[i%len(types)]
			if worst[typ] == nil {
				worst[typ] = map[string]float64{}
			}
			fused(t, e, typ, i).judged(t, e, worst[typ])
			fusedTransposed(t, e, typ, i).judged(t, e, worst[typ])
		}
		for typ, w := range worst {
			t.Logf("%v: worst shares of the bound: %v", typ, w)
		}
	})
}

func TestBackwardThroughActivationMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		x, one := conv.Shape{1, 1, 2, 2}, conv.Shape{1, 1, 1, 1}
		p := conv.Params{Activation: conv.Activation{Kind: conv.ReLU}}
		_, forward := e.NewConv2D(x, []float32{1}, nil, one, p, vkconv.ForwardBias([]float32{1}))
		_, atomics := e.NewConv2DBackward(x, []float32{1}, one, p, vkconv.Stored(conv.Float16), vkconv.Atomics())
		_, double := e.NewConv2DBackward(x, []float32{1}, one, p, vkconv.Stored(conv.Float16), vkconv.Weights64([]float64{1}, nil))
		l, err := e.NewConv2DBackward(x, []float32{1}, one, p, vkconv.Stored(conv.Float16))
		if err != nil {
			t.Fatal(err)
		}
		half := func(s conv.Shape) *vkconv.Tensor { return tensorAs(t, e, conv.Float16, s, make([]float64, s.Len())) }
		in, dy, dx := half(x), half(x), half(x)
		wide, twice := tensor(t, e, x, make([]float32, 4)), half(conv.Shape{1, 2, 2, 2})
		part, err := twice.Channels(1, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			err, kind error
			says      string
		}{
			{forward, conv.ErrParams, "ForwardBias was given to conv2d"},
			{atomics, conv.ErrUnsupported, "conv2d backward with atomic additions"},
			{double, conv.ErrParams, "float64 weights were given to a layer of float16 tensors"},
			{l.Run(ctx, vkconv.Gradients{X: wide}, in, dy), conv.ErrShape, "gradient by the input holds float32, the layer was made for float16"},
			{l.Run(ctx, vkconv.Gradients{X: dx}, wide, dy), conv.ErrShape, "input holds float32"},
			{l.Run(ctx, vkconv.Gradients{X: dx}, in, nil), conv.ErrShape, "dy is nil"},
			{l.Run(ctx, vkconv.Gradients{X: dx}, in, dx), conv.ErrShape, "gradient by the input and dy are the same tensor"},
			{l.Run(ctx, vkconv.Gradients{X: part}, in, dy), conv.ErrUnsupported, "takes whole tensors"},
			{l.Run(ctx, vkconv.Gradients{Mask: dx}, in, dy), conv.ErrShape, "gradient by the mask was given"},
			{l.SetWeights64([]float64{1}, nil), conv.ErrParams, "a layer of float16 tensors"},
			{l.SetWeightsFrom(tensor(t, e, one, []float32{1}), nil), conv.ErrUnsupported, "a layer of float16 tensors takes no weights from the device"},
		} {
			if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.says) {
				t.Errorf("%v, want %q", c.err, c.says)
			}
		}
		if err := l.Run(ctx, vkconv.Gradients{X: dx}, in, dy); err != nil {
			t.Error(err)
		}
		l.Close()
		if err := l.Run(ctx, vkconv.Gradients{X: dx}, in, dy); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("a closed layer runs: %v", err)
		}
	})
}

// Sums, activations and their gradients in every type, over all that a number may be.
func TestElementwise(t *testing.T) {
	var x []float64
	for v := -45.0; v < 45; v += 0.0371 {
		x = append(x, v)
	}
	x = append(x, 0, math.Copysign(0, -1), 6, -1.75, 2.25, 1e-30, -1e-30, 1.5e-38, -1.5e-38, 700, -700, 745, -745, 999, -999, -1001, 1e4, -1e4, 1e30, -1e30, math.NaN(), math.Inf(1), math.Inf(-1))
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, typ := range typesOf(t, e) {
			x := heldAs(typ, halved(x))
			dy := heldAs(typ, convtest.Normal(rand.New(rand.NewPCG(1, 2)), len(x)))
			s := conv.Shape{1, 1, 1, len(x)}
			in, d, out := tensorAs(t, e, typ, s, x), tensorAs(t, e, typ, s, dy), tensorAs(t, e, typ, s, x)
			worst := 0.0
			holds := func(name string, run error, want []conv.Sum, roundings int) {
				t.Helper()
				got := make([]float64, len(x))
				if err := errors.Join(run, out.Download64(ctx, got)); err != nil {
					t.Fatalf("%v %s: %v", typ, name, err)
				}
				for i := range want {
					want[i] = typ.Stored(want[i], roundings)
				}
				v := conv.Judge64(got, want, roundings)
				if typ != conv.Float64 {
					w := conv.Judge(halved(got), want, nil, roundings)
					v = conv.VerdictOf[float64]{Worst: w.Worst, Index: w.Index, Got: float64(w.Got), Want: w.Want, Bound: w.Bound}
				}
				if worst = max(worst, v.Worst); !v.OK() {
					t.Errorf("%v %s of %g and %g is %g, want %g within %g", typ, name, x[v.Index], dy[v.Index], v.Got, v.Want, v.Bound)
				}
			}
			l, err := e.NewAdd(s, vkconv.Stored(typ))
			if err != nil {
				t.Fatal(err)
			}
			holds("sum", l.Run(ctx, out, in, d), cpuref.Add(x, dy), 0)
			l.Close()
			for kind := conv.Identity; kind <= conv.Clamp; kind++ {
				a := conv.Activation{Kind: kind}
				switch kind {
				case conv.LeakyReLU:
					a.Slope = 0.1
				case conv.Clamp:
					a.Min, a.Max = -1.75, 2.25
				}
				f, err1 := e.NewActivation(s, a, vkconv.Stored(typ))
				b, err2 := e.NewActivationBackward(s, a, vkconv.Stored(typ))
				if err := errors.Join(err1, err2); err != nil {
					t.Fatal(err)
				}
				y, dx := make([]conv.Sum, len(x)), make([]conv.Sum, len(x))
				for i, v := range x {
					if typ == conv.Float64 {
						y[i], dx[i] = a.Apply64(conv.Sum{Value: v}), a.ApplyBackward64(v, dy[i])
					} else {
						y[i], dx[i] = a.Apply(conv.Sum{Value: v}), a.ApplyBackward(v, dy[i])
					}
				}
				holds(kind.String(), f.Run(ctx, out, in), y, conv.ProductRoundings)
				holds("slope of "+kind.String(), b.Run(ctx, out, in, d), dx, conv.ProductRoundings)
				f.Close()
				b.Close()
			}
			t.Logf("%v: worst share of the bound %.3f", typ, worst)
		}
	})
}
