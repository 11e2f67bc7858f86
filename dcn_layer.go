package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// sampling is what the layers without weights share: DCNv3, DCNv4 and RoI
// pooling. They run forward and backward.
type sampling struct{ forward, backward layer }

// samplingBackend is a backend with these operators. Operands are, in this
// order, forward the output and its inputs, backward the gradients by the
// inputs that have one, the inputs and the gradient by the output.
type samplingBackend interface {
	dcn(d conv.DCN) (forward, backward operator, err error)
	roiPool(q conv.RoIPool) (forward, backward operator, err error)
}

// newSampling plans a layer by make, or problem in float64.
func (e *Engine) newSampling(name string, problem any, options []LayerOption, make func(samplingBackend) (forward, backward operator, err error)) (*sampling, error) {
	o := optionsOf(options)
	if o.atomics {
		return nil, refuseAtomics(name)
	}
	if o.double {
		return nil, errNoWeights
	}
	stored, err := newStaging(e, o.stored)
	if err != nil {
		return nil, err
	}
	storedBack, err := newStaging(e, o.stored)
	if err != nil {
		return nil, err
	}
	done, err := e.use()
	if err != nil {
		return nil, err
	}
	defer done()
	back, ok := e.back.(samplingBackend)
	if !ok {
		return nil, fmt.Errorf("%s: %w on %s, only on the CPU path", name, conv.ErrUnsupported, e.back.name())
	}
	var f, b operator
	if o.stored == conv.Float64 {
		if f, err = e.back.double(double{problem, false}, nil, nil); err == nil {
			b, err = e.back.double(double{problem, true}, nil, nil)
		}
	} else {
		f, b, err = make(back)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &sampling{forward: layer{engine: e, typ: o.stored, stored: stored, op: f}, backward: layer{engine: e, typ: o.stored, stored: storedBack, op: b}}, nil
}

// Workspace returns the bytes of device memory that runs use beyond their
// tensors: RunBackward, and of a layer made with [Stored] Run as well.
func (l *sampling) Workspace() int64 { return l.forward.Workspace() + l.backward.Workspace() }

// Describe says how the layer runs.
func (l *sampling) Describe() string { return l.forward.Describe() }

// Close gives the plan's memory back when the work queued so far is done with it.
func (l *sampling) Close() {
	l.forward.Close()
	l.backward.Close()
}

// run queues the output y from the inputs.
func (l *sampling) run(ctx context.Context, y operand, in []operand) error {
	y.role = output
	list := operandList{y}
	copy(list[1:], in)
	return l.forward.run(ctx, list[:]...)
}

// runBackward queues the gradients that are not nil; their shapes are those of
// the input, offset and mask.
func (l *sampling) runBackward(ctx context.Context, g Gradients, x, offset, mask conv.Shape, in []operand, dy operand) error {
	if g.Weight != nil || g.Bias != nil {
		return fmt.Errorf("%w: a gradient by weight or bias was asked of a layer that has none", conv.ErrShape)
	}
	list := operandList{{"gradient by input", g.X, x, wish}, {"gradient by offset", g.Offset, offset, wish}, {"gradient by mask", g.Mask, mask, wish}}
	list[3+copy(list[3:], in)] = dy
	return l.backward.run(ctx, list[:]...)
}

// samplingPlan is what the plans below these operators have in common.
type samplingPlan struct {
	text  string
	bytes int64
	free  func()
}

func (p samplingPlan) Describe() string { return p.text }
func (p samplingPlan) Workspace() int64 { return p.bytes }

func (p samplingPlan) Close() {
	if p.free != nil {
		p.free()
	}
}

// noWeights is the setter of operators that have none; nothing calls it.
func noWeights(_, _ []float32) error { return nil }
