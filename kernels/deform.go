//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// DeformConv2D is a plan of a deformable convolution, v1 or v2.
type DeformConv2D struct{ *operator }

// NewDeformConv2D plans p, which comes from [conv.Params.DeformProblem]; the
// rest is as for [NewConv2D].
func NewDeformConv2D(d *gpu.Device, p conv.Problem, weight, bias []float32) (*DeformConv2D, error) {
	if !p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: an ordinary problem is for NewConv2D", conv.ErrParams)
	}
	l, err := choose(p, traitsOf(d.Info()))
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	o, err := newOperator(d, l, weight, bias)
	if err != nil {
		return nil, err
	}
	return &DeformConv2D{o}, nil
}

// Record records y = deform(x, offset, mask): x N×C×H×W, y N×K×Ho×Wo, offset
// N×(2·og·R·S)×Ho×Wo, mask N×(og·R·S)×Ho×Wo. Without a mask in the problem, mask
// is not looked at.
func (c *DeformConv2D) Record(s *gpu.Stream, y, x, offset, mask Tensor) error {
	p := &c.problem
	elements := [slots]int{slotX: p.Input().Len(), slotY: p.Output().Len(), slotOffset: p.Offset().Len(), slotMask: p.MaskShape().Len()}
	if !p.Mask { // the binding must be something that may be read
		mask, elements[slotMask] = offset, elements[slotOffset]
	}
	return c.record(s, &[slots]Tensor{slotX: x, slotY: y, slotOffset: offset, slotMask: mask}, &elements)
}
