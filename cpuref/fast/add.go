package fast

import "context"

// Add is a sum of two tensors: see [vkconv/cpuref.Add].
type Add struct {
	plain
	pool *Pool
	n    int
}

// NewAdd makes the plan for n elements.
func NewAdd(pool *Pool, n int) *Add { return &Add{"plain Go, element by element", pool, n} }

// Run computes y = a + b.
func (p *Add) Run(ctx context.Context, y, a, b []float32) error {
	if err := lengths(p.n, "y", y, "a", a, "b", b); err != nil {
		return err
	}
	return p.pool.chunks(ctx, p.n, func(from, to int) {
		y, a, b := y[from:to], a[from:to], b[from:to]
		for i := range y {
			y[i] = a[i] + b[i]
		}
	})
}
