package vkconv

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

// cpu is the backend without a GPU: cpuref/fast over plain slices. It computes
// when it is called, so there is nothing to flush.
type cpu struct {
	pool *fast.Pool

	budget int64

	mu     sync.Mutex
	memUse Memory
}

func newCPU(o Options) *cpu {
	c := &cpu{pool: fast.NewPool(o.Threads), budget: o.MemoryBudget}
	if c.budget == 0 {
		c.budget = hostMemory()
	}
	return c
}

func (c *cpu) onGPU() bool        { return false }
func (c *cpu) name() string       { return fmt.Sprintf("CPU, %d threads", c.pool.Workers()) }
func (c *cpu) driver() string     { return "pure Go, " + fast.InstructionSet() }
func (c *cpu) messages() []string { return nil }

func (c *cpu) memory() Memory {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.memUse
}

// count adds bytes to the memory in use, as far as the budget goes.
func (c *cpu) count(bytes int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes > 0 {
		if err := fits("memory", bytes, c.memUse.InUse, c.budget); err != nil {
			return err
		}
	}
	c.memUse.InUse += bytes
	c.memUse.Reserved = c.memUse.InUse
	c.memUse.Peak = max(c.memUse.Peak, c.memUse.InUse)
	return nil
}

func (c *cpu) alloc(elements int, t conv.Type) (storage, error) {
	if err := c.count(t.Bytes() * min(int64(elements), math.MaxInt64/8)); err != nil {
		return nil, err
	}
	h := &hostTensor{c: c}
	switch t {
	case conv.Float32:
		h.data = make([]float32, elements)
	case conv.Float64:
		h.double = make([]float64, elements)
	default:
		h.narrow = make([]uint16, elements)
	}
	return h, nil
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

// hostTensor is a tensor in the host's memory, of float32, float64 or a 16-bit type.
type hostTensor struct {
	c      *cpu
	data   []float32
	narrow []uint16
	double []float64
}

func (t *hostTensor) bytes() []byte {
	switch {
	case t.data != nil:
		return bytesOf(t.data)
	case t.double != nil:
		return bytesOf(t.double)
	}
	return bytesOf(t.narrow)
}

func (t *hostTensor) upload(data []byte) error {
	copy(t.bytes(), data)
	return nil
}

func (t *hostTensor) download(_ context.Context, dst []byte) error {
	copy(dst, t.bytes())
	return nil
}

func (t *hostTensor) free() {
	t.c.count(-int64(len(t.bytes())))
	t.data, t.narrow, t.double = nil, nil, nil
}

func (c *cpu) cast(_ int, t conv.Type, narrow bool) (caster, error) { return hostCast{t, narrow}, nil }

type hostCast struct {
	t      conv.Type
	narrow bool
}

func (c hostCast) cast(to, from storage) error {
	a, b := to.(*hostTensor), from.(*hostTensor)
	if c.narrow {
		for i, v := range b.data {
			a.narrow[i] = c.t.Encode(v)
		}
		return nil
	}
	for i, v := range b.narrow {
		a.data[i] = c.t.Decode(v)
	}
	return nil
}

func (c *cpu) roofline(ctx context.Context) (Roofline, error) {
	if err := ctx.Err(); err != nil {
		return Roofline{}, err
	}
	return Roofline{Float32: 1e9 * fast.PeakOf(c.pool.Workers()), Command: fast.CopyRate(c.pool.Workers())}, nil
}
