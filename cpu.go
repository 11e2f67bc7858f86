package vkconv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

// cpu is the backend without a GPU: cpuref/fast over plain slices. It computes
// when it is called, so there is nothing to flush.
type cpu struct {
	pool *fast.Pool

	mu     sync.Mutex
	memUse Memory
}

func newCPU(o Options) *cpu { return &cpu{pool: fast.NewPool(o.Threads)} }

func (c *cpu) onGPU() bool        { return false }
func (c *cpu) name() string       { return fmt.Sprintf("CPU, %d threads", c.pool.Workers()) }
func (c *cpu) driver() string     { return "pure Go, " + fast.InstructionSet() }
func (c *cpu) messages() []string { return nil }

func (c *cpu) memory() Memory {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.memUse
}

// count adds bytes to the memory in use.
func (c *cpu) count(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memUse.InUse += bytes
	c.memUse.Reserved = c.memUse.InUse
	c.memUse.Peak = max(c.memUse.Peak, c.memUse.InUse)
}

func (c *cpu) alloc(elements int) (storage, error) {
	c.count(4 * int64(elements))
	return &hostTensor{c, make([]float32, elements)}, nil
}

func (c *cpu) flush() error                 { return nil }
func (c *cpu) wait(_ context.Context) error { return nil }

func (c *cpu) time(_ context.Context, f func() error) (Timing, error) {
	start := time.Now()
	err := f()
	d := time.Since(start)
	return Timing{Device: d, Wall: d}, err
}

func (c *cpu) close() error {
	c.pool.Close()
	return nil
}

func (c *cpu) conv2D(p conv.Problem, weight, bias []float32) (operator, error) {
	plan, err := fast.NewConv2D(c.pool, p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t *[maxOperands][]float32) error {
		return plan.Run(ctx, t[0], t[1])
	}}, nil
}

func (c *cpu) deformConv2D(p conv.Problem, weight, bias []float32) (operator, error) {
	plan, err := fast.NewDeformConv2D(c.pool, p, weight, bias)
	if err != nil {
		return nil, err
	}
	return &cpuOperator{plan, func(ctx context.Context, t *[maxOperands][]float32) error {
		return plan.Run(ctx, t[0], t[1], t[2], t[3])
	}}, nil
}

// hostTensor is a tensor in the host's memory.
type hostTensor struct {
	c    *cpu
	data []float32
}

func (t *hostTensor) upload(data []float32) error {
	copy(t.data, data)
	return nil
}

func (t *hostTensor) download(_ context.Context, dst []float32) error {
	copy(dst, t.data)
	return nil
}

func (t *hostTensor) free() {
	t.c.count(-4 * int64(len(t.data)))
	t.data = nil
}

// cpuPlan is what plans of package fast share.
type cpuPlan interface {
	SetWeights(weight, bias []float32) error
	Describe() string
	Workspace() int64
}

type cpuOperator struct {
	plan cpuPlan
	call func(ctx context.Context, t *[maxOperands][]float32) error
}

func (o *cpuOperator) run(ctx context.Context, operands []storage) error {
	var t [maxOperands][]float32
	for i, s := range operands {
		if s != nil {
			t[i] = s.(*hostTensor).data
		}
	}
	return o.call(ctx, &t)
}

func (o *cpuOperator) setWeights(weight, bias []float32) error {
	return o.plan.SetWeights(weight, bias)
}
func (o *cpuOperator) describe() string { return o.plan.Describe() }
func (o *cpuOperator) workspace() int64 { return o.plan.Workspace() }
func (o *cpuOperator) close()           {}
