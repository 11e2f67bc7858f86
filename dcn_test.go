package vkconv_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// tensors makes tensors on an engine, and frees them all.
type tensors struct {
	e    *vkconv.Engine
	err  error
	free []func()
}

func (s *tensors) of(shape conv.Shape, data []float32) *vkconv.Tensor {
	if s.err != nil || data == nil {
		return nil
	}
	t, err := s.e.TensorOf(shape, data)
	if err != nil {
		s.err = err
		return nil
	}
	s.free = append(s.free, t.Free)
	return t
}

func (s *tensors) close() {
	for _, f := range s.free {
		f()
	}
}

// download fetches those tensors that there are.
func (s *tensors) download(of []*vkconv.Tensor, to ...[]float32) error {
	for i, t := range of {
		if t != nil {
			if err := t.Download(ctx, to[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// dcnParams returns the parameters that make d.
func dcnParams(d conv.DCN) conv.DCNParams {
	return conv.DCNParams{Kernel: [2]int{d.R, d.S}, Stride: [2]int{d.StrideY, d.StrideX}, Dilation: [2]int{d.DilationY, d.DilationX},
		Padding: d.Pad, Groups: d.Groups, OffsetScale: d.Scale, RemoveCenter: d.RemoveCenter, Softmax: d.Softmax}
}

// dcn runs a case forward into y, or with dy backward into g.
func dcn(e *vkconv.Engine, c convtest.DCNCase, y []float32, g convtest.Grads, dy []float32) error {
	d := c.D
	s := tensors{e: e}
	defer s.close()
	if d.Packed {
		g.Mask = nil
	}
	x, offset, mask := s.of(d.Input(), c.X), s.of(d.Offset(), c.Offset), s.of(d.MaskShape(), c.Mask)
	ty, tdy := s.of(d.Output(), y), s.of(d.Output(), dy)
	dx, doffset, dmask := s.of(d.Input(), g.X), s.of(d.Offset(), g.Offset), s.of(d.MaskShape(), g.Mask)
	if s.err != nil {
		return s.err
	}
	p := dcnParams(d)
	var err error
	if d.Packed {
		l, e := e.NewDCNv4(d.Input(), p)
		if e != nil {
			return e
		}
		defer l.Close()
		if dy == nil {
			err = l.Run(ctx, ty, x, offset)
		} else {
			err = l.RunBackward(ctx, vkconv.Gradients{X: dx, Offset: doffset}, x, offset, tdy)
		}
	} else {
		l, e := e.NewDCNv3(d.Input(), p)
		if e != nil {
			return e
		}
		defer l.Close()
		if dy == nil {
			err = l.Run(ctx, ty, x, offset, mask)
		} else {
			err = l.RunBackward(ctx, vkconv.Gradients{X: dx, Offset: doffset, Mask: dmask}, x, offset, mask, tdy)
		}
	}
	if err != nil {
		return err
	}
	return s.download([]*vkconv.Tensor{ty, dx, doffset, dmask}, y, g.X, g.Offset, g.Mask)
}

// roiPool runs a case forward into y, or with dy backward into g.
func roiPool(e *vkconv.Engine, c convtest.RoICase, y []float32, g convtest.Grads, dy []float32) error {
	q := c.Q
	s := tensors{e: e}
	defer s.close()
	if !q.Offset {
		c.Offset, g.Offset = nil, nil
	}
	if !q.Mask {
		c.Mask, g.Mask = nil, nil
	}
	x, rois, offset, mask := s.of(q.Input(), c.X), s.of(q.RoIShape(), c.RoIs), s.of(q.OffsetShape(), c.Offset), s.of(q.MaskShape(), c.Mask)
	ty, tdy := s.of(q.Output(), y), s.of(q.Output(), dy)
	dx, doffset, dmask := s.of(q.Input(), g.X), s.of(q.OffsetShape(), g.Offset), s.of(q.MaskShape(), g.Mask)
	if s.err != nil {
		return s.err
	}
	var l *vkconv.RoIPool
	var err error
	if q.PositionSensitive {
		l, err = e.NewDeformPSRoIPool(q.Input(), q.RoIs, conv.PSRoIPoolParams{OutputChannels: q.K, GroupSize: q.Group, PooledSize: q.Ho,
			PartSize: q.PartY, SamplePerPart: q.Samples, SpatialScale: q.SpatialScale, TransStd: q.Gamma, Classes: q.Classes, Offset: q.Offset, Mask: q.Mask})
	} else {
		l, err = e.NewDeformRoIPool(q.Input(), q.RoIs, conv.RoIPoolParams{Bins: [2]int{q.Ho, q.Wo}, SpatialScale: q.SpatialScale,
			SamplingRatio: q.Samples, Gamma: q.Gamma, Offset: q.Offset, Mask: q.Mask})
	}
	if err != nil {
		return err
	}
	defer l.Close()
	if dy == nil {
		err = l.Run(ctx, ty, x, rois, offset, mask)
	} else {
		err = l.RunBackward(ctx, vkconv.Gradients{X: dx, Offset: doffset, Mask: dmask}, x, rois, offset, mask, tdy)
	}
	if err != nil {
		return err
	}
	return s.download([]*vkconv.Tensor{ty, dx, doffset, dmask}, y, g.X, g.Offset, g.Mask)
}

func TestDCN(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		before := e.Memory().InUse
		for _, random := range []func(uint64, int) convtest.DCNCase{convtest.RandomDCNv3, convtest.RandomDCNv4} {
			convtest.DCNForward(t, convtest.Cases(100), random, func(c convtest.DCNCase, y []float32) error {
				return dcn(e, c, y, convtest.Grads{}, nil)
			})
			convtest.DCNBackward(t, convtest.Cases(100), random, func(c convtest.DCNCase, g convtest.Grads, dy []float32) error {
				return dcn(e, c, nil, g, dy)
			})
		}
		if m := e.Memory(); m.InUse != before {
			t.Errorf("everything was freed, yet memory is %+v, before %d bytes", m, before)
		}
	})
}

func TestRoIPool(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, random := range []func(uint64, int) convtest.RoICase{convtest.RandomRoIPool, convtest.RandomPSRoIPool} {
			convtest.RoIForward(t, convtest.Cases(100), random, func(c convtest.RoICase, y []float32) error {
				return roiPool(e, c, y, convtest.Grads{}, nil)
			})
			convtest.RoIBackward(t, convtest.Cases(100), random, func(c convtest.RoICase, g convtest.Grads, dy []float32) error {
				return roiPool(e, c, nil, g, dy)
			})
		}
	})
}

// The same gradients to the bit, again and again, with other work in flight.
func TestDCNTwiceTheSame(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		defer otherWork(t, e)()
		for _, random := range []func(uint64, int) convtest.DCNCase{convtest.RandomDCNv3, convtest.RandomDCNv4} {
			for i := range 1 + convtest.Cases(20)/20 {
				dcnTwice(t, e, random(3, i))
			}
		}
		for _, random := range []func(uint64, int) convtest.RoICase{convtest.RandomRoIPool, convtest.RandomPSRoIPool} {
			for i := range 1 + convtest.Cases(20)/20 {
				roiTwice(t, e, random(3, i))
			}
		}
	})
}

// dcnTwice holds every gradient of a case.
func dcnTwice(t *testing.T, e *vkconv.Engine, c convtest.DCNCase) {
	d := c.D
	s := &tensors{e: e}
	defer s.close()
	x, offset, mask, dy := s.of(d.Input(), c.X), s.of(d.Offset(), c.Offset), s.of(d.MaskShape(), c.Mask), s.of(d.Output(), c.OutputGrad())
	to := vkconv.Gradients{X: s.blank(d.Input()), Offset: s.blank(d.Offset())}
	if d.Packed {
		l, err := e.NewDCNv4(d.Input(), dcnParams(d))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s.twice(t, c.Name, to, func() error { return l.RunBackward(ctx, to, x, offset, dy) })
		return
	}
	to.Mask = s.blank(d.MaskShape())
	l, err := e.NewDCNv3(d.Input(), dcnParams(d))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.twice(t, c.Name, to, func() error { return l.RunBackward(ctx, to, x, offset, mask, dy) })
}

// roiTwice holds every gradient of a case.
func roiTwice(t *testing.T, e *vkconv.Engine, c convtest.RoICase) {
	q := c.Q
	s := &tensors{e: e}
	defer s.close()
	x, rois, dy := s.of(q.Input(), c.X), s.of(q.RoIShape(), c.RoIs), s.of(q.Output(), c.OutputGrad())
	to := vkconv.Gradients{X: s.blank(q.Input())}
	var offset, mask *vkconv.Tensor
	if q.Offset {
		offset, to.Offset = s.of(q.OffsetShape(), c.Offset), s.blank(q.OffsetShape())
	}
	if q.Mask {
		mask, to.Mask = s.of(q.MaskShape(), c.Mask), s.blank(q.MaskShape())
	}
	l, err := newRoI(e, q)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.twice(t, c.Name, to, func() error { return l.RunBackward(ctx, to, x, rois, offset, mask, dy) })
}

// blank makes a tensor that a run fills.
func (s *tensors) blank(shape conv.Shape) *vkconv.Tensor {
	return s.of(shape, make([]float32, shape.Len()))
}

// twice runs often and compares the bits of what it fills.
func (s *tensors) twice(t *testing.T, name string, to vkconv.Gradients, run func() error) {
	t.Helper()
	if s.err != nil {
		t.Fatal(s.err)
	}
	var first [3][]float32
	for round := range 20 {
		if err := run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for j, g := range []*vkconv.Tensor{to.X, to.Offset, to.Mask} {
			if g == nil {
				continue
			}
			got := make([]float32, g.Shape().Len())
			poison := slices.Repeat([]float32{float32(math.NaN())}, len(got))
			if err := errors.Join(g.Download(ctx, got), g.Upload(poison)); err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				first[j] = got
			}
			if !slices.EqualFunc(got, first[j], bits) {
				t.Fatalf("%s: gradient %d differs in round %d", name, j, round)
			}
		}
	}
}

func TestDCNMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		shape := conv.Shape{1, 2, 3, 3}
		l, err := e.NewDCNv3(shape, conv.DCNParams{Padding: conv.Pad(1)})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := e.NewDeformRoIPool(shape, 1, conv.RoIPoolParams{Bins: [2]int{3, 3}})
		if err != nil {
			t.Fatal(err)
		}
		x, y := tensor(t, e, shape, make([]float32, 18)), tensor(t, e, shape, make([]float32, 18))
		offset := tensor(t, e, l.Problem().Offset(), make([]float32, l.Problem().Offset().Len()))
		mask := tensor(t, e, l.Problem().MaskShape(), make([]float32, l.Problem().MaskShape().Len()))
		rois := tensor(t, e, conv.Shape{1, 5, 1, 1}, make([]float32, 5))
		_, badParams := e.NewDCNv4(shape, conv.DCNParams{Groups: 3})
		for _, c := range []struct {
			err, kind error
			says      string
		}{
			{l.Run(ctx, nil, x, offset, mask), conv.ErrShape, "output is nil, must be 1×2×3×3"},
			{l.Run(ctx, y, x, offset, nil), conv.ErrShape, "mask is nil, must be 1×9×3×3"},
			{l.Run(ctx, y, y, offset, mask), conv.ErrShape, "output and input are the same tensor"},
			{l.Run(ctx, y, x, mask, mask), conv.ErrShape, "offset is 1×9×3×3, must be 1×18×3×3"},
			{l.RunBackward(ctx, vkconv.Gradients{Offset: y}, x, offset, mask, x), conv.ErrShape, "gradient by offset is 1×2×3×3, must be 1×18×3×3"},
			{l.RunBackward(ctx, vkconv.Gradients{Weight: y}, x, offset, mask, x), conv.ErrShape, "gradient by weight or bias"},
			{pool.RunBackward(ctx, vkconv.Gradients{Mask: mask}, x, rois, nil, nil, y), conv.ErrShape, "gradient by mask was given"},
			{pool.Run(ctx, y, x, rois, offset, nil), conv.ErrShape, "offset was given"},
			{pool.Run(ctx, y, x, nil, nil, nil), conv.ErrShape, "regions is nil"},
			{badParams, conv.ErrShape, "not divisible by 3"},
		} {
			if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.says) {
				t.Errorf("%v, want %q", c.err, c.says)
			}
		}
		// A gradient that is nil is left out, the others come all the same.
		if err := errors.Join(l.RunBackward(ctx, vkconv.Gradients{}, x, offset, mask, y),
			l.RunBackward(ctx, vkconv.Gradients{Mask: mask}, x, offset, tensor(t, e, mask.Shape(), make([]float32, 81)), y)); err != nil {
			t.Error(err)
		}
		l.Close()
		if err := l.Run(ctx, y, x, offset, mask); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("a closed layer runs: %v", err)
		}
		pool.Close()
	})
}

// What offsets that are no numbers, infinite or huge do, the same everywhere; and
// at exactly −1 an infinite pixel is not seen.
func TestDCNSpecialOffsets(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, scale := range []float32{1, 2} {
			shape := conv.Shape{1, 1, 1, 8}
			l, err := e.NewDCNv3(shape, conv.DCNParams{Kernel: [2]int{1, 1}, OffsetScale: scale})
			if err != nil {
				t.Fatal(err)
			}
			s := tensors{e: e}
			x, mask := s.of(shape, []float32{inf, 1, 2, 3, 4, 5, 6, 7}), s.of(shape, []float32{1, 1, 1, 1, 1, 1, 1, 1})
			// Δx of each pixel; Δy is 0.
			offset := s.of(l.Problem().Offset(), []float32{-1 / scale, nan, inf, -inf, 1e30, -1e30, 0, 1 / scale, 0, 0, 0, 0, 0, 0, 0, 0})
			y, dx, doffset := s.of(shape, make([]float32, 8)), s.of(shape, make([]float32, 8)), s.of(l.Problem().Offset(), make([]float32, 16))
			dy := s.of(shape, []float32{0, 1, 1, 1, 1, 1, 1, 1})
			if s.err != nil {
				t.Fatal(s.err)
			}
			if err := errors.Join(l.Run(ctx, y, x, offset, mask), l.RunBackward(ctx, vkconv.Gradients{X: dx, Offset: doffset}, x, offset, mask, dy)); err != nil {
				t.Fatal(err)
			}
			got, grad, byOffset := make([]float32, 8), make([]float32, 8), make([]float32, 16)
			if err := s.download([]*vkconv.Tensor{y, dx, doffset}, got, grad, byOffset); err != nil {
				t.Fatal(err)
			}
			if want := []float32{0, nan, 0, 0, 0, 0, 6, 0}; !alike(got, want) {
				t.Errorf("scale %v: y is %v, must be %v", scale, got, want)
			}
			if want := []float32{0, 0, 0, 0, 0, 0, 1, 0}; !alike(grad, want) {
				t.Errorf("scale %v: dx is %v, must be %v", scale, grad, want)
			}
			if want := []float32{nan, 0, 0, 0, 0, scale, 0}; !alike(byOffset[1:8], want) {
				t.Errorf("scale %v: doffset is %v, must be %v", scale, byOffset[1:8], want)
			}
			l.Close()
			s.close()
		}
	})
}

// alike compares numbers, NaN with NaN.
func alike(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return x == y || x != x && y != y })
}
