package vkconv

import (
	"context"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

func (c *cpu) dcn(d conv.DCN) (forward, backward operator, err error) {
	plan, err := fast.NewDCN(c.pool, d)
	if err != nil {
		return nil, nil, err
	}
	forward = &cpuOperator{samplingPlan{text: plan.Describe(), bytes: plan.Workspace()}, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, t[0], t[1], t[2], t[3])
	}, noWeights}
	backward = &cpuOperator{samplingPlan{bytes: plan.Workspace()}, func(ctx context.Context, t onHost) error {
		return plan.Backward(ctx, t[0], t[1], t[2], t[3], t[4], t[5], t[6])
	}, noWeights}
	return forward, backward, nil
}

func (c *cpu) roiPool(q conv.RoIPool) (forward, backward operator, err error) {
	plan := fast.NewRoIPool(c.pool, q)
	forward = &cpuOperator{samplingPlan{text: "plain Go, float32"}, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, t[0], t[1], t[2], t[3], t[4])
	}, noWeights}
	backward = &cpuOperator{samplingPlan{}, func(ctx context.Context, t onHost) error {
		return plan.Backward(ctx, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
	}, noWeights}
	return forward, backward, nil
}
