//go:build cgo

package kernels

import (
	"errors"
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// The tensors of operators that sample without weights: DCNv3, DCNv4 and RoI
// pooling, forward and backward.
const (
	callX = iota
	callOffset
	callMask
	callRegions
	callY // the gradient by it when going backward
	callDX
	callDOffset
	callDMask
	callCells
	callOrder
	callSoft
	callTensors
)

// callNames are the block names of the tensors in the shaders.
var callNames = map[string]int{"InputBuffer": callX, "OffsetBuffer": callOffset, "MaskBuffer": callMask, "RegionBuffer": callRegions,
	"OutputBuffer": callY, "OutputGradBuffer": callY, "InputGradBuffer": callDX, "OffsetGradBuffer": callDOffset, "MaskGradBuffer": callDMask,
	"CellBuffer": callCells, "OrderBuffer": callOrder, "SoftmaxBuffer": callSoft}

// precision is what the tensors of such an operator hold. Elements are counted
// in words of 4 bytes.
type precision struct {
	prefix string // of the kernels' names
	words  int
}

var float32s, float64s = precision{"", 1}, precision{"double_", 2}

// widen turns elements into words.
func (p precision) widen(elements []int) {
	for i := range elements {
		elements[i] *= p.words
	}
}

// callSize is the workgroup size of all these kernels.
const callSize = 64

// axis is what such an operator's tensors are cut along: images, or regions.
type axis struct {
	portions
	slots []int // the tensors that are cut
}

// newAxis cuts all of an operator into so many at a time, or a few less. each are
// the words that one takes of each tensor; the first written of slots are written.
func newAxis(device *gpu.Device, all, some int, each *[callTensors]int, written int, slots ...int) (axis, error) {
	a := axis{portions{device: device, all: all, written: written}, slots}
	for _, slot := range slots {
		a.lengths = append(a.lengths, each[slot])
	}
	a.images = a.aligned(min(some, all))
	return a, a.reserve()
}

// each calls f with the tensors and their sizes from a first one on, so many.
func (a *axis) each(s *gpu.Stream, t [callTensors]Tensor, sizes [callTensors]int, f func(first, n int, t [callTensors]Tensor, sizes [callTensors]int) error) error {
	if a.images >= a.all {
		return f(0, a.all, t, sizes)
	}
	all := make([]Tensor, len(a.slots))
	for i, slot := range a.slots {
		all[i] = t[slot]
	}
	return a.portions.each(s, all, func(part, n int, at []Tensor) error {
		t, sizes := t, sizes
		for i, slot := range a.slots {
			t[slot], sizes[slot] = at[i], n*a.lengths[i]
		}
		return f(part*a.images, n, t, sizes)
	})
}

// call is one dispatch of such an operator with all numbers known.
type call struct {
	module *shaders.Module
	pipe   *gpu.Pipeline
	groups [3]uint32
	push   []byte
	slots  []int // tensor of each binding
	access []gpu.Access
}

// newCall plans a dispatch of so many invocations; or, with a workgroup an item,
// of so many workgroups.
func newCall(d *gpu.Device, module string, items int, workgroups bool, constants, push map[string]int) (call, error) {
	m, err := shaders.Get(module)
	if err != nil {
		return call{}, err
	}
	set := []gpu.Constant{}
	for name, v := range constants {
		id, err := m.ConstantID(name)
		if err != nil {
			return call{}, err
		}
		set = append(set, gpu.Constant{ID: id, Value: uint32(v)})
	}
	if _, ok := constants["localSizeX"]; !ok {
		id, err := m.ConstantID("localSizeX")
		if err != nil {
			return call{}, err
		}
		set = append(set, gpu.Constant{ID: id, Value: callSize})
	}
	c := call{module: m}
	tiles := items
	if !workgroups {
		tiles = ceil(items, callSize)
	}
	if c.groups, err = fold(tiles, traitsOf(d.Info())); err != nil {
		return call{}, err
	}
	// What a kernel does not use of the problem is not in its block.
	values := map[string]int{}
	for _, member := range m.Push {
		v, ok := push[member.Name]
		if member.Name == "items" {
			v, ok = items, true
		}
		if !ok {
			return call{}, fmt.Errorf("kernels: %s: push constant %s is not known", module, member.Name)
		}
		values[member.Name] = v
	}
	if c.push, err = m.PackPush(values); err != nil {
		return call{}, err
	}
	if c.pipe, err = d.Pipeline(moduleOf(m), set); err != nil {
		return call{}, fmt.Errorf("kernels: %w", err)
	}
	c.slots, c.access = make([]int, len(m.Bindings)), make([]gpu.Access, len(m.Bindings))
	for _, b := range m.Bindings {
		slot, ok := callNames[b.Name]
		if !ok {
			return call{}, fmt.Errorf("kernels: %s: tensor %s is not known", module, b.Name)
		}
		c.slots[b.Number] = slot
		c.access[b.Number] = map[string]gpu.Access{"read": gpu.Read, "write": gpu.Write, "readwrite": gpu.ReadWrite}[b.Access]
	}
	return c, nil
}

// recordPart records so many invocations with other push constants.
func (c *call) recordPart(s *gpu.Stream, of traits, items int, push *patch, t *[callTensors]Tensor, elements *[callTensors]int) error {
	groups, err := fold(ceil(items, callSize), of)
	if err != nil {
		return fmt.Errorf("kernels: %w", err)
	}
	push.set("items", items)
	return c.recordWith(s, groups, push.push(), t, elements)
}

// record binds the tensors and records the dispatch.
func (c *call) record(s *gpu.Stream, t *[callTensors]Tensor, elements *[callTensors]int) error {
	return c.recordWith(s, c.groups, c.push, t, elements)
}

func (c *call) recordWith(s *gpu.Stream, groups [3]uint32, push []byte, t *[callTensors]Tensor, elements *[callTensors]int) error {
	var bindings [callTensors]gpu.Binding
	for i, slot := range c.slots {
		size := 4 * int64(elements[slot])
		if t[slot].Buf == nil || bufferSize(t[slot]) < size {
			return fmt.Errorf("kernels: %w: a tensor needs %d bytes, its buffer has %d from offset %d on", conv.ErrShape, size, bufferSize(t[slot]), t[slot].Offset)
		}
		bindings[i] = gpu.Binding{Buffer: t[slot].Buf, Offset: t[slot].Offset, Size: size, Access: c.access[i]}
	}
	return s.Dispatch(c.pipe, groups, push, bindings[:len(c.slots)])
}

// indexLimit is how many elements a tensor may have: what the device's bindings
// and the kernels' 32-bit indices hold.
func indexLimit(d *gpu.Device) int {
	return int(min(d.Info().Limits.StorageBufferRange/4, math.MaxInt32-1<<16))
}

// fits refuses tensors of more elements than limit.
func fits(limit int, sizes map[string]int) error {
	var err error
	for name, n := range sizes {
		if n > limit {
			err = errors.Join(err, fmt.Errorf("kernels: %w: %s has %d elements, on this device at most %d", gpu.ErrTooLarge, name, n, limit))
		}
	}
	return err
}
