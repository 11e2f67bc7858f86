package cpuref

import "vkconv/conv"

// Gradients are the derivatives of a scalar loss by an operator's inputs, given
// dy, its derivatives by the output. Those an operator lacks are nil.
type Gradients struct {
	X, Weight, Bias []conv.Sum // shapes of the input, the weight and the bias
	Offset, Mask    []conv.Sum // deformable only
}

// Conv2DBackward differentiates [Conv2D]. Every output element
// y = Σ x·weight + bias contributes
//
//	dx += weight·dy    dweight += x·dy    dbias += dy
//
// at the places the padding mode maps to. Errors of a float32 computation are
// bounded with [conv.ProductRoundings].
func Conv2DBackward[T Float](p conv.Problem, x, weight, dy []T) Gradients {
	return Conv2DBackwardSome(p, x, weight, dy, 1)
}

// Conv2DBackwardSome is [Conv2DBackward] of one in every channels of dx and one
// in every kernels of dweight, for layers whose gradients take too long; the
// others' elements have [Skipped] terms.
func Conv2DBackwardSome[T Float](p conv.Problem, x, weight, dy []T, every int) Gradients {
	check("x", x, p.Input())
	check("weight", weight, p.Weight())
	check("dy", dy, p.Output())
	g := Gradients{X: make([]conv.Sum, len(x)), Weight: make([]conv.Sum, len(weight))}
	perGroup, outPerGroup := p.C/p.Groups, p.K/p.Groups
	some(every, g.X, p.N*p.C, func(i int) { // one channel of one image, which nobody else writes
		n, c := i/p.C, i%p.C
		dx := g.X[i*p.H*p.W:][:p.H*p.W]
		for k := c / perGroup * outPerGroup; k < (c/perGroup+1)*outPerGroup; k++ {
			kernel := weight[(k*perGroup+c%perGroup)*p.Taps():][:p.Taps()]
			grad := dy[(n*p.K+k)*p.Ho*p.Wo:][:p.Ho*p.Wo]
			eachTap(p, func(tap, out, in int) {
				dx[in].Add(float64(kernel[tap]) * float64(grad[out]))
			})
		}
	})
	some(every, g.Weight, p.K*perGroup, func(i int) { // one kernel
		k, c := i/perGroup, i%perGroup+i/perGroup/outPerGroup*perGroup
		dw := g.Weight[i*p.Taps():][:p.Taps()]
		for n := range p.N {
			image := x[(n*p.C+c)*p.H*p.W:][:p.H*p.W]
			grad := dy[(n*p.K+k)*p.Ho*p.Wo:][:p.Ho*p.Wo]
			eachTap(p, func(tap, out, in int) {
				dw[tap].Add(float64(image[in]) * float64(grad[out]))
			})
		}
	})
	g.Bias = biasGradient(p, dy)
	return g
}

// Skipped is the number of terms of elements that were left out.
const Skipped = -1

// some calls f for one in every of n units, which are equal parts of sums, and
// marks the others as skipped.
func some(every int, sums []conv.Sum, n int, f func(i int)) {
	parallel(n, func(i int) {
		if i%every == 0 {
			f(i)
			return
		}
		unit := len(sums) / n
		for j := range sums[i*unit:][:unit] {
			sums[i*unit+j].Terms = Skipped
		}
	})
}

// eachTap calls f for every output pixel and every tap that reads a pixel of
// the image, with their places.
func eachTap(p conv.Problem, f func(tap, out, in int)) {
	for oy := range p.Ho {
		for r := range p.R {
			iy := conv.MapPad(p.Mode, oy*p.StrideY-p.Pad.Top+r*p.DilationY, p.H)
			if iy < 0 {
				continue
			}
			for ox := range p.Wo {
				for s := range p.S {
					ix := conv.MapPad(p.Mode, ox*p.StrideX-p.Pad.Left+s*p.DilationX, p.W)
					if ix >= 0 {
						f(r*p.S+s, oy*p.Wo+ox, iy*p.W+ix)
					}
				}
			}
		}
	}
}

// biasGradient sums dy over images and pixels; nil without a bias.
func biasGradient[T Float](p conv.Problem, dy []T) []conv.Sum {
	if !p.Bias {
		return nil
	}
	db := make([]conv.Sum, p.K)
	parallel(p.K, func(k int) {
		for n := range p.N {
			for _, v := range dy[(n*p.K+k)*p.Ho*p.Wo:][:p.Ho*p.Wo] {
				db[k].Add(float64(v))
			}
		}
	})
	return db
}
