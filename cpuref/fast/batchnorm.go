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

// Train computes y and the moments of the batch, and moves the running ones unless
// they are nil.
func (n *BatchNorm) Train(ctx context.Context, y, mean, variance, runningMean, runningVar, x, weight, bias []float32) error {
	if err := lengths(n.b.C, named{"mean", mean}, named{"variance", variance}, named{"weight", weight}, named{"bias", bias}); err != nil {
		return err
	}
	if runningMean != nil || runningVar != nil {
		if err := lengths(n.b.C, named{"running mean", runningMean}, named{"running variance", runningVar}); err != nil {
			return err
		}
	}
	if err := lengths(n.b.Input().Len(), named{"y", y}, named{"x", x}); err != nil {
		return err
	}
	return each(ctx, n.pool, &normRuns, n.b.C, normRun{BatchNorm: n, unit: (*normRun).train,
		y: y, x: x, weight: weight, bias: bias, mean: mean, variance: variance, runningMean: runningMean, runningVar: runningVar})
}

// Run computes y with given moments.
func (n *BatchNorm) Run(ctx context.Context, y, x, weight, bias, mean, variance []float32) error {
	if err := lengths(n.b.C, named{"mean", mean}, named{"variance", variance}, named{"weight", weight}, named{"bias", bias}); err != nil {
		return err
	}
	if err := lengths(n.b.Input().Len(), named{"y", y}, named{"x", x}); err != nil {
		return err
	}
	return each(ctx, n.pool, &normRuns, n.b.C, normRun{BatchNorm: n, unit: (*normRun).normalize, y: y, x: x, weight: weight, bias: bias, mean: mean, variance: variance})
}

// Backward computes the gradients of training that are not nil, given the moments
// of the batch.
func (n *BatchNorm) Backward(ctx context.Context, dx, dweight, dbias, x, dy, weight, mean, variance []float32) error {
	if err := lengths(n.b.C, named{"weight", weight}, named{"mean", mean}, named{"variance", variance}); err != nil {
		return err
	}
	if err := given(n.b.C, named{"dweight", dweight}, named{"dbias", dbias}); err != nil {
		return err
	}
	if err := lengths(n.b.Input().Len(), named{"x", x}, named{"dy", dy}); err != nil {
		return err
	}
	if err := given(n.b.Input().Len(), named{"dx", dx}); err != nil {
		return err
	}
	return each(ctx, n.pool, &normRuns, n.b.C, normRun{BatchNorm: n, unit: (*normRun).differentiate,
		x: x, dy: dy, weight: weight, mean: mean, variance: variance, dx: dx, dweight: dweight, dbias: dbias})
}

// normRun is a run of one: what it does with a channel, and the operands.
type normRun struct {
	*BatchNorm
	unit                    func(r *normRun, c int)
	y, x, weight, bias      []float32
	mean, variance          []float32
	runningMean, runningVar []float32
	dy, dx, dweight, dbias  []float32
}

var normRuns freeList[*normRun]

func (r *normRun) tile(c int, _ *job, _ *scratch) { r.unit(r, c) }

func (r *normRun) train(c int) {
	b := &r.b
	m, keep := float64(b.Count()), 1-b.Momentum
	sum, squares := 0.0, 0.0
	r.channel(c, func(i, to int) {
		for _, v := range r.x[i:to] {
			sum += float64(v)
		}
	})
	mu := sum / m
	r.channel(c, func(i, to int) {
		for _, v := range r.x[i:to] {
			d := float64(v) - mu
			squares += d * d
		}
	})
	r.mean[c], r.variance[c] = float32(mu), float32(squares/m)
	if r.runningMean != nil {
		r.runningMean[c] = keep*r.runningMean[c] + b.Momentum*float32(mu)
		r.runningVar[c] = keep*r.runningVar[c] + b.Momentum*float32(squares/(m-1))
	}
	r.normalize(c)
}

func (r *normRun) normalize(c int) {
	mu, scale, shift := r.mean[c], r.weight[c]*r.scale(r.variance[c]), r.bias[c]
	r.channel(c, func(i, to int) {
		y, x := r.y[i:to], r.x[i:to]
		for i, v := range x {
			y[i] = (v-mu)*scale + shift
		}
	})
}

func (r *normRun) differentiate(c int) {
	m, mu, root := float64(r.b.Count()), r.mean[c], r.scale(r.variance[c])
	var db, dot float64
	r.channel(c, func(i, to int) {
		x, dy := r.x[i:to], r.dy[i:to]
		for i, d := range dy {
			db += float64(d)
			dot += float64(d) * float64((x[i]-mu)*root)
		}
	})
	if r.dweight != nil {
		r.dweight[c] = float32(dot)
	}
	if r.dbias != nil {
		r.dbias[c] = float32(db)
	}
	if r.dx == nil {
		return
	}
	scale, less, slope := r.weight[c]*root, float32(db/m), float32(dot/m)
	r.channel(c, func(i, to int) {
		dx, x, dy := r.dx[i:to], r.x[i:to], r.dy[i:to]
		for i, d := range dy {
			dx[i] = scale * (d - less - (x[i]-mu)*root*slope)
		}
	})
}

func (n *BatchNorm) scale(variance float32) float32 {
	return float32(1 / math.Sqrt(float64(variance)+float64(n.b.Eps)))
}

// channel calls f with the ranges of a channel's planes.
func (n *BatchNorm) channel(c int, f func(from, to int)) {
	plane := n.b.H * n.b.W
	for i := range n.b.N {
		at := (i*n.b.C + c) * plane
		f(at, at+plane)
	}
}
