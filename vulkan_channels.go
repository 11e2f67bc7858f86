//go:build cgo

package vkconv

import (
	"context"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/kernels"
)

// vulkanViews is a vulkanOperator whose first two operands, output and input,
// may be views.
type vulkanViews struct {
	vulkanOperator
	views func(s *gpu.Stream, y, x kernels.View, t onDevice) error
}

func (o *vulkanViews) run(ctx context.Context, operands []storage) error {
	var t [maxOperands]kernels.Tensor
	var views [maxOperands]kernels.View
	some := false
	for i, s := range operands {
		switch s := s.(type) {
		case view:
			some = true
			t[i].Buf = s.storage.(*deviceTensor).buf
			views[i] = kernels.View{Tensor: t[i], Channels: s.whole[1], First: s.first}
		case *deviceTensor:
			t[i].Buf = s.buf
			views[i].Tensor = t[i]
		}
	}
	if !some {
		return o.vulkanOperator.run(ctx, operands)
	}
	return o.v.record(func(s *gpu.Stream) error { return o.views(s, views[0], views[1], &t) })
}

// vulkanScaler is a plan of package kernels between channels of wider tensors.
type vulkanScaler interface {
	vulkanPlan
	Record(s *gpu.Stream, y, x kernels.View) error
}

// unweightedOnDevice makes an operator of a plan.
func (v *vulkan) unweightedOnDevice(plan vulkanScaler, err error) (operator, error) {
	if err != nil {
		return nil, err
	}
	return &vulkanViews{vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error {
		return plan.Record(s, kernels.View{Tensor: t[0]}, kernels.View{Tensor: t[1]})
	}, withoutWeights}, func(s *gpu.Stream, y, x kernels.View, _ onDevice) error { return plan.Record(s, y, x) }}, nil
}

func (v *vulkan) resize(r conv.Resize, backward bool) (operator, error) {
	if backward {
		return v.unweightedOnDevice(kernels.NewResizeBackward(v.dev, r))
	}
	return v.unweightedOnDevice(kernels.NewResize(v.dev, r))
}

func (v *vulkan) globalPool(p conv.GlobalPool, backward bool) (operator, error) {
	if backward {
		return v.unweightedOnDevice(kernels.NewGlobalPoolBackward(v.dev, p))
	}
	return v.unweightedOnDevice(kernels.NewGlobalPool(v.dev, p))
}
