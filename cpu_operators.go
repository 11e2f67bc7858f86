package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

// cpuPlan is what plans of package fast share.
type cpuPlan interface {
	Describe() string
	Workspace() int64
}

// onHost are an operator's tensors, the outputs first.
type onHost = [maxOperands][]float32

// cpuOperator runs a plan at once.
type cpuOperator struct {
	cpuPlan
	compute func(ctx context.Context, t onHost) error
	set     func(weight, bias []float32) error
}

func (o *cpuOperator) run(ctx context.Context, operands stores) error {
	var t onHost
	for i, s := range operands {
		if s != nil {
			t[i] = s.(*hostTensor).data
		}
	}
	return o.compute(ctx, t)
}

func (o *cpuOperator) takeWeights(weight, bias storage) error {
	var b []float32
	if bias != nil {
		b = bias.(*hostTensor).data
	}
	return o.set(weight.(*hostTensor).data, b)
}

func (o *cpuOperator) setWeights(weight, bias []float32) error { return o.set(weight, bias) }
func (o *cpuOperator) describe() string                        { return o.Describe() }
func (o *cpuOperator) workspace() int64                        { return o.Workspace() }
func (o *cpuOperator) close()                                  {}

func (c *cpu) conv2D(p conv.Problem, weight, bias []float32, o layerOptions) (operator, error) {
	if o.split {
		return nil, errNoUnits()
	}
	var options []fast.Option
	if o.winograd {
		options = append(options, fast.AllowWinograd)
	}
	plan, err := fast.NewConv2D(c.pool, p, weight, bias, options...)
	if err != nil {
		return nil, err
	}
	return &cpuViews{cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1]) }, plan.SetWeights},
		func(ctx context.Context, t onHost, st fast.Strides) error {
			return plan.RunStrided(ctx, t[0], t[1], st)
		}}, nil
}

func errNoUnits() error {
	return fmt.Errorf("%w: split float32 needs matrix units for bfloat16 with float32 sums, the CPU path has none", conv.ErrUnsupported)
}

func (c *cpu) deformConv2D(p conv.Problem, weight, bias []float32, o layerOptions) (operator, error) {
	if o.split {
		return nil, errNoUnits()
	}
	plan, err := fast.NewDeformConv2D(c.pool, p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &cpuViews{cpuOperator{plan, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, t[0], t[1], t[2], t[3])
	}, plan.SetWeights}, func(ctx context.Context, t onHost, st fast.Strides) error {
		return plan.RunStrided(ctx, t[0], t[1], t[2], t[3], st)
	}}, nil
}

func (c *cpu) convTranspose2D(q conv.Transposed, weight, bias []float32) (operator, error) {
	plan, err := fast.NewConvTranspose2D(c.pool, q, weight, bias)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1]) }, plan.SetWeights}, nil
}

// hostGradients are the first five operands of a backward pass.
func hostGradients(t onHost) fast.Grads {
	return fast.Grads{X: t[0], Weight: t[1], Bias: t[2], Offset: t[3], Mask: t[4]}
}

// weightOnly makes a setter of one that takes no bias.
func weightOnly(set func(weight []float32) error) func(weight, bias []float32) error {
	return func(weight, _ []float32) error { return set(weight) }
}

func (c *cpu) conv2DBackward(p conv.Problem, weight []float32, _ layerOptions) (operator, error) {
	plan, err := fast.NewConv2DBackward(c.pool, p, weight)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, hostGradients(t), t[5], t[6])
	}, weightOnly(plan.SetWeights)}, nil
}

func (c *cpu) deformConv2DBackward(p conv.Problem, weight []float32, o layerOptions) (operator, error) {
	if o.atomics {
		return nil, fmt.Errorf("%w: atomic additions of floats on the CPU path, where a worker owns what it adds to", conv.ErrUnsupported)
	}
	plan, err := fast.NewDeformConv2DBackward(c.pool, p, weight)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, hostGradients(t), t[5], t[6], t[7], t[8])
	}, weightOnly(plan.SetWeights)}, nil
}

func (c *cpu) convTranspose2DBackward(q conv.Transposed, weight []float32, _ layerOptions) (operator, error) {
	plan, err := fast.NewConvTranspose2DBackward(c.pool, q, weight)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, hostGradients(t), t[5], t[6])
	}, weightOnly(plan.SetWeights)}, nil
}
