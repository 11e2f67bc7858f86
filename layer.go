package vkconv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"vkconv/conv"
)

// layer is what all layers share.
type layer struct {
	engine *Engine
	p      conv.Problem
	biases int // elements of the bias, 0 without one

	typ    conv.Type // of the tensors
	stored *staging  // nil where the operator takes them as they are
	views  uint      // bit i: operand i may be channels of a wider tensor

	mu sync.RWMutex
	op operator // nil after Close

	stepping sync.Mutex // one step of an optimizer at a time
}

// LayerOption is what may be asked of a layer besides what it computes.
type LayerOption func(*layerOptions)

type layerOptions struct {
	stored           conv.Type
	atomics          bool
	winograd         bool
	atOnce           int
	split            bool
	tuneUntil        context.Context
	double           bool // weight64 and bias64 were given
	weight64, bias64 []float64
	forwardBias      []float32
}

func optionsOf(options []LayerOption) (o layerOptions) {
	for _, f := range options {
		if f != nil {
			f(&o)
		}
	}
	return o
}

// Problem returns what the layer computes.
func (l *layer) Problem() conv.Problem { return l.p }

// Workspace returns the bytes of device memory that a run uses beyond inputs,
// outputs and weights.
func (l *layer) Workspace() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.op == nil {
		return 0
	}
	return l.op.workspace() + l.stored.bytes()
}

// Describe says which algorithm and variant were chosen.
func (l *layer) Describe() string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.op == nil {
		return "closed"
	}
	return l.op.describe()
}

// SetWeights replaces weight and bias, for the runs queued from then on. bias
// is nil for a layer without one.
func (l *layer) SetWeights(weight, bias []float32) error {
	if err := checkWeights(l.p.Weight(), l.biases, weight, bias); err != nil {
		return err
	}
	return l.with(func(op operator) error {
		return op.setWeights(l.stored.round(weight), l.stored.round(bias))
	})
}

// Close gives the plan's memory back when the work queued so far is done with it.
func (l *layer) Close() {
	l.engine.mu.RLock()
	defer l.engine.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.op != nil && !l.engine.closed {
		l.op.close()
		l.stored.free()
	}
	l.op = nil
}

// with calls f with engine and plan kept alive.
func (l *layer) with(f func(operator) error) error {
	done, err := l.engine.use()
	if err != nil {
		return err
	}
	defer done()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.op == nil {
		return errLayerClosed()
	}
	return f(l.op)
}

func errLayerClosed() error { return fmt.Errorf("layer: %w", ErrClosed) }

// operand is a tensor with the name and the shape it must have. One whose
// tensor and shape are both zero is absent.
type operand struct {
	name string
	t    *Tensor
	want conv.Shape
	role role
}

type role uint8

const (
	input role = iota
	output
	wish // an output that need not be given
	// Of float32 whatever the layer's tensors are, see [edge].
	wideInput
	wideOutput
)

// maxOperands is what the widest operator has: five gradients, x, offset, mask, dy.
const maxOperands = 9

// operandList is a call's operands; behind the last they are absent.
type operandList [maxOperands]operand

// run checks the operands, keeps them alive and queues the operator.
func (l *layer) run(ctx context.Context, operands ...operand) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var h hold
	defer h.release()
	if err := h.take(l, operands); err != nil {
		return err
	}
	if l.stored != nil {
		return l.stored.run(ctx, h.op, operands, h.stores)
	}
	return h.op.run(ctx, h.stores)
}

// hold keeps the engine, a plan and tensors alive for a call.
type hold struct {
	layer   *layer // nil while nothing is held
	op      operator
	stores  stores
	tensors [maxOperands]*Tensor
}

// take checks the operands and keeps them alive, until release.
func (h *hold) take(l *layer, operands []operand) error {
	l.engine.mu.RLock()
	l.mu.RLock()
	h.layer, h.op = l, l.op
	switch {
	case l.engine.closed:
		return errEngineClosed()
	case l.op == nil:
		return errLayerClosed()
	}
	for i := range operands {
		o := &operands[i]
		if o.t == nil && (o.role == wish || o.want == (conv.Shape{})) {
			continue
		}
		if err := l.check(o); err != nil {
			return err
		}
		whole, seen := o.t.whole(), false
		for k := range operands[:i] {
			q := &operands[k]
			if q.t == nil || q.t.whole() != whole {
				continue
			}
			seen = true
			if (q.role != input || o.role != input) && q.t.overlaps(o.t) {
				return fmt.Errorf("%w: %s and %s are the same tensor, a layer cannot run in place", conv.ErrShape, q.name, o.name)
			}
		}
		if !seen { // once a tensor: a second time could wait for a Free that waits for the first
			whole.mu.RLock()
			h.tensors[i] = whole
		}
		if whole.store == nil {
			return fmt.Errorf("%s: %w", o.name, ErrClosed)
		}
		h.stores[i] = whole.store
		if o.t.part != nil {
			if l.views>>i&1 == 0 || l.stored != nil {
				return fmt.Errorf("%w: %s is %v, but this layer takes whole tensors there", conv.ErrUnsupported, o.name, o.t)
			}
			h.stores[i] = o.t.part
		}
	}
	return nil
}

// release lets go of what take kept.
func (h *hold) release() {
	for _, t := range h.tensors {
		if t != nil {
			t.mu.RUnlock()
		}
	}
	if h.layer != nil {
		h.layer.mu.RUnlock()
		h.layer.engine.mu.RUnlock()
	}
}

func (l *layer) check(o *operand) error {
	switch {
	case o.t == nil:
		return fmt.Errorf("%w: %s is nil, must be %v", conv.ErrShape, o.name, o.want)
	case o.want == (conv.Shape{}):
		return fmt.Errorf("%w: %s was given, but the layer was made without one", conv.ErrShape, o.name)
	case o.t.engine != l.engine:
		return fmt.Errorf("%w: %s belongs to another engine", conv.ErrShape, o.name)
	case (o.role == wideInput || o.role == wideOutput) && o.t.typ == conv.Float32 && o.t.shape == o.want:
		return nil
	case o.t.typ != l.typ:
		return fmt.Errorf("%w: %s holds %v, the layer was made for %v", conv.ErrShape, o.name, o.t.typ, l.typ)
	case o.t.shape != o.want:
		return fmt.Errorf("%w: %s is %v, must be %v", conv.ErrShape, o.name, o.t.shape, o.want)
	}
	return nil
}

// checkWeights compares the lengths of weight and bias with what they must be.
func checkWeights[T float32 | float64](shape conv.Shape, biases int, weight, bias []T) error {
	if len(weight) != shape.Len() {
		return fmt.Errorf("%w: weight has %d elements, its shape %v has %d", conv.ErrShape, len(weight), shape, shape.Len())
	}
	if len(bias) != biases && biases > 0 {
		return fmt.Errorf("%w: bias has %d elements, must have %d, one an output channel", conv.ErrShape, len(bias), biases)
	}
	if biases == 0 && bias != nil {
		return fmt.Errorf("%w: bias has %d elements, but the layer was made without one", conv.ErrShape, len(bias))
	}
	return nil
}

// plan checks the weights and asks the backend, by make, for an operator; name
// is the operator's. biases is the number of biases the problem has, as what it
// is in float64.
func (e *Engine) plan(name string, p conv.Problem, as double, biases int, weight, bias []float32, options []LayerOption,
	make func(weight, bias []float32) (operator, error)) (*layer, error) {
	o := optionsOf(options)
	if o.forwardBias != nil && !as.backward {
		return nil, fmt.Errorf("%w: ForwardBias was given to %s, it is for backward passes", conv.ErrParams, name)
	}
	if o.atomics && (name != "deform_conv2d backward" || o.stored == conv.Float64) {
		return nil, refuseAtomics(name)
	}
	if o.winograd && (name != "conv2d" || o.stored == conv.Float64) {
		return nil, refuseWinograd(name, o.stored)
	}
	if o.atOnce != 0 {
		return nil, fmt.Errorf("%w: ImagesAtOnce(%d) is for layers of a Fleet, not of an Engine", conv.ErrUnsupported, o.atOnce)
	}
	if o.split && (name != "conv2d" && name != "deform_conv2d" || o.stored != conv.Float32) {
		return nil, refuseSplit(name, o.stored)
	}
	if o.stored == conv.Float64 {
		return e.planDouble(name, p, as, biases, weight, bias, o)
	}
	if o.double {
		return nil, errWeights64(o.stored)
	}
	if err := checkWeights(p.Weight(), biases, weight, bias); err != nil {
		return nil, err
	}
	stored, err := newStaging(e, o.stored)
	if err != nil {
		return nil, err
	}
	done, err := e.use()
	if err != nil {
		return nil, err
	}
	defer done()
	begun := time.Now()
	op, err := make(stored.round(weight), stored.round(bias))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e.planned(name, op, begun)
	return &layer{engine: e, p: p, biases: biases, typ: o.stored, stored: stored, op: op}, nil
}

// biasCount is how many biases a problem has.
func biasCount(p conv.Problem) int {
	if p.Bias {
		return p.K
	}
	return 0
}
