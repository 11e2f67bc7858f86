//go:build cgo

package kernels

import (
	"context"
	"fmt"
	"math"
	"time"

	"vkconv/gpu"
	"vkconv/shaders"
)

// Peaks are what a device does at most, each measured with a kernel that does
// nothing else (shaders/peak_*.comp); 0 where the device cannot do it at all.
type Peaks struct {
	Float32 float64 // operations a second, 2 for a multiply-add
	Float16 float64
	Read    float64 // bytes a second out of memory
	Copy    float64 // bytes a second, read and written, of a kernel
	Command float64 // and of the driver's own copy
	Shared  float64 // bytes a second out of shared memory
}

// peakTime is how long one measurement is to take at least: well above what
// starting it costs, which is up to a millisecond, and far below a second.
const peakTime = 3 * time.Millisecond

// Bytes that bandwidth is measured with: more than a GPU's caches hold. On a
// software driver, whose loads are slower than any memory, less will do but for
// the driver's own copy, which has a processor's caches to pass.
const (
	peakMemory   = 128 << 20
	peakSoftware = 32 << 20
	peakLoads    = 4 << 20
)

// MeasurePeaks measures them, which takes some tenths of a second.
func MeasurePeaks(ctx context.Context, d *gpu.Device) (p Peaks, err error) {
	m := peakMeter{ctx: ctx, device: d, traits: traitsOf(d.Info())}
	local := min(64, m.traits.Invocations)
	// One of the two fills the processor best: by its latency and its registers.
	for _, name := range []string{"peak_fma", "peak_fma_16"} {
		rate, err := m.arithmetic(name, local, 1)
		if err != nil {
			return p, err
		}
		p.Float32 = max(p.Float32, rate)
	}
	if d.Info().Features.Float16 {
		if p.Float16, err = m.arithmetic("peak_half", local, 2); err != nil {
			return p, err
		}
	}
	if p.Shared, err = m.shared(local); err != nil {
		return p, err
	}
	return p, m.memory(&p, local)
}

// peakMeter measures on one device.
type peakMeter struct {
	ctx    context.Context
	device *gpu.Device
	traits traits
}

// build makes a module's pipeline and its push constants.
func (m *peakMeter) build(name string, local int, values map[string]int) (*gpu.Pipeline, []byte, *shaders.Module, error) {
	module, err := shaders.Get(name)
	if err != nil {
		return nil, nil, nil, err
	}
	id, err := module.ConstantID("localSizeX")
	if err != nil {
		return nil, nil, nil, err
	}
	pipe, err := m.device.Pipeline(moduleOf(module), []gpu.Constant{{ID: id, Value: uint32(local)}})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("kernels: %w", err)
	}
	push, err := module.PackPush(values)
	return pipe, push, module, err
}

// fastest is the least time of work that record records, between timestamps,
// of three times after one that does not count.
func (m *peakMeter) fastest(record func(s *gpu.Stream) error) (time.Duration, error) {
	best := time.Duration(math.MaxInt64)
	for i := range 4 {
		t, err := timed(m.ctx, m.device, record)
		if err != nil {
			return 0, err
		}
		if i > 0 {
			best = min(best, t)
		}
	}
	return max(best, 1), nil
}

// timed runs what record records as a submission of its own, and returns the
// time between the timestamps around it.
func timed(ctx context.Context, d *gpu.Device, record func(s *gpu.Stream) error) (time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s, err := d.NewStream()
	if err != nil {
		return 0, err
	}
	if _, err = s.Timestamp(); err == nil {
		if err = record(s); err == nil {
			_, err = s.Timestamp()
		}
	}
	if err != nil {
		s.Discard()
		return 0, err
	}
	u, err := s.Submit()
	if err != nil {
		return 0, err
	}
	if err := u.Wait(ctx); err != nil {
		return 0, err
	}
	stamps, err := u.Timestamps()
	if err != nil {
		return 0, err
	}
	return stamps[1] - stamps[0], nil
}

// rate finds how much a second a kernel does that does perGroup a workgroup: it
// doubles the workgroups until they take long enough.
func (m *peakMeter) rate(pipe *gpu.Pipeline, push []byte, local int, perGroup float64) (float64, error) {
	most := min(m.traits.Groups[0], 1<<16-1, int(m.traits.StorageRange/4)/local)
	out, err := m.device.NewBuffer(4 * int64(local) * int64(most))
	if err != nil {
		return 0, fmt.Errorf("kernels: %w", err)
	}
	defer out.Free()
	groups := min(16, most)
	record := func(s *gpu.Stream) error {
		return s.Dispatch(pipe, [3]uint32{uint32(groups), 1, 1}, push, []gpu.Binding{{Buffer: out, Access: gpu.Write}})
	}
	for first := true; ; first = false { // the first one has to be compiled, on some drivers
		took, err := timed(m.ctx, m.device, record)
		if err != nil {
			return 0, err
		}
		if !first && (took >= peakTime || groups == most) {
			break
		}
		if !first {
			groups = min(2*groups, most)
		}
	}
	took, err := m.fastest(record)
	if err != nil {
		return 0, err
	}
	return float64(groups) * perGroup / took.Seconds(), nil
}

// arithmetic measures a module of multiply-adds; wide is how many numbers each is of.
func (m *peakMeter) arithmetic(name string, local, wide int) (float64, error) {
	const rounds, steps = 64, 32 // steps as in peak_fma.comp
	pipe, push, module, err := m.build(name, local, map[string]int{"rounds": rounds, "a": int(math.Float32bits(0.24))})
	if err != nil {
		return 0, err
	}
	return m.rate(pipe, push, local, float64(2*wide*local*rounds*steps*module.Defines["CHAINS"]))
}

func (m *peakMeter) shared(local int) (float64, error) {
	const rounds, steps = 64, 16 // steps as in peak_shared.comp
	pipe, push, _, err := m.build("peak_shared", local, map[string]int{"rounds": rounds})
	if err != nil {
		return 0, err
	}
	return m.rate(pipe, push, local, float64(16*local*rounds*steps))
}

// memory measures bandwidth between two buffers.
func (m *peakMeter) memory(p *Peaks, local int) error {
	const each = 8 // as in peak_memory.comp
	perGroup := 16 * each * int64(local)
	size := min(peakMemory, m.traits.StorageRange, m.device.Info().Limits.BufferSize/2, int64(m.traits.Groups[0])*perGroup)
	loads := size
	if m.traits.Software {
		size, loads = min(size, peakSoftware), min(size, peakLoads)
	}
	groups := loads / perGroup
	loads = groups * perGroup
	size = size / 4 * 4
	var buffers [2]*gpu.Buffer
	for i := range buffers {
		b, err := m.device.NewBuffer(size)
		if err != nil {
			return fmt.Errorf("kernels: %w", err)
		}
		defer b.Free()
		buffers[i] = b
	}
	if _, err := timed(m.ctx, m.device, func(s *gpu.Stream) error { return s.Fill(buffers[0], 0, size, 0x3f800000) }); err != nil {
		return err
	}
	for _, one := range []struct {
		name  string
		bytes int64
		put   *float64
	}{{"peak_read", loads + loads/each/4, &p.Read}, {"peak_copy", 2 * loads, &p.Copy}} {
		pipe, push, _, err := m.build(one.name, local, nil)
		if err != nil {
			return err
		}
		took, err := m.fastest(func(s *gpu.Stream) error {
			return s.Dispatch(pipe, [3]uint32{uint32(groups), 1, 1}, push, []gpu.Binding{{Buffer: buffers[0], Access: gpu.Read}, {Buffer: buffers[1], Access: gpu.Write}})
		})
		if err != nil {
			return err
		}
		*one.put = float64(one.bytes) / took.Seconds()
	}
	took, err := m.fastest(func(s *gpu.Stream) error { return s.Copy(buffers[1], 0, buffers[0], 0, size) })
	if err != nil {
		return err
	}
	p.Command = float64(2*size) / took.Seconds()
	return nil
}
