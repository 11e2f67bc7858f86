//go:build cgo

package vkconv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/kernels"
)

// maxQueued is how many layers are queued before a submission is made of them
// unasked, so that a device starts on a long chain while it is still recorded.
const maxQueued = 64

// vulkan is the backend on a Vulkan device. Layers are recorded into one open
// stream, which flush submits.
type vulkan struct {
	dev   *gpu.Device
	tuner *kernels.Tuner // nil: the cost model chooses

	mu     sync.Mutex
	open   *gpu.Stream // nil when nothing is queued
	stream *gpu.Stream // what open is where nothing is timed, one submission after the other
	queued int         // layers in open
	timing bool        // open is being timed and must stay one submission
	last   gpu.Ticket  // of the latest submission, which ends after all before it
}

func openVulkan(o Options) (backend, string, error) {
	dev, err := gpu.Open(gpu.Options{Device: o.Device, Validation: o.Validation, CacheDir: o.CacheDir,
		MemoryBudget: o.MemoryBudget, HangTimeout: o.HangTimeout, Log: o.Log})
	if err != nil {
		return nil, "", err
	}
	v := &vulkan{dev: dev}
	if o.Tune > 0 {
		v.tuner = kernels.NewTuner(dev, o.Tune, o.Log)
	}
	return v, dev.Chosen(), nil
}

func (v *vulkan) onGPU() bool        { return true }
func (v *vulkan) name() string       { return v.dev.Info().Name }
func (v *vulkan) driver() string     { return v.dev.Info().DriverText() }
func (v *vulkan) messages() []string { return v.dev.Messages() }

func (v *vulkan) memory() Memory {
	m := v.dev.MemoryUse()
	return Memory{InUse: m.InUse, Reserved: m.Reserved, Peak: m.Peak}
}

func (v *vulkan) alloc(elements int, t conv.Type) (storage, error) {
	if t == conv.Float64 && !v.dev.Info().Features.Float64 {
		return nil, fmt.Errorf("%w: float64 on %s, whose shaders have no double precision", conv.ErrUnsupported, v.name())
	}
	// Kernels read 16-bit tensors as whole 32-bit words.
	b, err := v.dev.NewBuffer((t.Bytes()*int64(elements) + 3) / 4 * 4)
	if err != nil {
		return nil, err
	}
	return &deviceTensor{v, b}, nil
}

// recorded is what can be recorded into a stream: an operator, as a rule.
type recorded interface {
	into(s *gpu.Stream, operands stores) error
}

// record queues one operator.
func (v *vulkan) record(o recorded, operands stores) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.reopen(); err != nil {
		return err
	}
	if err := o.into(v.open, operands); err != nil {
		return err
	}
	if v.queued++; v.queued >= maxQueued && !v.timing {
		return v.submit()
	}
	return nil
}

// reopen opens the stream unless it is open. Called with v.mu held.
func (v *vulkan) reopen() (err error) {
	switch {
	case v.open != nil:
		return nil
	case v.stream == nil:
		v.stream, err = v.dev.NewStream()
	default:
		err = v.stream.Restart()
	}
	if err == nil {
		v.open = v.stream
	}
	return err
}

// submit hands the open stream to the device. Called with v.mu held.
func (v *vulkan) submit() error {
	if v.open == nil {
		return nil
	}
	s := v.open
	v.open, v.queued = nil, 0
	last, err := s.Send()
	if err != nil {
		return err
	}
	v.last = last
	return nil
}

func (v *vulkan) flush() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.submit()
}

func (v *vulkan) wait(ctx context.Context) error {
	v.mu.Lock()
	err := v.submit()
	last := v.last
	v.mu.Unlock()
	if err != nil {
		return err
	}
	return last.Wait(ctx)
}

func (v *vulkan) time(ctx context.Context, f func() error) (Timing, error) {
	s, err := v.startTiming()
	if err != nil {
		return Timing{}, err
	}
	start := time.Now()
	err = f()
	sub, err := v.endTiming(s, err)
	if err != nil {
		return Timing{}, err
	}
	if err := sub.Wait(ctx); err != nil {
		return Timing{}, err
	}
	wall := time.Since(start)
	stamps, err := sub.Timestamps()
	if err != nil {
		return Timing{}, err
	}
	return Timing{Device: stamps[len(stamps)-1] - stamps[0], Wall: wall}, nil
}

// startTiming opens a stream that begins with a timestamp.
func (v *vulkan) startTiming() (*gpu.Stream, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.timing {
		return nil, fmt.Errorf("%w: another goroutine is timing this engine", conv.ErrUnsupported)
	}
	if err := v.submit(); err != nil {
		return nil, err
	}
	s, err := v.dev.NewStream()
	if err != nil {
		return nil, err
	}
	if _, err := s.Timestamp(); err != nil {
		s.Discard()
		return nil, err
	}
	v.open, v.timing = s, true
	return s, nil
}

// endTiming closes the timed stream with a timestamp and submits it; failed is
// what the timed function returned.
func (v *vulkan) endTiming(s *gpu.Stream, failed error) (*gpu.Submission, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.timing = false
	if failed != nil {
		return nil, failed
	}
	if v.open != s {
		return nil, fmt.Errorf("%w: the timed function must only run layers, but it waited for the device", conv.ErrUnsupported)
	}
	if _, err := s.Timestamp(); err != nil {
		return nil, err
	}
	v.open, v.queued = nil, 0
	sub, err := s.Submit()
	if err != nil {
		return nil, err
	}
	v.last = sub.Ticket
	return sub, nil
}

func (v *vulkan) close() error {
	v.mu.Lock()
	err := v.submit()
	v.mu.Unlock()
	if e := v.dev.Close(); err == nil {
		err = e
	}
	return err
}

// deviceTensor is a tensor in the device's memory.
type deviceTensor struct {
	v   *vulkan
	buf *gpu.Buffer
}

func (t *deviceTensor) upload(data []byte) error {
	if err := t.v.flush(); err != nil { // what is queued reads the old contents
		return err
	}
	return t.v.dev.Upload(t.buf, 0, data)
}

func (t *deviceTensor) download(ctx context.Context, dst []byte) error {
	if err := t.v.wait(ctx); err != nil {
		return err
	}
	return t.v.dev.Download(dst, t.buf, 0)
}

// free waits for nothing: streams that use the buffer keep its memory.
func (t *deviceTensor) free() { t.buf.Free() }

func (v *vulkan) roofline(ctx context.Context) (Roofline, error) {
	p, err := kernels.MeasurePeaks(ctx, v.dev)
	return Roofline{Float32: p.Float32, Float16: p.Float16, Read: p.Read, Copy: p.Copy, Command: p.Command, Shared: p.Shared}, err
}
