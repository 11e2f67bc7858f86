package fast

import (
	"context"

	"vkconv/conv"
)

// Activation is an activation with nothing before it.
type Activation struct {
	plain
	pool  *Pool
	a     conv.Activation
	shape conv.Shape
}

// NewActivation makes the plan for tensors of a shape.
func NewActivation(pool *Pool, shape conv.Shape, a conv.Activation) *Activation {
	return &Activation{"plain Go, a channel at a time", pool, a, shape}
}

// Run computes y = a(x), both with images st apart.
func (p *Activation) Run(ctx context.Context, y, x []float32, st Strides) error {
	return runPlanes(ctx, p.pool, p, p.shape, p.shape, y, x, st)
}

func (p *Activation) plane(y, x []float32, _ *scratch) {
	copy(y, x)
	current.Load().ks.activate(p.a, y)
}

// Backward computes dx = dy · a'(x), see [conv.Activation.Derivative].
func (p *Activation) Backward(ctx context.Context, dx, x, dy []float32) error {
	n := p.shape.Len()
	if err := lengths(n, named{"dx", dx}, named{"x", x}, named{"dy", dy}); err != nil {
		return err
	}
	return each(ctx, p.pool, &slopeRuns, chunks(n), slopeRun{p.a, dx, x, dy})
}

// slopeRun is a run of that.
type slopeRun struct {
	a         conv.Activation
	dx, x, dy []float32
}

var slopeRuns freeList[*slopeRun]

func (r *slopeRun) tile(i int, _ *job, _ *scratch) {
	from, to := chunkOf(i, len(r.x))
	differentiate(r.a, r.dx[from:to], r.x[from:to], r.dy[from:to])
}

func differentiate(a conv.Activation, dx, x, dy []float32) {
	var low, high float32 // between which the slope is 1
	switch a.Kind {
	case conv.ReLU: // up to +∞, see below
	case conv.ReLU6:
		high = 6
	case conv.Clamp:
		low, high = a.Min, a.Max
	case conv.Identity:
		copy(dx, dy)
		for i, v := range x {
			if v != v {
				dx[i] = v
			}
		}
		return
	case conv.LeakyReLU:
		for i, v := range x {
			switch {
			case v > 0:
				dx[i] = dy[i]
			case v != v:
				dx[i] = v
			default:
				dx[i] = a.Slope * dy[i]
			}
		}
		return
	default:
		for i, v := range x {
			dx[i] = float32(a.Derivative(float64(v)) * float64(dy[i]))
		}
		return
	}
	for i, v := range x {
		switch {
		case v > low && (v < high || a.Kind == conv.ReLU):
			dx[i] = dy[i]
		case v != v:
			dx[i] = v
		default:
			dx[i] = 0
		}
	}
}
