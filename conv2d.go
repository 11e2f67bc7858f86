package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Conv2D is a planned convolution with any stride, dilation, padding and
// groups: PyTorch's Conv2d.
type Conv2D struct{ *layer }

// NewConv2D plans a convolution of inputs of shape x (N×C×H×W) with a weight of
// shape w (K×C/groups×R×S) and a bias of K elements, or nil. Errors match
// [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewConv2D(x conv.Shape, weight, bias []float32, w conv.Shape, params conv.Params, options ...LayerOption) (*Conv2D, error) {
	p, err := params.Problem(x, w, hasBias(bias, options))
	if err != nil {
		return nil, err
	}
	l, err := e.plan("conv2d", p, double{p, false}, biasCount(p), weight, bias, options, func(weight, bias []float32) (operator, error) {
		return e.back.conv2D(p, weight, bias, optionsOf(options))
	})
	if err != nil {
		return nil, err
	}
	l.takeViews()
	return &Conv2D{l}, nil
}

// AllowWinograd lets a [Conv2D] with a 3×3 kernel and a stride of 1, at any
// dilation, be computed by Winograd's algorithm where that saves: fewer
// multiplications, but sums that cancel. Results are within
// [conv.Winograd.Bounds] then, wider than [conv.Sum.Bound], and an infinite input
// spreads over its tile of up to 4×4 outputs. Without it no layer is computed
// so. Describe tells whether this one is, and Workspace what it takes. Other
// layers, and those of float64, refuse the option.
func AllowWinograd() LayerOption { return func(o *layerOptions) { o.winograd = true } }

func refuseWinograd(name string, t conv.Type) error {
	if name == "conv2d" {
		return fmt.Errorf("%w: AllowWinograd is for float32 arithmetic, the layer computes in %v", conv.ErrUnsupported, t)
	}
	return fmt.Errorf("%w: AllowWinograd is for Conv2D layers, not for %s", conv.ErrUnsupported, name)
}

// Run queues y = conv2d(x). On the CPU path it computes at once, and stops
// between tiles when ctx is done. Both may be channels of wider tensors, see
// [Tensor.Channels].
func (l *Conv2D) Run(ctx context.Context, y, x *Tensor) error {
	return l.run(ctx, operand{"output", y, l.p.Output(), output}, operand{"input", x, l.p.Input(), input})
}
