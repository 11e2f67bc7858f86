package main

import (
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// operation is a convolution with its data; slices that the problem does not
// have are nil.
type operation struct {
	p                             conv.Problem
	x, weight, bias, offset, mask []float32

	transposed *transposed // instead of p, which is the convolution the other way
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
	if c.Op == tensorio.ConvTranspose {
		o.transposed = &transposed{c.Transposed, c.OutputPadding}
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

// params returns the parameters that make the problem.
func (o operation) params() (conv.Params, conv.Deform) { return paramsOf(o.p) }

// paramsOf returns the parameters that make a problem.
func paramsOf(p conv.Problem) (conv.Params, conv.Deform) {
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
func (o operation) oracle() []answer {
	p, backward := o.p, o.dy != nil
	var y []conv.Sum
	var g cpuref.Gradients
	switch {
	case o.transposed != nil:
		t := o.transposed.Transposed
		y = cpuref.ConvTranspose2D(t, o.x, o.weight, o.bias)
		if t.Bias = o.dbias; backward {
			g = cpuref.ConvTranspose2DBackward(t, o.x, o.weight, o.dy)
		}
	case p.Deformable():
		y = cpuref.DeformConv2D(p, o.x, o.offset, o.mask, o.weight, o.bias)
		if p.Bias = o.dbias; backward {
			g = cpuref.DeformConv2DBackward(p, o.x, o.offset, o.mask, o.weight, o.dy)
		}
	default:
		y = cpuref.Conv2D(p, o.x, o.weight, o.bias)
		if p.Bias = o.dbias; backward {
			g = cpuref.Conv2DBackward(p, o.x, o.weight, o.dy)
		}
	}
	r := o.roundings()
	all := append(want("y", o.output(), y, r), want("dx", o.input(), g.X, r)...)
	all = append(all, want("dweight", p.Weight(), g.Weight, r)...)
	if g.Bias != nil {
		all = append(all, answer{"dbias", []int{o.output()[1]}, g.Bias, r})
	}
	all = append(all, want("doffset", p.Offset(), g.Offset, r)...)
	return append(all, want("dmask", p.MaskShape(), g.Mask, r)...)
}

// kind names what sort of convolution it is.
func (o operation) kind() string {
	switch {
	case o.transposed != nil:
		return "transposed"
	case o.p.Mask:
		return "deform v2"
	case o.p.Deformable():
		return "deform v1"
	case o.p.DilationY > 1 || o.p.DilationX > 1:
		return "dilated"
	}
	return "conv"
}

func (o operation) describe() string { return shapeOf(o.input(), o.output()) }
