package bench

import (
	"math"
	"math/rand/v2"

	"vkconv/conv"
	"vkconv/cpuref"
)

// data is what one layer computes with.
type data struct {
	p                             conv.Problem
	x, weight, bias, offset, mask []float32
	want                          []conv.Sum // of the forward pass; nil where elements are asked for one by one
	every                         int        // one in every elements, or units of gradients, is compared

	dy    []float32 // of a backward pass, instead of bias and want
	grads cpuref.Gradients
}

// costOf is about how many terms the oracle adds up for a layer.
func costOf(p conv.Problem, backward bool) float64 {
	terms := float64(p.Cost().MACs)
	if p.Deformable() {
		terms *= 8 // four corners of a sample, and their slopes
	}
	if backward {
		terms *= 2
		if p.Deformable() {
			terms *= 2
		}
	}
	return terms
}

// makeData draws data for every layer of a chain and asks the oracle. A
// layer's input is the oracle's output of the layer before, rounded, so that
// each layer is judged by itself and every implementation by the same numbers.
// A single layer that would cost the oracle more than limit terms is judged by a
// part of its elements, spread evenly; 0 sets no limit.
func makeData(problems []conv.Problem, backward bool, seed uint64, offsets *Offsets, limit float64) []data {
	r := rand.New(rand.NewPCG(seed, 0))
	chain := make([]data, len(problems))
	for i, p := range problems {
		d := data{p: p, every: 1}
		if terms := costOf(p, backward); limit > 0 && len(problems) == 1 && terms > limit {
			d.every = 1 + int(terms/limit)
			d.every |= 1 // odd, so that even widths do not give columns
		}
		if i == 0 {
			d.x = normal(r, p.Input().Len(), 1)
		} else {
			d.x = make([]float32, p.Input().Len())
			for j, s := range chain[i-1].want {
				d.x[j] = float32(s.Value)
			}
		}
		// Outputs keep the inputs' spread: no overflow in a chain.
		d.weight = normal(r, p.Weight().Len(), 1/math.Sqrt(float64(p.C/p.Groups*p.Taps())))
		if p.Bias {
			d.bias = normal(r, p.K, 1)
		}
		if p.Deformable() {
			d.offset = offsets.draw(r, p)
		}
		if p.Mask {
			d.mask = make([]float32, p.MaskShape().Len())
			for j := range d.mask {
				d.mask[j] = r.Float32()
			}
		}
		switch {
		case backward:
			d.dy = normal(r, p.Output().Len(), 1)
			if p.Deformable() {
				d.grads = cpuref.DeformConv2DBackwardSome(p, d.x, d.offset, d.mask, d.weight, d.dy, d.every)
			} else {
				d.grads = cpuref.Conv2DBackwardSome(p, d.x, d.weight, d.dy, d.every)
			}
		case d.every > 1: // asked for in judge
		case p.Deformable():
			d.want = cpuref.DeformConv2D(p, d.x, d.offset, d.mask, d.weight, d.bias)
		default:
			d.want = cpuref.Conv2D(p, d.x, d.weight, d.bias)
		}
		chain[i] = d
	}
	return chain
}

func (d data) roundings() int {
	if d.p.Deformable() {
		return conv.SampleRoundings
	}
	return conv.ProductRoundings
}

// normal draws n values of a normal distribution.
func normal(r *rand.Rand, n int, deviation float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * deviation)
	}
	return v
}
