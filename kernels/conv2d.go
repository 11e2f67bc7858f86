//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// forward is a planned convolution, ordinary or deformable, however it is computed.
type forward interface {
	// recordForward records y = conv(x, offset, mask); what the problem lacks is
	// not looked at. y and x may be views, which must not overlap.
	recordForward(s *gpu.Stream, y, x View, offset, mask Tensor) error
	SetWeights(weight, bias []float32) error
	Workspace() int64
	Describe() string
	Close()
}

// planned is a forward plan, and how it was chosen.
type planned struct {
	forward
	choices []Choice
}

// Choices say how the kernel was chosen: nothing of a problem that is computed in
// pieces.
func (p planned) Choices() []Choice { return p.choices }

// Conv2D is a plan of an ordinary convolution.
type Conv2D struct{ planned }

// NewConv2D plans p, which comes from [conv.Params.Problem]: algorithm chosen,
// pipeline built, weights (K×(C/G)×R×S) and biases (K, nil without) on the
// device. A problem beyond the device's limits is computed in pieces, see
// piecewise.go; one of which no piece fits gives [gpu.ErrTooLarge].
func NewConv2D(d *gpu.Device, p conv.Problem, weight, bias []float32, options ...Option) (*Conv2D, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: a deformable problem is for NewDeformConv2D", conv.ErrParams)
	}
	f, err := newForward(makerFor(d, options...), p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &Conv2D{f}, nil
}

// Record records y = conv(x), x N×C×H×W and y N×K×Ho×Wo.
func (c *Conv2D) Record(s *gpu.Stream, y, x Tensor) error {
	return c.RecordViews(s, View{Tensor: y}, View{Tensor: x})
}

// RecordViews is Record between ranges of channels of wider tensors, which must
// not overlap.
func (c *Conv2D) RecordViews(s *gpu.Stream, y, x View) error {
	return c.recordForward(s, y, x, Tensor{}, Tensor{})
}
