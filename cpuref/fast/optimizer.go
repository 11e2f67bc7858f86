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
	if err := lengths(o.n, "parameters", p, "velocity", v, "gradient", g); err != nil {
		return err
	}
	rate, momentum, decay := float32(lr), float32(o.o.Momentum), float32(o.o.WeightDecay)
	return o.pool.chunks(ctx, o.n, func(from, to int) {
		p, v, g := p[from:to], v[from:to], g[from:to]
		for i, d := range g {
			d += decay * p[i]
			v[i] = momentum*v[i] + d
			if o.o.Nesterov {
				d += momentum * v[i]
			} else {
				d = v[i]
			}
			p[i] -= rate * d
		}
	})
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
	if err := lengths(o.n, "parameters", p, "first moment", m, "second moment", v, "gradient", g); err != nil {
		return err
	}
	a := o.o
	rest1, rest2, beta1, beta2 := float32(1-a.Beta1), float32(1-a.Beta2), float32(a.Beta1), float32(a.Beta2)
	size, root, eps := float32(a.StepSize(lr, t)), float32(a.Root(t)), float32(a.Eps)
	decay, shrink := float32(a.WeightDecay), float32(0)
	if a.Decoupled {
		decay, shrink = 0, float32(lr*a.WeightDecay)
	}
	return o.pool.chunks(ctx, o.n, func(from, to int) {
		p, m, v, g := p[from:to], m[from:to], v[from:to], g[from:to]
		for i, d := range g {
			d += decay * p[i]
			m[i] = beta1*m[i] + rest1*d
			v[i] = beta2*v[i] + rest2*(d*d)
			p[i] -= shrink*p[i] + size*(m[i]/(float32(math.Sqrt(float64(v[i])))/root+eps))
		}
	})
}
