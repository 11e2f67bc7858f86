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
	forward = &vulkanOperator{samplingPlan{text: plan.Describe()}, v, func(s *gpu.Stream, t onDevice) error {
		return plan.Record(s, t[0], t[1], t[2], t[3])
	}, noWeights}
	backward = &vulkanOperator{samplingPlan{bytes: plan.Workspace(), free: plan.Close}, v, func(s *gpu.Stream, t onDevice) error {
		return plan.RecordBackward(s, t[0], t[1], t[2], t[3], t[4], t[5], t[6])
	}, noWeights}
	return forward, backward, nil
}

func (v *vulkan) roiPool(q conv.RoIPool) (forward, backward operator, err error) {
	plan, err := kernels.NewRoIPool(v.dev, q)
	if err != nil {
		return nil, nil, err
	}
	forward = &vulkanOperator{samplingPlan{text: plan.Describe()}, v, func(s *gpu.Stream, t onDevice) error {
		return plan.Record(s, t[0], t[1], t[2], t[3], t[4])
	}, noWeights}
	backward = &vulkanOperator{samplingPlan{bytes: plan.Workspace(), free: plan.Close}, v, func(s *gpu.Stream, t onDevice) error {
		return plan.RecordBackward(s, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
	}, noWeights}
	return forward, backward, nil
}
