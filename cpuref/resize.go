package cpuref

import (
	"math"

	"vkconv/conv"
)

// Resize computes PyTorch's bilinear interpolate: with (fy, fx) the way from the
// pixel above and left to the one below and right,
//
//	y = (1−fy)·(1−fx)·x₀₀ + (1−fy)·fx·x₀₁ + fy·(1−fx)·x₁₀ + fy·fx·x₁₁
//
// Errors of a float32 computation are bounded with [conv.ResizeRoundings].
func Resize[T Float](r conv.Resize, x []T) []conv.Sum {
	check("x", x, r.Input())
	y := make([]conv.Sum, r.Output().Len())
	rows, columns := r.Rows(), r.Columns()
	parallel(r.N*r.C, func(i int) {
		image := x[i*r.H*r.W:][:r.H*r.W]
		for oy, v := range rows {
			for ox, h := range columns {
				sum := &y[(i*r.Ho+oy)*r.Wo+ox]
				corners(r, v, h, func(at int, wy, wx float64) {
					p := float64(image[at])
					sum.Add(wy * wx * p)
				})
				below, right := min(v.At+1, r.H-1), min(h.At+1, r.W-1)
				v00, v01 := float64(image[v.At*r.W+h.At]), float64(image[v.At*r.W+right])
				v10, v11 := float64(image[below*r.W+h.At]), float64(image[below*r.W+right])
				sum.Slope = (1-h.Fraction)*math.Abs(v10-v00) + h.Fraction*math.Abs(v11-v01) +
					(1-v.Fraction)*math.Abs(v01-v00) + v.Fraction*math.Abs(v11-v10)
			}
		}
	})
	return y
}

// ResizeBackward differentiates [Resize]: every output gives its gradient to the
// pixels that it read, by their weights.
func ResizeBackward[T Float](r conv.Resize, dy []T) []conv.Sum {
	check("dy", dy, r.Output())
	dx := make([]conv.Sum, r.Input().Len())
	rows, columns := r.Rows(), r.Columns()
	parallel(r.N*r.C, func(i int) {
		image := dx[i*r.H*r.W:][:r.H*r.W]
		for oy, v := range rows {
			for ox, h := range columns {
				d := float64(dy[(i*r.Ho+oy)*r.Wo+ox])
				corners(r, v, h, func(at int, wy, wx float64) {
					image[at].AddSampled(d*wy*wx, d*wy*wx, d*(wy+wx))
				})
			}
		}
	})
	return dx
}

// corners calls f with the four pixels that an output reads, and their weights.
func corners(r conv.Resize, v, h conv.Between, f func(at int, wy, wx float64)) {
	below, right := min(v.At+1, r.H-1), min(h.At+1, r.W-1)
	f(v.At*r.W+h.At, 1-v.Fraction, 1-h.Fraction)
	f(v.At*r.W+right, 1-v.Fraction, h.Fraction)
	f(below*r.W+h.At, v.Fraction, 1-h.Fraction)
	f(below*r.W+right, v.Fraction, h.Fraction)
}
