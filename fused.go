package vkconv

import (
	"context"
	"fmt"
	"sync"

	"vkconv/conv"
)

// ForwardBias gives a backward pass the bias of the layer that it
// differentiates. It matters where params have an activation: what its slope is
// depends on what the layer gave before it. Without this option there is none.
func ForwardBias(bias []float32) LayerOption {
	return func(o *layerOptions) { o.forwardBias = bias }
}

// gradient is what backward passes of convolutions share. One with an activation
// goes through that: it runs the layer again without it, into a workspace,
//
//	z = layer(x)        dz = dy · a'(z)
//
// and dz takes the place of dy. a' at kinks is [conv.Activation.Derivative].
type gradient struct {
	*layer
	through *through // nil without an activation
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
func (e *Engine) newGradient(l *layer, err error, shape conv.Shape, a conv.Activation, options []LayerOption,
	again func(bias []float32) (*layer, error)) (g gradient, _ error) {
	if err != nil || a.Kind == conv.Identity {
		return gradient{layer: l}, err
	}
	g = gradient{l, &through{}}
	o := optionsOf(options)
	switch t := g.through; {
	case o.stored != conv.Float32:
		err = fmt.Errorf("%w: a gradient goes through an activation (%v) of float32 tensors only, not of %v", conv.ErrUnsupported, a.Kind, o.stored)
	default:
		if t.again, err = again(o.forwardBias); err != nil {
			break
		}
		if t.slope, err = e.NewActivationBackward(shape, a); err != nil {
			break
		}
		if t.z, err = e.NewTensor(shape); err == nil {
			t.dz, err = e.NewTensor(shape)
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
	if err := g.through.again.SetWeights(weight, bias); err != nil {
		return err
	}
	return g.layer.SetWeights(weight, nil)
}

// Workspace returns the bytes of device memory that a run uses beyond inputs,
// outputs and weights.
func (g gradient) Workspace() int64 {
	n := g.layer.Workspace()
	if t := g.through; t != nil {
		n += t.again.Workspace() + t.slope.Workspace() + 4*int64(t.z.shape.Len()+t.dz.shape.Len())
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
}

// free frees those tensors that there are.
func free(tensors ...*Tensor) {
	for _, t := range tensors {
		if t != nil {
			t.Free()
		}
	}
}
