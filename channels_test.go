package vkconv_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// widened is a tensor of wider images, all NaN but for channels from first on.
func widened(t *testing.T, e *vkconv.Engine, s conv.Shape, first, behind int, data []float32) (whole, part *vkconv.Tensor) {
	t.Helper()
	big := s
	big[1] += first + behind
	all := make([]float32, big.Len())
	for i := range all {
		all[i] = float32(math.NaN())
	}
	image := s[1] * s[2] * s[3]
	for n := range s[0] {
		copy(all[(n*big[1]+first)*s[2]*s[3]:], data[n*image:][:image])
	}
	whole = tensor(t, e, big, all)
	part, err := whole.Channels(first, first+s[1])
	if err != nil {
		t.Fatal(err)
	}
	return whole, part
}

// narrowed reads channels from first on of whole into data; the others must
// still be NaN.
func narrowed(whole *vkconv.Tensor, s conv.Shape, first int, data []float32) error {
	big := whole.Shape()
	all := make([]float32, big.Len())
	if err := whole.Download(ctx, all); err != nil {
		return err
	}
	plane := s[2] * s[3]
	for i, v := range all {
		n, channel := i/plane/big[1], i/plane%big[1]-first
		if 0 <= channel && channel < s[1] {
			data[(n*s[1]+channel)*plane+i%plane] = v
		} else if !math.IsNaN(float64(v)) {
			return fmt.Errorf("channel %d of image %d, outside the range, was written", channel+first, n)
		}
	}
	return nil
}

// Layers between ranges of channels of wider tensors.
func TestChannels(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		convtest.ForwardActivated(t, convtest.Cases(60), func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
			p := c.Problem
			if !p.Bias {
				bias = nil
			}
			whole, out := widened(t, e, p.Output(), 3, 1, y)
			_, in := widened(t, e, p.Input(), 1, 2, x)
			if p.Deformable() {
				l, err := e.NewDeformConv2D(p.Input(), weight, bias, p.Weight(), paramsOf(p), conv.Deform{OffsetGroups: p.OffsetGroups, Mask: p.Mask, Border: p.Border})
				if err != nil {
					return err
				}
				defer l.Close()
				var m *vkconv.Tensor
				if p.Mask {
					m = tensor(t, e, p.MaskShape(), mask)
				}
				if err := l.Run(ctx, out, in, tensor(t, e, p.Offset(), offset), m); err != nil {
					return err
				}
			} else {
				l, err := e.NewConv2D(p.Input(), weight, bias, p.Weight(), paramsOf(p))
				if err != nil {
					return err
				}
				defer l.Close()
				if err := l.Run(ctx, out, in); err != nil {
					return err
				}
			}
			return narrowed(whole, p.Output(), 3, y)
		})
	})
}

// A layer may read channels of the tensor that it writes others of.
func TestChannelsMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		shape := conv.Shape{2, 2, 3, 5}
		l, err := e.NewConv2D(shape, []float32{1, 2, 3, 4}, nil, conv.Shape{2, 2, 1, 1}, conv.Params{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		data := make([]float32, 2*6*15)
		for i := range data {
			data[i] = float32(i)
		}
		whole := tensor(t, e, conv.Shape{2, 6, 3, 5}, data)
		part := func(from, to int) *vkconv.Tensor {
			p, err := whole.Channels(from, to)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		wide := part(1, 6) // channels of channels
		low, err := wide.Channels(0, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(ctx, part(4, 6), low); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(data))
		if err := whole.Download(ctx, got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			n, channel, at := i/90, i/15%6, i%15
			want := data[i]
			if channel >= 4 {
				w := float32(2*(channel-4) + 1)
				want = w*data[n*90+15+at] + (w+1)*data[n*90+30+at]
			}
			if v != want {
				t.Fatalf("element %d is %g, want %g", i, v, want)
			}
		}
		back, err := e.NewConv2DBackward(shape, []float32{1, 2, 3, 4}, conv.Shape{2, 2, 1, 1}, conv.Params{})
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		x := tensor(t, e, shape, make([]float32, shape.Len()))
		_, none := whole.Channels(2, 2)
		_, far := whole.Channels(5, 7)
		freed := tensor(t, e, conv.Shape{2, 6, 3, 5}, data)
		orphan, err := freed.Channels(0, 2)
		if err != nil {
			t.Fatal(err)
		}
		freed.Free()
		part(0, 2).Free() // nothing of its own to free
		for _, c := range []struct {
			err, kind error
			says      string
		}{
			{none, conv.ErrShape, "must be a range within 0 to 6"},
			{far, conv.ErrShape, "channels 5 to 7"},
			{l.Run(ctx, part(1, 3), part(2, 4)), conv.ErrShape, "the same tensor"},
			{l.Run(ctx, part(0, 3), x), conv.ErrShape, "output is 2×3×3×5, must be 2×2×3×5"},
			{l.Run(ctx, orphan, x), vkconv.ErrClosed, "output"},
			{part(0, 2).Upload(make([]float32, 60)), conv.ErrUnsupported, "channels 0 to 2 of a tensor 2×6×3×5"},
			{part(0, 2).Download(ctx, make([]float32, 60)), conv.ErrUnsupported, "no data of its own"},
			{back.Run(ctx, vkconv.Gradients{X: part(0, 2)}, x, part(2, 4)), conv.ErrUnsupported, "takes whole tensors"},
		} {
			if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.says) {
				t.Errorf("%v, want %q", c.err, c.says)
			}
		}
	})
}

// A plan that fails half-way gives back what it took.
func TestDeformPackRefuses(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		before := e.Memory().InUse
		for _, w := range []vkconv.PackWeights{{Weight: make([]float32, 9)}, {Weight: make([]float32, 9), Offset: make([]float32, 18*9), OffsetBias: make([]float32, 1)}} {
			if _, err := e.NewDeformPack(conv.Shape{1, 1, 5, 5}, w, conv.Shape{1, 1, 3, 3}, conv.Params{}, conv.Deform{}); !errors.Is(err, conv.ErrShape) {
				t.Errorf("%v", err)
			}
		}
		if now := e.Memory().InUse; now != before {
			t.Errorf("failed plans keep %d bytes", now-before)
		}
	})
}

// A tensor under another shape is the same memory: layers read and write it, and
// notice that it is one tensor.
func TestReshape(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		x := tensor(t, e, conv.Shape{2, 3, 4, 5}, convtest.Normal(rand.New(rand.NewPCG(1, 2)), 120))
		flat, err := x.Reshape(conv.Shape{2, 60, 1, 1})
		if err != nil {
			t.Fatal(err)
		}
		y := tensor(t, e, conv.Shape{6, 1, 4, 5}, make([]float32, 120))
		out, err := y.Reshape(flat.Shape())
		if err != nil {
			t.Fatal(err)
		}
		l, err := e.NewActivation(flat.Shape(), conv.Activation{Kind: conv.ReLU})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.Run(ctx, out, flat); err != nil {
			t.Fatal(err)
		}
		in, got, again := make([]float32, 120), make([]float32, 120), make([]float32, 120)
		if err := errors.Join(x.Download(ctx, in), y.Download(ctx, got), out.Download(ctx, again)); err != nil {
			t.Fatal(err)
		}
		for i, v := range in {
			if got[i] != max(v, 0) || again[i] != got[i] {
				t.Fatalf("element %d is %g and %g, want %g", i, got[i], again[i], max(v, 0))
			}
		}
		if err := flat.Upload(got); err != nil {
			t.Fatal(err)
		}
		if err := x.Download(ctx, in); err != nil || in[7] != got[7] {
			t.Errorf("uploaded %g, the tensor holds %g, %v", got[7], in[7], err)
		}
		other, err := flat.Reshape(conv.Shape{1, 1, 2, 60})
		if err != nil {
			t.Fatal(err)
		}
		same, err := other.Reshape(flat.Shape())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Run(ctx, same, flat); !errors.Is(err, conv.ErrShape) || !strings.Contains(err.Error(), "in place") {
			t.Errorf("in place: %v", err)
		}
		if _, err := x.Reshape(conv.Shape{2, 3, 4, 4}); !errors.Is(err, conv.ErrShape) {
			t.Error(err)
		}
		part, err := x.Channels(1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Reshape(conv.Shape{1, 2, 4, 5}); !errors.Is(err, conv.ErrUnsupported) {
			t.Error(err)
		}
		if _, err := flat.Channels(0, 1); !errors.Is(err, conv.ErrUnsupported) {
			t.Error(err)
		}
		x.Free()
		if err := l.Run(ctx, out, flat); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("after Free: %v", err)
		}
	})
}
