package vkconv

import (
	"context"

	"vkconv/conv"
)

// DeformConv2D is a planned deformable convolution, v1 (Dai et al. 2017) or
// with a mask v2 (Zhu et al. 2018): torchvision's deform_conv2d.
type DeformConv2D struct{ *layer }

// NewDeformConv2D plans a deformable convolution of inputs of shape x
// (N×C×H×W) with a weight of shape w (K×C/groups×R×S) and a bias of K elements,
// or nil. Errors match [conv.ErrParams], [conv.ErrShape] or
// [conv.ErrUnsupported] where the arguments are at fault.
func (e *Engine) NewDeformConv2D(x conv.Shape, weight, bias []float32, w conv.Shape, params conv.Params, d conv.Deform, options ...LayerOption) (*DeformConv2D, error) {
	p, err := params.DeformProblem(d, x, w, hasBias(bias, options))
	if err != nil {
		return nil, err
	}
	l, err := e.plan("deform_conv2d", p, double{p, false}, biasCount(p), weight, bias, options, func(weight, bias []float32) (operator, error) {
		return e.back.deformConv2D(p, weight, bias, optionsOf(options))
	})
	if err != nil {
		return nil, err
	}
	l.takeViews()
	return &DeformConv2D{l}, nil
}

// Run queues y = deform_conv2d(x, offset, mask). offset is
// N×(2·offsetGroups·R·S)×Ho×Wo, pairs (Δy, Δx) in pixels of the input; mask is
// N×(offsetGroups·R·S)×Ho×Wo, or nil for a layer without one.
//
// A NaN in an offset makes the outputs it reaches NaN, but where the other
// coordinate is exactly −1, where nothing is sampled; an infinite one lies outside
// the image and samples 0.
func (l *DeformConv2D) Run(ctx context.Context, y, x, offset, mask *Tensor) error {
	return l.run(ctx, operand{"output", y, l.p.Output(), output}, operand{"input", x, l.p.Input(), input},
		operand{"offset", offset, l.p.Offset(), input}, operand{"mask", mask, maskShape(l.p), input})
}
