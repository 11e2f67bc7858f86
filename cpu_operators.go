package vkconv

import (
	"context"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

// cpuPlan is what plans of package fast share.
type cpuPlan interface {
	Describe() string
	Workspace() int64
}

// onHost are an operator's tensors, the outputs first.
type onHost = *[maxOperands][]float32

// cpuOperator runs a plan at once.
type cpuOperator struct {
	cpuPlan
	compute func(ctx context.Context, t onHost) error
	set     func(weight, bias []float32) error
}

func (o *cpuOperator) run(ctx context.Context, operands []storage) error {
	var t [maxOperands][]float32
	for i, s := range operands {
		if s != nil {
			t[i] = s.(*hostTensor).data
		}
	}
	return o.compute(ctx, &t)
}

func (o *cpuOperator) setWeights(weight, bias []float32) error { return o.set(weight, bias) }
func (o *cpuOperator) describe() string                        { return o.Describe() }
func (o *cpuOperator) workspace() int64                        { return o.Workspace() }
func (o *cpuOperator) close()                                  {}

func (c *cpu) conv2D(p conv.Problem, weight, bias []float32) (operator, error) {
	plan, err := fast.NewConv2D(c.pool, p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1]) }, plan.SetWeights}, nil
}

func (c *cpu) deformConv2D(p conv.Problem, weight, bias []float32) (operator, error) {
	plan, err := fast.NewDeformConv2D(c.pool, p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, t[0], t[1], t[2], t[3])
	}, plan.SetWeights}, nil
}
