package vkconv

import (
	"context"
	"fmt"
	"sync"
	"time"

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
