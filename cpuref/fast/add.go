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
	if err := lengths(p.n, named{"y", y}, named{"a", a}, named{"b", b}); err != nil {
		return err
	}
	return each(ctx, p.pool, &addRuns, chunks(p.n), addRun{y, a, b})
}

// addRun is a run of one.
type addRun struct{ y, a, b []float32 }

var addRuns freeList[*addRun]

func (r *addRun) tile(i int, _ *job, _ *scratch) {
	from, to := chunkOf(i, len(r.y))
	y, a, b := r.y[from:to], r.a[from:to], r.b[from:to]
	for i := range y {
		y[i] = a[i] + b[i]
	}
}
