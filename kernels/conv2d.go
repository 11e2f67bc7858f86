//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// Conv2D is a plan of an ordinary convolution.
type Conv2D struct{ *operator }

// NewConv2D plans p, which comes from [conv.Params.Problem]: algorithm chosen,
// pipeline built, weights (K×(C/G)×R×S) and biases (K, nil without) on the
// device. A problem beyond the device's limits gives [gpu.ErrTooLarge].
func NewConv2D(d *gpu.Device, p conv.Problem, weight, bias []float32) (*Conv2D, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: a deformable problem is for NewDeformConv2D", conv.ErrParams)
	}
	l, err := choose(p, traitsOf(d.Info()))
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	o, err := newOperator(d, l, weight, bias)
	if err != nil {
		return nil, err
	}
	return &Conv2D{o}, nil
}

// Record records y = conv(x), x N×C×H×W and y N×K×Ho×Wo.
func (c *Conv2D) Record(s *gpu.Stream, y, x Tensor) error {
	return c.record(s, &[slots]Tensor{slotX: x, slotY: y},
		&[slots]int{slotX: c.problem.Input().Len(), slotY: c.problem.Output().Len()})
}
