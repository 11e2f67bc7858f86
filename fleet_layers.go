package vkconv

import (
	"context"
	"fmt"
	"slices"

	"vkconv/conv"
)

// FleetConv2D is a [Conv2D] whose batches are spread over a fleet's devices.
type FleetConv2D struct{ *fleetLayer }

// NewConv2D plans a convolution on every device, with the arguments and errors of
// [Engine.NewConv2D]. x is the shape of a whole batch. Of the options, Stored takes
// 16-bit types, as which the devices hold the tensors.
func (f *Fleet) NewConv2D(x conv.Shape, weight, bias []float32, w conv.Shape, params conv.Params, options ...LayerOption) (*FleetConv2D, error) {
	p, err := params.Problem(x, w, hasBias(bias, options))
	if err != nil {
		return nil, err
	}
	one, options, err := ofUnit(p, options)
	if err != nil {
		return nil, err
	}
	l, err := f.newFleetLayer(p, one.N, []fleetOperand{{"output", one.Output(), result}, {"input", one.Input(), perImage}}, options,
		func(e *Engine) (replica, error) {
			l, err := e.NewConv2D(one.Input(), weight, bias, w, params, options...)
			if err != nil {
				return replica{}, err
			}
			return replica{layer: l, queue: func(ctx context.Context, t []*Tensor) error { return l.Run(ctx, t[0], t[1]) }}, nil
		})
	if err != nil {
		return nil, err
	}
	return &FleetConv2D{l}, nil
}

// Run computes y = conv2d(x), whole batches in NCHW order, and waits for it. If it
// returns an error, what y holds is undefined.
func (l *FleetConv2D) Run(ctx context.Context, y, x []float32) error { return l.run(ctx, y, x) }

// FleetDeformConv2D is a [DeformConv2D] whose batches are spread over a fleet's
// devices.
type FleetDeformConv2D struct{ *fleetLayer }

// NewDeformConv2D plans a deformable convolution on every device, with the arguments
// and errors of [Engine.NewDeformConv2D]; see [Fleet.NewConv2D].
func (f *Fleet) NewDeformConv2D(x conv.Shape, weight, bias []float32, w conv.Shape, params conv.Params, d conv.Deform, options ...LayerOption) (*FleetDeformConv2D, error) {
	p, err := params.DeformProblem(d, x, w, hasBias(bias, options))
	if err != nil {
		return nil, err
	}
	one, options, err := ofUnit(p, options)
	if err != nil {
		return nil, err
	}
	l, err := f.newFleetLayer(p, one.N, []fleetOperand{{"output", one.Output(), result}, {"input", one.Input(), perImage},
		{"offset", one.Offset(), perImage}, {"mask", maskShape(one), perImage}}, options,
		func(e *Engine) (replica, error) {
			l, err := e.NewDeformConv2D(one.Input(), weight, bias, w, params, d, options...)
			if err != nil {
				return replica{}, err
			}
			return replica{layer: l, queue: func(ctx context.Context, t []*Tensor) error { return l.Run(ctx, t[0], t[1], t[2], t[3]) }}, nil
		})
	if err != nil {
		return nil, err
	}
	return &FleetDeformConv2D{l}, nil
}

// Run computes y = deform_conv2d(x, offset, mask), as [DeformConv2D.Run] says, whole
// batches, and waits for it. mask is nil for a layer without one. If it returns an
// error, what y holds is undefined.
func (l *FleetDeformConv2D) Run(ctx context.Context, y, x, offset, mask []float32) error {
	return l.run(ctx, y, x, offset, mask)
}

// FleetGradients are what a fleet's backward pass writes, whole batches for X, Offset
// and Mask. A nil one is not computed and costs nothing. Weight and Bias are sums over
// the batch: each device adds up those of its images in their order, and the devices'
// sums are added up in the order of [OpenFleet] (behind them, where a device was lost,
// those of its images, in the same way), all in float32. So their bits depend on the
// shares, too.
type FleetGradients struct{ X, Weight, Bias, Offset, Mask []float32 }

// gradientOperands are the gradients of the problem that a device computes at once.
func gradientOperands(one conv.Problem) []fleetOperand {
	offset := conv.Shape{}
	if one.Deformable() {
		offset = one.Offset()
	}
	return []fleetOperand{
		{"gradient by the input", one.Input(), wanted},
		{"gradient by the weight", one.Weight(), summed},
		{"gradient by the bias", conv.Shape{1, one.K, 1, 1}, summed},
		{"gradient by the offset", offset, wanted},
		{"gradient by the mask", maskShape(one), wanted},
	}
}

// FleetConv2DBackward is a [Conv2DBackward] whose batches are spread over a fleet's
// devices.
type FleetConv2DBackward struct{ *fleetLayer }

// NewConv2DBackward plans the gradients of a convolution on every device, with the
// arguments and errors of [Engine.NewConv2DBackward], but of float32 alone. x is the
// shape of a whole batch.
func (f *Fleet) NewConv2DBackward(x conv.Shape, weight []float32, w conv.Shape, params conv.Params, options ...LayerOption) (*FleetConv2DBackward, error) {
	p, err := params.Problem(x, w, true)
	if err != nil {
		return nil, err
	}
	one, options, err := ofUnit(p, options)
	if err != nil {
		return nil, err
	}
	l, err := f.newFleetLayer(p, one.N, append(gradientOperands(one), fleetOperand{"input", one.Input(), perImage}, fleetOperand{"dy", one.Output(), perImage}), options,
		func(e *Engine) (replica, error) {
			l, err := e.NewConv2DBackward(one.Input(), weight, w, params, options...)
			if err != nil {
				return replica{}, err
			}
			return replica{layer: l, queue: func(ctx context.Context, t []*Tensor) error {
				return l.Run(ctx, Gradients{X: t[0], Weight: t[1], Bias: t[2]}, t[5], t[6])
			}}, nil
		})
	if err != nil {
		return nil, err
	}
	return &FleetConv2DBackward{l}, nil
}

// Run computes the gradients by the input x, the weight and the bias, given dy, the
// gradient by the output, and waits for them. If it returns an error, what they hold
// is undefined.
func (l *FleetConv2DBackward) Run(ctx context.Context, g FleetGradients, x, dy []float32) error {
	return l.run(ctx, g.X, g.Weight, g.Bias, g.Offset, g.Mask, x, dy)
}

// FleetDeformConv2DBackward is a [DeformConv2DBackward] whose batches are spread over
// a fleet's devices.
type FleetDeformConv2DBackward struct{ *fleetLayer }

// NewDeformConv2DBackward plans the gradients of a deformable convolution on every
// device, with the arguments and errors of [Engine.NewDeformConv2DBackward], but of
// float32 alone. x is the shape of a whole batch.
func (f *Fleet) NewDeformConv2DBackward(x conv.Shape, weight []float32, w conv.Shape, params conv.Params, d conv.Deform, options ...LayerOption) (*FleetDeformConv2DBackward, error) {
	p, err := params.DeformProblem(d, x, w, true)
	if err != nil {
		return nil, err
	}
	one, options, err := ofUnit(p, options)
	if err != nil {
		return nil, err
	}
	l, err := f.newFleetLayer(p, one.N, append(gradientOperands(one), fleetOperand{"input", one.Input(), perImage}, fleetOperand{"offset", one.Offset(), perImage},
		fleetOperand{"mask", maskShape(one), perImage}, fleetOperand{"dy", one.Output(), perImage}), options,
		func(e *Engine) (replica, error) {
			l, err := e.NewDeformConv2DBackward(one.Input(), weight, w, params, d, options...)
			if err != nil {
				return replica{}, err
			}
			return replica{layer: l, queue: func(ctx context.Context, t []*Tensor) error {
				return l.Run(ctx, Gradients{t[0], t[1], t[2], t[3], t[4]}, t[5], t[6], t[7], t[8])
			}}, nil
		})
	if err != nil {
		return nil, err
	}
	return &FleetDeformConv2DBackward{l}, nil
}

// Run computes the gradients by x, weight, bias, offset and mask, given dy, the
// gradient by the output, and waits for them. mask is nil for a layer without one. If
// it returns an error, what they hold is undefined.
func (l *FleetDeformConv2DBackward) Run(ctx context.Context, g FleetGradients, x, offset, mask, dy []float32) error {
	return l.run(ctx, g.X, g.Weight, g.Bias, g.Offset, g.Mask, x, offset, mask, dy)
}

// ImagesAtOnce has the devices of a [Fleet] compute and share a layer's images by so
// many, which must divide the batch, instead of one by one. It pays for small images,
// of which one is less work than a dispatch: 64 of 8×7×7 take llvmpipe 3.0 ms, by 16 at
// once 0.5 ms. Then an image has the bits of a layer of so many, and batches of few
// units are shared less evenly. It is an option of a fleet's layers alone; convolutions
// of an [Engine] refuse it with [conv.ErrUnsupported].
func ImagesAtOnce(n int) LayerOption { return func(o *layerOptions) { o.atOnce = n } }

// ofUnit is the problem that a device computes at once, and the options of its layer.
func ofUnit(p conv.Problem, options []LayerOption) (conv.Problem, []LayerOption, error) {
	n := optionsOf(options).atOnce
	if n == 0 {
		n = 1
	}
	if n < 0 || p.N%n != 0 {
		return p, nil, fmt.Errorf("%w: ImagesAtOnce(%d) of a batch of %d, must divide it", conv.ErrParams, n, p.N)
	}
	p.N = n
	return p, append(slices.Clip(options), ImagesAtOnce(0)), nil
}
