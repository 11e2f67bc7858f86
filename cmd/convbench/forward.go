package main

import (
	"context"
	"math"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// operation is a convolution with its data; slices that the problem does not
// have are nil.
type operation struct {
	p                             conv.Problem
	x, weight, bias, offset, mask []float32
}

// params returns the parameters that make the problem.
func (o operation) params() (conv.Params, conv.Deform) {
	p := o.p
	return conv.Params{Stride: [2]int{p.StrideY, p.StrideX}, Padding: p.Pad, Dilation: [2]int{p.DilationY, p.DilationX},
		Groups: p.Groups, Mode: p.Mode}, conv.Deform{OffsetGroups: p.OffsetGroups, Mask: p.Mask}
}

func (o operation) roundings() int {
	if o.p.Deformable() {
		return conv.SampleRoundings
	}
	return conv.ProductRoundings
}

// oracle computes what is right.
func (o operation) oracle() []conv.Sum {
	if o.p.Deformable() {
		return cpuref.DeformConv2D(o.p, o.x, o.offset, o.mask, o.weight, o.bias)
	}
	return cpuref.Conv2D(o.p, o.x, o.weight, o.bias)
}

// forward computes the operation on an engine. The output was all NaN before,
// so that an element that is left out shows.
func (o operation) forward(ctx context.Context, e *vkconv.Engine) ([]float32, vkconv.Timing, error) {
	var tensors []*vkconv.Tensor
	defer func() {
		for _, t := range tensors {
			t.Free()
		}
	}()
	tensor := func(s conv.Shape, data []float32) (*vkconv.Tensor, error) {
		t, err := e.TensorOf(s, data)
		if err == nil {
			tensors = append(tensors, t)
		}
		return t, err
	}
	fail := func(err error) ([]float32, vkconv.Timing, error) { return nil, vkconv.Timing{}, err }

	params, deform := o.params()
	x, err := tensor(o.p.Input(), o.x)
	if err != nil {
		return fail(err)
	}
	out := make([]float32, o.p.Output().Len())
	for i := range out {
		out[i] = float32(math.NaN())
	}
	y, err := tensor(o.p.Output(), out)
	if err != nil {
		return fail(err)
	}
	var run func() error
	if o.p.Deformable() {
		layer, err := e.NewDeformConv2D(o.p.Input(), o.weight, o.bias, o.p.Weight(), params, deform)
		if err != nil {
			return fail(err)
		}
		defer layer.Close()
		offset, err := tensor(o.p.Offset(), o.offset)
		if err != nil {
			return fail(err)
		}
		var mask *vkconv.Tensor
		if o.p.Mask {
			if mask, err = tensor(o.p.MaskShape(), o.mask); err != nil {
				return fail(err)
			}
		}
		run = func() error { return layer.Run(ctx, y, x, offset, mask) }
	} else {
		layer, err := e.NewConv2D(o.p.Input(), o.weight, o.bias, o.p.Weight(), params)
		if err != nil {
			return fail(err)
		}
		defer layer.Close()
		run = func() error { return layer.Run(ctx, y, x) }
	}
	timing, err := e.Time(ctx, run)
	if err != nil {
		return fail(err)
	}
	if err := y.Download(ctx, out); err != nil {
		return fail(err)
	}
	return out, timing, nil
}
