//go:build cgo

package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// View is a range of channels of a wider tensor: what is read or written are
// its channels from First on, of Channels that the tensor has. With Channels 0
// it is a whole tensor.
type View struct {
	Tensor
	Channels, First int
}

// place works out what to bind for a view of shape, so that the binding starts
// on a multiple of align: the binding, the elements in it before the first
// image, and the channels from one image to the next.
func (v View) place(name string, shape conv.Shape, align int64, limit int64) (at span, first, channels int, err error) {
	return v.placeOf(4, name, shape, align, limit)
}

// placeOf is place for elements of so many bytes.
func (v View) placeOf(width int64, name string, shape conv.Shape, align int64, limit int64) (at span, first, channels int, err error) {
	if v.Channels == 0 {
		return span{v.Tensor, shape.Len()}, 0, shape[1], nil
	}
	if v.First < 0 || v.First+shape[1] > v.Channels {
		return at, 0, 0, fmt.Errorf("kernels: %w: %s is %d channels from %d on, of a tensor with %d", conv.ErrShape, name, shape[1], v.First, v.Channels)
	}
	if shape[0] == 0 {
		return span{v.Tensor, 0}, 0, v.Channels, nil
	}
	plane := shape[2] * shape[3]
	start := v.Offset + width*int64(v.First)*int64(plane)
	aligned := start / align * align
	first = int((start - aligned) / width)
	at = span{Tensor{v.Buf, aligned}, first + (shape[0]-1)*v.Channels*plane + shape[1]*plane}
	if width*int64(at.elements) > limit || at.elements+plane > math.MaxInt32 {
		return at, 0, 0, fmt.Errorf("kernels: %w: %s, channels of a wider tensor, spans %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, name, width*int64(at.elements), limit)
	}
	return at, first, v.Channels, nil
}

// mostPush is the most bytes of push constants that every device takes, and so all
// that a kernel has.
const mostPush = 128

// patch is a copy of push constants in which some members get other values. It lies on
// the stack, so that a call leaves nothing on the heap.
type patch struct {
	module *shaders.Module
	bytes  [mostPush]byte
}

func patched(m *shaders.Module, push []byte) (p patch) {
	p.module = m
	copy(p.bytes[:], push)
	return p
}

// set gives a member another value; one that the kernel does not have is let be.
func (p *patch) set(name string, value int) {
	for i := range p.module.Push {
		if member := &p.module.Push[i]; member.Name == name {
			binary.LittleEndian.PutUint32(p.bytes[member.Offset:], uint32(value))
		}
	}
}

func (p *patch) push() []byte { return p.bytes[:p.module.PushBytes] }

// changed are push constants with other values of some members, to be kept.
func changed(m *shaders.Module, push []byte, values map[string]int) []byte {
	p := patched(m, push)
	for name, v := range values {
		p.set(name, v)
	}
	return slices.Clone(p.push())
}

// recordForward records the launch, y and x perhaps views. Their places go into
// a copy of the push constants.
func (o *operator) recordForward(s *gpu.Stream, y, x View, offset, mask Tensor) error {
	return o.recordFrom(s, o.push, y, x, offset, mask)
}

// recordFrom is recordForward with push constants that say the rest.
func (o *operator) recordFrom(s *gpu.Stream, push []byte, y, x View, offset, mask Tensor) error {
	limits, p := o.device.Info().Limits, &o.problem
	tensors, patch := [slots]Tensor{slotOffset: offset, slotMask: mask}, patched(o.module, push)
	var elements [slots]int
	if p.Deformable() {
		elements[slotOffset], elements[slotMask] = p.Offset().Len(), p.MaskShape().Len()
		if !p.Mask { // the binding must be something that may be read
			tensors[slotMask], elements[slotMask] = offset, elements[slotOffset]
		}
	}
	for _, v := range [2]struct {
		view            View
		slot            int
		name            string
		shape           conv.Shape
		first, channels string
	}{{y, slotY, "y", o.output(), "firstY", "k"}, {x, slotX, "x", p.Input(), "firstX", "c"}} {
		at, first, channels, err := v.view.place(v.name, v.shape, max(limits.StorageAlign, 4), limits.StorageBufferRange)
		if err != nil {
			return err
		}
		tensors[v.slot], elements[v.slot] = at.Tensor, at.elements
		if v.view.Channels > 0 {
			patch.set(v.first, first)
			patch.set(v.channels, channels)
		}
	}
	return o.recordWith(s, patch.push(), &tensors, &elements)
}
