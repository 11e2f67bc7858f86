//go:build cgo

package kernels

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// scale runs a plan between guard bands, whole tensors or, with wider, channels
// of wider ones.
func scale(d *gpu.Device, plan *scaler, out, in []float32, wider int) error {
	defer plan.Close()
	poison := slices.Repeat([]float32{math.Float32frombits(guard)}, len(out))
	first := wider / 2
	a := newArena(d.Info().Limits.StorageAlign, [slots][]float32{slotX: wide(in, plan.from, first, plan.from[1]+wider),
		slotY: wide(poison, plan.to, first, plan.to[1]+wider)})
	buf, err := d.NewBuffer(int64(4 * len(a.words)))
	if err != nil {
		return err
	}
	defer buf.Free()
	if err := d.Upload(buf, 0, a.bytes(a.words)); err != nil {
		return err
	}
	view := func(i, channels int) View {
		v := View{Tensor: Tensor{buf, int64(4 * max(a.at[i], 0))}}
		if wider > 0 {
			v.Channels, v.First = channels+wider, first
		}
		return v
	}
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	if err := plan.Record(s, view(slotY, plan.to[1]), view(slotX, plan.from[1])); err != nil {
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
	plane := plan.to[2] * plan.to[3]
	for i, w := range got {
		if at := i - a.at[slotY]; at >= 0 && at < a.n[slotY] {
			n, channel := at/plane/(plan.to[1]+wider), at/plane%(plan.to[1]+wider)-first
			if channel >= 0 && channel < plan.to[1] {
				out[(n*plan.to[1]+channel)*plane+at%plane] = math.Float32frombits(w)
				continue
			}
		}
		if w != a.words[i] {
			return fmt.Errorf("word %d outside the output changed from %#x to %#x", i, a.words[i], w)
		}
	}
	return nil
}

// TestScales holds pooling and resizing to the oracle, between whole tensors and
// between channels of wider ones, with the same bits.
func TestScales(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		plans := func(c convtest.ScaleCase) (forward, backward *scaler, err error) {
			if c.Pool != nil {
				f, err := NewGlobalPool(d, *c.Pool)
				if err != nil {
					return nil, nil, err
				}
				b, err := NewGlobalPoolBackward(d, *c.Pool)
				return f.scaler, b.scaler, err
			}
			f, err := NewResize(d, *c.Resize)
			if err != nil {
				return nil, nil, err
			}
			b, err := NewResizeBackward(d, *c.Resize)
			return f.scaler, b.scaler, err
		}
		convtest.Scales(t, convtest.Cases(150), func(c convtest.ScaleCase, y, dx, x, dy []float32) error {
			for _, wider := range []int{3, 0} {
				forward, backward, err := plans(c)
				if err != nil {
					return err
				}
				before := slices.Concat(y, dx)
				if err := scale(d, forward, y, x, wider); err != nil {
					return err
				}
				if err := scale(d, backward, dx, dy, wider); err != nil {
					return err
				}
				if wider > 0 {
					continue
				}
				for i, v := range slices.Concat(y, dx) {
					if math.Float32bits(v) != math.Float32bits(before[i]) {
						return fmt.Errorf("element %d is %g, between channels of wider tensors %g", i, v, before[i])
					}
				}
			}
			return nil
		})
		if _, err := NewResize(d, conv.Resize{N: 1, C: 1 << 20, H: 1 << 20, W: 1 << 10, Ho: 1, Wo: 1}); err == nil {
			t.Error("2^50 elements were accepted")
		}
	})
}
