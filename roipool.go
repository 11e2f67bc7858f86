package vkconv

import (
	"context"

	"vkconv/conv"
)

// RoIPool is a planned deformable RoI pooling (Dai et al. 2017), plain as mmcv's
// deform_roi_pool or position-sensitive as the authors' DeformablePSROIPooling,
// with or without offsets and masks.
type RoIPool struct {
	*sampling
	q conv.RoIPool
}

// NewDeformRoIPool plans a deformable RoI pooling of rois regions of inputs of
// shape x, N×C×H×W. Errors match [conv.ErrParams], [conv.ErrShape] or
// [conv.ErrUnsupported] or [gpu.ErrTooLarge].
func (e *Engine) NewDeformRoIPool(x conv.Shape, rois int, p conv.RoIPoolParams, options ...LayerOption) (*RoIPool, error) {
	q, err := p.Problem(x, rois)
	if err != nil {
		return nil, err
	}
	return e.newRoIPool("deform_roi_pool", q, options)
}

// NewDeformPSRoIPool plans a deformable position-sensitive RoI pooling of rois
// regions of inputs of shape x, N×(OutputChannels·GroupSize²)×H×W.
func (e *Engine) NewDeformPSRoIPool(x conv.Shape, rois int, p conv.PSRoIPoolParams, options ...LayerOption) (*RoIPool, error) {
	q, err := p.Problem(x, rois)
	if err != nil {
		return nil, err
	}
	return e.newRoIPool("deform_psroi_pool", q, options)
}

func (e *Engine) newRoIPool(name string, q conv.RoIPool, options []LayerOption) (*RoIPool, error) {
	s, err := e.newSampling(name, q, options, func(b samplingBackend) (operator, operator, error) { return b.roiPool(q) })
	if err != nil {
		return nil, err
	}
	return &RoIPool{s, q}, nil
}

// Problem returns what the layer computes, with the shapes of its tensors.
func (l *RoIPool) Problem() conv.RoIPool { return l.q }

// Run queues y = pool(x) over rois, RoIs×5×1×1: image, x1, y1, x2, y2. offset
// and mask are nil for a layer without them; see [conv.RoIPool.OffsetShape].
//
// A region that is not finite, or whose image does not exist, makes NaN.
func (l *RoIPool) Run(ctx context.Context, y, x, rois, offset, mask *Tensor) error {
	in := l.inputs(x, rois, offset, mask)
	return l.run(ctx, operand{name: "output", t: y, want: l.q.Output()}, in[:])
}

// RunBackward queues the gradients by x, offset and mask that g has a tensor
// for, given dy, that by the output. The same call gives the same bits.
func (l *RoIPool) RunBackward(ctx context.Context, g Gradients, x, rois, offset, mask, dy *Tensor) error {
	in := l.inputs(x, rois, offset, mask)
	return l.runBackward(ctx, g, l.q.Input(), in[2].want, in[3].want, in[:], operand{name: "dy", t: dy, want: l.q.Output()})
}

func (l *RoIPool) inputs(x, rois, offset, mask *Tensor) [4]operand {
	in := [...]operand{{name: "input", t: x, want: l.q.Input()}, {name: "regions", t: rois, want: l.q.RoIShape()}, {name: "offset", t: offset}, {name: "mask", t: mask}}
	if l.q.Offset {
		in[2].want = l.q.OffsetShape()
	}
	if l.q.Mask {
		in[3].want = l.q.MaskShape()
	}
	return in
}
