//go:build cgo

package kernels

import (
	"fmt"
	"unsafe"

	"vkconv/conv"
	"vkconv/gpu"
)

// arrangement lays weights out on the device that lie there as a tensor, so that
// training need not fetch them: what [pack] did with the host's, by a table which
// pack itself makes, of the weights' numbers.
type arrangement struct {
	table           *gpu.Buffer
	pass            *pass
	entries         int
	weights, biases int
}

// newArrangement makes the table of a layout; lay is what lays out.
func newArrangement(m maker, weights, biases int, lay func(weight, bias []int32) []int32) (*arrangement, error) {
	count := func(first, n int) []int32 {
		v := make([]int32, n)
		for i := range v {
			v[i] = int32(first + i)
		}
		return v
	}
	var bias []int32
	if biases > 0 {
		bias = count(weights+1, biases)
	}
	table := lay(count(1, weights), bias)
	a := &arrangement{entries: len(table), weights: weights, biases: biases}
	local := localSize(m.traits)
	var err error
	if a.pass, err = newPass(m, "arrange", local, ceil(len(table), local), map[string]int{"items": len(table), "weights": weights}); err != nil {
		return nil, err
	}
	if a.table, err = m.device.NewBuffer(4 * int64(len(table))); err == nil {
		err = m.device.Upload(a.table, 0, unsafe.Slice((*byte)(unsafe.Pointer(&table[0])), 4*len(table)))
	}
	if err != nil {
		a.free()
		return nil, fmt.Errorf("kernels: table of weights: %w", err)
	}
	return a, nil
}

// record lays the weights out into to.
func (a *arrangement) record(s *gpu.Stream, to *gpu.Buffer, weight, bias Tensor) error {
	w := span{weight, a.weights}
	b := w // bound, but not read
	if a.biases > 0 {
		b = span{bias, a.biases}
	}
	for _, t := range []struct {
		name string
		at   span
	}{{"weight", w}, {"bias", b}} {
		if err := checkSpan(t.name, t.at); err != nil {
			return err
		}
	}
	return a.pass.record(s, &[maxSpans]span{{Tensor{Buf: a.table}, a.entries}, w, b, {Tensor{Buf: to}, a.entries}})
}

// RecordWeights records that a plan's weights become those of tensors on the device:
// what is recorded before computes with the old ones, what is recorded behind it
// with the new. bias is not looked at by plans without one. Plans of transposed
// convolutions and those computed in pieces cannot, which matches
// [conv.ErrUnsupported].
func RecordWeights(s *gpu.Stream, plan any, weight, bias Tensor) error {
	switch p := plan.(type) {
	case *Conv2D:
		plan = p.forward
	case *DeformConv2D:
		plan = p.forward
	}
	if p, ok := plan.(interface {
		RecordWeights(s *gpu.Stream, weight, bias Tensor) error
	}); ok {
		return p.RecordWeights(s, weight, bias)
	}
	return fmt.Errorf("kernels: %w: this plan takes no weights from the device, it is a %T", conv.ErrUnsupported, plan)
}

func (a *arrangement) bytes() int64 {
	if a == nil {
		return 0
	}
	return 4 * int64(a.entries)
}

func (a *arrangement) free() {
	if a != nil {
		a.table.Free()
	}
}

// RecordWeights is SetWeights with tensors on the device. The first call makes a
// table as large as the packed weights, which counts as workspace.
func (o *operator) RecordWeights(s *gpu.Stream, weight, bias Tensor) error {
	return o.recordWeights(s, weight, bias, func(w, b []int32) []int32 { return pack(o.launch, w, b) })
}

func (o *operator) recordWeights(s *gpu.Stream, weight, bias Tensor, lay func(w, b []int32) []int32) (err error) {
	if o.arranged == nil {
		biases := 0
		if o.hasBias {
			biases = o.problem.K
		}
		if o.arranged, err = newArrangement(makerFor(o.device), o.problem.Weight().Len(), biases, lay); err != nil {
			return err
		}
	}
	return o.arranged.record(s, o.packed, weight, bias)
}

// RecordWeights is SetWeights with a tensor on the device.
func (b *backward) RecordWeights(s *gpu.Stream, weight, _ Tensor) error {
	n := b.problem.Weight().Len()
	if err := checkSpan("weight", span{weight, n}); err != nil {
		return err
	}
	return s.Copy(b.raw, 0, weight.Buf, weight.Offset, 4*int64(n))
}

// RecordWeights is SetWeights with a tensor on the device.
func (b *batchwise) RecordWeights(s *gpu.Stream, weight, _ Tensor) error {
	for _, p := range b.plans {
		if err := RecordWeights(s, p, weight, Tensor{}); err != nil {
			return err
		}
	}
	return nil
}

// RecordWeights is SetWeights with a tensor on the device.
func (b *Conv2DBackward) RecordWeights(s *gpu.Stream, weight, _ Tensor) error {
	if err := b.backward.RecordWeights(s, weight, Tensor{}); err != nil || b.mirror == nil {
		return err
	}
	return b.mirror.recordWeights(s, weight, Tensor{}, func(w, _ []int32) []int32 { return pack(b.mirror.launch, mirror(b.problem, w), nil) })
}
