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

func (o *vulkanViews) run(_ context.Context, operands stores) error { return o.v.record(o, operands) }

func (o *vulkanViews) into(stream *gpu.Stream, operands stores) error {
	views, some := viewsOf(operands)
	var t onDevice
	for i, v := range views {
		t[i] = v.Tensor
	}
	if !some {
		return o.record(stream, t)
	}
	return o.views(stream, views[0], views[1], t)
}

// viewsOf are the operands as views, and whether some are channels of wider tensors.
func viewsOf(operands stores) (views [maxOperands]kernels.View, some bool) {
	for i, s := range operands {
		switch s := s.(type) {
		case *view:
			some = true
			views[i] = kernels.View{Tensor: kernels.Tensor{Buf: s.storage.(*deviceTensor).buf}, Channels: s.whole[1], First: s.first}
		case *deviceTensor:
			views[i].Buf = s.buf
		}
	}
	return views, some
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
