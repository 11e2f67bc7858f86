package vkconv

import (
	"context"

	"vkconv/conv"
)

// DCNv4 is the planned core operator of DCNv4 (Xiong et al. 2024): [DCNv3] with
// offsets and masks packed in one tensor and masks used as they are.
type DCNv4 struct {
	*sampling
	d conv.DCN
}

// NewDCNv4 plans a DCNv4 of inputs of shape x, N×C×H×W. Errors match
// [conv.ErrParams], [conv.ErrShape], [conv.ErrUnsupported] or [gpu.ErrTooLarge].
func (e *Engine) NewDCNv4(x conv.Shape, p conv.DCNParams, options ...LayerOption) (*DCNv4, error) {
	d, err := p.V4(x)
	if err != nil {
		return nil, err
	}
	s, err := e.newSampling("dcnv4", d, options, func(b samplingBackend) (operator, operator, error) { return b.dcn(d) })
	if err != nil {
		return nil, err
	}
	return &DCNv4{s, d}, nil
}

// Problem returns what the layer computes, with the shapes of its tensors.
func (l *DCNv4) Problem() conv.DCN { return l.d }

// Run queues y = dcnv4(x, packed). packed is N×Cp×Ho×Wo, of each group 2·P
// offsets, pairs (Δx, Δy), then P masks, filled up to a multiple of 8 channels:
// the published operator's NHWC tensor permuted by (0, 3, 1, 2).
func (l *DCNv4) Run(ctx context.Context, y, x, packed *Tensor) error {
	in := l.inputs(x, packed)
	return l.run(ctx, operand{name: "output", t: y, want: l.d.Output()}, in[:])
}

// RunBackward queues the gradients by x (g.X) and by the packed tensor
// (g.Offset) that g has a tensor for, given dy, that by the output. The same
// call gives the same bits.
func (l *DCNv4) RunBackward(ctx context.Context, g Gradients, x, packed, dy *Tensor) error {
	in := l.inputs(x, packed)
	return l.runBackward(ctx, g, l.d.Input(), l.d.Offset(), conv.Shape{}, in[:], operand{name: "dy", t: dy, want: l.d.Output()})
}

func (l *DCNv4) inputs(x, packed *Tensor) [3]operand {
	return [...]operand{{name: "input", t: x, want: l.d.Input()}, {name: "offset and mask", t: packed, want: l.d.Offset()}, {}}
}
