//go:build cgo

package vkconv

import (
	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/kernels"
)

func (v *vulkan) dcn(d conv.DCN) (forward, backward operator, err error) {
	plan, err := kernels.NewDCN(v.dev, d)
	if err != nil {
		return nil, nil, err
	}
	forward = &vulkanOperator{v, samplingPlan{text: plan.Describe()}, func(s *gpu.Stream, t *[maxOperands]kernels.Tensor) error {
		return plan.Record(s, t[0], t[1], t[2], t[3])
	}}
	backward = &vulkanOperator{v, samplingPlan{bytes: plan.Workspace(), free: plan.Close}, func(s *gpu.Stream, t *[maxOperands]kernels.Tensor) error {
		return plan.RecordBackward(s, t[0], t[1], t[2], t[3], t[4], t[5], t[6])
	}}
	return forward, backward, nil
}

func (v *vulkan) roiPool(q conv.RoIPool) (forward, backward operator, err error) {
	plan, err := kernels.NewRoIPool(v.dev, q)
	if err != nil {
		return nil, nil, err
	}
	forward = &vulkanOperator{v, samplingPlan{text: plan.Describe()}, func(s *gpu.Stream, t *[maxOperands]kernels.Tensor) error {
		return plan.Record(s, t[0], t[1], t[2], t[3], t[4])
	}}
	backward = &vulkanOperator{v, samplingPlan{}, func(s *gpu.Stream, t *[maxOperands]kernels.Tensor) error {
		return plan.RecordBackward(s, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
	}}
	return forward, backward, nil
}
