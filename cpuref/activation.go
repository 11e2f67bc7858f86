package cpuref

import "vkconv/conv"

// Activation computes an activation of every element; of the input, nothing is
// rounded before.
func Activation[T Float](a conv.Activation, x []T) []conv.Sum {
	y := make([]conv.Sum, len(x))
	for i, v := range x {
		y[i] = a.Apply(conv.Sum{Value: float64(v)})
	}
	return y
}

// ActivationBackward differentiates [Activation]. Errors of a float32 computation
// are bounded with [conv.ProductRoundings].
func ActivationBackward[T Float](a conv.Activation, x, dy []T) []conv.Sum {
	same(len(x), len(dy))
	dx := make([]conv.Sum, len(x))
	for i, v := range x {
		dx[i] = a.ApplyBackward(float64(v), float64(dy[i]))
	}
	return dx
}

// ActivatedBackward differentiates [Conv2D] or, of a deformable problem,
// [DeformConv2D] through the activation behind it. Errors of a computation in T
// are bounded with [conv.SampleRoundings].
func ActivatedBackward[T Float](p conv.Problem, x, offset, mask, weight, bias, dy []T) Gradients {
	q, c := p, chainOf[T]()
	q.Activation = conv.Activation{}
	in, at, m, w := Exactly(x), Exactly(offset), Exactly(mask), Exactly(weight)
	var z []conv.Sum
	roundings := conv.ProductRoundings
	if p.Deformable() {
		z, roundings = DeformConv2D(q, x, offset, mask, weight, bias), conv.SampleRoundings
	} else {
		z = Conv2D(q, x, weight, bias)
	}
	dz := c.throughActivation(p.Activation, c.approx(z, roundings), Exactly(dy))
	if !p.Deformable() {
		return convolveBackward(q, in, weight, dz)
	}
	q.Bias = true
	g := DeformConv2DBackward(q, in.Value, at.Value, m.Value, w.Value, dz.Value)
	upper := DeformConv2DBackward(q, in.upper(), at.Value, m.upper(), w.upper(), dz.upper())
	out := Gradients{X: carry(g.X, upper.X), Weight: carry(g.Weight, upper.Weight), Bias: carry(g.Bias, upper.Bias), Offset: carry(g.Offset, upper.Offset)}
	if p.Mask {
		out.Mask = carry(g.Mask, upper.Mask)
	}
	return out
}

// ActivatedTransposeBackward is [ActivatedBackward] of [ConvTranspose2D].
func ActivatedTransposeBackward[T Float](t conv.Transposed, x, weight, bias, dy []T) Gradients {
	q, c := t, chainOf[T]()
	q.Activation, q.Bias = conv.Activation{}, bias != nil
	z := ConvTranspose2D(q, x, weight, bias)
	dz := c.throughActivation(t.Activation, c.approx(z, conv.ProductRoundings), Exactly(dy))
	q.Bias = true
	in, w := Exactly(x), Exactly(weight)
	g, upper := ConvTranspose2DBackward(q, in.Value, w.Value, dz.Value), ConvTranspose2DBackward(q, in.upper(), w.upper(), dz.upper())
	return Gradients{X: carry(g.X, upper.X), Weight: carry(g.Weight, upper.Weight), Bias: carry(g.Bias, upper.Bias)}
}
