//go:build cgo

package vkconv

import (
	"context"

	"vkconv/gpu"
	"vkconv/kernels"
)

// vulkanDouble records a plan in double precision.
type vulkanDouble struct {
	*kernels.Double
	v *vulkan
}

func (v *vulkan) double(d double, weight, bias []float64) (operator64, error) {
	plan, err := kernels.NewDouble(v.dev, d.problem, d.backward, weight, bias)
	if err != nil {
		return nil, err
	}
	return &vulkanDouble{plan, v}, nil
}

func (o *vulkanDouble) run(_ context.Context, operands stores) error { return o.v.record(o, operands) }

func (o *vulkanDouble) into(s *gpu.Stream, operands stores) error {
	views, _ := viewsOf(operands)
	return o.Record(s, views)
}

func (o *vulkanDouble) setWeights(weight, bias []float32) error {
	return o.setWeights64(widened(weight), widened(bias))
}

func (o *vulkanDouble) setWeights64(weight, bias []float64) error {
	if err := o.v.flush(); err != nil { // what is queued computes with the old weights
		return err
	}
	return o.SetWeights(weight, bias)
}

func (o *vulkanDouble) views() bool      { return o.Views() }
func (o *vulkanDouble) describe() string { return o.Describe() }
func (o *vulkanDouble) workspace() int64 { return o.Workspace() }
func (o *vulkanDouble) close()           { o.Close() }
