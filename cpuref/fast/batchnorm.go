package fast

import (
	"context"
	"math"

	"vkconv/conv"
)

// BatchNorm is a batch normalization: see [vkconv/cpuref.BatchNorm]. A unit takes
// a channel; sums are in float64, whose order does not show.
type BatchNorm struct {
	plain
	pool *Pool
	b    conv.BatchNorm
}

// NewBatchNorm makes the plan of a normalization.
func NewBatchNorm(pool *Pool, b conv.BatchNorm) *BatchNorm {
	return &BatchNorm{"plain Go, a channel at a time, sums in float64", pool, b}
}

// check refuses operands of other lengths.
func (n *BatchNorm) check(channels []any, tensors ...any) error {
	if err := lengths(n.b.C, channels...); err != nil {
		return err
	}
	return lengths(n.b.Input().Len(), tensors...)
}

// Train computes y and the moments of the batch, and moves the running ones unless
// they are nil.
func (n *BatchNorm) Train(ctx context.Context, y, mean, variance, runningMean, runningVar, x, weight, bias []float32) error {
	channels := []any{"mean", mean, "variance", variance, "weight", weight, "bias", bias}
	if runningMean != nil || runningVar != nil {
		channels = append(channels, "running mean", runningMean, "running variance", runningVar)
	}
	if err := n.check(channels, "y", y, "x", x); err != nil {
		return err
	}
	b := n.b
	m, keep := float64(b.Count()), 1-b.Momentum
	return n.pool.each(ctx, b.C, func(c int) {
		sum, squares := 0.0, 0.0
		n.channel(c, func(i, to int) {
			for _, v := range x[i:to] {
				sum += float64(v)
			}
		})
		mu := sum / m
		n.channel(c, func(i, to int) {
			for _, v := range x[i:to] {
				d := float64(v) - mu
				squares += d * d
			}
		})
		mean[c], variance[c] = float32(mu), float32(squares/m)
		if runningMean != nil {
			runningMean[c] = keep*runningMean[c] + b.Momentum*float32(mu)
			runningVar[c] = keep*runningVar[c] + b.Momentum*float32(squares/(m-1))
		}
		n.normalize(c, y, x, weight, bias, mean, variance)
	})
}

// Run computes y with given moments.
func (n *BatchNorm) Run(ctx context.Context, y, x, weight, bias, mean, variance []float32) error {
	if err := n.check([]any{"mean", mean, "variance", variance, "weight", weight, "bias", bias}, "y", y, "x", x); err != nil {
		return err
	}
	return n.pool.each(ctx, n.b.C, func(c int) { n.normalize(c, y, x, weight, bias, mean, variance) })
}

func (n *BatchNorm) normalize(c int, y, x, weight, bias, mean, variance []float32) {
	mu, scale, shift := mean[c], weight[c]*n.scale(variance[c]), bias[c]
	n.channel(c, func(i, to int) {
		y, x := y[i:to], x[i:to]
		for i, v := range x {
			y[i] = (v-mu)*scale + shift
		}
	})
}

func (n *BatchNorm) scale(variance float32) float32 {
	return float32(1 / math.Sqrt(float64(variance)+float64(n.b.Eps)))
}

// Backward computes the gradients of training that are not nil, given the moments
// of the batch.
func (n *BatchNorm) Backward(ctx context.Context, dx, dweight, dbias, x, dy, weight, mean, variance []float32) error {
	channels, tensors := []any{"weight", weight, "mean", mean, "variance", variance}, []any{"x", x, "dy", dy}
	if dweight != nil {
		channels = append(channels, "dweight", dweight)
	}
	if dbias != nil {
		channels = append(channels, "dbias", dbias)
	}
	if dx != nil {
		tensors = append(tensors, "dx", dx)
	}
	if err := n.check(channels, tensors...); err != nil {
		return err
	}
	m := float64(n.b.Count())
	return n.pool.each(ctx, n.b.C, func(c int) {
		mu, r := mean[c], n.scale(variance[c])
		var db, dot float64
		n.channel(c, func(i, to int) {
			x, dy := x[i:to], dy[i:to]
			for i, d := range dy {
				db += float64(d)
				dot += float64(d) * float64((x[i]-mu)*r)
			}
		})
		if dweight != nil {
			dweight[c] = float32(dot)
		}
		if dbias != nil {
			dbias[c] = float32(db)
		}
		if dx == nil {
			return
		}
		scale, less, slope := weight[c]*r, float32(db/m), float32(dot/m)
		n.channel(c, func(i, to int) {
			dx, x, dy := dx[i:to], x[i:to], dy[i:to]
			for i, d := range dy {
				dx[i] = scale * (d - less - (x[i]-mu)*r*slope)
			}
		})
	})
}

// channel calls f with the ranges of a channel's planes.
func (n *BatchNorm) channel(c int, f func(from, to int)) {
	plane := n.b.H * n.b.W
	for i := range n.b.N {
		at := (i*n.b.C + c) * plane
		f(at, at+plane)
	}
}
