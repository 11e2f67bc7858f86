package cpuref

import (
	"math"

	"vkconv/conv"
)

// Pool computes a maximum or mean over windows, see [conv.PoolParams]. A maximum
// is exact; errors of a mean are bounded with [conv.QuotientRoundings].
func Pool[T Float](p conv.Pool, x []T) []conv.Sum {
	check("x", x, p.Input())
	y := make([]conv.Sum, p.Output().Len())
	parallel(p.N*p.C, func(i int) {
		image, out := x[i*p.H*p.W:][:p.H*p.W], y[i*p.Ho*p.Wo:][:p.Ho*p.Wo]
		for oy := range p.Ho {
			for ox := range p.Wo {
				sum := &out[oy*p.Wo+ox]
				if p.Maximum {
					sum.Value = math.Inf(-1)
					if at := maximum(p, image, oy, ox); at >= 0 {
						sum.Value = float64(image[at])
					}
					continue
				}
				window(p, oy, ox, func(at int) { sum.Add(float64(image[at]) / float64(p.Divisor(oy, ox))) })
			}
		}
	})
	return y
}

// PoolBackward differentiates [Pool]; x is not read for a mean. Errors of a
// maximum's are bounded with no roundings inside a term.
func PoolBackward[T Float](p conv.Pool, x, dy []T) []conv.Sum {
	check("dy", dy, p.Output())
	dx := make([]conv.Sum, p.Input().Len())
	parallel(p.N*p.C, func(i int) {
		to, from := dx[i*p.H*p.W:][:p.H*p.W], dy[i*p.Ho*p.Wo:][:p.Ho*p.Wo]
		for oy := range p.Ho {
			for ox := range p.Wo {
				d := float64(from[oy*p.Wo+ox])
				if !p.Maximum {
					window(p, oy, ox, func(at int) { to[at].Add(d / float64(p.Divisor(oy, ox))) })
				} else if at := maximum(p, x[i*p.H*p.W:][:p.H*p.W], oy, ox); at >= 0 {
					to[at].Add(d)
				}
			}
		}
	})
	return dx
}

// window calls f with the pixels of an output's window, rows first.
func window(p conv.Pool, oy, ox int, f func(at int)) {
	for r := range p.R {
		for s := range p.S {
			iy, ix := oy*p.StrideY+r*p.DilationY-p.Pad.Top, ox*p.StrideX+s*p.DilationX-p.Pad.Left
			if iy >= 0 && iy < p.H && ix >= 0 && ix < p.W {
				f(iy*p.W + ix)
			}
		}
	}
}

// maximum is the pixel that an output takes, −1 where a window steps over the image.
func maximum[T Float](p conv.Pool, image []T, oy, ox int) int {
	best := -1
	window(p, oy, ox, func(at int) {
		if v := float64(image[at]); best < 0 || v > float64(image[best]) || math.IsNaN(v) {
			best = at
		}
	})
	return best
}
