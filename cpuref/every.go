package cpuref

import "vkconv/conv"

// Conv2DEvery computes the elements 0, every, 2·every, … of [Conv2D]'s output, which
// is how a layer too large for all of them is checked.
func Conv2DEvery[T Float](p conv.Problem, x, weight, bias []T, every int) []conv.Sum {
	check("x", x, p.Input())
	check("weight", weight, p.Weight())
	return each(p, every, func(n, k, oy, ox int) conv.Sum { return Conv2DAt(p, x, weight, bias, n, k, oy, ox) })
}

// DeformConv2DEvery is [Conv2DEvery] for [DeformConv2D].
func DeformConv2DEvery[T Float](p conv.Problem, x, offset, mask, weight, bias []T, every int) []conv.Sum {
	check("x", x, p.Input())
	check("offset", offset, p.Offset())
	check("weight", weight, p.Weight())
	if p.Mask {
		check("mask", mask, p.MaskShape())
	}
	return each(p, every, func(n, k, oy, ox int) conv.Sum { return DeformConv2DAt(p, x, offset, mask, weight, bias, n, k, oy, ox) })
}

func each(p conv.Problem, every int, at func(n, k, oy, ox int) conv.Sum) []conv.Sum {
	y := make([]conv.Sum, (p.Output().Len()+every-1)/every)
	parallel(len(y), func(i int) {
		e := i * every
		y[i] = at(e/p.Wo/p.Ho/p.K, e/p.Wo/p.Ho%p.K, e/p.Wo%p.Ho, e%p.Wo)
	})
	return y
}

// Every returns the distance of elements at which checking a layer takes no more
// than about a second: 1 for most, and odd, so that no column is left out.
func Every(p conv.Problem) int {
	const most = 1 << 25 // products; one of a large layer, far from its neighbours in memory, takes some 20 ns
	work := float64(p.Output().Len()) * float64(p.C/p.Groups) * float64(p.Taps())
	if work <= most {
		return 1
	}
	return int(work/most) | 1
}
