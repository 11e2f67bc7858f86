package vkconv_test

import (
	"slices"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// paramsOf is a problem's parameters.
func paramsOf(p conv.Problem) conv.Params {
	return conv.Params{Stride: [2]int{p.StrideY, p.StrideX}, Dilation: [2]int{p.DilationY, p.DilationX},
		Padding: p.Pad, Groups: p.Groups, Mode: p.Mode, Activation: p.Activation}
}

func deformOf(p conv.Problem) conv.Deform {
	return conv.Deform{OffsetGroups: p.OffsetGroups, Mask: p.Mask, Border: p.Border}
}

// backward computes a case's gradients by a layer of its own.
func backward(t *testing.T, e *vkconv.Engine, c convtest.Case, g convtest.Grads, dy []float32, options ...vkconv.LayerOption) error {
	p := c.Problem
	x, grad := tensor(t, e, p.Input(), c.X), tensor(t, e, p.Output(), dy)
	out := vkconv.Gradients{X: tensor(t, e, p.Input(), g.X), Weight: tensor(t, e, p.Weight(), g.Weight)}
	if p.Bias {
		out.Bias = tensor(t, e, conv.Shape{1, p.K, 1, 1}, g.Bias)
	}
	if p.Deformable() {
		offset := tensor(t, e, p.Offset(), c.Offset)
		out.Offset = tensor(t, e, p.Offset(), g.Offset)
		var mask *vkconv.Tensor
		if p.Mask {
			mask = tensor(t, e, p.MaskShape(), c.Mask)
			out.Mask = tensor(t, e, p.MaskShape(), g.Mask)
		}
		l, err := e.NewDeformConv2DBackward(p.Input(), c.Weight, p.Weight(), paramsOf(p), deformOf(p), options...)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.Run(ctx, out, x, offset, mask, grad); err != nil {
			return err
		}
	} else {
		l, err := e.NewConv2DBackward(p.Input(), c.Weight, p.Weight(), paramsOf(p))
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.Run(ctx, out, x, grad); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		t  *vkconv.Tensor
		to []float32
	}{{out.X, g.X}, {out.Weight, g.Weight}, {out.Bias, g.Bias}, {out.Offset, g.Offset}, {out.Mask, g.Mask}} {
		if d.t == nil {
			continue
		}
		if err := d.t.Download(ctx, d.to); err != nil {
			return err
		}
	}
	return nil
}

func TestBackward(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		convtest.Backward(t, convtest.Cases(60), func(c convtest.Case, g convtest.Grads, dy []float32) error {
			return backward(t, e, c, g, dy)
		})
	})
}

// Every gradient has the same bits twenty times, with other work in flight.
func TestBackwardTwice(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		defer otherWork(t, e)()
		same := func(name string, first *[]float32, g convtest.Grads) {
			all := slices.Concat(g.X, g.Weight, g.Bias, g.Offset, g.Mask)
			if *first == nil {
				*first = all
			}
			if !slices.EqualFunc(all, *first, bits) {
				t.Fatalf("%s: gradients differ from run to run", name)
			}
		}
		for i := range 1 + convtest.Cases(20)/20 {
			c, q := convtest.Random(convtest.Seed()+3, i), convtest.RandomTransposed(convtest.Seed()+3, i)
			dy, back := c.OutputGrad(), q.OutputGrad()
			var first, firstTransposed []float32
			for range 20 {
				g := convtest.Grads{X: make([]float32, len(c.X)), Weight: make([]float32, len(c.Weight)), Bias: make([]float32, len(c.Bias)),
					Offset: make([]float32, len(c.Offset)), Mask: make([]float32, len(c.Mask))}
				if err := backward(t, e, c, g, dy); err != nil {
					t.Fatal(err)
				}
				same(c.Name, &first, g)
				g = convtest.Grads{X: make([]float32, len(q.X)), Weight: make([]float32, len(q.Weight)), Bias: make([]float32, len(q.Bias))}
				if err := transposedBackward(t, e, q, g, back); err != nil {
					t.Fatal(err)
				}
				same(q.Name, &firstTransposed, g)
			}
		}
	})
}

// Transposed convolution and its gradients on both sides of the door.
func TestConvTranspose2D(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		convtest.Transposed(t, convtest.Cases(60), func(c convtest.TransposedCase, y []float32, g convtest.Grads, dy []float32) error {
			q := c.Problem
			params := paramsOf(q.Of)
			params.Activation = q.Activation
			l, err := e.NewConvTranspose2D(q.Input(), c.Weight, c.Bias, q.Weight(), params, c.OutputPadding)
			if err != nil {
				return err
			}
			defer l.Close()
			x, out := tensor(t, e, q.Input(), c.X), tensor(t, e, q.Output(), y)
			if err := l.Run(ctx, out, x); err != nil {
				return err
			}
			if err := out.Download(ctx, y); err != nil {
				return err
			}
			return transposedBackward(t, e, c, g, dy)
		})
	})
}

// transposedBackward runs the gradients of a transposed convolution by a layer of their own.
func transposedBackward(t *testing.T, e *vkconv.Engine, c convtest.TransposedCase, g convtest.Grads, dy []float32) error {
	q := c.Problem
	params := paramsOf(q.Of)
	params.Activation = q.Activation
	back, err := e.NewConvTranspose2DBackward(q.Input(), c.Weight, q.Weight(), params, c.OutputPadding)
	if err != nil {
		return err
	}
	defer back.Close()
	grads := vkconv.Gradients{X: tensor(t, e, q.Input(), g.X), Weight: tensor(t, e, q.Weight(), g.Weight)}
	if q.Bias {
		grads.Bias = tensor(t, e, conv.Shape{1, q.Output()[1], 1, 1}, g.Bias)
	}
	if err := back.Run(ctx, grads, tensor(t, e, q.Input(), c.X), tensor(t, e, q.Output(), dy)); err != nil {
		return err
	}
	if q.Bias {
		if err := grads.Bias.Download(ctx, g.Bias); err != nil {
			return err
		}
	}
	if err := grads.X.Download(ctx, g.X); err != nil {
		return err
	}
	return grads.Weight.Download(ctx, g.Weight)
}
