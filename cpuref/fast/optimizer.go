package fast

import (
	"context"
	"math"

	"vkconv/conv"
)

// SGD is a step of stochastic gradient descent: see [vkconv/cpuref.SGD].
type SGD struct {
	plain
	pool *Pool
	o    conv.SGD
	n    int
}

// NewSGD makes the plan for n parameters.
func NewSGD(pool *Pool, n int, o conv.SGD) *SGD {
	return &SGD{"plain Go, element by element", pool, o, n}
}

// Run moves parameters p and velocity v by a step.
func (o *SGD) Run(ctx context.Context, p, v, g []float32, lr float64) error {
	if err := lengths(o.n, named{"parameters", p}, named{"velocity", v}, named{"gradient", g}); err != nil {
		return err
	}
	return each(ctx, o.pool, &sgdRuns, chunks(o.n), sgdRun{o.o, float32(lr), p, v, g})
}

// sgdRun is a step.
type sgdRun struct {
	o       conv.SGD
	rate    float32
	p, v, g []float32
}

var sgdRuns freeList[*sgdRun]

func (r *sgdRun) tile(i int, _ *job, _ *scratch) {
	from, to := chunkOf(i, len(r.p))
	p, v, g := r.p[from:to], r.v[from:to], r.g[from:to]
	rate, momentum, decay := r.rate, float32(r.o.Momentum), float32(r.o.WeightDecay)
	for i, d := range g {
		d += decay * p[i]
		v[i] = momentum*v[i] + d
		if r.o.Nesterov {
			d += momentum * v[i]
		} else {
			d = v[i]
		}
		p[i] -= rate * d
	}
}

// Adam is a step of Adam: see [vkconv/cpuref.Adam].
type Adam struct {
	plain
	pool *Pool
	o    conv.Adam
	n    int
}

// NewAdam makes the plan for n parameters.
func NewAdam(pool *Pool, n int, o conv.Adam) *Adam {
	return &Adam{"plain Go, element by element", pool, o.WithDefaults(), n}
}

// Run moves parameters p and moments m and v by step t.
func (o *Adam) Run(ctx context.Context, p, m, v, g []float32, lr float64, t int) error {
	if err := lengths(o.n, named{"parameters", p}, named{"first moment", m}, named{"second moment", v}, named{"gradient", g}); err != nil {
		return err
	}
	a := o.o
	decay, shrink := float32(a.WeightDecay), float32(0)
	if a.Decoupled {
		decay, shrink = 0, float32(lr*a.WeightDecay)
	}
	return each(ctx, o.pool, &adamRuns, chunks(o.n), adamRun{a, float32(a.StepSize(lr, t)), float32(a.Root(t)), decay, shrink, p, m, v, g})
}

// adamRun is a step.
type adamRun struct {
	o                         conv.Adam
	size, root, decay, shrink float32
	p, m, v, g                []float32
}

var adamRuns freeList[*adamRun]

func (r *adamRun) tile(i int, _ *job, _ *scratch) {
	from, to := chunkOf(i, len(r.p))
	p, m, v, g := r.p[from:to], r.m[from:to], r.v[from:to], r.g[from:to]
	rest1, rest2, beta1, beta2 := float32(1-r.o.Beta1), float32(1-r.o.Beta2), float32(r.o.Beta1), float32(r.o.Beta2)
	size, root, eps, decay, shrink := r.size, r.root, float32(r.o.Eps), r.decay, r.shrink
	for i, d := range g {
		d += decay * p[i]
		m[i] = beta1*m[i] + rest1*d
		v[i] = beta2*v[i] + rest2*(d*d)
		p[i] -= shrink*p[i] + size*(m[i]/(float32(math.Sqrt(float64(v[i])))/root+eps))
	}
}
