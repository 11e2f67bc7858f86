//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// DeformConv2D is a plan of a deformable convolution, v1 or v2.
type DeformConv2D struct{ planned }

// NewDeformConv2D plans p, which comes from [conv.Params.DeformProblem]; the
// rest is as for [NewConv2D].
func NewDeformConv2D(d *gpu.Device, p conv.Problem, weight, bias []float32, options ...Option) (*DeformConv2D, error) {
	if !p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: an ordinary problem is for NewConv2D", conv.ErrParams)
	}
	f, err := newForward(makerFor(d, options...), p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &DeformConv2D{f}, nil
}

// Record records y = deform(x, offset, mask): x N×C×H×W, y N×K×Ho×Wo, offset
// N×(2·og·R·S)×Ho×Wo, mask N×(og·R·S)×Ho×Wo. Without a mask in the problem, mask
// is not looked at.
func (c *DeformConv2D) Record(s *gpu.Stream, y, x, offset, mask Tensor) error {
	return c.RecordViews(s, View{Tensor: y}, View{Tensor: x}, offset, mask)
}

// RecordViews is Record between ranges of channels of wider tensors, which must
// not overlap.
func (c *DeformConv2D) RecordViews(s *gpu.Stream, y, x View, offset, mask Tensor) error {
	return c.recordForward(s, y, x, offset, mask)
}
