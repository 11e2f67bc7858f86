package vkconv

import (
	"context"
	"fmt"
	"math"
	"time"

	"vkconv/conv"
)

// Weights64 gives a layer made with Stored([conv.Float64]) its weight and bias in
// float64; they take the place of the constructor's, which may be nil. bias is
// nil for a layer without one. Without this option float32 weights are widened,
// which is exact.
func Weights64(weight, bias []float64) LayerOption {
	return func(o *layerOptions) { o.double, o.weight64, o.bias64 = true, weight, bias }
}

// SetWeights64 is SetWeights in float64, of a layer made with Stored([conv.Float64]).
func (l *layer) SetWeights64(weight, bias []float64) error {
	if l.typ != conv.Float64 {
		return errWeights64(l.typ)
	}
	if err := checkWeights(l.p.Weight(), l.biases, weight, bias); err != nil {
		return err
	}
	return l.with(func(op operator) error { return op.(operator64).setWeights64(weight, bias) })
}

func errWeights64(t conv.Type) error {
	return fmt.Errorf("%w: float64 weights were given to a layer of %v tensors, they are for one made with Stored(conv.Float64)", conv.ErrParams, t)
}

var errNoWeights = fmt.Errorf("%w: weights were given to a layer that has none", conv.ErrParams)

// hasBias says whether a layer is to have a bias.
func hasBias(bias []float32, options []LayerOption) bool {
	if o := optionsOf(options); o.double {
		return o.bias64 != nil
	}
	return bias != nil
}

// double is an operator to be computed in float64, forward or backward: a
// [conv.Problem], [conv.Transposed], [conv.DCN], [conv.RoIPool], [conv.Resize] or
// [conv.GlobalPool].
type double struct {
	problem  any
	backward bool
}

// operator64 is an operator on float64 tensors. Its operands are those of the
// float32 operator, in the same order.
type operator64 interface {
	operator
	setWeights64(weight, bias []float64) error
	views() bool // output and input may be channels of wider tensors
}

// planDouble is plan in float64.
func (e *Engine) planDouble(name string, p conv.Problem, as double, biases int, weight, bias []float32, o layerOptions) (*layer, error) {
	w, b := widened(weight), widened(bias)
	if o.double {
		w, b = o.weight64, o.bias64
	}
	if as.backward {
		b = nil
	}
	if err := checkWeights(p.Weight(), biases, w, b); err != nil {
		return nil, err
	}
	done, err := e.use()
	if err != nil {
		return nil, err
	}
	defer done()
	begun := time.Now()
	op, err := e.back.double(as, w, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e.planned(name, op, begun)
	return &layer{engine: e, p: p, biases: biases, typ: conv.Float64, op: op}, nil
}

// takeViews lets output and input be channels of wider tensors, where the
// operator can.
func (l *layer) takeViews() {
	if op, ok := l.op.(operator64); !ok || op.views() {
		l.views = 1<<0 | 1<<1
	}
}

// widened returns v in float64.
func widened(v []float32) []float64 {
	if v == nil {
		return nil
	}
	w := make([]float64, len(v))
	for i, f := range v {
		w[i] = float64(f)
	}
	return w
}

// TensorOf64 makes a float64 tensor that holds data, for layers made with
// Stored([conv.Float64]).
func (e *Engine) TensorOf64(s conv.Shape, data []float64) (*Tensor, error) {
	t, err := e.NewTensorAs(conv.Float64, s)
	if err != nil {
		return nil, err
	}
	if err := t.Upload64(data); err != nil {
		t.Free()
		return nil, err
	}
	return t, nil
}

// Upload64 is [Tensor.Upload] from float64. Tensors of other types take the
// values rounded to nearest, ties to even, once.
func (t *Tensor) Upload64(data []float64) error {
	if t.typ == conv.Float64 {
		return t.with(len(data), func(s storage) error { return s.upload(bytesOf(data)) })
	}
	narrow := make([]float32, len(data))
	for i, v := range data {
		if narrow[i] = float32(v); t.typ != conv.Float32 {
			narrow[i] = toOdd(v)
		}
	}
	return t.Upload(narrow)
}

// toOdd rounds what is no float32 to the neighbour whose last bit is 1, so that
// rounding again, to two bits fewer at least, rounds as if only once.
//
// Source: Boldo and Melquiond, "When double rounding is odd", 2005.
func toOdd(v float64) float32 {
	f := float32(v)
	if float64(f) == v || v != v {
		return f
	}
	bits := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(v) { // towards zero
		bits--
	}
	return math.Float32frombits(bits | 1)
}

// Download64 is [Tensor.Download] to float64, which holds every type's values.
func (t *Tensor) Download64(ctx context.Context, dst []float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.typ == conv.Float64 {
		return t.with(len(dst), func(s storage) error { return s.download(ctx, bytesOf(dst)) })
	}
	narrow := make([]float32, len(dst))
	if err := t.Download(ctx, narrow); err != nil {
		return err
	}
	for i, v := range narrow {
		dst[i] = float64(v)
	}
	return nil
}
