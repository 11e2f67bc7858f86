package vkconv

import (
	"context"

	"vkconv/conv"
)

// DCNv3 is the planned core operator of DCNv3 (Wang et al. 2022, InternImage):
// sampling at offsets of each group's own, weighted by masks. It has no weights;
// the layer around it, with projections and the prediction of offsets and masks,
// is made of other layers.
type DCNv3 struct {
	*sampling
	d conv.DCN
}

// NewDCNv3 plans a DCNv3 of inputs of shape x, N×C×H×W. Errors match
// [conv.ErrParams], [conv.ErrShape], [conv.ErrUnsupported] or [gpu.ErrTooLarge].
func (e *Engine) NewDCNv3(x conv.Shape, p conv.DCNParams, options ...LayerOption) (*DCNv3, error) {
	d, err := p.V3(x)
	if err != nil {
		return nil, err
	}
	s, err := e.newSampling("dcnv3", d, options, func(b samplingBackend) (operator, operator, error) { return b.dcn(d) })
	if err != nil {
		return nil, err
	}
	return &DCNv3{s, d}, nil
}

// Problem returns what the layer computes, with the shapes of its tensors.
func (l *DCNv3) Problem() conv.DCN { return l.d }

// Run queues y = dcnv3(x, offset, mask). offset is N×(Groups·P·2)×Ho×Wo, pairs
// (Δx, Δy) of the P points of each group, which run x-major; mask is
// N×(Groups·P)×Ho×Wo, after a softmax over the points unless the layer takes it.
// The published operator's NHWC tensors permuted by (0, 3, 1, 2) are these.
func (l *DCNv3) Run(ctx context.Context, y, x, offset, mask *Tensor) error {
	in := l.inputs(x, offset, mask)
	return l.run(ctx, operand{name: "output", t: y, want: l.d.Output()}, in[:])
}

// RunBackward queues the gradients by x, offset and mask that g has a tensor
// for, given dy, that by the output. The same call gives the same bits.
func (l *DCNv3) RunBackward(ctx context.Context, g Gradients, x, offset, mask, dy *Tensor) error {
	in := l.inputs(x, offset, mask)
	return l.runBackward(ctx, g, l.d.Input(), l.d.Offset(), l.d.MaskShape(), in[:], operand{name: "dy", t: dy, want: l.d.Output()})
}

func (l *DCNv3) inputs(x, offset, mask *Tensor) [3]operand {
	return [...]operand{{name: "input", t: x, want: l.d.Input()}, {name: "offset", t: offset, want: l.d.Offset()}, {name: "mask", t: mask, want: l.d.MaskShape()}}
}
