package vkconv_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref/exact"
)

// tensors64 makes tensors of a type on an engine, and frees them all.
type tensors64 struct {
	e   *vkconv.Engine
	typ conv.Type
	err error
	all []*vkconv.Tensor
}

func (s *tensors64) of(shape conv.Shape, data []float64) *vkconv.Tensor {
	if s.err != nil || data == nil {
		return nil
	}
	t, err := s.e.NewTensorAs(s.typ, shape)
	if err != nil {
		s.err = err
		return nil
	}
	s.all = append(s.all, t)
	s.err = t.Upload64(data)
	return t
}

func (s *tensors64) close() {
	for _, t := range s.all {
		t.Free()
	}
}

// stored computes a case by layers of its own whose tensors are of a type.
func stored(e *vkconv.Engine, typ conv.Type, c convtest.Case64, y []float64, g convtest.Grads64) error {
	s := &tensors64{e: e, typ: typ}
	defer s.close()
	options := []vkconv.LayerOption{vkconv.Stored(typ)}
	var weight, bias []float32
	if typ == conv.Float64 {
		options = append(options, vkconv.Weights64(c.Weight, c.Bias))
		switch c.Problem.(type) {
		case conv.Problem, conv.Transposed:
		default:
			options = options[:1]
		}
	} else {
		weight, bias = halved(c.Weight), halved(c.Bias)
	}
	shaped := c.Problem.(interface{ Input() conv.Shape })
	out := c.Problem.(interface{ Output() conv.Shape }).Output()
	x, ty, dy := s.of(shaped.Input(), c.X), s.of(out, y), s.of(out, c.Dy)
	to := vkconv.Gradients{X: s.of(shaped.Input(), g.X)}
	if s.err != nil {
		return s.err
	}
	var closers []func()
	defer func() {
		for _, f := range closers {
			f()
		}
	}()
	made := func(err error, f func()) error {
		if err == nil {
			closers = append(closers, f)
		}
		return err
	}
	var err error
	switch p := c.Problem.(type) {
	case conv.Problem:
		to.Weight, to.Offset = s.of(p.Weight(), g.Weight), s.of(p.Offset(), g.Offset)
		to.Bias = s.of(conv.Shape{1, p.K, 1, 1}, g.Bias)
		params := paramsOf(p)
		back := params
		back.Activation = conv.Activation{}
		if p.Deformable() {
			offset, mask := s.of(p.Offset(), c.Offset), s.of(maskShape(p), c.Mask)
			to.Mask = s.of(maskShape(p), g.Mask)
			if s.err != nil {
				return s.err
			}
			l, err := e.NewDeformConv2D(p.Input(), weight, bias, p.Weight(), params, deformOf(p), options...)
			if made(err, func() { l.Close() }) != nil {
				return err
			}
			b, err := e.NewDeformConv2DBackward(p.Input(), weight, p.Weight(), back, deformOf(p), options...)
			if made(err, func() { b.Close() }) != nil {
				return err
			}
			if err := errors.Join(l.Run(ctx, ty, x, offset, mask), b.Run(ctx, to, x, offset, mask, dy)); err != nil {
				return err
			}
			break
		}
		l, err := e.NewConv2D(p.Input(), weight, bias, p.Weight(), params, options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		b, err := e.NewConv2DBackward(p.Input(), weight, p.Weight(), back, options...)
		if made(err, func() { b.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x), b.Run(ctx, to, x, dy)); err != nil {
			return err
		}
	case conv.Transposed:
		to.Weight, to.Bias = s.of(p.Weight(), g.Weight), s.of(conv.Shape{1, p.Of.C, 1, 1}, g.Bias)
		params := paramsOf(p.Of)
		params.Activation = p.Activation
		l, err := e.NewConvTranspose2D(p.Input(), weight, bias, p.Weight(), params, c.OutputPadding, options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		params.Activation = conv.Activation{}
		b, err := e.NewConvTranspose2DBackward(p.Input(), weight, p.Weight(), params, c.OutputPadding, options...)
		if made(err, func() { b.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x), b.Run(ctx, to, x, dy)); err != nil {
			return err
		}
	case conv.DCN:
		offset, mask := s.of(p.Offset(), c.Offset), s.of(p.MaskShape(), c.Mask)
		to.Offset, to.Mask = s.of(p.Offset(), g.Offset), s.of(p.MaskShape(), g.Mask)
		if p.Packed {
			l, err := e.NewDCNv4(p.Input(), dcnParams(p), options...)
			if made(err, func() { l.Close() }) != nil {
				return err
			}
			err = errors.Join(l.Run(ctx, ty, x, offset), l.RunBackward(ctx, to, x, offset, dy))
			if err != nil {
				return err
			}
			break
		}
		l, err := e.NewDCNv3(p.Input(), dcnParams(p), options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x, offset, mask), l.RunBackward(ctx, to, x, offset, mask, dy)); err != nil {
			return err
		}
	case conv.RoIPool:
		rois, offset, mask := s.of(p.RoIShape(), c.RoIs), s.of(p.OffsetShape(), c.Offset), s.of(p.MaskShape(), c.Mask)
		to.Offset, to.Mask = s.of(p.OffsetShape(), g.Offset), s.of(p.MaskShape(), g.Mask)
		l, err := newRoI(e, p, options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x, rois, offset, mask), l.RunBackward(ctx, to, x, rois, offset, mask, dy)); err != nil {
			return err
		}
	case conv.Resize:
		l, err := e.NewResize(p.Input(), p.Ho, p.Wo, p.AlignCorners, options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		b, err := e.NewResizeBackward(p.Input(), p.Ho, p.Wo, p.AlignCorners, options...)
		if made(err, func() { b.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x), b.Run(ctx, to.X, dy)); err != nil {
			return err
		}
	case conv.GlobalPool:
		l, err := e.NewGlobalPool(p.Input(), options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		b, err := e.NewGlobalPoolBackward(p.Input(), options...)
		if made(err, func() { b.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x), b.Run(ctx, to.X, dy)); err != nil {
			return err
		}
	}
	if s.err != nil {
		return s.err
	}
	for _, d := range []struct {
		t  *vkconv.Tensor
		to []float64
	}{{ty, y}, {to.X, g.X}, {to.Weight, g.Weight}, {to.Bias, g.Bias}, {to.Offset, g.Offset}, {to.Mask, g.Mask}} {
		if d.t != nil {
			err = errors.Join(err, d.t.Download64(ctx, d.to))
		}
	}
	return err
}

// halved are float64 numbers as float32.
func halved(v []float64) []float32 {
	if v == nil {
		return nil
	}
	w := make([]float32, len(v))
	for i := range v {
		w[i] = float32(v[i])
	}
	return w
}

// newRoI plans a RoI pooling by its parameters.
func newRoI(e *vkconv.Engine, q conv.RoIPool, options ...vkconv.LayerOption) (*vkconv.RoIPool, error) {
	if q.PositionSensitive {
		return e.NewDeformPSRoIPool(q.Input(), q.RoIs, conv.PSRoIPoolParams{OutputChannels: q.K, GroupSize: q.Group, PooledSize: q.Ho, PartSize: q.PartY,
			SamplePerPart: q.Samples, SpatialScale: q.SpatialScale, TransStd: q.Gamma, Classes: q.Classes, Offset: q.Offset, Mask: q.Mask}, options...)
	}
	return e.NewDeformRoIPool(q.Input(), q.RoIs, conv.RoIPoolParams{Bins: [2]int{q.Ho, q.Wo}, SamplingRatio: q.Samples,
		SpatialScale: q.SpatialScale, Gamma: q.Gamma, Offset: q.Offset, Mask: q.Mask}, options...)
}

func maskShape(p conv.Problem) conv.Shape {
	if !p.Mask {
		return conv.Shape{}
	}
	return p.MaskShape()
}

// float64s tells whether an engine's device computes in float64.
func float64s(t *testing.T, e *vkconv.Engine) bool {
	x, err := e.NewTensorAs(conv.Float64, conv.Shape{1, 1, 1, 1})
	if err == nil {
		x.Free()
		return true
	}
	if !errors.Is(err, conv.ErrUnsupported) {
		t.Fatal(err)
	}
	t.Logf("no float64: %v", err)
	return false
}

// Every operator in float64, forward and backward, within the bound that no
// float32 computation meets.
func TestDouble(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !float64s(t, e) {
			_, err := e.NewConv2D(conv.Shape{1, 1, 1, 1}, []float32{1}, nil, conv.Shape{1, 1, 1, 1}, conv.Params{}, vkconv.Stored(conv.Float64))
			if !errors.Is(err, conv.ErrUnsupported) {
				t.Errorf("a float64 layer on a device without: %v", err)
			}
			return
		}
		convtest.Double(t, convtest.Cases(12), func(c convtest.Case64, y []float64, g convtest.Grads64) error {
			return stored(e, conv.Float64, c, y, g)
		})
	})
}

// The same call gives the same bits, in float64 too.
func TestDoubleTwice(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !float64s(t, e) {
			return
		}
		for i := range convtest.Cases(18) {
			c := convtest.Random64(convtest.Seed()+9, i)
			want, by := c.Want()
			var first []float64
			for range 3 {
				y := make([]float64, len(want))
				var g convtest.Grads64
				for j, to := range []*[]float64{&g.X, &g.Weight, &g.Bias, &g.Offset, &g.Mask} {
					if sums := [][]conv.Sum{by.X, by.Weight, by.Bias, by.Offset, by.Mask}[j]; sums != nil {
						*to = make([]float64, len(sums))
					}
				}
				if err := stored(e, conv.Float64, c, y, g); err != nil {
					t.Fatal(err)
				}
				all := slices.Concat(y, g.X, g.Weight, g.Bias, g.Offset, g.Mask)
				if first == nil {
					first = all
				}
				if !slices.EqualFunc(all, first, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
					t.Fatalf("%s: results differ from run to run", c.Name)
				}
			}
		}
	})
}

// What goes in and out of tensors, and weights in float64.
func TestTensor64(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		third := 1.0 / 3
		// 1 + 2⁻⁸ + 2⁻³⁰ lies above the tie between two bfloat16 values; as a float32 it is that tie, which goes down.
		for _, c := range []struct {
			typ  conv.Type
			v    float64
			want float64
		}{{conv.Float32, third, float64(float32(third))}, {conv.BFloat16, 1 + 0x1p-8 + 0x1p-30, 1 + 0x1p-7}, {conv.BFloat16, 1 + 0x1p-8 - 0x1p-30, 1},
			{conv.BFloat16, -1 - 0x1p-8 - 0x1p-30, -1 - 0x1p-7}, {conv.Float16, 1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-10}, {conv.Float16, 0x1p-25 + 0x1p-60, 0x1p-24},
			{conv.Float16, 0x1p-25, 0}, {conv.Float16, 1e300, math.Inf(1)}} {
			x, err := e.NewTensorAs(c.typ, conv.Shape{1, 1, 1, 1})
			if err != nil {
				t.Fatal(err)
			}
			got := []float64{0}
			if err := errors.Join(x.Upload64([]float64{c.v}), x.Download64(ctx, got)); err != nil {
				t.Fatal(err)
			}
			x.Free()
			if got[0] != c.want {
				t.Errorf("%v holds %g as %g, want %g", c.typ, c.v, got[0], c.want)
			}
		}
		one := conv.Shape{1, 1, 1, 1}
		if _, err := e.NewConv2D(one, []float32{1}, nil, one, conv.Params{}, vkconv.Weights64([]float64{1}, nil)); !errors.Is(err, conv.ErrParams) {
			t.Errorf("float64 weights of a float32 layer: %v", err)
		}
		if _, err := e.NewResize(one, 2, 2, false, vkconv.Stored(conv.Float64), vkconv.Weights64([]float64{1}, nil)); !errors.Is(err, conv.ErrParams) {
			t.Errorf("weights of a resize: %v", err)
		}
		if !float64s(t, e) {
			return
		}
		x, err := e.TensorOf64(conv.Shape{1, 1, 1, 2}, []float64{third, -third})
		if err != nil {
			t.Fatal(err)
		}
		defer x.Free()
		half := make([]float32, 2)
		if err := x.Download(ctx, half); err != nil || half[0] != float32(third) || half[1] != -float32(third) {
			t.Errorf("%g, %v", half, err)
		}
		l, err := e.NewConv2D(x.Shape(), []float32{2}, []float32{0.5}, one, conv.Params{}, vkconv.Stored(conv.Float64))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		y, err := e.NewTensorAs(conv.Float64, x.Shape())
		if err != nil {
			t.Fatal(err)
		}
		defer y.Free()
		got := make([]float64, 2)
		for _, step := range []struct {
			set  func() error
			w, b float64
		}{{func() error { return nil }, 2, 0.5}, {func() error { return l.SetWeights64([]float64{third}, []float64{1e-9}) }, third, 1e-9},
			{func() error { return l.SetWeights([]float32{3}, []float32{-1}) }, 3, -1}} {
			if err := errors.Join(step.set(), l.Run(ctx, y, x), y.Download64(ctx, got)); err != nil {
				t.Fatal(err)
			}
			if want := third*step.w + step.b; math.Abs(got[0]-want) > 0x1p-53*2*math.Abs(want)+1e-17 {
				t.Errorf("%g·x%+g is %g, want %g", step.w, step.b, got[0], want)
			}
		}
		if err := l.SetWeights64([]float64{1, 2}, []float64{1}); !errors.Is(err, conv.ErrShape) {
			t.Errorf("two weights for one: %v", err)
		}
	})
}

// Every operator on 16-bit tensors, within the bound of float32 sums rounded once.
func TestStoredAll(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		worst := map[string]float64{}
		for i := range convtest.Cases(18) {
			typ := []conv.Type{conv.Float16, conv.BFloat16}[i%2]
			c := convtest.Random64(convtest.Seed()+31, i)
			for _, v := range [][]float64{c.X, c.Weight, c.Bias, c.RoIs, c.Offset, c.Mask, c.Dy} {
				for j := range v {
					v[j] = float64(typ.Round(float32(v[j])))
				}
			}
			want, by := convtest.Plain[float32](c)
			all := [][]conv.Sum{want, by.X, by.Weight, by.Bias, by.Offset, by.Mask}
			var got [6][]float64
			for j := range all {
				if all[j] != nil {
					got[j] = make([]float64, len(all[j]))
				}
			}
			if err := stored(e, typ, c, got[0], convtest.Grads64{X: got[1], Weight: got[2], Bias: got[3], Offset: got[4], Mask: got[5]}); err != nil {
				t.Fatalf("%v %s: %v", typ, c.Name, err)
			}
			for j, sums := range all {
				for k := range sums {
					sums[k] = typ.Stored(sums[k], c.Roundings)
				}
				v := conv.Judge(halved(got[j]), sums, nil, c.Roundings)
				worst[typ.String()] = max(worst[typ.String()], v.Worst)
				if !v.OK() {
					t.Fatalf("%v %s: result %d element %d is %g, want %g within %g", typ, c.Name, j, v.Index, v.Got, v.Want, v.Bound)
				}
			}
		}
		t.Logf("worst share of the bound %v", worst)
	})
}

// Activations in float64 over all that a sum may be.
func TestDoubleActivations(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !float64s(t, e) {
			return
		}
		var x []float64
		for v := -45.0; v < 45; v += 0.0371 {
			x = append(x, v)
		}
		x = append(x, 0, math.Copysign(0, -1), 1e-300, -1e-300, 700, -700, 745, -745, 999, -999, -1001, 1e5, -1e5, 1e300, -1e300, math.NaN(), math.Inf(1), math.Inf(-1))
		shape, one := conv.Shape{1, 1, 1, len(x)}, conv.Shape{1, 1, 1, 1}
		in, err := e.TensorOf64(shape, x)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Free()
		out, err := e.NewTensorAs(conv.Float64, shape)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Free()
		for kind := conv.Identity; kind <= conv.Clamp; kind++ {
			a := conv.Activation{Kind: kind}
			switch kind {
			case conv.LeakyReLU:
				a.Slope = 0.1
			case conv.Clamp:
				a.Min, a.Max = -1.7, 2.3
			}
			l, err := e.NewConv2D(shape, []float32{1}, nil, one, conv.Params{Activation: a}, vkconv.Stored(conv.Float64))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float64, len(x))
			if err := errors.Join(l.Run(ctx, out, in), out.Download64(ctx, got)); err != nil {
				t.Fatal(err)
			}
			l.Close()
			want, _ := exact.Conv2D(l.Problem(), x, []float64{1}, nil, nil, nil, nil)
			v := conv.Judge64(got, want, conv.ProductRoundings)
			if !v.OK() {
				t.Errorf("%v of %g is %g, want %g within %g", kind, x[v.Index], v.Got, v.Want, v.Bound)
			}
			t.Logf("%v: worst share of the bound %.3f", kind, v.Worst)
		}
	})
}

// Channels of wider float64 tensors, in and out.
func TestDoubleViews(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !float64s(t, e) {
			return
		}
		r := rand.New(rand.NewPCG(convtest.Seed(), 5))
		numbers := func(n int) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = r.NormFloat64()
			}
			return v
		}
		double := vkconv.Stored(conv.Float64)
		whole := conv.Shape{2, 7, 5, 6}
		data := numbers(whole.Len())
		x := part(data, whole, 2, 5)
		in, s := conv.Shape{2, 3, 5, 6}, conv.Shape{4, 3, 3, 3}
		w, offset := numbers(s.Len()), numbers(2*18*5*6)
		same := conv.Params{Padding: conv.Pad(1)}
		conv2d, err1 := e.NewConv2D(in, nil, nil, s, same, double, vkconv.Weights64(w, nil))
		deform, err2 := e.NewDeformConv2D(in, nil, nil, s, same, conv.Deform{}, double, vkconv.Weights64(w, nil))
		resize, err3 := e.NewResize(in, 7, 9, false, double)
		pool, err4 := e.NewGlobalPool(in, double)
		from, err5 := e.TensorOf64(whole, data)
		off, err6 := e.TensorOf64(conv.Shape{2, 18, 5, 6}, offset)
		if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
			t.Fatal(err)
		}
		defer from.Free()
		defer off.Free()
		view, err := from.Channels(2, 5)
		if err != nil {
			t.Fatal(err)
		}
		wantConv, _ := exact.Conv2D(conv2d.Problem(), x, w, nil, nil, nil, nil)
		wantDeform, _ := exact.Conv2D(deform.Problem(), x, w, nil, offset, nil, nil)
		wantResize, _ := exact.Resize(resize.Problem(), x, make([]float64, resize.Problem().Output().Len()))
		wantPool, _ := exact.GlobalPool(pool.Problem(), x, make([]float64, pool.Problem().Output().Len()))
		for i, c := range []struct {
			out       conv.Shape
			want      []conv.Sum
			roundings int
			run       func(y *vkconv.Tensor) error
		}{
			{conv2d.Problem().Output(), wantConv, conv.ProductRoundings, func(y *vkconv.Tensor) error { return conv2d.Run(ctx, y, view) }},
			{deform.Problem().Output(), wantDeform, conv.SampleRoundings, func(y *vkconv.Tensor) error { return deform.Run(ctx, y, view, off, nil) }},
			{resize.Problem().Output(), wantResize, conv.ResizeRoundings, func(y *vkconv.Tensor) error { return resize.Run(ctx, y, view) }},
			{pool.Problem().Output(), wantPool, conv.PoolRoundings, func(y *vkconv.Tensor) error { return pool.Run(ctx, y, view) }},
		} {
			wide := c.out
			wide[1] += 3
			before := numbers(wide.Len())
			to, err := e.TensorOf64(wide, before)
			if err != nil {
				t.Fatal(err)
			}
			y, err := to.Channels(1, 1+c.out[1])
			if err != nil {
				t.Fatal(err)
			}
			after := make([]float64, wide.Len())
			if err := errors.Join(c.run(y), to.Download64(ctx, after)); err != nil {
				t.Fatalf("layer %d: %v", i, err)
			}
			to.Free()
			if v := conv.Judge64(part(after, wide, 1, 1+c.out[1]), c.want, c.roundings); !v.OK() {
				t.Errorf("layer %d: element %d is %g, want %g within %g", i, v.Index, v.Got, v.Want, v.Bound)
			}
			for _, k := range [][2]int{{0, 1}, {1 + c.out[1], wide[1]}} {
				if !slices.Equal(part(after, wide, k[0], k[1]), part(before, wide, k[0], k[1])) {
					t.Errorf("layer %d wrote beside its channels", i)
				}
			}
		}
	})
}

// part is channels [from, to) of data.
func part(data []float64, s conv.Shape, from, to int) (out []float64) {
	plane := s[2] * s[3]
	for n := range s[0] {
		out = append(out, data[(n*s[1]+from)*plane:(n*s[1]+to)*plane]...)
	}
	return out
}
