package train

import (
	"context"
	"errors"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

// parts is a layer made of functions; refresh may be nil.
type parts struct {
	run   func(ctx context.Context, training bool) error
	back  func(ctx context.Context) error
	fresh func() error
}

func (p parts) forward(ctx context.Context, training bool) error { return p.run(ctx, training) }
func (p parts) backward(ctx context.Context) error               { return p.back(ctx) }

func (p parts) refresh() error {
	if p.fresh == nil {
		return nil
	}
	return p.fresh()
}

// closer is a planned layer.
type closer interface{ Close() }

// keep closes a planned layer with the net.
func keep[T closer](b *builder, l T, err error) (T, error) {
	if err == nil {
		b.close = append(b.close, l.Close)
	}
	return l, err
}

// next makes the output of a layer and the gradient by it.
func (b *builder) next(name string, s conv.Shape) (y, dy *vkconv.Tensor, err error) {
	if y, err = b.newTensor(s); err == nil {
		dy, err = b.newTensor(s)
	}
	if name != "" {
		b.tensor[name] = y
	}
	return y, dy, err
}

// add ends the making of a layer.
func (b *builder) add(l parts, y, dy *vkconv.Tensor) {
	b.layers, b.x, b.dx = append(b.layers, l), y, dy
}

// weights makes name.weight and, with bias, name.bias.
func (b *builder) weights(name string, w conv.Shape, torch []int, bias bool) (weight, biases *Param, err error) {
	fan := w[1] * w[2] * w[3]
	if weight, err = b.param(name+".weight", true, torch, w, b.uniform(fan)); err == nil && bias {
		biases, err = b.param(name+".bias", true, []int{w[0]}, conv.Shape{1, w[0], 1, 1}, b.uniform(fan))
	}
	return weight, biases, err
}

// Conv is a convolution to k channels with a kernel of size×size, torch.nn.Conv2d.
func Conv(name string, k, size int, params conv.Params, bias bool) Layer {
	return func(b *builder) error {
		x := b.x.Shape()
		w := conv.Shape{k, x[1] / max(params.Groups, 1), size, size}
		return b.convolution(name, w, w[:], params, bias)
	}
}

// Linear is a dense layer, torch.nn.Linear, on images of one pixel.
func Linear(name string, k int) Layer {
	return func(b *builder) error {
		x := b.x.Shape()
		if x[2] != 1 || x[3] != 1 {
			return fmt.Errorf("%w: %s takes images of one pixel, but gets %v: pool first", conv.ErrShape, name, x)
		}
		return b.convolution(name, conv.Shape{k, x[1], 1, 1}, []int{k, x[1]}, conv.Params{}, true)
	}
}

func (b *builder) convolution(name string, w conv.Shape, torch []int, params conv.Params, bias bool) error {
	weight, biases, err := b.weights(name, w, torch, bias)
	if err != nil {
		return err
	}
	p, err := params.Problem(b.x.Shape(), w, bias)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c, err := b.convolve(p, params, weight, biases)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	y, dy, err := b.next(name, p.Output())
	if err != nil {
		return err
	}
	x, dx := b.x, b.dx
	b.add(parts{
		func(ctx context.Context, _ bool) error { return c.Run(ctx, y, x) },
		func(ctx context.Context) error { return c.backward(ctx, dx, x, dy) },
		c.refresh,
	}, y, dy)
	return nil
}

// convolved is a convolution, its gradients and its parameters.
type convolved struct {
	*vkconv.Conv2D
	back         *vkconv.Conv2DBackward
	weight, bias *Param
}

func (b *builder) convolve(p conv.Problem, params conv.Params, weight, bias *Param) (c *convolved, err error) {
	c = &convolved{weight: weight, bias: bias}
	zeros := make([]float32, p.Weight().Len())
	var biases []float32
	if bias != nil {
		biases = make([]float32, p.K)
	}
	l, err := b.engine.NewConv2D(p.Input(), zeros, biases, p.Weight(), params)
	if c.Conv2D, err = keep(b, l, err); err != nil {
		return nil, err
	}
	back, err := b.engine.NewConv2DBackward(p.Input(), zeros, p.Weight(), params)
	c.back, err = keep(b, back, err)
	return c, err
}

func (c *convolved) backward(ctx context.Context, dx, x, dy *vkconv.Tensor) error {
	return c.back.Run(ctx, vkconv.Gradients{X: dx, Weight: c.weight.Grad, Bias: gradOf(c.bias)}, x, dy)
}

func (c *convolved) refresh() error {
	return errors.Join(c.SetWeightsFrom(c.weight.Value, valueOf(c.bias)), c.back.SetWeightsFrom(c.weight.Value, nil))
}

func valueOf(p *Param) *vkconv.Tensor {
	if p == nil {
		return nil
	}
	return p.Value
}

func gradOf(p *Param) *vkconv.Tensor {
	if p == nil {
		return nil
	}
	return p.Grad
}

// Deform is a deformable convolution v1 to k channels that predicts its own offsets,
// mmcv's DeformConv2dPack: parameters name.weight, name.bias and name.conv_offset's.
// The offsets start as zeros, that is from the regular grid.
func Deform(name string, k, size int, params conv.Params, bias bool) Layer {
	return func(b *builder) error {
		x := b.x.Shape()
		w := conv.Shape{k, x[1] / max(params.Groups, 1), size, size}
		p, err := params.DeformProblem(conv.Deform{}, x, w, bias)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		weight, biases, err := b.weights(name, w, w[:], bias)
		if err != nil {
			return err
		}
		predict := params
		predict.Groups = 1
		pw := conv.Shape{p.Offset()[1], x[1], size, size}
		q, err := predict.Problem(x, pw, true)
		if err != nil {
			return err
		}
		offsetWeight, err1 := b.param(name+".conv_offset.weight", true, pw[:], pw, constant(0))
		offsetBias, err2 := b.param(name+".conv_offset.bias", true, []int{pw[0]}, conv.Shape{1, pw[0], 1, 1}, constant(0))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		predictor, err := b.convolve(q, predict, offsetWeight, offsetBias)
		if err != nil {
			return fmt.Errorf("%s.conv_offset: %w", name, err)
		}
		return b.deform(name, p, params, predictor, weight, biases)
	}
}

func (b *builder) deform(name string, p conv.Problem, params conv.Params, predictor *convolved, weight, bias *Param) error {
	zeros := make([]float32, p.Weight().Len())
	var biases []float32
	if bias != nil {
		biases = make([]float32, p.K)
	}
	l, err := b.engine.NewDeformConv2D(p.Input(), zeros, biases, p.Weight(), params, conv.Deform{})
	if l, err = keep(b, l, err); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	back, err := b.engine.NewDeformConv2DBackward(p.Input(), zeros, p.Weight(), params, conv.Deform{})
	if back, err = keep(b, back, err); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	x, dx := b.x, b.dx
	offset, dOffset, err := b.next(name+".offset", p.Offset())
	if err != nil {
		return err
	}
	y, dy, err := b.next(name, p.Output())
	if err != nil {
		return err
	}
	// Two ways lead to x: the samples and the offsets.
	var sampled, predicted *vkconv.Tensor
	var sum *vkconv.Add
	if dx != nil {
		if sampled, predicted, err = b.next("", p.Input()); err != nil {
			return err
		}
		add, err := b.engine.NewAdd(p.Input())
		if sum, err = keep(b, add, err); err != nil {
			return err
		}
	}
	b.add(parts{
		func(ctx context.Context, _ bool) error {
			return errors.Join(predictor.Run(ctx, offset, x), l.Run(ctx, y, x, offset, nil))
		},
		func(ctx context.Context) error {
			g := vkconv.Gradients{X: sampled, Weight: weight.Grad, Bias: gradOf(bias), Offset: dOffset}
			err := errors.Join(back.Run(ctx, g, x, offset, nil, dy), predictor.backward(ctx, predicted, x, dOffset))
			if err == nil && dx != nil {
				err = sum.Run(ctx, dx, sampled, predicted)
			}
			return err
		},
		func() error {
			return errors.Join(predictor.refresh(), l.SetWeightsFrom(weight.Value, valueOf(bias)), back.SetWeightsFrom(weight.Value, nil))
		},
	}, y, dy)
	return nil
}

// BatchNorm is torch.nn.BatchNorm2d.
func BatchNorm(name string, params conv.BatchNormParams) Layer {
	return func(b *builder) error {
		s := b.x.Shape()
		train, err := b.engine.NewBatchNormTraining(s, params)
		if train, err = keep(b, train, err); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		given, err1 := b.engine.NewBatchNorm(s, params)
		back, err2 := b.engine.NewBatchNormBackward(s, params)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.close = append(b.close, given.Close, back.Close)
		one, torch := train.Problem().Channels(), []int{s[1]}
		weight, err1 := b.param(name+".weight", true, torch, one, constant(1))
		bias, err2 := b.param(name+".bias", true, torch, one, constant(0))
		mean, err3 := b.param(name+".running_mean", false, torch, one, constant(0))
		variance, err4 := b.param(name+".running_var", false, torch, one, constant(1))
		batchMean, batchVar, err5 := b.next("", one)
		y, dy, err6 := b.next(name, s)
		if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
			return err
		}
		batch, running := vkconv.Moments{Mean: batchMean, Var: batchVar}, vkconv.Moments{Mean: mean.Value, Var: variance.Value}
		x, dx := b.x, b.dx
		b.add(parts{
			func(ctx context.Context, training bool) error {
				if !training {
					return given.Run(ctx, y, x, weight.Value, bias.Value, running)
				}
				return train.Run(ctx, y, batch, running, x, weight.Value, bias.Value)
			},
			func(ctx context.Context) error {
				return back.Run(ctx, vkconv.Gradients{X: dx, Weight: weight.Grad, Bias: bias.Grad}, x, dy, weight.Value, batch)
			},
			nil,
		}, y, dy)
		return nil
	}
}

// plain adds a layer without parameters.
func (b *builder) plain(name string, s conv.Shape, run, back func(ctx context.Context, to, x, from *vkconv.Tensor) error) error {
	y, dy, err := b.next(name, s)
	if err != nil {
		return err
	}
	x, dx := b.x, b.dx
	b.add(parts{
		func(ctx context.Context, _ bool) error { return run(ctx, y, x, nil) },
		func(ctx context.Context) error {
			if dx == nil {
				return nil
			}
			return back(ctx, dx, x, dy)
		},
		nil,
	}, y, dy)
	return nil
}

// Activate is an activation.
func Activate(a conv.Activation) Layer {
	return func(b *builder) error {
		s := b.x.Shape()
		l, err := b.engine.NewActivation(s, a)
		if l, err = keep(b, l, err); err != nil {
			return err
		}
		back, err := b.engine.NewActivationBackward(s, a)
		if back, err = keep(b, back, err); err != nil {
			return err
		}
		return b.plain("", s, func(ctx context.Context, y, x, _ *vkconv.Tensor) error { return l.Run(ctx, y, x) },
			func(ctx context.Context, dx, x, dy *vkconv.Tensor) error { return back.Run(ctx, dx, x, dy) })
	}
}

// ReLU is torch.nn.ReLU.
func ReLU() Layer { return Activate(conv.Activation{Kind: conv.ReLU}) }

// MaxPool is torch.nn.MaxPool2d.
func MaxPool(params conv.PoolParams) Layer {
	return func(b *builder) error {
		l, err := b.engine.NewMaxPool(b.x.Shape(), params)
		if l, err = keep(b, l, err); err != nil {
			return err
		}
		back, err := b.engine.NewMaxPoolBackward(b.x.Shape(), params)
		if back, err = keep(b, back, err); err != nil {
			return err
		}
		return b.plain("", l.Problem().Output(), func(ctx context.Context, y, x, _ *vkconv.Tensor) error { return l.Run(ctx, y, x) },
			func(ctx context.Context, dx, x, dy *vkconv.Tensor) error { return back.Run(ctx, dx, x, dy) })
	}
}

// AvgPool is torch.nn.AvgPool2d.
func AvgPool(params conv.PoolParams) Layer {
	return func(b *builder) error {
		l, err := b.engine.NewAvgPool(b.x.Shape(), params)
		if l, err = keep(b, l, err); err != nil {
			return err
		}
		back, err := b.engine.NewAvgPoolBackward(b.x.Shape(), params)
		if back, err = keep(b, back, err); err != nil {
			return err
		}
		return b.plain("", l.Problem().Output(), func(ctx context.Context, y, x, _ *vkconv.Tensor) error { return l.Run(ctx, y, x) },
			func(ctx context.Context, dx, _, dy *vkconv.Tensor) error { return back.Run(ctx, dx, dy) })
	}
}

// GlobalPool is torch.nn.AdaptiveAvgPool2d(1).
func GlobalPool() Layer {
	return func(b *builder) error {
		l, err := b.engine.NewGlobalPool(b.x.Shape())
		if l, err = keep(b, l, err); err != nil {
			return err
		}
		back, err := b.engine.NewGlobalPoolBackward(b.x.Shape())
		if back, err = keep(b, back, err); err != nil {
			return err
		}
		return b.plain("", l.Problem().Output(), func(ctx context.Context, y, x, _ *vkconv.Tensor) error { return l.Run(ctx, y, x) },
			func(ctx context.Context, dx, _, dy *vkconv.Tensor) error { return back.Run(ctx, dx, dy) })
	}
}
