package vkconv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vkconv/conv"
)

// PackGradients are the tensors that [DeformPackBackward] writes, each in the
// shape of what it differentiates by: X N×C×H×W, Weight K×(C/groups)×R×S, Bias
// 1×K×1×1, Offset as many channels as are predicted × C×R×S, OffsetBias
// 1×channels×1×1. A nil one is not computed.
type PackGradients struct{ X, Weight, Bias, Offset, OffsetBias *Tensor }

// DeformPackBackward is a planned backward pass of [DeformPack]. It predicts
// offsets and mask once more, from the input; then
//
//	dx = deformable path + predictor path
//
// where the predictor's path goes through the gradients by the offset and, behind
// the sigmoid's slope, by the mask. All of it is queued at once.
type DeformPackBackward struct {
	block
	predictor // its mask before the sigmoid
	deform    *DeformConv2DBackward
	predictBy *Conv2DBackward // of offsets and masks together
	sigmoid   *Activation     // for v2, like the following
	slope     *ActivationBackward
	moves     [2]*Activation // the identity, into channels of dpredicted
	sum       *Add

	mu sync.Mutex // one run at a time over these tensors
	// doffset is dpredicted itself for v1; for v2 the parts are its channels.
	mask, doffset, dmask, dlogits, dpredicted *Tensor
	parts                                     [2]*Tensor
	byDeform, byPredict                       *Tensor // the two paths of dx
}

// NewDeformPackBackward plans the gradients of a [DeformPack], with the arguments
// of [Engine.NewDeformPack]; an activation is gone through as in
// [Engine.NewConv2DBackward]. A run gives the same bits every time. Where
// predicted offsets are whole pixels, as with the zero weights that training
// starts from, gradients by them are as [Engine.NewDeformConv2DBackward] says.
func (e *Engine) NewDeformPackBackward(x conv.Shape, weights PackWeights, w conv.Shape, params conv.Params, d conv.Deform, options ...LayerOption) (*DeformPackBackward, error) {
	b, err := e.newBlock("DeformPack backward", options)
	if err != nil {
		return nil, err
	}
	weights = b.pack(weights)
	deform, err := e.NewDeformConv2DBackward(x, weights.Weight, w, params, d, ForwardBias(weights.Bias), b.stored())
	if err != nil {
		return nil, err
	}
	l := &DeformPackBackward{block: b, deform: deform}
	if err := l.plan(e, weights, params); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *DeformPackBackward) plan(e *Engine, weights PackWeights, params conv.Params) error {
	p := l.deform.p
	params.Activation = conv.Activation{}
	if err := l.predictor.plan(e, l.typ, p, weights, params, conv.Activation{}); err != nil {
		return err
	}
	params.Groups = 1
	var err error
	if l.predictBy, err = e.NewConv2DBackward(p.Input(), weights.Offset, conv.Shape{predicted(p), p.C, p.R, p.S}, params, l.stored()); err != nil {
		return fmt.Errorf("predictor: %w", err)
	}
	if l.sum, err = e.NewAdd(p.Input(), l.stored()); err != nil {
		return err
	}
	make := func(t **Tensor, s conv.Shape) {
		if err == nil {
			*t, err = e.NewTensorAs(l.typ, s)
		}
	}
	make(&l.dpredicted, l.predictBy.p.Output())
	make(&l.byDeform, p.Input())
	make(&l.byPredict, p.Input())
	l.doffset = l.dpredicted
	if !p.Mask || err != nil {
		return err
	}
	l.doffset = nil
	make(&l.doffset, p.Offset())
	for _, t := range []**Tensor{&l.mask, &l.dmask, &l.dlogits} {
		make(t, p.MaskShape())
	}
	if err != nil {
		return err
	}
	sigmoid := conv.Activation{Kind: conv.Sigmoid}
	if l.sigmoid, err = e.NewActivation(p.MaskShape(), sigmoid, l.stored()); err != nil {
		return err
	}
	if l.slope, err = e.NewActivationBackward(p.MaskShape(), sigmoid, l.stored()); err != nil {
		return err
	}
	split := p.Offset()[1]
	for i, at := range [2][2]int{{0, split}, {split, predicted(p)}} {
		if l.parts[i], err = l.dpredicted.Channels(at[0], at[1]); err != nil {
			return err
		}
		if l.moves[i], err = e.NewActivation(l.parts[i].shape, conv.Activation{}, l.stored()); err != nil {
			return err
		}
	}
	return nil
}

// Problem returns what the layer differentiates: the deformable convolution's problem.
func (l *DeformPackBackward) Problem() conv.Problem { return l.deform.p }

// Run queues the gradients that g has a tensor for, given dy, that by the output.
func (l *DeformPackBackward) Run(ctx context.Context, g PackGradients, x, dy *Tensor) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edge.run(ctx, func() error {
		g, x, dy, err := l.inside(ctx, g, x, dy)
		if err != nil {
			return err
		}
		return l.run(ctx, g, x, dy)
	})
}

// inside are the tensors that the layers run on.
func (l *DeformPackBackward) inside(ctx context.Context, g PackGradients, x, dy *Tensor) (_ PackGradients, _, _ *Tensor, err error) {
	p := l.deform.p
	if x, err = l.edge.in(ctx, "input", x, p.Input()); err != nil {
		return g, x, dy, err
	}
	if dy, err = l.edge.in(ctx, "dy", dy, p.Output()); err != nil {
		return g, x, dy, err
	}
	if g.X, err = l.edge.to("gradient by the input", g.X, p.Input()); err != nil {
		return g, x, dy, err
	}
	filter, err := l.edge.toFilter(FilterGradients{g.Weight, g.Bias}, p.Weight())
	if err != nil {
		return g, x, dy, err
	}
	predictor, err := l.edge.toFilter(FilterGradients{g.Offset, g.OffsetBias}, l.predictBy.p.Weight())
	if err != nil {
		return g, x, dy, fmt.Errorf("predictor: %w", err)
	}
	return PackGradients{g.X, filter.Weight, filter.Bias, predictor.Weight, predictor.Bias}, x, dy, nil
}

func (l *DeformPackBackward) run(ctx context.Context, g PackGradients, x, dy *Tensor) error {
	p := l.deform.p
	if err := l.predict(ctx, x); err != nil {
		return err
	}
	if p.Mask {
		if err := l.sigmoid.Run(ctx, l.mask, l.maskTensor); err != nil {
			return err
		}
	}
	by := Gradients{Weight: g.Weight, Bias: g.Bias}
	predictor := g.X != nil || g.Offset != nil || g.OffsetBias != nil
	if predictor {
		by.Offset, by.Mask = l.doffset, l.dmask
	}
	if g.X != nil {
		by.X = l.byDeform
	}
	if err := l.deform.Run(ctx, by, x, l.offsetTensor, l.mask, dy); err != nil || !predictor {
		return err
	}
	if p.Mask {
		if err := errors.Join(l.slope.Run(ctx, l.dlogits, l.maskTensor, l.dmask),
			l.moves[0].Run(ctx, l.parts[0], l.doffset), l.moves[1].Run(ctx, l.parts[1], l.dlogits)); err != nil {
			return err
		}
	}
	by = Gradients{Weight: g.Offset, Bias: g.OffsetBias}
	if g.X != nil {
		by.X = l.byPredict
	}
	if err := l.predictBy.Run(ctx, by, x, l.dpredicted); err != nil {
		return fmt.Errorf("predictor: %w", err)
	}
	if g.X == nil {
		return nil
	}
	if err := l.sum.Run(ctx, g.X, l.byDeform, l.byPredict); err != nil {
		return fmt.Errorf("gradient by the input: %w", err)
	}
	return nil
}

// SetWeights replaces the weights for the runs queued from then on. After an
// error some may be the new ones.
func (l *DeformPackBackward) SetWeights(weights PackWeights) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	weights = l.pack(weights)
	p := l.deform.p
	if err := l.setWeights(p, weights); err != nil {
		return err
	}
	bias := weights.Bias
	if l.deform.through == nil { // then no gradient depends on it
		bias = nil
	}
	return errors.Join(l.predictBy.SetWeights(weights.Offset, nil), l.deform.SetWeights(weights.Weight, bias))
}

// Workspace returns the bytes of device memory that a run uses beyond tensors
// and weights.
func (l *DeformPackBackward) Workspace() int64 {
	return l.workspace() + l.deform.Workspace() + l.predictBy.Workspace() + l.sum.Workspace() + bytes(l.tensors()...) + l.edge.bytes()
}

// tensors are those of the layer, each once.
func (l *DeformPackBackward) tensors() []*Tensor {
	all := []*Tensor{l.mask, l.dmask, l.dlogits, l.dpredicted, l.byDeform, l.byPredict}
	if l.doffset != l.dpredicted {
		all = append(all, l.doffset)
	}
	return all
}

// Close gives the plans' memory back when the work queued so far is done with it.
func (l *DeformPackBackward) Close() {
	l.close()
	l.deform.Close()
	if l.predictBy != nil {
		l.predictBy.Close()
	}
	if l.sum != nil {
		l.sum.Close()
	}
	for _, a := range []*Activation{l.sigmoid, l.moves[0], l.moves[1]} {
		if a != nil {
			a.Close()
		}
	}
	if l.slope != nil {
		l.slope.Close()
	}
	free(l.tensors()...)
	l.edge.close()
}
