//go:build cgo

package kernels

import (
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// scaler is what plans of pooling and resizing share: one pass from a tensor
// into another, channel by channel, of which both may be views. What passes a
// binding is done some images at a time or, where not one image fits, some
// channels of one: the same pass, so the same bits.
type scaler struct {
	device   *gpu.Device
	traits   traits
	local    int
	whole    bool  // a workgroup an output, not an invocation
	pass     *pass // nil for an empty batch
	to, from conv.Shape
	backward bool // from y to x: to is dx, from dy
	table    *gpu.Buffer
	entries  int
	as       precision
}

// newScaler plans the pass named name, or name_grad, with one work item for
// each element of what it writes; with whole, a workgroup for each channel.
func newScaler(m maker, name string, x, y conv.Shape, backward, whole bool, as precision) (*scaler, error) {
	return newScalerWith(m, name, x, y, backward, whole, as, map[string]int{})
}

// newScalerWith is newScaler with the values of what the operator takes besides.
func newScalerWith(m maker, name string, x, y conv.Shape, backward, whole bool, as precision, values map[string]int) (*scaler, error) {
	s := &scaler{device: m.device, traits: m.traits, local: localSize(m.traits), whole: whole && !backward, to: y, from: x, backward: backward, as: as}
	name = as.prefix + name
	if backward {
		name, s.to, s.from = name+"_grad", x, y
	}
	images, channels, err := s.most(x[1], y[1])
	if err != nil {
		return nil, err
	}
	if s.to.Len() == 0 {
		return s, nil
	}
	items, tiles := s.work(images, channels)
	share := 1 / float64(x[2]*x[3])
	scale, scaleHigh := math.Float32bits(float32(share)), uint32(0)
	if as == float64s {
		scale, scaleHigh = uint32(math.Float64bits(share)), uint32(math.Float64bits(share)>>32)
	}
	for name, v := range map[string]int{"items": items, "c": channels, "h": x[2], "w": x[3], "ho": y[2], "wo": y[3],
		"cx": x[1], "cy": y[1], "firstX": 0, "firstY": 0, "scale": int(scale), "scaleHigh": int(scaleHigh)} {
		values[name] = v
	}
	s.pass, err = newPass(m, name, s.local, tiles, values)
	return s, err
}

// work is how many items so many channels of so many images are, and their workgroups.
func (s *scaler) work(images, channels int) (items, tiles int) {
	items = images * channels * s.to[2] * s.to[3]
	if s.whole {
		return items, items
	}
	return items, ceil(items, s.local)
}

// most is how many images a dispatch takes, and how many of their channels,
// where the tensors to and from have so many.
func (s *scaler) most(to, from int) (images, channels int, err error) {
	images, channels = s.to[0], s.to[1]
	width := int64(4 * s.as.words)
	fits := func(t conv.Shape) bool {
		return width*int64(t.Len()) <= s.traits.StorageRange && t.Len() <= math.MaxInt32-1<<20
	}
	if to == s.to[1] && from == s.from[1] && fits(s.to) && fits(s.from) {
		return images, channels, nil
	}
	// Before a view's first element there may be others; indices run ahead a little.
	room := min(s.traits.StorageRange/width, math.MaxInt32-1<<20) - granule/width
	for _, t := range []struct {
		shape conv.Shape
		of    int
	}{{s.to, to}, {s.from, from}} {
		plane := int64(t.shape[2]) * int64(t.shape[3])
		if plane == 0 || t.shape.Len() == 0 {
			continue
		}
		if plane > room {
			return 0, 0, fmt.Errorf("kernels: %w: a channel of a tensor %v takes %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, t.shape, width*plane, s.traits.StorageRange)
		}
		planes := int(room / plane)
		if planes >= t.shape[1] {
			images = min(images, 1+(planes-t.shape[1])/t.of)
		} else {
			images, channels = 1, min(channels, planes)
		}
	}
	return images, channels, nil
}

// scaled is a tensor of a scaler's pass.
type scaled struct {
	view    View
	binding int
	name    string
	shape   conv.Shape
	isX     bool
}

// Record records the pass, both tensors of the shapes that were planned or
// ranges of channels of wider ones, which must not overlap.
func (s *scaler) Record(stream *gpu.Stream, to, from View) error {
	if s.pass == nil {
		return nil
	}
	last := len(s.pass.module.Bindings) - 1
	return s.record(stream, scaled{to, last, "the output", s.to, s.backward}, scaled{from, 0, "the input", s.from, !s.backward})
}

// record records the pass, in pieces where it has to be.
func (s *scaler) record(stream *gpu.Stream, to, from scaled, others ...scaled) error {
	list := [maxSpans]scaled{to, from}
	all := list[:2+copy(list[2:], others)]
	images, channels, err := s.most(to.view.wide(s.to[1]).Channels, from.view.wide(s.from[1]).Channels)
	if err != nil {
		return err
	}
	if images == s.to[0] && channels == s.to[1] {
		return s.piece(stream, all, images, channels)
	}
	for n := range starts(s.to[0], images) {
		for c := range starts(s.to[1], channels) {
			moved := list
			part := moved[:len(all)]
			for i := range part {
				t := &part[i]
				t.view = t.view.wide(t.shape[1])
				t.view.Offset += int64(4*s.as.words) * int64(n) * int64(t.view.Channels) * int64(t.shape[2]) * int64(t.shape[3])
				t.view.First += c
				t.shape = conv.Shape{images, channels, t.shape[2], t.shape[3]}
			}
			if err := s.piece(stream, part, images, channels); err != nil {
				return err
			}
		}
	}
	return nil
}

// piece records so many channels of so many images.
func (s *scaler) piece(stream *gpu.Stream, tensors []scaled, images, channels int) error {
	var bound [maxSpans]span
	push, whole := patched(s.pass.module, s.pass.push), true
	for _, v := range tensors {
		at, first, channels, err := v.view.placeOf(int64(4*s.as.words), v.name, v.shape, max(s.device.Info().Limits.StorageAlign, 8), s.traits.StorageRange)
		at.elements *= s.as.words
		if err == nil {
			err = checkSpan(v.name, at)
		}
		if err != nil {
			return err
		}
		bound[v.binding] = at
		if v.view.Channels == 0 {
			continue
		}
		whole = false
		if v.isX {
			push.set("firstX", first)
			push.set("cx", channels)
		} else {
			push.set("firstY", first)
			push.set("cy", channels)
		}
	}
	if s.table != nil {
		bound[1] = span{Tensor{Buf: s.table}, s.entries}
	}
	if whole { // as planned
		return s.pass.record(stream, &bound)
	}
	items, tiles := s.work(images, channels)
	push.set("c", channels)
	push.set("items", items)
	return s.pass.recordPart(stream, s.traits, tiles, &push, &bound)
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
