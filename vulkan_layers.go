//go:build cgo

package vkconv

import (
	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/kernels"
)

// wholeOnDevice makes an operator of a plan between whole tensors.
func wholeOnDevice[P vulkanPlan](v *vulkan, plan P, err error, record func(plan P, s *gpu.Stream, t onDevice) error) (operator, error) {
	if err != nil {
		return nil, err
	}
	return &vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error { return record(plan, s, t) }, withoutWeights}, nil
}

func (v *vulkan) add(elements int) (operator, error) {
	plan, err := kernels.NewAdd(v.dev, elements)
	return wholeOnDevice(v, plan, err, func(p *kernels.Add, s *gpu.Stream, t onDevice) error { return p.Record(s, t[0], t[1], t[2]) })
}

func (v *vulkan) activation(x conv.Shape, a conv.Activation, backward bool) (operator, error) {
	if !backward {
		return v.unweightedOnDevice(kernels.NewActivation(v.dev, x, a))
	}
	plan, err := kernels.NewActivationBackward(v.dev, x.Len(), a)
	return wholeOnDevice(v, plan, err, func(p *kernels.ActivationBackward, s *gpu.Stream, t onDevice) error {
		return p.Record(s, t[0], t[1], t[2])
	})
}

func (v *vulkan) window(p conv.Pool, backward bool) (operator, error) {
	switch {
	case !backward:
		return v.unweightedOnDevice(kernels.NewWindow(v.dev, p))
	case !p.Maximum:
		return v.unweightedOnDevice(kernels.NewMeanBackward(v.dev, p))
	}
	plan, err := kernels.NewMaxBackward(v.dev, p)
	return wholeOnDevice(v, plan, err, func(p *kernels.MaxBackward, s *gpu.Stream, t onDevice) error { return p.Record(s, t[0], t[1], t[2]) })
}

func (v *vulkan) batchNorm(b conv.BatchNorm, pass normPass) (operator, error) {
	moments := func(mean, variance kernels.Tensor) kernels.Moments { return kernels.Moments{Mean: mean, Var: variance} }
	switch pass {
	case normTraining:
		plan, err := kernels.NewBatchNormTraining(v.dev, b)
		return wholeOnDevice(v, plan, err, func(p *kernels.BatchNorm, s *gpu.Stream, t onDevice) error {
			return p.RecordTraining(s, t[0], moments(t[1], t[2]), moments(t[3], t[4]), t[5], t[6], t[7])
		})
	case normBackward:
		plan, err := kernels.NewBatchNormBackward(v.dev, b)
		return wholeOnDevice(v, plan, err, func(p *kernels.BatchNorm, s *gpu.Stream, t onDevice) error {
			return p.RecordBackward(s, kernels.Grads{X: t[0], Weight: t[1], Bias: t[2]}, t[3], t[4], t[5], moments(t[6], t[7]))
		})
	}
	plan, err := kernels.NewBatchNorm(v.dev, b)
	return wholeOnDevice(v, plan, err, func(p *kernels.BatchNorm, s *gpu.Stream, t onDevice) error {
		return p.Record(s, t[0], t[1], t[2], t[3], moments(t[4], t[5]))
	})
}

// vulkanStep is a step of an optimizer.
type vulkanStep struct {
	vulkanOperator
	step step
}

func (o *vulkanStep) at(s step) { o.step = s }

func (v *vulkan) sgd(elements int, o conv.SGD) (stepper, error) {
	plan, err := kernels.NewSGD(v.dev, elements, o)
	if err != nil {
		return nil, err
	}
	op := &vulkanStep{}
	op.vulkanOperator = vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error { return plan.Record(s, t[0], t[1], t[2], op.step.rate) }, withoutWeights}
	return op, nil
}

func (v *vulkan) adam(elements int, o conv.Adam) (stepper, error) {
	plan, err := kernels.NewAdam(v.dev, elements, o)
	if err != nil {
		return nil, err
	}
	op := &vulkanStep{}
	op.vulkanOperator = vulkanOperator{plan, v, func(s *gpu.Stream, t onDevice) error {
		return plan.Record(s, t[0], t[1], t[2], t[3], op.step.rate, op.step.t)
	}, withoutWeights}
	return op, nil
}

func (v *vulkan) crossEntropy(c conv.CrossEntropy) (operator, error) {
	plan, err := kernels.NewCrossEntropy(v.dev, c)
	return wholeOnDevice(v, plan, err, func(p *kernels.CrossEntropy, s *gpu.Stream, t onDevice) error {
		return p.Record(s, t[0], t[1], t[2], t[3])
	})
}
