package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Gradients are the tensors that a backward pass writes. A nil one is not
// computed and costs nothing. X, Offset and Mask have the shapes of the forward
// pass's operands, Weight that of the weight, Bias 1×K×1×1.
type Gradients struct{ X, Weight, Bias, Offset, Mask *Tensor }

// operands are the gradients of a layer of the given shapes, as operands, and
// behind them what it reads.
func (g Gradients) operands(x, weight conv.Shape, biases int, offset, mask conv.Shape, read ...operand) operandList {
	list := operandList{
		{"gradient by the input", g.X, x, wish},
		{"gradient by the weight", g.Weight, weight, wish},
		{"gradient by the bias", g.Bias, conv.Shape{1, biases, 1, 1}, wish},
		{"gradient by the offset", g.Offset, offset, wish},
		{"gradient by the mask", g.Mask, mask, wish},
	}
	copy(list[5:], read)
	return list
}

// Atomics lets [Engine.NewDeformConv2DBackward] compute the gradient by the input
// by atomic additions of floats, as torchvision does on CUDA, where otherwise
// samples are sorted first. Then the same call may give other last bits every time; the bound is
// the same, as it holds for any order. A device without such additions
// (VK_EXT_shader_atomic_float) refuses it with [conv.ErrUnsupported], and so do the
// CPU path, float64 layers and other layers, which have no use for them.
func Atomics() LayerOption { return func(o *layerOptions) { o.atomics = true } }

func refuseAtomics(name string) error {
	return fmt.Errorf("%w: %s with atomic additions, which are an option of deform_conv2d backward in float32 sums alone", conv.ErrUnsupported, name)
}

// Conv2DBackward is a planned backward pass of [Conv2D].
type Conv2DBackward struct{ gradient }

// NewConv2DBackward plans the gradients of a convolution, with the arguments
// of [Engine.NewConv2D]. Where params have an activation they go through it: the
// convolution is run once more without it, for which the bias comes by
// [ForwardBias]. A run gives the same bits every time.
func (e *Engine) NewConv2DBackward(x conv.Shape, weight []float32, w conv.Shape, params conv.Params, options ...LayerOption) (*Conv2DBackward, error) {
	whole, err := params.Problem(x, w, true)
	if err != nil {
		return nil, err
	}
	a := params.Activation
	params.Activation = conv.Activation{}
	p := whole
	p.Activation = conv.Activation{}
	edge, weight, options, err := e.edged(a, weight, options)
	if err != nil {
		return nil, err
	}
	l, err := e.plan("conv2d backward", p, double{p, true}, 0, weight, nil, options, func(weight, _ []float32) (operator, error) {
		return e.back.conv2DBackward(p, weight, optionsOf(options))
	})
	g, err := e.newGradient(l, err, p.Output(), a, edge, options, func(bias []float32, options ...LayerOption) (*layer, error) {
		l, err := e.NewConv2D(x, weight, bias, w, params, options...)
		if err != nil {
			return nil, err
		}
		return l.layer, nil
	})
	if err != nil {
		return nil, err
	}
	g.p = whole
	return &Conv2DBackward{g}, nil
}

// Run queues the gradients by the input x, the weight and the bias, given dy,
// the gradient by the output.
func (l *Conv2DBackward) Run(ctx context.Context, g Gradients, x, dy *Tensor) error {
	return l.edge.run(ctx, func() error {
		list := l.operands(g, operand{"input", x, l.p.Input(), input}, dy)
		t, err := l.edge.all(ctx, &list)
		if err != nil {
			return err
		}
		return l.differentiate(ctx, t[6], func(again *layer, z *Tensor) error { return (&Conv2D{again}).Run(ctx, z, t[5]) },
			func(dy *Tensor) error {
				list := l.operands(gradientsOf(t), operand{"input", t[5], l.p.Input(), input}, dy)
				return l.run(ctx, list[:]...)
			})
	})
}

// inputGradient queues the gradient by the input alone, which needs no input.
func (l *Conv2DBackward) inputGradient(ctx context.Context, dx, dy *Tensor) error {
	list := l.operands(Gradients{X: dx}, operand{"input", nil, l.p.Input(), wish}, dy)
	return l.run(ctx, list[:]...)
}

// operands are those of the pass, in its order.
func (l *Conv2DBackward) operands(g Gradients, x operand, dy *Tensor) operandList {
	p := &l.p
	return g.operands(p.Input(), p.Weight(), p.K, conv.Shape{}, conv.Shape{}, x, operand{"dy", dy, p.Output(), input})
}

// gradientsOf are a pass's first operands.
func gradientsOf(t [maxOperands]*Tensor) Gradients { return Gradients{t[0], t[1], t[2], t[3], t[4]} }

// DeformConv2DBackward is a planned backward pass of [DeformConv2D].
type DeformConv2DBackward struct{ gradient }

// NewDeformConv2DBackward plans the gradients of a deformable convolution, with
// the arguments of [Engine.NewDeformConv2D], like [Engine.NewConv2DBackward]. At
// whole-pixel positions, where the bilinear sample has a kink, the gradient by
// the offset is torchvision's: the one towards larger y and x. [Atomics] is an
// option of it.
func (e *Engine) NewDeformConv2DBackward(x conv.Shape, weight []float32, w conv.Shape, params conv.Params, d conv.Deform, options ...LayerOption) (*DeformConv2DBackward, error) {
	whole, err := params.DeformProblem(d, x, w, true)
	if err != nil {
		return nil, err
	}
	a := params.Activation
	params.Activation = conv.Activation{}
	p := whole
	p.Activation = conv.Activation{}
	edge, weight, options, err := e.edged(a, weight, options)
	if err != nil {
		return nil, err
	}
	l, err := e.plan("deform_conv2d backward", p, double{p, true}, 0, weight, nil, options, func(weight, _ []float32) (operator, error) {
		return e.back.deformConv2DBackward(p, weight, optionsOf(options))
	})
	g, err := e.newGradient(l, err, p.Output(), a, edge, options, func(bias []float32, options ...LayerOption) (*layer, error) {
		l, err := e.NewDeformConv2D(x, weight, bias, w, params, d, options...)
		if err != nil {
			return nil, err
		}
		return l.layer, nil
	})
	if err != nil {
		return nil, err
	}
	g.p = whole
	return &DeformConv2DBackward{g}, nil
}

// Run queues the gradients by x, weight, bias, offset and mask, given dy, the
// gradient by the output. mask is nil for a layer without one.
func (l *DeformConv2DBackward) Run(ctx context.Context, g Gradients, x, offset, mask, dy *Tensor) error {
	return l.edge.run(ctx, func() error {
		list := l.operands(g, x, offset, mask, dy)
		t, err := l.edge.all(ctx, &list)
		if err != nil {
			return err
		}
		return l.differentiate(ctx, t[8], func(again *layer, z *Tensor) error { return (&DeformConv2D{again}).Run(ctx, z, t[5], t[6], t[7]) },
			func(dy *Tensor) error {
				list := l.operands(gradientsOf(t), t[5], t[6], t[7], dy)
				return l.run(ctx, list[:]...)
			})
	})
}

// operands are those of the pass, in its order.
func (l *DeformConv2DBackward) operands(g Gradients, x, offset, mask, dy *Tensor) operandList {
	p := l.p
	return g.operands(p.Input(), p.Weight(), p.K, p.Offset(), maskShape(p),
		operand{"input", x, p.Input(), input}, operand{"offset", offset, p.Offset(), input},
		operand{"mask", mask, maskShape(p), input}, operand{"dy", dy, p.Output(), input})
}

// maskShape is the mask's shape, zero for a problem without one.
func maskShape(p conv.Problem) conv.Shape {
	if !p.Mask {
		return conv.Shape{}
	}
	return p.MaskShape()
}
