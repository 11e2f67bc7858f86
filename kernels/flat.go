//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"slices"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// flat is a plan of one pass over whole tensors, an invocation an element. Where
// all of them have an element an item, what passes a binding is done in runs of
// elements.
type flat struct {
	pass    *pass // nil where there is nothing to do
	traits  traits
	local   int
	names   []string
	lengths []int // elements of each binding
	items   int
	words   int // of an item; 0 where bindings differ
	most    int // items of a run
}

// runStep divides where runs start: with elements of two bytes, too, that is
// where a binding may.
const runStep = granule

// newFlat plans the pass of that module over items elements. Its bindings are
// named and have so many elements each.
func newFlat(m maker, module string, items int, names []string, lengths []int, values map[string]int) (*flat, error) {
	f := &flat{traits: m.traits, local: localSize(m.traits), names: names, lengths: lengths, items: items, most: items}
	room := int(min(m.traits.StorageRange/4, math.MaxInt32-1<<20))
	f.words = lengths[0] / max(items, 1)
	if slices.ContainsFunc(lengths, func(n int) bool { return n != items*f.words }) {
		f.words = 0
	}
	for i, n := range lengths {
		if n <= room {
			continue
		}
		f.most = room / max(f.words, 1) / runStep * runStep
		if f.most == 0 || f.words == 0 {
			return nil, fmt.Errorf("kernels: %w: %s takes %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, names[i], 4*int64(n), m.traits.StorageRange)
		}
	}
	if items == 0 {
		return f, nil
	}
	if values == nil {
		values = map[string]int{}
	}
	values["items"] = f.most
	var err error
	f.pass, err = newPass(m, module, f.local, ceil(f.most, f.local), values)
	return f, err
}

// record records the pass; tensors are its bindings in order.
func (f *flat) record(s *gpu.Stream, tensors ...Tensor) error {
	if f.pass == nil {
		return nil
	}
	push := f.patched()
	return f.recordPush(s, &push, tensors...)
}

// patched are the pass's push constants, to be changed for a call; of a plan that does
// nothing they are none.
func (f *flat) patched() patch {
	if f.pass == nil {
		return patch{module: &shaders.Module{}}
	}
	return patched(f.pass.module, f.pass.push)
}

// recordPush is record with other push constants.
func (f *flat) recordPush(s *gpu.Stream, push *patch, tensors ...Tensor) error {
	if f.pass == nil {
		return nil
	}
	for i, t := range tensors {
		if err := checkSpan(f.names[i], span{t, f.lengths[i]}); err != nil {
			return err
		}
	}
	for at := 0; at < f.items; at += f.most { // in place perhaps, so none twice
		items := min(f.most, f.items-at)
		var bound [maxSpans]span
		for i, t := range tensors {
			bound[i] = span{Tensor{t.Buf, t.Offset + 4*int64(f.words)*int64(at)}, f.lengths[i]}
			if f.most < f.items {
				bound[i].elements = f.words * items
			}
		}
		push.set("items", items)
		if err := f.pass.recordPart(s, f.traits, ceil(items, f.local), push, &bound); err != nil {
			return err
		}
	}
	return nil
}

// Describe names the kernel.
func (f *flat) Describe() string {
	if f.pass == nil {
		return "nothing to do"
	}
	return f.pass.module.Name
}

// Workspace is the device memory in bytes that running takes beyond tensors: none.
func (f *flat) Workspace() int64 { return 0 }

// Close has nothing to free.
func (f *flat) Close() {}

// Add is a plan of a sum of two tensors.
type Add struct{ *flat }

// NewAdd plans y = a + b of so many elements. More than the device's limits give
// [gpu.ErrTooLarge].
func NewAdd(d *gpu.Device, elements int) (*Add, error) {
	f, err := newFlat(makerFor(d), "add", elements, []string{"a", "b", "y"}, []int{elements, elements, elements}, nil)
	return &Add{f}, err
}

// Record records y = a + b.
func (p *Add) Record(s *gpu.Stream, y, a, b Tensor) error { return p.record(s, a, b, y) }

// NewActivation plans y = a(x), both of that shape, as a pass that takes views.
func NewActivation(d *gpu.Device, shape conv.Shape, a conv.Activation) (*Activation, error) {
	return newActivation(makerFor(d), shape, a)
}

func newActivation(m maker, shape conv.Shape, a conv.Activation) (*Activation, error) {
	values := map[string]int{"activation": int(a.Kind)}
	values["low"], values["high"] = activationParameters(a)
	s, err := newScalerWith(m, "act", shape, shape, false, false, float32s, values)
	return &Activation{s}, err
}

// Activation is a plan of an activation.
type Activation struct{ *scaler }

// ActivationBackward is a plan of its gradient.
type ActivationBackward struct{ *flat }

// NewActivationBackward plans dx = dy · a'(x) of so many elements.
func NewActivationBackward(d *gpu.Device, elements int, a conv.Activation) (*ActivationBackward, error) {
	values := map[string]int{"activation": int(a.Kind)}
	values["low"], values["high"] = activationParameters(a)
	f, err := newFlat(makerFor(d), "act_grad", elements, []string{"x", "dy", "dx"}, []int{elements, elements, elements}, values)
	return &ActivationBackward{f}, err
}

// Record records dx = dy · a'(x).
func (p *ActivationBackward) Record(s *gpu.Stream, dx, x, dy Tensor) error {
	return p.record(s, x, dy, dx)
}
