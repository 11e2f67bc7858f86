package fast

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// each is a plan made of a function of the work unit.
type each func(i int)

func (f each) tile(i int, _ *job, _ *scratch) { f(i) }

// run calls f(0) … f(n−1) on the workers.
func (p *Pool) each(ctx context.Context, n int, f func(i int)) error {
	return p.run(ctx, each(f), n, nil, nil, nil, nil)
}

// chunk is how many elements of a tensor a unit of element-wise work takes.
const chunk = 8 << 10

// chunks calls f with the ranges of n elements, on the workers.
func (p *Pool) chunks(ctx context.Context, n int, f func(from, to int)) error {
	return p.each(ctx, (n+chunk-1)/chunk, func(i int) { f(i*chunk, min((i+1)*chunk, n)) })
}

// lengths refuses operands of other lengths than n; they come with their names.
func lengths(n int, operands ...any) error {
	for i := 0; i < len(operands); i += 2 {
		if s := operands[i+1].([]float32); len(s) != n {
			return fmt.Errorf("fast: %s has %d elements, must have %d: %w", operands[i], len(s), n, conv.ErrShape)
		}
	}
	return nil
}

// plain says how a simple plan computes; it needs no workspace.
type plain string

// Describe says how the plan computes.
func (p plain) Describe() string { return string(p) }

// Workspace returns the bytes that runs need beyond their operands: none.
func (p plain) Workspace() int64 { return 0 }
