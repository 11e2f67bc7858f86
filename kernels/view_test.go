//go:build cgo

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// wide puts a tensor's channels into a wider one of NaN, from channel first on.
func wide(data []float32, s conv.Shape, first, channels int) []float32 {
	out := make([]float32, s[0]*channels*s[2]*s[3])
	for i := range out {
		out[i] = math.Float32frombits(guard)
	}
	image := s[1] * s[2] * s[3]
	for n := range s[0] {
		copy(out[(n*channels+first)*s[2]*s[3]:], data[n*image:][:image])
	}
	return out
}

// runViews is run with x and y ranges of channels of wider tensors; nothing but
// the range of y may be written.
func runViews(d *gpu.Device, l launch, c convtest.Case, y []float32) error {
	o, err := newOperator(d, l, c.Weight, c.Bias)
	if err != nil {
		return err
	}
	return runForwardViews(d, o, c, y)
}

// runForwardViews is runViews with a plan, which it closes.
func runForwardViews(d *gpu.Device, o forward, c convtest.Case, y []float32) error {
	defer o.Close()
	p := c.Problem
	const before, behind = 1, 2
	in, out := p.Input(), p.Output()
	poison := make([]float32, len(y))
	for i := range poison {
		poison[i] = math.Float32frombits(guard)
	}
	tensors := [slots][]float32{slotX: wide(c.X, in, behind, in[1]+before+behind), slotY: wide(poison, out, before, out[1]+before+behind),
		slotOffset: c.Offset, slotMask: c.Mask}
	a := newArena(d.Info().Limits.StorageAlign, tensors)
	buf, err := d.NewBuffer(int64(4 * len(a.words)))
	if err != nil {
		return err
	}
	defer buf.Free()
	if err := d.Upload(buf, 0, a.bytes(a.words)); err != nil {
		return err
	}
	tensor := func(i int) Tensor { return Tensor{buf, int64(4 * max(a.at[i], 0))} }
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	vy := View{tensor(slotY), out[1] + before + behind, before}
	vx := View{tensor(slotX), in[1] + before + behind, behind}
	if err := o.recordForward(s, vy, vx, tensor(slotOffset), tensor(slotMask)); err != nil {
		s.Discard()
		return err
	}
	sub, err := s.Submit()
	if err != nil {
		return err
	}
	if err := sub.Wait(context.Background()); err != nil {
		return err
	}
	got := make([]uint32, len(a.words))
	if err := d.Download(a.bytes(got), buf, 0); err != nil {
		return err
	}
	plane := out[2] * out[3]
	for i, w := range got {
		at := i - a.at[slotY]
		channel := 0
		if at >= 0 && at < a.n[slotY] {
			channel = at / plane % vy.Channels
			if n := at / plane / vy.Channels; channel >= before && channel < before+out[1] {
				y[(n*out[1]+channel-before)*plane+at%plane] = math.Float32frombits(w)
				continue
			}
		}
		if w != a.words[i] {
			return fmt.Errorf("word %d outside the range, channel %d, changed from %#x to %#x", i, channel, a.words[i], w)
		}
	}
	return nil
}

func TestViewsRefuse(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p, err := conv.Params{}.Problem(conv.Shape{1, 4, 8, 8}, conv.Shape{4, 4, 1, 1}, false)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewConv2D(d, p, make([]float32, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		buf, err := d.NewBuffer(4 * 8 * 64)
		if err != nil {
			t.Fatal(err)
		}
		defer buf.Free()
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Discard()
		x := View{Tensor: Tensor{Buf: buf}}
		for _, y := range []View{{x.Tensor, 3, 0}, {x.Tensor, 8, 5}, {x.Tensor, 8, -1}, {x.Tensor, 9, 5}} {
			if err := plan.RecordViews(s, y, x); !errors.Is(err, conv.ErrShape) {
				t.Errorf("%d channels from %d on of %d: %v", 4, y.First, y.Channels, err)
			}
		}
		if err := plan.RecordViews(s, View{x.Tensor, 1 << 40, 1 << 39}, x); err == nil {
			t.Error("a view beyond its buffer was accepted")
		}
	})
}
