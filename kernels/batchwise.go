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
	Choices() []Choice
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
// binding of the device may cover, some images at a time or pieces of one. What
// fits no piece gives [gpu.ErrTooLarge].
func NewBackward(d *gpu.Device, p conv.Problem, weight []float32, options ...Option) (Backward, error) {
	return newBackward(makerFor(d, options...), p, weight)
}

// NewBackwardAtomic is [NewBackward] of a deformable convolution with the gradient
// by the input by atomic additions of floats, whose last bits may differ from run
// to run. Without those on the device the error matches [conv.ErrUnsupported].
func NewBackwardAtomic(d *gpu.Device, p conv.Problem, weight []float32, options ...Option) (Backward, error) {
	if !d.Info().Features.FloatAtomicAdd {
		return nil, fmt.Errorf("kernels: %w: atomic additions of floats on %s, which has none in buffers (VK_EXT_shader_atomic_float)", conv.ErrUnsupported, d.Info().Name)
	}
	m := makerFor(d, options...)
	m.atomics = true
	return newBackward(m, p, weight)
}

func newBackward(m maker, p conv.Problem, weight []float32) (Backward, error) {
	return inParts(p.N, func(images int) (Backward, error) {
		if images == p.N {
			return newWholeBackward(m, p, weight)
		}
		return orNone(newBatchwise(m, p, images, weight))
	})
}

// inParts plans with so many images at a time as fit, all of them or a half, a
// quarter, …
func inParts[T any](all int, plan func(images int) (T, error)) (T, error) {
	for images := all; ; images /= 2 {
		p, err := plan(images)
		if images < 2 || !errors.Is(err, gpu.ErrTooLarge) {
			return p, err
		}
	}
}

// newWholeBackward plans p at once or, where it is one image that passes a
// binding, in pieces of that.
func newWholeBackward(m maker, p conv.Problem, weight []float32) (Backward, error) {
	if p.Deformable() {
		b, err := orNone(planGradients(m, p, func(m maker) (*DeformConv2DBackward, error) { return newDeformConv2DBackward(m, p, weight) }))
		if p.N == 1 && errors.Is(err, gpu.ErrTooLarge) {
			return orNone(newDeformSingle(m, p, weight))
		}
		return b, err
	}
	b, err := orNone(planGradients(m, p, func(m maker) (*Conv2DBackward, error) { return newConv2DBackward(m, p, weight, true) }))
	if p.N == 1 && errors.Is(err, gpu.ErrTooLarge) {
		return orNone(newSingle(m, p, weight, false))
	}
	return b, err
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
//	dweight   sum 0   +  sum 1   +  sum 2
type batchwise struct {
	portions            // of dx, doffset, dmask, x, offset, mask, dy
	plans    []Backward // one or, where the last part is shorter, two
	sums     [2]partSum // dweight, dbias
}

// partSum adds up what the parts found, the first first.
type partSum struct {
	elements int
	one      *gpu.Buffer // of a part
	add      *flat
}

func newBatchwise(m maker, p conv.Problem, images int, weight []float32) (*batchwise, error) {
	return newBatchwiseOf(m, p.N, images, batchLengths(p), [2]int{p.Weight().Len(), p.K}, func(images int) (Backward, error) {
		part := p
		part.N = images
		return newWholeBackward(m, part, weight)
	})
}

// newBatchwiseOf plans gradients of a batch of so many, some images at a time, by
// the plan that whole makes of a part. lengths are the elements that an image takes
// of the tensors, sums those of the gradients by weight and bias.
func newBatchwiseOf(m maker, all, images int, lengths []int, sums [2]int, whole func(images int) (Backward, error)) (*batchwise, error) {
	b := &batchwise{portions: portions{device: m.device, all: all, images: images, lengths: lengths, written: 3}}
	var err error
	for _, images := range []int{images, all % images} {
		if images == 0 || err != nil {
			continue
		}
		var plan Backward
		if plan, err = whole(images); err == nil {
			b.plans = append(b.plans, plan)
		}
	}
	if err == nil {
		err = b.reserve(m, sums)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// batchLengths are the elements that an image takes of the tensors as
// RecordBackward has them: dx, doffset, dmask, x, offset, mask, dy.
func batchLengths(p conv.Problem) []int {
	p.N = 1
	x, y, offset, mask := p.Input().Len(), p.Output().Len(), 0, 0
	if p.Deformable() {
		offset = p.Offset().Len()
		if p.Mask {
			mask = p.MaskShape().Len()
		}
	}
	return []int{x, offset, mask, x, offset, mask, y}
}

// reserve makes room for the sums and what the portions need.
func (b *batchwise) reserve(m maker, sums [2]int) (err error) {
	if err := b.portions.reserve(); err != nil {
		return err
	}
	for i, n := range sums {
		sum := &b.sums[i]
		sum.elements = n
		if sum.one, err = b.buffer(n); err != nil {
			return err
		}
		if sum.add, err = newFlat(m, "add", n, []string{"a gradient", "a part of it", "a gradient"}, []int{n, n, n}, nil); err != nil {
			return err
		}
	}
	return nil
}

// RecordBackward records part after part. The sums of the first go to where they
// belong, those of the others are added to them.
func (b *batchwise) RecordBackward(s *gpu.Stream, g Grads, x, offset, mask, dy Tensor) error {
	return b.each(s, []Tensor{g.X, g.Offset, g.Mask, x, offset, mask, dy}, func(part, images int, at []Tensor) error {
		plan := b.plans[0]
		if images < b.images {
			plan = b.plans[1]
		}
		own := Grads{X: at[0], Offset: at[1], Mask: at[2], Weight: g.Weight, Bias: g.Bias}
		if g.Weight.wants() && part > 0 {
			own.Weight = Tensor{Buf: b.sums[0].one}
		}
		if g.Bias.wants() && part > 0 {
			own.Bias = Tensor{Buf: b.sums[1].one}
		}
		if err := plan.RecordBackward(s, own, at[3], at[4], at[5], at[6]); err != nil || part == 0 {
			return err
		}
		for i, to := range []Tensor{g.Weight, g.Bias} {
			if !to.wants() {
				continue
			}
			if err := b.sums[i].add.record(s, to, Tensor{Buf: b.sums[i].one}, to); err != nil {
				return err
			}
		}
		return nil
	})
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
	return fmt.Sprintf("%s; %d of %d images at a time", b.plans[0].Describe(), b.images, b.all)
}

// Choices say how the kernels of the parts were chosen.
func (b *batchwise) Choices() []Choice { return b.plans[0].Choices() }

// Close frees weights and workspace. What was submitted before goes on.
func (b *batchwise) Close() {
	for _, p := range b.plans {
		p.Close()
	}
	b.portions.free()
	for _, s := range b.sums {
		s.one.Free()
	}
}
