package vkconv

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

	"vkconv/conv"
	"vkconv/cpuref"
)

// cpuDouble computes an operator in float64 by the oracle of package cpuref,
// whose loops are the operators' formulas, on all cores.
type cpuDouble struct {
	double
	mu           sync.RWMutex
	weight, bias []float64
}

func (c *cpu) double(d double, weight, bias []float64) (operator64, error) {
	o := &cpuDouble{double: d}
	return o, o.setWeights64(weight, bias)
}

func (o *cpuDouble) setWeights(weight, bias []float32) error {
	return o.setWeights64(widened(weight), widened(bias))
}

func (o *cpuDouble) setWeights64(weight, bias []float64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.weight, o.bias = append([]float64(nil), weight...), append([]float64(nil), bias...)
	return nil
}

func (o *cpuDouble) views() bool      { return true }
func (o *cpuDouble) describe() string { return "the oracle, float64" }

// workspace is what the oracle makes of every result, sums and all.
func (o *cpuDouble) workspace() (n int64) {
	if shaped, ok := o.problem.(interface{ Output() conv.Shape }); ok && !o.backward {
		n += int64(shaped.Output().Len())
	} else {
		n += int64(o.problem.(interface{ Input() conv.Shape }).Input().Len())
		switch p := o.problem.(type) {
		case conv.Problem:
			n += int64(p.Weight().Len() + p.K)
			if p.Deformable() {
				n += int64(p.Offset().Len() + p.MaskShape().Len())
			}
		case conv.Transposed:
			n += int64(p.Weight().Len() + p.Of.C)
		case conv.DCN:
			n += int64(p.Offset().Len() + p.MaskShape().Len())
		case conv.RoIPool:
			n += int64(p.OffsetShape().Len() + p.MaskShape().Len())
		}
	}
	return n * int64(unsafe.Sizeof(conv.Sum{}))
}

func (o *cpuDouble) close() {}

func (o *cpuDouble) run(ctx context.Context, operands stores) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	var t [maxOperands][]float64
	for i, s := range operands {
		switch s := s.(type) {
		case *view:
			t[i] = s.channels(o.shape(i))
		case nil:
		default:
			t[i] = s.(*hostTensor).double
		}
	}
	results, err := o.compute(&t)
	if err != nil {
		return err
	}
	for i, sums := range results {
		if operands[i] == nil {
			continue
		}
		to := t[i]
		for j := range sums {
			to[j] = sums[j].Value
		}
		if v, ok := operands[i].(*view); ok {
			v.setChannels(o.shape(i), to)
		}
	}
	return nil
}

// compute returns the outputs, in the order of the operands. Gradients that
// nobody asked for are computed too.
func (o *cpuDouble) compute(t *[maxOperands][]float64) ([][]conv.Sum, error) {
	grads := func(g cpuref.Gradients) ([][]conv.Sum, error) {
		return [][]conv.Sum{g.X, g.Weight, g.Bias, g.Offset, g.Mask}, nil
	}
	sampled := func(g cpuref.Gradients) ([][]conv.Sum, error) { return [][]conv.Sum{g.X, g.Offset, g.Mask}, nil }
	only := func(y []conv.Sum) ([][]conv.Sum, error) { return [][]conv.Sum{y}, nil }
	switch p := o.problem.(type) {
	case conv.Problem:
		switch {
		case o.backward && p.Deformable():
			p.Bias = t[2] != nil
			return grads(cpuref.DeformConv2DBackward(p, t[5], t[6], t[7], o.weight, t[8]))
		case o.backward:
			p.Bias = t[2] != nil
			if t[5] == nil { // which dx alone does not need
				t[5] = make([]float64, p.Input().Len())
			}
			return grads(cpuref.Conv2DBackward(p, t[5], o.weight, t[6]))
		case p.Deformable():
			return only(cpuref.DeformConv2D(p, t[1], t[2], t[3], o.weight, o.bias))
		}
		return only(cpuref.Conv2D(p, t[1], o.weight, o.bias))
	case conv.Transposed:
		if o.backward {
			return grads(cpuref.ConvTranspose2DBackward(p, t[5], o.weight, t[6]))
		}
		return only(cpuref.ConvTranspose2D(p, t[1], o.weight, o.bias))
	case conv.DCN:
		switch {
		case o.backward && p.Packed:
			return sampled(cpuref.DCNv4Backward(p, t[3], t[4], t[6]))
		case o.backward:
			return sampled(cpuref.DCNv3Backward(p, t[3], t[4], t[5], t[6]))
		case p.Packed:
			return only(cpuref.DCNv4(p, t[1], t[2]))
		}
		return only(cpuref.DCNv3(p, t[1], t[2], t[3]))
	case conv.RoIPool:
		if o.backward {
			return sampled(cpuref.RoIPoolBackward(p, t[3], t[4], t[5], t[6], t[7]))
		}
		return only(cpuref.RoIPool(p, t[1], t[2], t[3], t[4]))
	case conv.Resize:
		if o.backward {
			return only(cpuref.ResizeBackward(p, t[1]))
		}
		return only(cpuref.Resize(p, t[1]))
	case conv.GlobalPool:
		if o.backward {
			return only(cpuref.GlobalPoolBackward(p, t[1]))
		}
		return only(cpuref.GlobalPool(p, t[1]))
	case conv.Elementwise:
		switch {
		case p.Sum:
			return only(cpuref.Add(t[1], t[2]))
		case o.backward:
			return only(cpuref.ActivationBackward(p.Activation, t[1], t[2]))
		}
		return only(cpuref.Activation(p.Activation, t[1]))
	}
	return nil, fmt.Errorf("%w: %T in float64", conv.ErrUnsupported, o.problem)
}

// shape is that of operand i, output or input, of an operator that takes views.
func (o *cpuDouble) shape(i int) conv.Shape {
	shaped := o.problem.(interface {
		Input() conv.Shape
		Output() conv.Shape
	})
	if (i == 0) != o.backward {
		return shaped.Output()
	}
	return shaped.Input()
}

// channels copies the view's channels out of the tensor that they lie in.
func (v *view) channels(shape conv.Shape) []float64 {
	out := make([]float64, 0, shape.Len())
	v.each(shape, func(part []float64, _ int) { out = append(out, part...) })
	return out
}

// setChannels copies them back.
func (v *view) setChannels(shape conv.Shape, data []float64) {
	v.each(shape, func(part []float64, n int) { copy(part, data[n*len(part):]) })
}

func (v *view) each(shape conv.Shape, f func(part []float64, n int)) {
	plane := shape[2] * shape[3]
	for n := range shape[0] {
		f(v.storage.(*hostTensor).double[(n*v.whole[1]+v.first)*plane:][:shape[1]*plane], n)
	}
}
