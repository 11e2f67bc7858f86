package cpuref

import "vkconv/conv"

// Pyramid computes the levels of an image pyramid, each from the one below, as
// [conv.NewPyramid] says. Errors of a float32 computation are bounded with
// [conv.ProductRoundings]; they hold what the levels below were off.
func Pyramid[T Float](p conv.Pyramid, x []T) (levels [][]conv.Sum) {
	check("x", x, p.Input())
	below, filter, c := Exactly(x), Filter[float32]{Weight: p.Weight()}, chainOf[T]()
	for _, q := range p.Levels {
		sums := convolve(q, below, filter)
		levels = append(levels, sums)
		below = c.approx(sums, conv.ProductRoundings)
	}
	return levels
}

// PyramidBackward differentiates [Pyramid], given the gradients by the levels,
// nil for one that nothing depends on but the levels above. With dₗ that of
// level l and Rᵀ the gradient of a reduction,
//
//	tₗ = dₗ + Rᵀ(tₗ₊₁)        dx = Rᵀ(t₁)
//
// Bounded like [Pyramid].
func PyramidBackward[T Float](p conv.Pyramid, dlevels [][]T) (dx []conv.Sum) {
	w, c := Exactly(p.Weight()), chainOf[T]()
	var above Approx
	for l := len(p.Levels) - 1; l >= 0; l-- {
		q := p.Levels[l]
		total := above
		if dlevels[l] != nil {
			check("gradient by a level", dlevels[l], q.Output())
			total = c.approx(together(Exactly(dlevels[l]), above), conv.ProductRoundings)
			if above.Value == nil {
				total = Exactly(dlevels[l])
			}
		}
		if total.Value == nil {
			continue
		}
		zeros := make([]float64, q.Input().Len())
		dx = carry(Conv2DBackward(q, zeros, w.Value, total.Value).X, Conv2DBackward(q, zeros, w.upper(), total.upper()).X)
		above = c.approx(dx, conv.ProductRoundings)
	}
	if dx == nil {
		dx = make([]conv.Sum, p.Input().Len())
	}
	return dx
}
