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

	named map[string]*vkconv.Tensor // the results
}

// result makes an output that goes by a name.
func (t *tensors) result(name string, s conv.Shape) *vkconv.Tensor {
	one := t.blank(s)
	if t.named == nil {
		t.named = map[string]*vkconv.Tensor{}
	}
	t.named[name] = one
	return one
}

// results downloads the outputs, after what ran returned failed.
func (t *tensors) results(ctx context.Context, failed error) (map[string][]float32, error) {
	if err := first(t.err, failed); err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for name, one := range t.named {
		var err error
		if out[name], err = download(ctx, one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// first returns the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
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
func (o operation) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	y, _, err := o.forward(ctx, e)
	if err != nil || o.dy == nil {
		return map[string][]float32{"y": y}, err
	}
	out, err := o.backward(ctx, e)
	if err != nil {
		return nil, err
	}
	out["y"] = y
	return out, nil
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
func (o operation) backward(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	t := tensors{e: e}
	defer t.free()
	x, dy := t.of(o.input(), o.x), t.of(o.output(), o.dy)
	g := vkconv.Gradients{X: t.result("dx", o.input()), Weight: t.result("dweight", o.p.Weight())}
	if o.dbias {
		g.Bias = t.result("dbias", conv.Shape{1, o.output()[1], 1, 1})
	}
	var offset, mask *vkconv.Tensor
	if o.p.Deformable() {
		offset, g.Offset = t.of(o.p.Offset(), o.offset), t.result("doffset", o.p.Offset())
	}
	if o.p.Mask {
		mask, g.Mask = t.of(o.p.MaskShape(), o.mask), t.result("dmask", o.p.MaskShape())
	}
	if t.err != nil {
		return nil, t.err
	}
	return t.results(ctx, o.runBackward(ctx, e, g, x, offset, mask, dy))
}

// runBackward plans the backward pass and runs it.
func (o operation) runBackward(ctx context.Context, e *vkconv.Engine, g vkconv.Gradients, x, offset, mask, dy *vkconv.Tensor) error {
	params, deform := o.params()
	switch {
	case o.transposed != nil:
		layer, err := e.NewConvTranspose2DBackward(o.input(), o.weight, o.p.Weight(), params, o.transposed.outputPadding)
		if err != nil {
			return err
		}
		defer layer.Close()
		return layer.Run(ctx, g, x, dy)
	case o.p.Deformable():
		layer, err := e.NewDeformConv2DBackward(o.input(), o.weight, o.p.Weight(), params, deform)
		if err != nil {
			return err
		}
		defer layer.Close()
		return layer.Run(ctx, g, x, offset, mask, dy)
	}
	layer, err := e.NewConv2DBackward(o.input(), o.weight, o.p.Weight(), params)
	if err != nil {
		return err
	}
	defer layer.Close()
	return layer.Run(ctx, g, x, dy)
}
