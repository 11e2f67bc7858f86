package vkconv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vkconv/conv"
)

// DeformPack is a deformable convolution that predicts its own offsets: an
// ordinary convolution of the same kernel, stride, padding and dilation computes
// them from the input, and for v2 the mask behind a sigmoid. It is mmcv's
// DeformConv2dPack (v1) and ModulatedDeformConv2dPack (v2).
type DeformPack struct {
	block
	predictor
	deform *DeformConv2D

	mu sync.Mutex // one run at a time between the predictions and their use
}

// predictor predicts offsets and masks.
type predictor struct {
	offset, mask             *Conv2D // mask nil for v1
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
// convolution. Errors are those of [Engine.NewDeformConv2D]. [Stored] is an option of
// it: of 16-bit tensors what is predicted stays float32.
func (e *Engine) NewDeformPack(x conv.Shape, weights PackWeights, w conv.Shape, params conv.Params, d conv.Deform, options ...LayerOption) (*DeformPack, error) {
	b, err := e.newBlock("DeformPack", options)
	if err != nil {
		return nil, err
	}
	weights = b.pack(weights)
	deform, err := e.NewDeformConv2D(x, weights.Weight, weights.Bias, w, params, d, b.stored())
	if err != nil {
		return nil, err
	}
	l := &DeformPack{block: b, deform: deform}
	if err := l.predictor.plan(e, b.typ, deform.p, weights, params, conv.Activation{Kind: conv.Sigmoid}); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// plan makes the convolutions that predict for a problem, and the tensors that
// they fill; the activation is that behind the mask.
func (l *predictor) plan(e *Engine, typ conv.Type, p conv.Problem, weights PackWeights, params conv.Params, behind conv.Activation) (err error) {
	offsets, masks := p.Offset()[1], 0
	if p.Mask {
		masks = p.MaskShape()[1]
	}
	each := p.C * p.Taps()
	if err := checkPredictor(p, weights); err != nil {
		return err
	}
	predict := params
	predict.Groups, predict.Activation = 1, conv.Activation{}
	part := func(from, to int, params conv.Params) (*Conv2D, *Tensor, error) {
		l, err := e.NewConv2D(p.Input(), weights.Offset[from*each:to*each], weights.OffsetBias[from:to], conv.Shape{to - from, p.C, p.R, p.S}, params, Stored(typ))
		if err != nil {
			return nil, nil, err
		}
		t, err := e.NewTensorAs(typ, l.p.Output())
		return l, t, err
	}
	if l.offset, l.offsetTensor, err = part(0, offsets, predict); err != nil {
		return fmt.Errorf("offsets: %w", err)
	}
	if p.Mask {
		predict.Activation = behind
		if l.mask, l.maskTensor, err = part(offsets, offsets+masks, predict); err != nil {
			return fmt.Errorf("mask: %w", err)
		}
	}
	return nil
}

// Problem returns the deformable convolution's problem.
func (l *DeformPack) Problem() conv.Problem { return l.deform.p }

// checkPredictor compares the lengths of a predictor's weights with what they must be.
func checkPredictor(p conv.Problem, weights PackWeights) error {
	outputs := predicted(p)
	if each := p.C * p.Taps(); len(weights.Offset) != outputs*each || len(weights.OffsetBias) != outputs {
		return fmt.Errorf("%w: the offset convolution has %d weights and %d biases, must have %d (%d channels × %d×%d×%d) and %d",
			conv.ErrShape, len(weights.Offset), len(weights.OffsetBias), outputs*each, outputs, p.C, p.R, p.S, outputs)
	}
	return nil
}

// predicted is how many channels are predicted for p: the offset's and the mask's.
func predicted(p conv.Problem) int {
	if p.Mask {
		return p.Offset()[1] + p.MaskShape()[1]
	}
	return p.Offset()[1]
}

// predict queues what it predicts for x.
func (l *predictor) predict(ctx context.Context, x *Tensor) error {
	if err := l.offset.Run(ctx, l.offsetTensor, x); err != nil {
		return err
	}
	if l.mask == nil {
		return nil
	}
	return l.mask.Run(ctx, l.maskTensor, x)
}

// setWeights replaces the weights of the predictor of p.
func (l *predictor) setWeights(p conv.Problem, weights PackWeights) error {
	if err := checkPredictor(p, weights); err != nil {
		return err
	}
	split := l.offset.p.K
	at := split * p.C * p.Taps()
	err := l.offset.SetWeights(weights.Offset[:at], weights.OffsetBias[:split])
	if l.mask != nil {
		err = errors.Join(err, l.mask.SetWeights(weights.Offset[at:], weights.OffsetBias[split:]))
	}
	return err
}

func (l *predictor) workspace() int64 {
	n := l.offset.Workspace() + bytes(l.offsetTensor, l.maskTensor)
	if l.mask != nil {
		n += l.mask.Workspace()
	}
	return n
}

func (l *predictor) close() {
	for _, c := range []*Conv2D{l.offset, l.mask} {
		if c != nil {
			c.Close()
		}
	}
	free(l.offsetTensor, l.maskTensor)
}

// Run queues y = deform_conv2d(x, offsets(x), mask(x)).
func (l *DeformPack) Run(ctx context.Context, y, x *Tensor) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edge.run(ctx, func() error {
		x, err := l.edge.in(ctx, "input", x, l.deform.p.Input())
		if err != nil {
			return err
		}
		y, err := l.edge.to("output", y, l.deform.p.Output())
		if err != nil {
			return err
		}
		if err := l.predict(ctx, x); err != nil {
			return err
		}
		return l.deform.Run(ctx, y, x, l.offsetTensor, l.maskTensor)
	})
}

// SetWeights replaces the weights for the runs queued from then on. After an
// error some may be the new ones.
func (l *DeformPack) SetWeights(weights PackWeights) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	weights = l.pack(weights)
	return errors.Join(l.setWeights(l.deform.p, weights), l.deform.SetWeights(weights.Weight, weights.Bias))
}

// Workspace returns the bytes of device memory that a run uses beyond input,
// output and weights: what is predicted, and what the layers take.
func (l *DeformPack) Workspace() int64 {
	return l.workspace() + l.deform.Workspace() + l.edge.bytes()
}

// Offsets returns the tensors that the latest run predicted, the mask nil for
// v1, float64 for a layer of such tensors and float32 for all others. They belong to
// the layer; the next run overwrites them.
func (l *DeformPack) Offsets() (offset, mask *Tensor) { return l.offsetTensor, l.maskTensor }

// Close gives the plans' memory back when the work queued so far is done with it.
func (l *DeformPack) Close() {
	l.close()
	l.deform.Close()
	l.edge.close()
}
