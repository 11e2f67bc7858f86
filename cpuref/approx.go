package cpuref

import (
	"math"

	"vkconv/conv"
)

// A block is a chain of operators. What a computation hands from one to the next is
// off a little, and the next carries that on. This file bounds it, for computations
// in the type of the data: float32, or float64. Of the latter the oracle is one
// itself, and off by as much: [Twice] allows for both.

// Approx is a tensor in float64 and how far a computation's own may be off from it,
// element by element. The zero Approx is an absent tensor.
type Approx struct{ Value, Off []float64 }

// chain bounds a chain of computations in float32, or where it is true in float64.
type chain bool

func chainOf[T Float]() chain { return chain(wide[T]()) }

func (c chain) bound(s conv.Sum, roundings int) float64 {
	if c {
		return s.Bound64(roundings)
	}
	return s.Bound(roundings)
}

// Twice are the sums of a block for a float64 computation that is compared with the
// oracle's: either may be off by the bound.
func Twice(sums []conv.Sum, roundings int) []conv.Sum {
	out := make([]conv.Sum, len(sums))
	for i, s := range sums {
		out[i] = s
		out[i].Slack += s.Bound64(roundings)
	}
	return out
}

// Exactly is a tensor that a computation has as it is.
func Exactly[T Float](v []T) Approx {
	if v == nil {
		return Approx{}
	}
	a := Approx{make([]float64, len(v)), make([]float64, len(v))}
	for i, x := range v {
		a.Value[i] = float64(x)
	}
	return a
}

// approx is what a computation has of sums.
func (c chain) approx(sums []conv.Sum, roundings int) Approx {
	a := Approx{make([]float64, len(sums)), make([]float64, len(sums))}
	for i, s := range sums {
		a.Value[i] = s.Value
		if s.Abs != 0 || s.Slack != 0 { // nothing but zeros is exact
			a.Off[i] = c.bound(s, roundings)
		}
	}
	return a
}

// upper is the most that the elements computed may be, absolutely.
func (a Approx) upper() []float64 {
	if a.Value == nil {
		return nil
	}
	u := make([]float64, len(a.Value))
	for i, v := range a.Value {
		u[i] = math.Abs(v) + a.Off[i]
	}
	return u
}

// carry bounds an operator that is linear in each of its operands. sums are its
// results from the exact operands, upper those from their [Approx.upper]: with
// every operand off by up to δ,
//
//	|Π(xᵢ + δᵢ) − Πxᵢ| ≤ Π(|xᵢ| + |δᵢ|) − Π|xᵢ|
//
// which summed is upper.Abs − sums.Abs, and the roundings of the computation
// itself are made on terms that together are at most upper.Abs.
func carry(sums, upper []conv.Sum) []conv.Sum {
	out := make([]conv.Sum, len(sums))
	for i, s := range sums {
		u := upper[i]
		out[i] = conv.Sum{Value: s.Value, Abs: u.Abs, Slope: s.Slope, Terms: s.Terms, Slack: u.Slack}
		// The difference of two sums, which are rounded themselves.
		out[i].Slack += max(0, u.Abs-s.Abs) + 2*conv.Roundoff64*float64(s.Terms+conv.SampleRoundings)*u.Abs
	}
	return out
}

// together adds up tensors of one shape, absent ones left out.
func together(parts ...Approx) []conv.Sum {
	var out []conv.Sum
	for _, p := range parts {
		if p.Value == nil {
			continue
		}
		if out == nil {
			out = make([]conv.Sum, len(p.Value))
		}
		for i, v := range p.Value {
			out[i].Value += v
			out[i].Abs += math.Abs(v) + p.Off[i]
			out[i].Slack += p.Off[i]
			out[i].Terms++
		}
	}
	return out
}

// Filter is the weight of a convolution, and its bias or nil.
type Filter[T Float] struct{ Weight, Bias []T }

// convolve is [Conv2D] of a tensor that is off, without the activation.
func convolve[T Float](p conv.Problem, x Approx, f Filter[T]) []conv.Sum {
	p.Activation, p.Bias = conv.Activation{}, f.Bias != nil
	w, b := Exactly(f.Weight), Exactly(f.Bias)
	return carry(Conv2D(p, x.Value, w.Value, b.Value), Conv2D(p, x.upper(), w.upper(), b.upper()))
}

// activated applies an activation to what a layer computed.
func (c chain) activated(a conv.Activation, sums []conv.Sum) []conv.Sum {
	out := make([]conv.Sum, len(sums))
	for i, s := range sums {
		if c {
			out[i] = a.Apply64(s)
		} else {
			out[i] = a.Apply(s)
		}
	}
	return out
}

// throughActivation is dy·a'(z), both off. The derivative at the z that was
// computed may be another: by the steepest second derivative, or where a kink is
// nearer than z is off, by the jump there.
//
//	|σ″| ≤ √3/18    |(x·σ)″| ≤ ½    |(x·Φ)″| ≤ 2/√(2π)
func (c chain) throughActivation(a conv.Activation, z, dy Approx) Approx {
	if a.Kind == conv.Identity {
		return dy
	}
	out := Approx{make([]float64, len(dy.Value)), make([]float64, len(dy.Value))}
	for i, v := range z.Value {
		s := a.ApplyBackward(v, dy.Value[i])
		if c {
			s = a.ApplyBackward64(v, dy.Value[i])
		}
		at := a.Derivative(v)
		slack := 0.0
		switch a.Kind {
		case conv.Sigmoid:
			slack = 0.09623 * z.Off[i]
		case conv.SiLU:
			slack = 0.5 * z.Off[i]
		case conv.GELU:
			slack = 0.79789 * z.Off[i]
		default:
			for _, end := range [2]float64{v - z.Off[i], v + z.Off[i]} {
				slack = max(slack, math.Abs(a.Derivative(end)-at))
			}
			if a.Kind == conv.Clamp && a.Min == a.Max && math.Abs(v-float64(a.Min)) <= z.Off[i] {
				slack = 1 // both kinks within
			}
		}
		out.Value[i] = s.Value
		out.Off[i] = c.bound(s, conv.ProductRoundings) + (math.Abs(dy.Value[i])+dy.Off[i])*slack*1.01 + dy.Off[i]*math.Abs(at)*1.01
	}
	return out
}
