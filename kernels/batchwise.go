//go:build cgo

package kernels

import (
	"errors"
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// Backward is a plan of a convolution's gradients, ordinary or deformable.
type Backward interface {
	// RecordBackward records the gradients that g wants, from tensors N×C×H×W,
	// N×(2·og·R·S)×Ho×Wo, N×(og·R·S)×Ho×Wo and N×K×Ho×Wo; what the problem lacks
	// is not looked at.
	RecordBackward(s *gpu.Stream, g Grads, x, offset, mask, dy Tensor) error
	SetWeights(weight []float32) error
	Workspace() int64
	Describe() string
	Close()
}

// RecordBackward is Record.
func (b *Conv2DBackward) RecordBackward(s *gpu.Stream, g Grads, x, _, _, dy Tensor) error {
	return b.Record(s, g, x, dy)
}

// RecordBackward is Record.
func (b *DeformConv2DBackward) RecordBackward(s *gpu.Stream, g Grads, x, offset, mask, dy Tensor) error {
	return b.Record(s, g, x, offset, mask, dy)
}

// NewBackward plans the gradients of p, whole or, where its tensors pass what a
// binding of the device may cover, some images at a time. What one image takes
// more than a binding for gives [gpu.ErrTooLarge].
func NewBackward(d *gpu.Device, p conv.Problem, weight []float32) (Backward, error) {
	return newBackward(makerFor(d), p, weight)
}

// NewBackwardAtomic is [NewBackward] of a deformable convolution with the gradient
// by the input by atomic additions of floats, whose last bits may differ from run
// to run. Without those on the device the error matches [conv.ErrUnsupported].
func NewBackwardAtomic(d *gpu.Device, p conv.Problem, weight []float32) (Backward, error) {
	if !d.Info().Features.FloatAtomicAdd {
		return nil, fmt.Errorf("kernels: %w: atomic additions of floats on %s, which has none in buffers (VK_EXT_shader_atomic_float)", conv.ErrUnsupported, d.Info().Name)
	}
	m := makerFor(d)
	m.atomics = true
	return newBackward(m, p, weight)
}

func newBackward(m maker, p conv.Problem, weight []float32) (Backward, error) {
	b, err := newWholeBackward(m, p, weight)
	if !errors.Is(err, gpu.ErrTooLarge) || p.N < 2 {
		return b, err
	}
	for images := p.N / 2; ; images /= 2 {
		b, again := newBatchwise(m, p, images, weight)
		if again == nil {
			return b, nil
		}
		if !errors.Is(again, gpu.ErrTooLarge) {
			return nil, again
		}
		if images == 1 {
			return nil, again
		}
	}
}

func newWholeBackward(m maker, p conv.Problem, weight []float32) (Backward, error) {
	if p.Deformable() {
		return orNone(newDeformConv2DBackward(m, p, weight))
	}
	return orNone(newConv2DBackward(m, p, weight, true))
}

// orNone is b, but a nil interface where there is an error.
func orNone[T Backward](b T, err error) (Backward, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// batchwise computes gradients some images at a time. Those by input, offset and
// mask are the bits of a plan of the whole. Those by weight and bias are summed a
// part first and then over the parts in their order: the same bits every time,
// but not those that another number of parts gives.
//
//	images   ├─ part 0 ─┼─ part 1 ─┼ 2 ┤
//	dx        written    written    …
//	dweight   sum 0      sum 1      sum 2  ── Σ ── dweight
type batchwise struct {
	device *gpu.Device
	whole  conv.Problem
	images int        // of every part but perhaps the last
	plans  []Backward // one or, where the last part is shorter, two
	rooms  [7]*gpu.Buffer
	sums   [2]partSum // dweight, dbias
	size   int64
}

// partSum adds up what the parts found.
type partSum struct {
	elements, parts int
	one, all        *gpu.Buffer // of a part, of all
	reduce          *pass
}

func newBatchwise(m maker, p conv.Problem, images int, weight []float32) (*batchwise, error) {
	b := &batchwise{device: m.device, whole: p, images: images}
	err := b.plan(m, weight)
	if err == nil {
		err = b.reserve(m)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *batchwise) plan(m maker, weight []float32) error {
	for _, images := range []int{b.images, b.whole.N % b.images} {
		if images == 0 {
			continue
		}
		part := b.whole
		part.N = images
		plan, err := newWholeBackward(m, part, weight)
		if err != nil {
			return err
		}
		b.plans = append(b.plans, plan)
	}
	return nil
}

// lengths are the elements that an image takes of the tensors as RecordBackward
// has them: dx, doffset, dmask, x, offset, mask, dy.
func (b *batchwise) lengths() (n [7]int) {
	p := b.whole
	p.N = 1
	n[0], n[6] = p.Input().Len(), p.Output().Len()
	if p.Deformable() {
		n[1] = p.Offset().Len()
		if p.Mask {
			n[2] = p.MaskShape().Len()
		}
	}
	n[3], n[4], n[5] = n[0], n[1], n[2]
	return n
}

// reserve makes room for a part of each tensor whose images do not all start where
// a binding may, and for the sums.
func (b *batchwise) reserve(m maker) (err error) {
	buffer := func(elements int) (buf *gpu.Buffer) {
		if err == nil {
			buf, err = b.device.NewBuffer(4 * int64(elements))
			b.size += 4 * int64(elements)
		}
		return buf
	}
	for i, n := range b.lengths() {
		if 4*int64(b.images)*int64(n)%b.device.Info().Limits.StorageAlign != 0 {
			b.rooms[i] = buffer(b.images * n)
		}
	}
	parts := ceil(b.whole.N, b.images)
	for i, elements := range []int{b.whole.Weight().Len(), b.whole.K} {
		s := &b.sums[i]
		s.elements, s.parts = elements, parts
		if bytes := 4 * int64(elements) * int64(parts); bytes > m.traits.StorageRange {
			return fmt.Errorf("kernels: %w: the gradients by the weight of %d parts of the batch take %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, parts, bytes, m.traits.StorageRange)
		}
		s.one, s.all = buffer(elements), buffer(elements*parts)
		if err != nil {
			break
		}
		local := localSize(m.traits)
		s.reduce, err = newPass(m, "conv2d_grad_reduce", local, ceil(elements, local), map[string]int{"items": elements, "parts": parts})
		if err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("kernels: workspace: %w", err)
	}
	return nil
}

// RecordBackward records part after part, then the sums.
func (b *batchwise) RecordBackward(s *gpu.Stream, g Grads, x, offset, mask, dy Tensor) error {
	align := b.device.Info().Limits.StorageAlign
	parts := b.sums[0].parts
	for part := range parts {
		images := min(b.images, b.whole.N-part*b.images)
		plan := b.plans[0]
		if images < b.images {
			plan = b.plans[1]
		}
		all := [7]Tensor{g.X, g.Offset, g.Mask, x, offset, mask, dy}
		at := all
		lengths := b.lengths()
		for i, n := range lengths {
			if !at[i].wants() || n == 0 {
				continue
			}
			at[i].Offset += 4 * int64(part) * int64(b.images) * int64(n)
			all[i].Offset = at[i].Offset
			if at[i].Offset%align == 0 {
				continue
			}
			at[i] = Tensor{Buf: b.rooms[i]}
			if i >= 3 {
				if err := s.Copy(b.rooms[i], 0, all[i].Buf, all[i].Offset, 4*int64(images)*int64(n)); err != nil {
					return fmt.Errorf("kernels: %w", err)
				}
			}
		}
		own := Grads{X: at[0], Offset: at[1], Mask: at[2]}
		if g.Weight.wants() {
			own.Weight = Tensor{Buf: b.sums[0].one}
		}
		if g.Bias.wants() {
			own.Bias = Tensor{Buf: b.sums[1].one}
		}
		if err := plan.RecordBackward(s, own, at[3], at[4], at[5], at[6]); err != nil {
			return err
		}
		for i := range 3 {
			if at[i].wants() && at[i].Buf == b.rooms[i] {
				if err := s.Copy(all[i].Buf, all[i].Offset, b.rooms[i], 0, 4*int64(images)*int64(lengths[i])); err != nil {
					return fmt.Errorf("kernels: %w", err)
				}
			}
		}
		for i, to := range []Tensor{g.Weight, g.Bias} {
			if sum := &b.sums[i]; to.wants() {
				bytes := 4 * int64(sum.elements)
				if err := s.Copy(sum.all, int64(part)*bytes, sum.one, 0, bytes); err != nil {
					return fmt.Errorf("kernels: %w", err)
				}
			}
		}
	}
	for i, to := range []Tensor{g.Weight, g.Bias} {
		if sum := &b.sums[i]; to.wants() {
			if err := checkSpan("a gradient", span{to, sum.elements}); err != nil {
				return err
			}
			if err := sum.reduce.record(s, &[maxSpans]span{{Tensor{Buf: sum.all}, sum.elements * parts}, {to, sum.elements}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetWeights replaces the weight, as a whole plan's does.
func (b *batchwise) SetWeights(weight []float32) error {
	for _, p := range b.plans {
		if err := p.SetWeights(weight); err != nil {
			return err
		}
	}
	return nil
}

// Workspace is the device memory in bytes beyond tensors and weights.
func (b *batchwise) Workspace() int64 {
	n := b.size
	for _, p := range b.plans {
		n += p.Workspace()
	}
	return n
}

// Describe names the kernels and the parts.
func (b *batchwise) Describe() string {
	return fmt.Sprintf("%s; %d of %d images at a time", b.plans[0].Describe(), b.images, b.whole.N)
}

// Close frees weights and workspace. What was submitted before goes on.
func (b *batchwise) Close() {
	for _, p := range b.plans {
		p.Close()
	}
	for _, r := range b.rooms {
		r.Free()
	}
	for _, s := range b.sums {
		s.one.Free()
		s.all.Free()
	}
}
