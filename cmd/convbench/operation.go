package main

import (
	"vkconv/bench"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// arrayNames are what an operation computes, as files call it; arrays holds
// something for each, nil where the operation has no such array.
var arrayNames = [...]string{"y", "dx", "dweight", "dbias", "doffset", "dmask"}

type arrays[T any] [len(arrayNames)][]T

// operation is a convolution with its data; slices that the problem does not
// have are nil.
type operation struct {
	p                             conv.Problem
	x, weight, bias, offset, mask []float32

	transposed *transposed // instead of p, which is the convolution the other way
	pack       *pack       // instead of offset and mask
	dy         []float32   // nil for the forward pass alone
	dbias      bool        // whether the bias has a gradient
}

// transposed is what makes an operation a transposed convolution.
type transposed struct {
	conv.Transposed
	outputPadding [2]int
}

// operationOf takes a file's case.
func operationOf(c tensorio.Case) operation {
	o := operation{p: c.Problem, x: c.X, weight: c.Weight, bias: c.Bias, offset: c.Offset, mask: c.Mask, dy: c.DY,
		dbias: c.Bias != nil || c.DBias != nil}
	switch c.Op {
	case tensorio.ConvTranspose:
		o.transposed = &transposed{c.Transposed, c.OutputPadding}
	case tensorio.DeformPack:
		o.pack = &pack{c.OffsetWeight, c.OffsetBias}
	}
	return o
}

// randomOperation takes a random convolution, of every bias's gradient, too.
func randomOperation(c convtest.Case, backward bool) operation {
	o := operation{p: c.Problem, x: c.X, weight: c.Weight, bias: c.Bias, offset: c.Offset, mask: c.Mask, dbias: true}
	if backward {
		o.dy = c.OutputGrad()
	}
	return o
}

// randomTransposed is randomOperation for a transposed convolution.
func randomTransposed(c convtest.TransposedCase, backward bool) operation {
	o := operation{p: c.Problem.Of, x: c.X, weight: c.Weight, bias: c.Bias, dbias: true,
		transposed: &transposed{c.Problem, c.OutputPadding}}
	if backward {
		o.dy = c.OutputGrad()
	}
	return o
}

func (o operation) input() conv.Shape {
	if o.transposed != nil {
		return o.transposed.Input()
	}
	return o.p.Input()
}

func (o operation) output() conv.Shape {
	if o.transposed != nil {
		return o.transposed.Output()
	}
	return o.p.Output()
}

// shape returns the shape of one of the arrays.
func (o operation) shape(array int) []int {
	var s conv.Shape
	switch arrayNames[array] {
	case "y":
		s = o.output()
	case "dx":
		s = o.input()
	case "dweight":
		s = o.p.Weight()
	case "dbias":
		return []int{o.output()[1]}
	case "doffset":
		s = o.p.Offset()
	case "dmask":
		s = o.p.MaskShape()
	}
	return s[:]
}

// params returns the parameters that make the problem.
func (o operation) params() (conv.Params, conv.Deform) {
	p := o.p
	return conv.Params{Stride: [2]int{p.StrideY, p.StrideX}, Padding: p.Pad, Dilation: [2]int{p.DilationY, p.DilationX},
		Groups: p.Groups, Mode: p.Mode, Activation: p.Activation}, conv.Deform{OffsetGroups: p.OffsetGroups, Mask: p.Mask, Border: p.Border}
}

func (o operation) roundings() int {
	if o.p.Deformable() {
		return conv.SampleRoundings
	}
	return conv.ProductRoundings
}

// oracle computes what is right: y, and where there is a dy the gradients.
func (o operation) oracle() (sums arrays[conv.Sum]) {
	p, backward := o.p, o.dy != nil
	var g cpuref.Gradients
	switch {
	case o.transposed != nil:
		t := o.transposed.Transposed
		sums[0] = cpuref.ConvTranspose2D(t, o.x, o.weight, o.bias)
		if t.Bias = o.dbias; backward {
			g = cpuref.ConvTranspose2DBackward(t, o.x, o.weight, o.dy)
		}
	case o.pack != nil: // its gradients would go through the predictor as well
		sums[0] = o.pack.oracle(o)
	case p.Deformable():
		sums[0] = cpuref.DeformConv2D(p, o.x, o.offset, o.mask, o.weight, o.bias)
		if p.Bias = o.dbias; backward {
			g = cpuref.DeformConv2DBackward(p, o.x, o.offset, o.mask, o.weight, o.dy)
		}
	default:
		sums[0] = cpuref.Conv2D(p, o.x, o.weight, o.bias)
		if p.Bias = o.dbias; backward {
			g = cpuref.Conv2DBackward(p, o.x, o.weight, o.dy)
		}
	}
	sums[1], sums[2], sums[3], sums[4], sums[5] = g.X, g.Weight, g.Bias, g.Offset, g.Mask
	return sums
}

// kind names what sort of convolution it is.
func (o operation) kind() string {
	switch {
	case o.transposed != nil:
		return "transposed"
	case o.pack != nil && o.p.Mask:
		return "pack v2"
	case o.pack != nil:
		return "pack v1"
	case o.p.Mask:
		return "deform v2"
	case o.p.Deformable():
		return "deform v1"
	case o.p.DilationY > 1 || o.p.DilationX > 1:
		return "dilated"
	}
	return "conv"
}

// describe writes the shape as tables show it.
func (o operation) describe() string {
	x, y := o.input(), o.output()
	return bench.ShapeOf([]conv.Problem{{N: x[0], C: x[1], H: x[2], W: x[3], K: y[1], Ho: y[2], Wo: y[3]}})
}
