package vkconv_test

import (
	"errors"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// closing collects layers to close.
type closing []interface{ Close() }

func (c closing) all() {
	for _, l := range c {
		l.Close()
	}
}

// The small operators on both sides of the door; forward poolings and activations
// write into and read from channels of wider tensors.
func TestLayers(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		convtest.Layers(t, convtest.Cases(80), func(c convtest.LayerCase, out, in [][]float32) error {
			var ts, results []*vkconv.Tensor
			for i, v := range c.In {
				ts = append(ts, tensor(t, e, v.Shape, in[i]))
			}
			for i, v := range c.Out {
				results = append(results, tensor(t, e, v.Shape, out[i]))
			}
			if err := runLayer(t, e, c, results, ts, out); err != nil {
				return err
			}
			for i, r := range results {
				if r == nil {
					continue
				}
				if err := r.Download(ctx, out[i]); err != nil {
					return err
				}
			}
			return nil
		})
		badLayers(t, e)
	})
}

// runLayer runs a case; outputs that it read itself become nil.
func runLayer(t *testing.T, e *vkconv.Engine, c convtest.LayerCase, out, in []*vkconv.Tensor, data [][]float32) error {
	var open closing
	defer func() { open.all() }()
	between := func(run func(y, x *vkconv.Tensor) error) error {
		s := c.Out[0].Shape
		whole, part := widened(t, e, s, 2, 1, data[0])
		_, from := widened(t, e, c.Shape, 1, 3, c.In[0].Data)
		if err := run(part, from); err != nil {
			return err
		}
		out[0] = nil
		return narrowed(whole, s, 2, data[0])
	}
	switch {
	case c.Add:
		l, err := e.NewAdd(c.Shape)
		if err != nil {
			return err
		}
		open = append(open, l)
		return l.Run(ctx, out[0], in[0], in[1])
	case c.Activation != nil:
		f, err1 := e.NewActivation(c.Shape, *c.Activation)
		b, err2 := e.NewActivationBackward(c.Shape, *c.Activation)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		open = append(open, f, b)
		return errors.Join(between(func(y, x *vkconv.Tensor) error { return f.Run(ctx, y, x) }), b.Run(ctx, out[1], in[0], in[1]))
	case c.Pool != nil && c.Pool.Maximum:
		f, err1 := e.NewMaxPool(c.Shape, c.PoolParams)
		b, err2 := e.NewMaxPoolBackward(c.Shape, c.PoolParams)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		open = append(open, f, b)
		return errors.Join(between(func(y, x *vkconv.Tensor) error { return f.Run(ctx, y, x) }), b.Run(ctx, out[1], in[0], in[1]))
	case c.Pool != nil:
		f, err1 := e.NewAvgPool(c.Shape, c.PoolParams)
		b, err2 := e.NewAvgPoolBackward(c.Shape, c.PoolParams)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		open = append(open, f, b)
		return errors.Join(between(func(y, x *vkconv.Tensor) error { return f.Run(ctx, y, x) }), b.Run(ctx, out[1], in[1]))
	}
	for i := range out { // optimizers work in place
		if c.SGD != nil || c.Adam != nil {
			if err := out[i].Upload(c.In[i+1].Data); err != nil {
				return err
			}
		}
	}
	switch {
	case c.Entropy != nil:
		l, err := e.NewCrossEntropy(c.Shape)
		if err != nil {
			return err
		}
		open = append(open, l)
		return errors.Join(l.Run(ctx, out[0], nil, in[0], in[1]), l.Run(ctx, out[0], out[1], in[0], in[1]))
	case c.SGD != nil:
		l, err := e.NewSGD(c.Shape, *c.SGD)
		if err != nil {
			return err
		}
		open = append(open, l)
		return l.Run(ctx, out[0], out[1], in[0], c.Rate)
	case c.Adam != nil:
		l, err := e.NewAdam(c.Shape, *c.Adam)
		if err != nil {
			return err
		}
		open = append(open, l)
		return l.Run(ctx, out[0], out[1], out[2], in[0], c.Rate, c.Step)
	}
	params := conv.BatchNormParams{Eps: c.Norm.Eps, Momentum: c.Norm.Momentum}
	given, err1 := e.NewBatchNorm(c.Shape, params)
	train, err2 := e.NewBatchNormTraining(c.Shape, params)
	back, err3 := e.NewBatchNormBackward(c.Shape, params)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	open = append(open, given, train, back)
	moments := func(mean, variance *vkconv.Tensor) vkconv.Moments {
		return vkconv.Moments{Mean: mean, Var: variance}
	}
	running := moments(out[4], out[5])
	return errors.Join(out[4].Upload(c.In[4].Data), out[5].Upload(c.In[5].Data),
		given.Run(ctx, out[0], in[0], in[2], in[3], moments(in[4], in[5])),
		train.Run(ctx, out[1], moments(out[2], out[3]), vkconv.Moments{}, in[0], in[2], in[3]), // moves nothing
		train.Run(ctx, out[1], moments(out[2], out[3]), running, in[0], in[2], in[3]),
		back.Run(ctx, vkconv.Gradients{X: out[6]}, in[0], in[1], in[2], moments(in[6], in[7])),
		back.Run(ctx, vkconv.Gradients{Weight: out[7], Bias: out[8]}, in[0], in[1], in[2], moments(in[6], in[7])))
}

// badLayers asks for what cannot be.
func badLayers(t *testing.T, e *vkconv.Engine) {
	x := conv.Shape{1, 2, 4, 4}
	_, noKernel := e.NewMaxPool(x, conv.PoolParams{})
	_, padded := e.NewMaxPool(x, conv.PoolParams{Kernel: [2]int{2, 2}, Padding: conv.Pad(2)})
	_, large := e.NewAvgPool(x, conv.PoolParams{Kernel: [2]int{5, 2}})
	_, dilated := e.NewAvgPool(x, conv.PoolParams{Kernel: [2]int{2, 2}, Dilation: [2]int{2, 1}})
	_, excluded := e.NewMaxPoolBackward(x, conv.PoolParams{Kernel: [2]int{2, 2}, ExcludePadding: true})
	_, single := e.NewBatchNormTraining(conv.Shape{1, 2, 1, 1}, conv.BatchNormParams{})
	_, momentum := e.NewBatchNorm(x, conv.BatchNormParams{Momentum: 2})
	_, kind := e.NewActivation(x, conv.Activation{Kind: 77})
	_, beta := e.NewAdam(x, conv.Adam{Beta1: 1})
	_, nesterov := e.NewSGD(x, conv.SGD{Nesterov: true})
	_, negative := e.NewAdd(conv.Shape{1, -1, 1, 1})
	for _, c := range []struct {
		err, is error
		says    string
	}{
		{noKernel, conv.ErrParams, "kernel is 0×0"}, {padded, conv.ErrParams, "padding top is 2"}, {large, conv.ErrShape, "5×2"},
		{dilated, conv.ErrParams, "dilation is 2×1"}, {excluded, conv.ErrParams, "padding is excluded"}, {single, conv.ErrShape, "1 values a channel"},
		{momentum, conv.ErrParams, "momentum is 2"}, {kind, conv.ErrParams, "activation is 77"}, {beta, conv.ErrParams, "beta1 is 1"}, {nesterov, conv.ErrParams, "momentum is 0"}, {negative, conv.ErrShape, "1×-1×1×1"},
	} {
		if !errors.Is(c.err, c.is) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%v, want %q", c.err, c.says)
		}
	}
	add, err := e.NewAdd(x)
	if err != nil {
		t.Fatal(err)
	}
	defer add.Close()
	a := tensor(t, e, x, make([]float32, x.Len()))
	if err := add.Run(ctx, a, a, a); !errors.Is(err, conv.ErrShape) {
		t.Errorf("a sum in place: %v", err)
	}
	wide := tensor(t, e, conv.Shape{1, 5, 4, 4}, make([]float32, 80))
	part, err := wide.Channels(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := add.Run(ctx, part, a, a); !errors.Is(err, conv.ErrUnsupported) {
		t.Errorf("a sum into channels: %v", err)
	}
}

// Weights that lie on the device, in layers made with others.
func TestSetWeightsFrom(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		n := convtest.Cases(30)
		convtest.Forward(t, n, func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
			p := c.Problem
			w, out, in := tensor(t, e, p.Weight(), weight), tensor(t, e, p.Output(), y), tensor(t, e, p.Input(), x)
			var b, o, m *vkconv.Tensor
			var junk []float32
			if p.Bias {
				b, junk = tensor(t, e, conv.Shape{1, p.K, 1, 1}, bias), make([]float32, p.K)
			}
			var l interface {
				SetWeightsFrom(w, b *vkconv.Tensor) error
				Close()
			}
			var run func() error
			if p.Deformable() {
				d, err := e.NewDeformConv2D(p.Input(), make([]float32, len(weight)), junk, p.Weight(), paramsOf(p), deformOf(p))
				if err != nil {
					return err
				}
				if o = tensor(t, e, p.Offset(), offset); p.Mask {
					m = tensor(t, e, p.MaskShape(), mask)
				}
				l, run = d, func() error { return d.Run(ctx, out, in, o, m) }
			} else {
				d, err := e.NewConv2D(p.Input(), make([]float32, len(weight)), junk, p.Weight(), paramsOf(p))
				if err != nil {
					return err
				}
				l, run = d, func() error { return d.Run(ctx, out, in) }
			}
			defer l.Close()
			if err := errors.Join(run(), l.SetWeightsFrom(w, b), run()); err != nil { // with zeros first
				return err
			}
			return out.Download(ctx, y)
		})
		convtest.Backward(t, n/2, func(c convtest.Case, g convtest.Grads, dy []float32) error {
			p := c.Problem
			junk := make([]float32, len(c.Weight))
			w, dx := tensor(t, e, p.Weight(), c.Weight), tensor(t, e, p.Input(), g.X)
			in, out := tensor(t, e, p.Input(), c.X), tensor(t, e, p.Output(), dy)
			more := vkconv.Gradients{X: dx, Weight: tensor(t, e, p.Weight(), g.Weight)}
			if p.Bias {
				more.Bias = tensor(t, e, conv.Shape{1, p.K, 1, 1}, g.Bias)
			}
			if p.Deformable() {
				l, err := e.NewDeformConv2DBackward(p.Input(), junk, p.Weight(), paramsOf(p), deformOf(p))
				if err != nil {
					return err
				}
				defer l.Close()
				more.Offset = tensor(t, e, p.Offset(), g.Offset)
				var mask *vkconv.Tensor
				if p.Mask {
					more.Mask, mask = tensor(t, e, p.MaskShape(), g.Mask), tensor(t, e, p.MaskShape(), c.Mask)
				}
				if err := errors.Join(l.SetWeightsFrom(w, nil), l.Run(ctx, more, in, tensor(t, e, p.Offset(), c.Offset), mask, out)); err != nil {
					return err
				}
			} else {
				l, err := e.NewConv2DBackward(p.Input(), junk, p.Weight(), paramsOf(p))
				if err != nil {
					return err
				}
				defer l.Close()
				if err := errors.Join(l.SetWeightsFrom(w, nil), l.Run(ctx, more, in, out)); err != nil {
					return err
				}
			}
			for _, d := range []struct {
				t  *vkconv.Tensor
				to []float32
			}{{dx, g.X}, {more.Weight, g.Weight}, {more.Bias, g.Bias}, {more.Offset, g.Offset}, {more.Mask, g.Mask}} {
				if d.t == nil {
					continue
				}
				if err := d.t.Download(ctx, d.to); err != nil {
					return err
				}
			}
			return nil
		})
		w := conv.Shape{2, 1, 1, 1}
		l, err := e.NewConv2D(conv.Shape{1, 1, 2, 2}, make([]float32, 2), nil, w, conv.Params{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		right, wrong := tensor(t, e, w, make([]float32, 2)), tensor(t, e, conv.Shape{1, 2, 1, 1}, make([]float32, 2))
		if err := l.SetWeightsFrom(wrong, nil); !errors.Is(err, conv.ErrShape) || !strings.Contains(err.Error(), "weight is 1×2×1×1") {
			t.Error(err)
		}
		if err := l.SetWeightsFrom(right, wrong); !errors.Is(err, conv.ErrShape) {
			t.Error(err)
		}
	})
}
