//go:build cgo

package kernels

import (
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// scaler is what plans of pooling and resizing share: one pass from a tensor
// into another, channel by channel, of which both may be views.
type scaler struct {
	device   *gpu.Device
	pass     *pass // nil for an empty batch
	to, from conv.Shape
	backward bool // from y to x: to is dx, from dy
	table    *gpu.Buffer
	entries  int
	as       precision
}

// newScaler plans the pass named name, or name_grad, with one work item for
// each element of what it writes; with whole, a workgroup for each channel.
func newScaler(d *gpu.Device, name string, x, y conv.Shape, backward, whole bool, as precision) (*scaler, error) {
	return newScalerWith(d, name, x, y, backward, whole, as, map[string]int{})
}

// newScalerWith is newScaler with the values of what the operator takes besides.
func newScalerWith(d *gpu.Device, name string, x, y conv.Shape, backward, whole bool, as precision, values map[string]int) (*scaler, error) {
	s := &scaler{device: d, to: y, from: x, backward: backward, as: as}
	name = as.prefix + name
	if backward {
		name, s.to, s.from = name+"_grad", x, y
	}
	m := makerFor(d)
	for _, t := range []conv.Shape{x, y} {
		if bytes := int64(4*as.words) * int64(t.Len()); bytes > m.traits.StorageRange || t.Len() > math.MaxInt32-1<<20 {
			return nil, fmt.Errorf("kernels: %w: a tensor %v takes %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, t, bytes, m.traits.StorageRange)
		}
	}
	if s.to.Len() == 0 {
		return s, nil
	}
	local := localSize(m.traits)
	items, tiles := s.to.Len(), ceil(s.to.Len(), local)
	if whole && !backward {
		items, tiles = s.to.Len(), s.to.Len()
	}
	share := 1 / float64(x[2]*x[3])
	scale, scaleHigh := math.Float32bits(float32(share)), uint32(0)
	if as == float64s {
		scale, scaleHigh = uint32(math.Float64bits(share)), uint32(math.Float64bits(share)>>32)
	}
	for name, v := range map[string]int{"items": items, "c": x[1], "h": x[2], "w": x[3], "ho": y[2], "wo": y[3],
		"cx": x[1], "cy": x[1], "firstX": 0, "firstY": 0, "scale": int(scale), "scaleHigh": int(scaleHigh)} {
		values[name] = v
	}
	var err error
	s.pass, err = newPass(m, name, local, tiles, values)
	return s, err
}

// Record records the pass, both tensors of the shapes that were planned or
// ranges of channels of wider ones, which must not overlap.
func (s *scaler) Record(stream *gpu.Stream, to, from View) error {
	if s.pass == nil {
		return nil
	}
	limits := s.device.Info().Limits
	var bound [maxSpans]span
	push := s.pass.push
	last := len(s.pass.module.Bindings) - 1
	for _, v := range []struct {
		view    View
		binding int
		name    string
		shape   conv.Shape
		isX     bool
	}{{to, last, "the output", s.to, s.backward}, {from, 0, "the input", s.from, !s.backward}} {
		at, first, channels, err := v.view.placeOf(int64(4*s.as.words), v.name, v.shape, max(limits.StorageAlign, 8), limits.StorageBufferRange)
		at.elements *= s.as.words
		if err == nil {
			err = checkSpan(v.name, at)
		}
		if err != nil {
			return err
		}
		bound[v.binding] = at
		if v.view.Channels > 0 {
			side := "Y"
			if v.isX {
				side = "X"
			}
			push = withViews(s.pass.module, push, map[string]int{"first" + side: first, "c" + map[bool]string{true: "x", false: "y"}[v.isX]: channels})
		}
	}
	if s.table != nil {
		bound[1] = span{Tensor{Buf: s.table}, s.entries}
	}
	return s.pass.recordWith(stream, push, &bound)
}

// Describe names the kernel.
func (s *scaler) Describe() string {
	if s.pass == nil {
		return "an empty batch"
	}
	return s.pass.module.Name
}

// Workspace is the device memory in bytes that running takes beyond tensors: of
// a resize the table of positions.
func (s *scaler) Workspace() int64 { return 4 * int64(s.entries) }

// Close frees what the plan holds. What was submitted before goes on.
func (s *scaler) Close() {
	if s.table != nil {
		s.table.Free()
	}
}
