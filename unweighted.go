package vkconv

import (
	"context"
	"fmt"
	"time"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

// unweighted is what layers without weights share.
type unweighted struct{ l *layer }

// planUnweighted asks the backend, by make, for an operator whose operands, the
// output and the input, may be channels of wider tensors.
func (e *Engine) planUnweighted(name string, as double, options []LayerOption, make func() (operator, error)) (unweighted, error) {
	o := optionsOf(options)
	if o.atomics {
		return unweighted{}, refuseAtomics(name)
	}
	stored, err := newStaging(e, o.stored)
	if err != nil {
		return unweighted{}, err
	}
	if o.double {
		return unweighted{}, errNoWeights
	}
	done, err := e.use()
	if err != nil {
		return unweighted{}, err
	}
	defer done()
	if o.stored == conv.Float64 {
		make = func() (operator, error) { return e.back.double(as, nil, nil) }
	}
	begun := time.Now()
	op, err := make()
	if err != nil {
		return unweighted{}, fmt.Errorf("%s: %w", name, err)
	}
	e.planned(name, op, begun)
	l := &layer{engine: e, typ: o.stored, stored: stored, op: op}
	l.takeViews()
	return unweighted{l}, nil
}

// planSingle is planUnweighted where operators of whole tensors take no channels.
func (e *Engine) planSingle(name string, whole bool, as double, options []LayerOption, make func() (operator, error)) (unweighted, error) {
	u, err := e.planUnweighted(name, as, options, make)
	if err == nil && whole {
		u.l.views = 0
	}
	return u, err
}

// Describe says how the layer computes.
func (u unweighted) Describe() string { return u.l.Describe() }

// Workspace returns the bytes of device memory that a run uses beyond inputs and
// outputs.
func (u unweighted) Workspace() int64 { return u.l.Workspace() }

// Close gives the plan's memory back when the work queued so far is done with it.
func (u unweighted) Close() { u.l.Close() }

// cpuStrided is a plan of package fast between channels of wider tensors.
type cpuStrided interface {
	cpuPlan
	Run(ctx context.Context, y, x []float32, st fast.Strides) error
}

func withoutWeights(weight, bias []float32) error {
	return fmt.Errorf("%w: the layer has no weights", conv.ErrUnsupported)
}

// unweightedOnCPU makes an operator of a plan.
func unweightedOnCPU(plan cpuStrided) operator {
	return &cpuViews{cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1], fast.Strides{}) }, withoutWeights},
		func(ctx context.Context, t onHost, st fast.Strides) error { return plan.Run(ctx, t[0], t[1], st) }}
}

func (c *cpu) resize(r conv.Resize, backward bool) (operator, error) {
	if backward {
		return unweightedOnCPU(fast.NewResizeBackward(c.pool, r)), nil
	}
	return unweightedOnCPU(fast.NewResize(c.pool, r)), nil
}

func (c *cpu) globalPool(p conv.GlobalPool, backward bool) (operator, error) {
	if backward {
		return unweightedOnCPU(fast.NewGlobalPoolBackward(c.pool, p)), nil
	}
	return unweightedOnCPU(fast.NewGlobalPool(c.pool, p)), nil
}

func (c *cpu) add(elements int) (operator, error) {
	plan := fast.NewAdd(c.pool, elements)
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1], t[2]) }, withoutWeights}, nil
}

func (c *cpu) activation(x conv.Shape, a conv.Activation, backward bool) (operator, error) {
	plan := fast.NewActivation(c.pool, x, a)
	if backward {
		return &cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Backward(ctx, t[0], t[1], t[2]) }, withoutWeights}, nil
	}
	return unweightedOnCPU(plan), nil
}

func (c *cpu) window(p conv.Pool, backward bool) (operator, error) {
	plan := fast.NewWindow(c.pool, p)
	switch {
	case !backward:
		return unweightedOnCPU(plan), nil
	case p.Maximum:
		return &cpuOperator{plan, func(ctx context.Context, t onHost) error {
			return plan.Backward(ctx, t[0], t[1], t[2], fast.Strides{})
		}, withoutWeights}, nil
	}
	spread := func(ctx context.Context, t onHost, st fast.Strides) error {
		return plan.Backward(ctx, t[0], nil, t[1], st)
	}
	return &cpuViews{cpuOperator{plan, func(ctx context.Context, t onHost) error { return spread(ctx, t, fast.Strides{}) }, withoutWeights}, spread}, nil
}

func (c *cpu) batchNorm(b conv.BatchNorm, pass normPass) (operator, error) {
	plan := fast.NewBatchNorm(c.pool, b)
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error {
		switch pass {
		case normTraining:
			return plan.Train(ctx, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
		case normBackward:
			return plan.Backward(ctx, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7])
		}
		return plan.Run(ctx, t[0], t[1], t[2], t[3], t[4], t[5])
	}, withoutWeights}, nil
}

// cpuStep is a step of an optimizer.
type cpuStep struct {
	cpuOperator
	step step
}

func (o *cpuStep) at(s step) { o.step = s }

func (c *cpu) sgd(elements int, o conv.SGD) (stepper, error) {
	plan, op := fast.NewSGD(c.pool, elements, o), &cpuStep{}
	op.cpuOperator = cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1], t[2], op.step.rate) }, withoutWeights}
	return op, nil
}

func (c *cpu) adam(elements int, o conv.Adam) (stepper, error) {
	plan, op := fast.NewAdam(c.pool, elements, o), &cpuStep{}
	op.cpuOperator = cpuOperator{plan, func(ctx context.Context, t onHost) error {
		return plan.Run(ctx, t[0], t[1], t[2], t[3], op.step.rate, op.step.t)
	}, withoutWeights}
	return op, nil
}

func (c *cpu) crossEntropy(e conv.CrossEntropy) (operator, error) {
	plan := fast.NewCrossEntropy(c.pool, e)
	return &cpuOperator{plan, func(ctx context.Context, t onHost) error { return plan.Run(ctx, t[0], t[1], t[2], t[3]) }, withoutWeights}, nil
}
