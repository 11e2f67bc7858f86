package vkconv

import (
	"context"
	"fmt"

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
	op, err := make()
	if err != nil {
		return unweighted{}, fmt.Errorf("%s: %w", name, err)
	}
	l := &layer{engine: e, typ: o.stored, stored: stored, op: op}
	l.takeViews()
	return unweighted{l}, nil
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
