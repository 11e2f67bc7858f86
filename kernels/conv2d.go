//go:build cgo

package kernels

import (
	"fmt"
	"slices"

	"vkconv/conv"
	"vkconv/gpu"
)

// Conv2D is a plan of an ordinary convolution.
type Conv2D struct{ convolution }

// convolution computes one in one way or another.
type convolution interface {
	recordConv(s *gpu.Stream, y, x View) error
	SetWeights(weight, bias []float32) error
	Workspace() int64
	Describe() string
	Close()
}

// NewConv2D plans p, which comes from [conv.Params.Problem]: algorithm chosen,
// pipeline built, weights (K×(C/G)×R×S) and biases (K, nil without) on the
// device. A problem beyond the device's limits gives [gpu.ErrTooLarge].
func NewConv2D(d *gpu.Device, p conv.Problem, weight, bias []float32, options ...Option) (*Conv2D, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: a deformable problem is for NewDeformConv2D", conv.ErrParams)
	}
	t := traitsOf(d.Info())
	l, err := choose(p, t)
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	if slices.Contains(options, AllowWinograd) {
		if w, ok := chooseWinograd(p, t, l.cost); ok {
			c, err := newWinograd(d, p, w, weight, bias)
			if err != nil {
				return nil, err
			}
			return &Conv2D{c}, nil
		}
	}
	o, err := newOperator(d, l, weight, bias)
	if err != nil {
		return nil, err
	}
	return &Conv2D{o}, nil
}

// Record records y = conv(x), x N×C×H×W and y N×K×Ho×Wo.
func (c *Conv2D) Record(s *gpu.Stream, y, x Tensor) error {
	return c.recordConv(s, View{Tensor: y}, View{Tensor: x})
}

// RecordViews is [Conv2D.Record] between ranges of channels of wider tensors,
// which must not overlap.
func (c *Conv2D) RecordViews(s *gpu.Stream, y, x View) error { return c.recordConv(s, y, x) }

func (o *operator) recordConv(s *gpu.Stream, y, x View) error {
	return o.recordViews(s, y, x, &[slots]Tensor{}, &[slots]int{})
}
