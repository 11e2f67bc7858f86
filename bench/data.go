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
	want                          []conv.Sum // of the forward pass

	dy    []float32 // of a backward pass, instead of bias and want
	grads cpuref.Gradients
}

// makeData draws data for every layer of a chain and asks the oracle. A
// layer's input is the oracle's output of the layer before, rounded, so that
// each layer is judged by itself and every implementation by the same numbers.
func makeData(problems []conv.Problem, backward bool, seed uint64) []data {
	r := rand.New(rand.NewPCG(seed, 0))
	chain := make([]data, len(problems))
	for i, p := range problems {
		d := data{p: p}
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
			d.offset = normal(r, p.Offset().Len(), 2) // pixels
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
				d.grads = cpuref.DeformConv2DBackward(p, d.x, d.offset, d.mask, d.weight, d.dy)
			} else {
				d.grads = cpuref.Conv2DBackward(p, d.x, d.weight, d.dy)
			}
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
