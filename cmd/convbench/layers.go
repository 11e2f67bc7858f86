package main

import (
	"context"
	"errors"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
)

// layerOf takes a random case.
func layerOf(c convtest.LayerCase, backward bool) subject {
	data := func(i int) []float32 { return c.In[i].Data }
	dy := given(backward, data(1))
	switch {
	case c.Activation != nil:
		return activation{*c.Activation, c.Shape, data(0), dy}
	case c.Pool != nil:
		return windowPool{*c.Pool, c.PoolParams, data(0), dy}
	}
	return batchNorm{*c.Norm, data(0), data(2), data(3), data(4), data(5), dy}
}

// activation is one alone; dy is nil for the forward pass alone.
type activation struct {
	a     conv.Activation
	shape conv.Shape
	x, dy []float32
}

func (o activation) kind() string     { return "activation" }
func (o activation) describe() string { return shapeOf(o.shape, o.shape) }

func (o activation) oracle() []answer {
	all := want("y", o.shape, cpuref.Activation(o.a, o.x), conv.ProductRoundings)
	if o.dy != nil {
		all = append(all, want("dx", o.shape, cpuref.ActivationBackward(o.a, o.x, o.dy), conv.ProductRoundings)...)
	}
	return all
}

func (o activation) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	forward, err1 := e.NewActivation(o.shape, o.a)
	backward, err2 := e.NewActivationBackward(o.shape, o.a)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	defer forward.Close()
	defer backward.Close()
	t := tensors{e: e}
	defer t.free()
	x, dy := t.of(o.shape, o.x), t.of(o.shape, o.dy)
	err := forward.Run(ctx, t.result("y", o.shape), x)
	if err == nil && dy != nil {
		err = backward.Run(ctx, t.result("dx", o.shape), x, dy)
	}
	return t.results(ctx, err)
}

// windowPool is a pooling over windows; dy is nil for the forward pass alone.
type windowPool struct {
	p      conv.Pool
	params conv.PoolParams
	x, dy  []float32
}

func (o windowPool) kind() string {
	if o.p.Maximum {
		return "max pool"
	}
	return "mean pool"
}

func (o windowPool) describe() string { return shapeOf(o.p.Input(), o.p.Output()) }

func (o windowPool) oracle() []answer {
	roundings := conv.QuotientRoundings
	if o.p.Maximum {
		roundings = 0
	}
	all := want("y", o.p.Output(), cpuref.Pool(o.p, o.x), roundings)
	if o.dy != nil {
		all = append(all, want("dx", o.p.Input(), cpuref.PoolBackward(o.p, o.x, o.dy), roundings)...)
	}
	return all
}

func (o windowPool) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	x := o.p.Input()
	if !o.p.Maximum {
		forward, err1 := e.NewAvgPool(x, o.params)
		backward, err2 := e.NewAvgPoolBackward(x, o.params)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		defer forward.Close()
		defer backward.Close()
		return unweighted(ctx, e, x, o.p.Output(), o.x, o.dy, forward.Run, backward.Run)
	}
	forward, err1 := e.NewMaxPool(x, o.params)
	backward, err2 := e.NewMaxPoolBackward(x, o.params)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	defer forward.Close()
	defer backward.Close()
	t := tensors{e: e}
	defer t.free()
	in := t.of(x, o.x)
	return unweighted(ctx, e, x, o.p.Output(), o.x, o.dy, forward.Run,
		func(ctx context.Context, dx, dy *vkconv.Tensor) error {
			return errors.Join(t.err, backward.Run(ctx, dx, in, dy))
		})
}

// batchNorm is a batch normalization with the running moments, and one that trains
// and moves them; dy is nil for the forward passes alone.
type batchNorm struct {
	b                                   conv.BatchNorm
	x, weight, bias, mean, variance, dy []float32
}

func (o batchNorm) kind() string     { return "batch norm" }
func (o batchNorm) describe() string { return shapeOf(o.b.Input(), o.b.Input()) }

func (o batchNorm) oracle() []answer {
	s, one := o.b.Input(), []int{o.b.C}
	r := cpuref.BatchNormTraining(o.b, o.x, o.weight, o.bias, o.mean, o.variance)
	all := []answer{
		{"y", s[:], r.Y, conv.NormRoundings},
		{"given", s[:], cpuref.BatchNorm(o.b, o.x, o.weight, o.bias, o.mean, o.variance), conv.NormRoundings},
		{"new_mean", one, r.RunningMean, cpuref.MomentRoundings},
		{"new_var", one, r.RunningVar, cpuref.MomentRoundings},
	}
	if o.dy != nil {
		g := cpuref.BatchNormTrainedBackward(o.b, o.x, o.dy, o.weight, r)
		all = append(all, answer{"dx", s[:], g.X, cpuref.BatchNormBackwardRoundings},
			answer{"dweight", one, g.Weight, cpuref.BatchNormBackwardRoundings}, answer{"dbias", one, g.Bias, cpuref.BatchNormBackwardRoundings})
	}
	return all
}

func (o batchNorm) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	s, one := o.b.Input(), o.b.Channels()
	params := conv.BatchNormParams{Eps: o.b.Eps, Momentum: o.b.Momentum}
	fixed, err1 := e.NewBatchNorm(s, params)
	train, err2 := e.NewBatchNormTraining(s, params)
	backward, err3 := e.NewBatchNormBackward(s, params)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	defer fixed.Close()
	defer train.Close()
	defer backward.Close()
	t := tensors{e: e}
	defer t.free()
	x, weight, bias := t.of(s, o.x), t.of(one, o.weight), t.of(one, o.bias)
	batch := vkconv.Moments{Mean: t.blank(one), Var: t.blank(one)}
	running := vkconv.Moments{Mean: t.result("new_mean", one), Var: t.result("new_var", one)}
	y, given := t.result("y", s), t.result("given", s)
	if t.err != nil {
		return nil, t.err
	}
	err := errors.Join(running.Mean.Upload(o.mean), running.Var.Upload(o.variance))
	err = first(err, fixed.Run(ctx, given, x, weight, bias, running))
	err = first(err, train.Run(ctx, y, batch, running, x, weight, bias))
	if dy := t.of(s, o.dy); err == nil && dy != nil {
		g := vkconv.Gradients{X: t.result("dx", s), Weight: t.result("dweight", one), Bias: t.result("dbias", one)}
		err = backward.Run(ctx, g, x, dy, weight, batch)
	}
	return t.results(ctx, err)
}
