package vkconv_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// tensors64 makes float64 tensors on an engine, and frees them all.
type tensors64 struct {
	e   *vkconv.Engine
	err error
	all []*vkconv.Tensor
}

func (s *tensors64) of(shape conv.Shape, data []float64) *vkconv.Tensor {
	if s.err != nil || data == nil {
		return nil
	}
	t, err := s.e.TensorOf64(shape, data)
	if err != nil {
		s.err = err
		return nil
	}
	s.all = append(s.all, t)
	return t
}

func (s *tensors64) close() {
	for _, t := range s.all {
		t.Free()
	}
}

// double computes a float64 case by layers of its own.
func double(e *vkconv.Engine, c convtest.Case64, y []float64, g convtest.Grads64) error {
	s := &tensors64{e: e}
	defer s.close()
	options := []vkconv.LayerOption{vkconv.Stored(conv.Float64)}
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
		options = append(options, vkconv.Weights64(c.Weight, c.Bias))
		params := paramsOf(p)
		back := params
		back.Activation = conv.Activation{}
		if p.Deformable() {
			offset, mask := s.of(p.Offset(), c.Offset), s.of(maskShape(p), c.Mask)
			to.Mask = s.of(maskShape(p), g.Mask)
			if s.err != nil {
				return s.err
			}
			l, err := e.NewDeformConv2D(p.Input(), nil, nil, p.Weight(), params, deformOf(p), options...)
			if made(err, func() { l.Close() }) != nil {
				return err
			}
			b, err := e.NewDeformConv2DBackward(p.Input(), nil, p.Weight(), back, deformOf(p), options...)
			if made(err, func() { b.Close() }) != nil {
				return err
			}
			if err := errors.Join(l.Run(ctx, ty, x, offset, mask), b.Run(ctx, to, x, offset, mask, dy)); err != nil {
				return err
			}
			break
		}
		l, err := e.NewConv2D(p.Input(), nil, nil, p.Weight(), params, options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		b, err := e.NewConv2DBackward(p.Input(), nil, p.Weight(), back, options...)
		if made(err, func() { b.Close() }) != nil {
			return err
		}
		if err := errors.Join(l.Run(ctx, ty, x), b.Run(ctx, to, x, dy)); err != nil {
			return err
		}
	case conv.Transposed:
		to.Weight, to.Bias = s.of(p.Weight(), g.Weight), s.of(conv.Shape{1, p.Of.C, 1, 1}, g.Bias)
		options = append(options, vkconv.Weights64(c.Weight, c.Bias))
		params := paramsOf(p.Of)
		params.Activation = p.Activation
		l, err := e.NewConvTranspose2D(p.Input(), nil, nil, p.Weight(), params, c.OutputPadding, options...)
		if made(err, func() { l.Close() }) != nil {
			return err
		}
		params.Activation = conv.Activation{}
		b, err := e.NewConvTranspose2DBackward(p.Input(), nil, p.Weight(), params, c.OutputPadding, options...)
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
		convtest.Double(t, convtest.Cases(12), func(c convtest.Case64, y []float64, g convtest.Grads64) error { return double(e, c, y, g) })
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
				if err := double(e, c, y, g); err != nil {
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
