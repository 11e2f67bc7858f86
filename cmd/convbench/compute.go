package main

import (
	"context"
	"math"

	"vkconv"
	"vkconv/conv"
)

// tensors are an engine's, to be freed together.
type tensors struct {
	e   *vkconv.Engine
	all []*vkconv.Tensor
	err error // the first; after it, everything is nil
}

func (t *tensors) free() {
	for _, one := range t.all {
		one.Free()
	}
}

// of makes a tensor; nil data has none.
func (t *tensors) of(s conv.Shape, data []float32) *vkconv.Tensor {
	if t.err != nil || data == nil {
		return nil
	}
	one, err := t.e.TensorOf(s, data)
	if t.err = err; err != nil {
		return nil
	}
	t.all = append(t.all, one)
	return one
}

// blank makes an output that is all NaN, so that an element that is left out shows.
func (t *tensors) blank(s conv.Shape) *vkconv.Tensor {
	out := make([]float32, s.Len())
	for i := range out {
		out[i] = float32(math.NaN())
	}
	return t.of(s, out)
}

// download returns what a tensor holds, nil for none.
func download(ctx context.Context, t *vkconv.Tensor) ([]float32, error) {
	if t == nil {
		return nil, nil
	}
	data := make([]float32, t.Shape().Len())
	return data, t.Download(ctx, data)
}

// compute runs the operation on an engine, forward and where it has a dy backward.
func (o operation) compute(ctx context.Context, e *vkconv.Engine) (out arrays[float32], err error) {
	if out[0], _, err = o.forward(ctx, e); err != nil || o.dy == nil || o.pack != nil {
		return out, err
	}
	err = o.backward(ctx, e, &out)
	return out, err
}

// forward computes y.
func (o operation) forward(ctx context.Context, e *vkconv.Engine) ([]float32, vkconv.Timing, error) {
	t := tensors{e: e}
	defer t.free()
	y, x := t.blank(o.output()), t.of(o.input(), o.x)
	offset, mask := t.of(o.p.Offset(), o.offset), t.of(o.p.MaskShape(), o.mask)
	if t.err != nil {
		return nil, vkconv.Timing{}, t.err
	}
	timing, err := o.run(ctx, e, y, x, offset, mask)
	if err != nil {
		return nil, timing, err
	}
	got, err := download(ctx, y)
	return got, timing, err
}

// run plans the forward pass, and runs and times it.
func (o operation) run(ctx context.Context, e *vkconv.Engine, y, x, offset, mask *vkconv.Tensor) (vkconv.Timing, error) {
	params, deform := o.params()
	switch {
	case o.pack != nil:
		return o.pack.forward(ctx, e, o, y, x)
	case o.transposed != nil:
		layer, err := e.NewConvTranspose2D(o.input(), o.weight, o.bias, o.p.Weight(), params, o.transposed.outputPadding)
		if err != nil {
			return vkconv.Timing{}, err
		}
		defer layer.Close()
		return e.Time(ctx, func() error { return layer.Run(ctx, y, x) })
	case o.p.Deformable():
		layer, err := e.NewDeformConv2D(o.input(), o.weight, o.bias, o.p.Weight(), params, deform)
		if err != nil {
			return vkconv.Timing{}, err
		}
		defer layer.Close()
		return e.Time(ctx, func() error { return layer.Run(ctx, y, x, offset, mask) })
	}
	layer, err := e.NewConv2D(o.input(), o.weight, o.bias, o.p.Weight(), params)
	if err != nil {
		return vkconv.Timing{}, err
	}
	defer layer.Close()
	return e.Time(ctx, func() error { return layer.Run(ctx, y, x) })
}

// backward computes the gradients.
func (o operation) backward(ctx context.Context, e *vkconv.Engine, out *arrays[float32]) error {
	t := tensors{e: e}
	defer t.free()
	x, dy := t.of(o.input(), o.x), t.of(o.output(), o.dy)
	g := vkconv.Gradients{X: t.blank(o.input()), Weight: t.blank(o.p.Weight())}
	if o.dbias {
		g.Bias = t.blank(conv.Shape{1, o.output()[1], 1, 1})
	}
	var offset, mask *vkconv.Tensor
	if o.p.Deformable() {
		offset, g.Offset = t.of(o.p.Offset(), o.offset), t.blank(o.p.Offset())
	}
	if o.p.Mask {
		mask, g.Mask = t.of(o.p.MaskShape(), o.mask), t.blank(o.p.MaskShape())
	}
	if t.err != nil {
		return t.err
	}
	params, deform := o.params()
	switch {
	case o.transposed != nil:
		layer, err := e.NewConvTranspose2DBackward(o.input(), o.weight, o.p.Weight(), params, o.transposed.outputPadding)
		if err != nil {
			return err
		}
		defer layer.Close()
		if err := layer.Run(ctx, g, x, dy); err != nil {
			return err
		}
	case o.p.Deformable():
		layer, err := e.NewDeformConv2DBackward(o.input(), o.weight, o.p.Weight(), params, deform)
		if err != nil {
			return err
		}
		defer layer.Close()
		if err := layer.Run(ctx, g, x, offset, mask, dy); err != nil {
			return err
		}
	default:
		layer, err := e.NewConv2DBackward(o.input(), o.weight, o.p.Weight(), params)
		if err != nil {
			return err
		}
		defer layer.Close()
		if err := layer.Run(ctx, g, x, dy); err != nil {
			return err
		}
	}
	for i, tensor := range []*vkconv.Tensor{g.X, g.Weight, g.Bias, g.Offset, g.Mask} {
		var err error
		if out[i+1], err = download(ctx, tensor); err != nil {
			return err
		}
	}
	return nil
}
