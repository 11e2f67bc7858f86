package fast

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// each runs a simple plan's work units; run is what this run of it takes, its operands
// first of all. list keeps that for later runs, so that they allocate nothing.
func each[R any, P interface {
	*R
	tiler
}](ctx context.Context, pool *Pool, list *freeList[P], units int, run R) error {
	r := list.get()
	if r == nil {
		r = new(R)
	}
	*r = run
	err := pool.run(ctx, r, units, nil, nil, nil, nil)
	*r = *new(R)
	list.put(r)
	return err
}

// chunk is how many elements of a tensor a unit of element-wise work takes.
const chunk = 8 << 10

// chunks is how many units n elements are.
func chunks(n int) int { return (n + chunk - 1) / chunk }

// chunkOf returns the elements of a unit.
func chunkOf(i, n int) (from, to int) { return i * chunk, min((i+1)*chunk, n) }

// named is an operand with its name.
type named struct {
	name string
	s    []float32
}

// lengths refuses operands of other lengths than n.
func lengths(n int, operands ...named) error {
	for i := range operands {
		if o := &operands[i]; len(o.s) != n {
			return fmt.Errorf("fast: %s has %d elements, must have %d: %w", o.name, len(o.s), n, conv.ErrShape)
		}
	}
	return nil
}

// given is lengths without operands that are nil.
func given(n int, operands ...named) error {
	for i := range operands {
		if operands[i].s == nil {
			continue
		}
		if err := lengths(n, operands[i]); err != nil {
			return err
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
