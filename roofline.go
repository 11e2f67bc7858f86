package vkconv

import (
	"context"
	"time"
)

// Roofline is the most that a device does, measured by micro-kernels which do
// nothing else: multiply-adds on numbers in registers, streams of memory. Rates
// are a second's; 0 where the device cannot do it, or it was not measured.
type Roofline struct {
	Float32 float64 `json:"float32"` // operations, 2 for a multiply-add
	Float16 float64 `json:"float16"`
	Memory  float64 `json:"memory"`  // bytes: the best of the next three
	Read    float64 `json:"read"`    // bytes that a kernel reads
	Copy    float64 `json:"copy"`    // that one which copies reads and writes
	Command float64 `json:"command"` // that the driver's own copy does, on the CPU path Go's
	Shared  float64 `json:"shared"`  // bytes that workgroups read of what they share
}

// Known tells whether shares can be told.
func (r Roofline) Known() bool { return r.Float32 > 0 && r.Memory > 0 }

// Least is how long work of so many float32 operations, which touches so many
// bytes, takes at least, and whether memory is what limits it: the roofline of
// Williams et al. 2009, "Roofline: an insightful visual performance model",
// min(peak, intensity × bandwidth), as a time.
func (r Roofline) Least(flops, bytes int64) (least time.Duration, memory bool) {
	arithmetic, streams := float64(flops)/r.Float32, float64(bytes)/r.Memory
	return time.Duration(1e9 * max(arithmetic, streams)), streams > arithmetic
}

// Share is which part of the roofline work of that cost reached. It passes 1
// where tensors stay in caches, where products by padding's zeros are counted
// but skipped, and with Winograd's algorithm.
func (r Roofline) Share(flops, bytes int64, took time.Duration) float64 {
	return max(float64(flops)/r.Float32, float64(bytes)/r.Memory) / max(took.Seconds(), 1e-9)
}

// Roofline measures the device's peaks, once: later calls return the same. It
// takes some tenths of a second, and other work meanwhile spoils it.
func (e *Engine) Roofline(ctx context.Context) (Roofline, error) {
	done, err := e.use()
	if err != nil {
		return Roofline{}, err
	}
	defer done()
	e.measuring.Lock()
	defer e.measuring.Unlock()
	if e.roof.Known() {
		return e.roof, nil
	}
	if err := e.back.wait(ctx); err != nil {
		return Roofline{}, err
	}
	r, err := e.back.roofline(ctx)
	if err != nil {
		return Roofline{}, err
	}
	r.Memory = max(r.Read, r.Copy, r.Command)
	e.roof = r
	return r, nil
}
