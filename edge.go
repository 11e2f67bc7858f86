package vkconv

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"vkconv/conv"
)

// edge is what a chain of float32 layers has around it where its tensors are of a
// 16-bit type: what goes in is widened, what comes out is rounded once, and all
// between stays float32. A nil edge is that of float32 tensors.
type edge struct {
	engine *Engine
	t      conv.Type

	mu     sync.Mutex // one run at a time
	slots  []*edgeSlot
	used   int
	out    []*edgeSlot // to be rounded when the run is through
	closed bool
}

// edgeSlot converts one tensor of a run; slots are taken in the order of the operands.
type edgeSlot struct {
	cast   unweighted
	narrow bool
	wide   *Tensor
	name   string
	t      *Tensor // the caller's
}

// newEdge returns nil for float32. A chain in float64 has no edge either.
func newEdge(e *Engine, t conv.Type) (*edge, error) {
	if err := t.Check(); err != nil || t == conv.Float32 || t == conv.Float64 {
		return nil, err
	}
	return &edge{engine: e, t: t}, nil
}

// round returns v as the type holds it.
func (e *edge) round(v []float32) []float32 {
	if e == nil || v == nil {
		return v
	}
	v = slices.Clone(v)
	for i := range v {
		v[i] = e.t.Round(v[i])
	}
	return v
}

// run calls f with the run's tensors, of which in and out give the float32 ones,
// and rounds what f filled.
func (e *edge) run(ctx context.Context, f func() error) error {
	if e == nil {
		return f()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("layer: %w", ErrClosed)
	}
	e.used, e.out = 0, e.out[:0]
	if err := f(); err != nil {
		return err
	}
	for _, s := range e.out {
		if err := s.cast.l.run(ctx, operand{s.name, s.t, s.wide.shape, output}, operand{s.name, s.wide, s.wide.shape, wideInput}); err != nil {
			return err
		}
	}
	return nil
}

// in returns an input of f in float32.
func (e *edge) in(ctx context.Context, name string, t *Tensor, want conv.Shape) (*Tensor, error) {
	if e == nil || want == (conv.Shape{}) && t == nil {
		return t, nil
	}
	s, err := e.slot(name, t, want, false)
	if err != nil {
		return nil, err
	}
	return s.wide, s.cast.l.run(ctx, operand{name, s.wide, want, wideOutput}, operand{name, t, want, input})
}

// to returns what f is to fill in place of an output; nil for one that is not wanted.
func (e *edge) to(name string, t *Tensor, want conv.Shape) (*Tensor, error) {
	if e == nil || t == nil {
		return t, nil
	}
	s, err := e.slot(name, t, want, true)
	if err != nil {
		return nil, err
	}
	e.out = append(e.out, s)
	return s.wide, nil
}

// slot takes the next slot for a tensor, after a look at that.
func (e *edge) slot(name string, t *Tensor, want conv.Shape, narrow bool) (*edgeSlot, error) {
	role := input
	if narrow {
		role = output
	}
	if err := (&layer{engine: e.engine, typ: e.t}).check(&operand{name, t, want, role}); err != nil {
		return nil, err
	}
	for _, o := range e.slots[:e.used] {
		if (o.narrow || narrow) && o.t.whole() == t.whole() && o.t.overlaps(t) {
			return nil, fmt.Errorf("%w: %s and %s are the same tensor, a layer cannot run in place", conv.ErrShape, o.name, name)
		}
	}
	// A run that wants other gradients than the one before finds another kind of
	// slot in its place, and makes one behind.
	for i := e.used; i < len(e.slots); i++ {
		if s := e.slots[i]; s.wide.shape == want && s.narrow == narrow {
			e.slots[i], e.slots[e.used] = e.slots[e.used], s
			s.name, s.t = name, t
			e.used++
			return s, nil
		}
	}
	cast, err := e.engine.planCast(want, e.t, narrow)
	if err != nil {
		return nil, fmt.Errorf("%s as %v: %w", name, e.t, err)
	}
	wide, err := e.engine.NewTensor(want)
	if err != nil {
		cast.Close()
		return nil, fmt.Errorf("%s in float32: %w", name, err)
	}
	s := &edgeSlot{cast, narrow, wide, name, t}
	e.slots = slices.Insert(e.slots, e.used, s)
	e.used++
	return s, nil
}

// toFilter is to of the gradients by a convolution's weight and bias.
func (e *edge) toFilter(g FilterGradients, weight conv.Shape) (_ FilterGradients, err error) {
	if g.Weight, err = e.to("gradient by the weight", g.Weight, weight); err == nil {
		g.Bias, err = e.to("gradient by the bias", g.Bias, conv.Shape{1, weight[0], 1, 1})
	}
	return g, err
}

// bytes is the workspace in use.
func (e *edge) bytes() (n int64) {
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.slots {
		n += 4 * int64(s.wide.shape.Len())
	}
	return n
}

func (e *edge) close() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.slots {
		s.cast.Close()
		s.wide.Free()
	}
	e.slots, e.closed = nil, true
}

// planCast plans the rounding of float32 tensors to a 16-bit type, or the widening back.
func (e *Engine) planCast(shape conv.Shape, t conv.Type, narrow bool) (unweighted, error) {
	done, err := e.use()
	if err != nil {
		return unweighted{}, err
	}
	defer done()
	c, err := e.back.cast(shape.Len(), t, narrow)
	if err != nil {
		return unweighted{}, err
	}
	return unweighted{&layer{engine: e, typ: t, op: castOperator{c}}}, nil
}

// castOperator is a caster as a layer's operator.
type castOperator struct{ caster }

func (c castOperator) run(_ context.Context, operands stores) error {
	return c.cast(operands[0], operands[1])
}
func (c castOperator) setWeights(weight, bias []float32) error { return withoutWeights(weight, bias) }
func (c castOperator) describe() string                        { return "cast" }
func (c castOperator) workspace() int64                        { return 0 }
func (c castOperator) close()                                  {}

// all is in or to of a run's operands, in their order.
func (e *edge) all(ctx context.Context, operands *operandList) (wide [maxOperands]*Tensor, err error) {
	for i := range operands {
		o := &operands[i]
		if o.role == input {
			wide[i], err = e.in(ctx, o.name, o.t, o.want)
		} else {
			wide[i], err = e.to(o.name, o.t, o.want)
		}
		if err != nil {
			return wide, err
		}
	}
	return wide, nil
}

// edged returns the edge of a backward pass through the activation a, and with it
// the arguments of a pass in float32; without either the arguments as they are.
func (e *Engine) edged(a conv.Activation, weight []float32, options []LayerOption) (*edge, []float32, []LayerOption, error) {
	o := optionsOf(options)
	if a.Kind == conv.Identity || o.double && o.stored != conv.Float64 {
		return nil, weight, options, nil
	}
	g, err := newEdge(e, o.stored)
	if g == nil || err != nil {
		return nil, weight, options, err
	}
	return g, g.round(weight), append(slices.Clip(options), Stored(conv.Float32), ForwardBias(g.round(o.forwardBias))), nil
}
