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

func (o *vulkanDouble) run(_ context.Context, operands []storage) error {
	var t kernels.DoubleTensors
	for i, s := range operands {
		switch s := s.(type) {
		case view:
			t[i] = kernels.View{Tensor: kernels.Tensor{Buf: s.storage.(*deviceTensor).buf}, Channels: s.whole[1], First: s.first}
		case *deviceTensor:
			t[i].Buf = s.buf
		}
	}
	return o.v.record(func(s *gpu.Stream) error { return o.Record(s, &t) })
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
