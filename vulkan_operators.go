//go:build cgo

package vkconv

import (
	"context"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/kernels"
)

// vulkanPlan is what plans of package kernels share.
type vulkanPlan interface {
	Describe() string
	Workspace() int64
	Close()
}

// onDevice are an operator's tensors, the outputs first.
type onDevice = [maxOperands]kernels.Tensor

// vulkanOperator records a plan's dispatches into the backend's open stream.
type vulkanOperator struct {
	vulkanPlan
	v      *vulkan
	record func(s *gpu.Stream, t onDevice) error
	set    func(weight, bias []float32) error
}

func (o *vulkanOperator) run(_ context.Context, operands stores) error {
	return o.v.record(o, operands)
}

func (o *vulkanOperator) into(s *gpu.Stream, operands stores) error {
	return o.record(s, onDeviceOf(operands))
}

func onDeviceOf(operands stores) (t onDevice) {
	for i, s := range operands {
		if s != nil {
			t[i].Buf = s.(*deviceTensor).buf
		}
	}
	return t
}

func (o *vulkanOperator) takeWeights(weight, bias storage) error {
	return o.v.record(weightsOf{o}, stores{weight, bias})
}

// weightsOf takes an operator's weights from tensors.
type weightsOf struct{ *vulkanOperator }

func (o weightsOf) into(s *gpu.Stream, operands stores) error {
	t := onDeviceOf(operands)
	return kernels.RecordWeights(s, o.vulkanPlan, t[0], t[1])
}

func (o *vulkanOperator) setWeights(weight, bias []float32) error {
	if err := o.v.flush(); err != nil { // what is queued computes with the old weights
		return err
	}
	return o.set(weight, bias)
}

func (o *vulkanOperator) describe() string { return o.Describe() }
func (o *vulkanOperator) workspace() int64 { return o.Workspace() }
func (o *vulkanOperator) close()           { o.Close() }

func (o *vulkanOperator) choices() (all []Choice) {
	p, ok := o.vulkanPlan.(interface{ Choices() []kernels.Choice })
	if !ok {
		return nil
	}
	for _, c := range p.Choices() {
		one := Choice{Of: c.Of, How: c.By.String(), Why: c.String()}
		if c.Note != "" {
			one.How += ", " + c.Note
		}
		for i, m := range c.Candidates {
			one.Variants = append(one.Variants, Variant{m.Name, m.Unfit, m.Cost, m.Time, m.Runs, i == c.Chosen})
		}
		all = append(all, one)
	}
	return all
}

// tuned are the options that have a plan tuned, where the engine tunes.
func (v *vulkan) tuned(o layerOptions) []kernels.Option {
	if v.tuner == nil {
		return nil
	}
	return []kernels.Option{kernels.Tuned(o.tuneContext(), v.tuner)}
}

// allowed are a forward convolution's options: tuned's, and what its operands allow
// of matrix units.
func (v *vulkan) allowed(o layerOptions) []kernels.Option {
	options := append(v.tuned(o), kernels.Operands(o.stored))
	if o.split {
		options = append(options, kernels.AllowSplit)
	}
	return options
}

func (v *vulkan) conv2D(p conv.Problem, weight, bias []float32, o layerOptions) (operator, error) {
	options := v.allowed(o)
	if o.winograd {
		options = append(options, kernels.AllowWinograd)
	}
	plan, err := kernels.NewConv2D(v.dev, p, weight, bias, options...)
	if err != nil {
		return nil, err
	}
	return &vulkanViews{vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error { return plan.Record(s, t[0], t[1]) }, plan.SetWeights},
		func(s *gpu.Stream, y, x kernels.View, _ onDevice) error { return plan.RecordViews(s, y, x) }}, nil
}

func (v *vulkan) deformConv2D(p conv.Problem, weight, bias []float32, o layerOptions) (operator, error) {
	plan, err := kernels.NewDeformConv2D(v.dev, p, weight, bias, v.allowed(o)...)
	if err != nil {
		return nil, err
	}
	return &vulkanViews{vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error {
		return plan.Record(s, t[0], t[1], t[2], t[3])
	}, plan.SetWeights}, func(s *gpu.Stream, y, x kernels.View, t onDevice) error {
		return plan.RecordViews(s, y, x, t[2], t[3])
	}}, nil
}

func (v *vulkan) convTranspose2D(q conv.Transposed, weight, bias []float32) (operator, error) {
	plan, err := kernels.NewConvTranspose2D(v.dev, q, weight, bias)
	if err != nil {
		return nil, err
	}
	return &vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error { return plan.Record(s, t[0], t[1]) }, plan.SetWeights}, nil
}

// gradients are the first five operands of a backward pass.
func gradients(t onDevice) kernels.Grads {
	return kernels.Grads{X: t[0], Weight: t[1], Bias: t[2], Offset: t[3], Mask: t[4]}
}

func (v *vulkan) conv2DBackward(p conv.Problem, weight []float32, o layerOptions) (operator, error) {
	plan, err := kernels.NewBackward(v.dev, p, weight, v.tuned(o)...)
	if err != nil {
		return nil, err
	}
	return &vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error {
		return plan.RecordBackward(s, gradients(t), t[5], kernels.Tensor{}, kernels.Tensor{}, t[6])
	}, weightOnly(plan.SetWeights)}, nil
}

func (v *vulkan) deformConv2DBackward(p conv.Problem, weight []float32, o layerOptions) (operator, error) {
	make := kernels.NewBackward
	if o.atomics {
		make = kernels.NewBackwardAtomic
	}
	plan, err := make(v.dev, p, weight, v.tuned(o)...)
	if err != nil {
		return nil, err
	}
	return &vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error {
		return plan.RecordBackward(s, gradients(t), t[5], t[6], t[7], t[8])
	}, weightOnly(plan.SetWeights)}, nil
}

func (v *vulkan) convTranspose2DBackward(q conv.Transposed, weight []float32, o layerOptions) (operator, error) {
	plan, err := kernels.NewConvTranspose2DBackward(v.dev, q, weight, v.tuned(o)...)
	if err != nil {
		return nil, err
	}
	return &vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error {
		return plan.RecordBackward(s, gradients(t), t[5], kernels.Tensor{}, kernels.Tensor{}, t[6])
	}, weightOnly(plan.SetWeights)}, nil
}

func (v *vulkan) cast(elements int, t conv.Type, narrow bool) (caster, error) {
	c, err := kernels.NewCast(v.dev, t, elements, narrow)
	if err != nil {
		return nil, err
	}
	return &deviceCast{v, c}, nil
}

type deviceCast struct {
	v    *vulkan
	plan *kernels.Cast
}

func (c *deviceCast) cast(to, from storage) error { return c.v.record(c, stores{to, from}) }

func (c *deviceCast) into(s *gpu.Stream, operands stores) error {
	t := onDeviceOf(operands)
	return c.plan.Record(s, t[0], t[1])
}
