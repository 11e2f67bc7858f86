package vkconv

import (
	"context"
	"sync"

	"vkconv/conv"
)

// ForwardBias gives a backward pass the bias of the layer that it
// differentiates. It matters where params have an activation: what its slope is
// depends on what the layer gave before it. Without this option there is none;
// [Weights64] takes its place in float64.
func ForwardBias(bias []float32) LayerOption {
	return func(o *layerOptions) { o.forwardBias = bias }
}

// gradient is what backward passes of convolutions share. One with an activation
// goes through that: it runs the layer again without it, into a workspace,
//
//	z = layer(x)        dz = dy · a'(z)
//
// and dz takes the place of dy. a' at kinks is [conv.Activation.Derivative]. Of 16-bit
// tensors z and dz stay float32; of float64 ones all is in float64.
type gradient struct {
	*layer
	through *through // nil without an activation
	edge    *edge    // with one, of 16-bit tensors
}

// through takes a gradient through the activation behind a layer.
type through struct {
	again *layer // without the activation
	slope *ActivationBackward

	mu    sync.Mutex // one run at a time between z and dz
	z, dz *Tensor
}

// newGradient puts the activation a, if it is one, behind the backward pass l of
// a layer whose outputs have that shape; again plans the layer without it.
func (e *Engine) newGradient(l *layer, err error, shape conv.Shape, a conv.Activation, edge *edge, options []LayerOption,
	again func(bias []float32, options ...LayerOption) (*layer, error)) (g gradient, _ error) {
	if err != nil || a.Kind == conv.Identity {
		return gradient{layer: l}, err
	}
	g = gradient{l, &through{}, edge}
	t, o := g.through, optionsOf(options)
	stored := []LayerOption{Stored(o.stored), TuneUntil(o.tuneContext())}
	if o.double {
		stored = append(stored, Weights64(o.weight64, o.bias64))
	}
	if t.again, err = again(o.forwardBias, stored...); err == nil {
		t.slope, err = e.NewActivationBackward(shape, a, Stored(o.stored))
	}
	for _, to := range []**Tensor{&t.z, &t.dz} {
		if err == nil {
			*to, err = e.NewTensorAs(o.stored, shape)
		}
	}
	if err != nil {
		g.Close()
		return gradient{}, err
	}
	return g, nil
}

// differentiate calls backward with dy, or with what it is behind the activation,
// for which forward runs the layer again.
func (g gradient) differentiate(ctx context.Context, dy *Tensor, forward func(again *layer, z *Tensor) error, backward func(dz *Tensor) error) error {
	t := g.through
	if t == nil {
		return backward(dy)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := forward(t.again, t.z); err != nil {
		return err
	}
	if err := t.slope.Run(ctx, t.dz, t.z, dy); err != nil {
		return err
	}
	return backward(t.dz)
}

// SetWeights replaces the weight, for the runs queued from then on. bias is nil
// but for a pass made with an activation and [ForwardBias].
func (g gradient) SetWeights(weight, bias []float32) error {
	if g.through == nil {
		return g.layer.SetWeights(weight, bias)
	}
	weight, bias = g.edge.round(weight), g.edge.round(bias)
	if err := g.through.again.SetWeights(weight, bias); err != nil {
		return err
	}
	return g.layer.SetWeights(weight, nil)
}

// SetWeights64 is SetWeights in float64, of a pass made with Stored([conv.Float64]).
func (g gradient) SetWeights64(weight, bias []float64) error {
	switch {
	case g.through == nil:
		return g.layer.SetWeights64(weight, bias)
	case g.edge != nil:
		return errWeights64(g.edge.t)
	}
	if err := g.through.again.SetWeights64(weight, bias); err != nil {
		return err
	}
	return g.layer.SetWeights64(weight, nil)
}

// SetWeightsFrom is SetWeights with tensors on the device, see [Conv2D.SetWeightsFrom].
func (g gradient) SetWeightsFrom(weight, bias *Tensor) error {
	switch {
	case g.through == nil:
		return g.layer.SetWeightsFrom(weight, bias)
	case g.edge != nil:
		return errTakesNone(g.edge.t)
	}
	if err := g.through.again.SetWeightsFrom(weight, bias); err != nil {
		return err
	}
	return g.layer.SetWeightsFrom(weight, nil)
}

// Workspace returns the bytes of device memory that a run uses beyond inputs,
// outputs and weights.
func (g gradient) Workspace() int64 {
	n := g.layer.Workspace()
	if t := g.through; t != nil {
		n += t.again.Workspace() + t.slope.Workspace() + t.z.bytes() + t.dz.bytes() + g.edge.bytes()
	}
	return n
}

// Close gives the plan's memory back when the work queued so far is done with it.
func (g gradient) Close() {
	g.layer.Close()
	t := g.through
	if t == nil {
		return
	}
	if t.again != nil {
		t.again.Close()
	}
	if t.slope != nil {
		t.slope.Close()
	}
	free(t.z, t.dz)
	g.edge.close()
}

// free frees those tensors that there are.
func free(tensors ...*Tensor) {
	for _, t := range tensors {
		if t != nil {
			t.Free()
		}
	}
}
