package vkconv

import (
	"context"
	"fmt"
	"sync"

	"vkconv/conv"
)

// DeformPack is a deformable convolution that predicts its own offsets: an
// ordinary convolution of the same kernel, stride, padding and dilation computes
// them from the input, and for v2 the mask behind a sigmoid. It is mmcv's
// DeformConv2dPack (v1) and ModulatedDeformConv2dPack (v2).
type DeformPack struct {
	offset, mask *Conv2D // mask nil for v1
	deform       *DeformConv2D

	mu                       sync.Mutex // one run at a time between the predictions and their use
	offsetTensor, maskTensor *Tensor
}

// PackWeights are a DeformPack's weights, by mmcv's names.
type PackWeights struct {
	Weight, Bias []float32 // K×(C/groups)×R×S, and K or nil
	// Offset is conv_offset.weight: the channels of the offset, 2·offsetGroups·R·S,
	// and behind them with a mask offsetGroups·R·S of the mask, each C×R×S.
	// Training starts with zeros, that is from the regular grid.
	Offset     []float32
	OffsetBias []float32 // conv_offset.bias, as many as Offset has channels
}

// NewDeformPack plans a layer for inputs of shape x (N×C×H×W) with a weight of
// shape w (K×C/groups×R×S). An activation in params goes behind the deformable
// convolution. Errors are those of [Engine.NewDeformConv2D].
func (e *Engine) NewDeformPack(x conv.Shape, weights PackWeights, w conv.Shape, params conv.Params, d conv.Deform) (*DeformPack, error) {
	deform, err := e.NewDeformConv2D(x, weights.Weight, weights.Bias, w, params, d)
	if err != nil {
		return nil, err
	}
	l := &DeformPack{deform: deform}
	if err := l.plan(e, x, weights, params); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// plan makes the convolutions that predict, and the tensors between.
func (l *DeformPack) plan(e *Engine, x conv.Shape, weights PackWeights, params conv.Params) (err error) {
	p := l.deform.p
	offsets, masks := p.Offset()[1], 0
	if p.Mask {
		masks = p.MaskShape()[1]
	}
	each := p.C * p.Taps()
	if len(weights.Offset) != (offsets+masks)*each || len(weights.OffsetBias) != offsets+masks {
		return fmt.Errorf("%w: the offset convolution has %d weights and %d biases, must have %d (%d channels × %d×%d×%d) and %d",
			conv.ErrShape, len(weights.Offset), len(weights.OffsetBias), (offsets+masks)*each, offsets+masks, p.C, p.R, p.S, offsets+masks)
	}
	predict := params
	predict.Groups, predict.Activation = 1, conv.Activation{}
	predictor := func(from, to int, params conv.Params) (*Conv2D, *Tensor, error) {
		l, err := e.NewConv2D(x, weights.Offset[from*each:to*each], weights.OffsetBias[from:to], conv.Shape{to - from, p.C, p.R, p.S}, params)
		if err != nil {
			return nil, nil, err
		}
		t, err := e.NewTensor(l.p.Output())
		return l, t, err
	}
	if l.offset, l.offsetTensor, err = predictor(0, offsets, predict); err != nil {
		return fmt.Errorf("offsets: %w", err)
	}
	if p.Mask {
		predict.Activation.Kind = conv.Sigmoid
		if l.mask, l.maskTensor, err = predictor(offsets, offsets+masks, predict); err != nil {
			return fmt.Errorf("mask: %w", err)
		}
	}
	return nil
}

// Problem returns the deformable convolution's problem.
func (l *DeformPack) Problem() conv.Problem { return l.deform.p }

// Run queues y = deform_conv2d(x, offsets(x), mask(x)).
func (l *DeformPack) Run(ctx context.Context, y, x *Tensor) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.offset.Run(ctx, l.offsetTensor, x); err != nil {
		return err
	}
	if l.mask != nil {
		if err := l.mask.Run(ctx, l.maskTensor, x); err != nil {
			return err
		}
	}
	return l.deform.Run(ctx, y, x, l.offsetTensor, l.maskTensor)
}

// Offsets returns the tensors that the latest run predicted, the mask nil for
// v1. They belong to the layer; the next run overwrites them.
func (l *DeformPack) Offsets() (offset, mask *Tensor) { return l.offsetTensor, l.maskTensor }

// Close gives the plans' memory back when the work queued so far is done with it.
func (l *DeformPack) Close() {
	for _, c := range []*Conv2D{l.offset, l.mask} {
		if c != nil {
			c.Close()
		}
	}
	for _, t := range []*Tensor{l.offsetTensor, l.maskTensor} {
		if t != nil {
			t.Free()
		}
	}
	l.deform.Close()
}
