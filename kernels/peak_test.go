//go:build cgo

package kernels

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// Every peak is there, and is of the size that a computer's are.
func TestPeaks(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		begin := time.Now()
		p, err := MeasurePeaks(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v in %v", p, time.Since(begin))
		for name, v := range map[string]float64{"Float32": p.Float32, "Read": p.Read, "Copy": p.Copy, "Command": p.Command, "Shared": p.Shared} {
			if !(v > 1e7 && v < 1e16) {
				t.Errorf("%s is %g a second", name, v)
			}
		}
		if (p.Float16 > 0) != d.Info().Features.Float16 {
			t.Errorf("float16 makes %g a second; features %+v", p.Float16, d.Info().Features)
		}
		if use := d.MemoryUse(); use.InUse != 0 {
			t.Errorf("%d bytes are left in use", use.InUse)
		}
		stopped, stop := context.WithCancel(context.Background())
		stop()
		if _, err := MeasurePeaks(stopped, d); !errors.Is(err, context.Canceled) {
			t.Errorf("after its context ended: %v", err)
		}
	})
}

// The micro-kernels do the work that is counted: the numbers come to the
// root 0.4 of x = x² + 0.24, the sums are of what was read, the copy is one.
func TestPeakKernelsCompute(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		const local, each = 8, 8
		m := peakMeter{ctx: context.Background(), device: d, traits: traitsOf(d.Info())}
		run := func(name string, in []float32, out int, values map[string]int) []float32 {
			pipe, push, _, err := m.build(name, local, values)
			if err != nil {
				t.Fatal(err)
			}
			var bindings []gpu.Binding
			for _, n := range []int{len(in), out} {
				if n == 0 {
					continue
				}
				b, err := d.NewBuffer(4 * int64(n))
				if err != nil {
					t.Fatal(err)
				}
				defer b.Free()
				bindings = append(bindings, gpu.Binding{Buffer: b, Access: gpu.Write})
			}
			if in != nil {
				bindings[0].Access = gpu.Read
				raw := make([]byte, 0, 4*len(in))
				for _, v := range in {
					raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
				}
				if err := d.Upload(bindings[0].Buffer, 0, raw); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := timed(m.ctx, d, func(s *gpu.Stream) error {
				return s.Dispatch(pipe, [3]uint32{1, 1, 1}, push, bindings)
			}); err != nil {
				t.Fatal(err)
			}
			raw := make([]byte, 4*out)
			if err := d.Download(raw, bindings[len(bindings)-1].Buffer, 0); err != nil {
				t.Fatal(err)
			}
			y := make([]float32, out)
			for i := range y {
				y[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			}
			return y
		}
		chain := map[string]int{"rounds": 2, "a": int(math.Float32bits(0.24))}
		want := map[string]float32{"peak_fma": 0.4 * 8, "peak_fma_16": 0.4 * 16}
		if d.Info().Features.Float16 {
			want["peak_half"] = 2 * 0.4 * 8
		}
		for name, sum := range want {
			for i, y := range run(name, nil, local, chain) {
				if math.Abs(float64(y-sum)) > 0.02 { // the numbers are at 0.4 but for roundings
					t.Errorf("%s: invocation %d has %g, want %g", name, i, y, sum)
				}
			}
		}
		in := make([]float32, 4*local*each)
		var sums [local]float32
		for i := range in {
			in[i] = float32(i % 97)
			sums[i/4%local] += in[i]
		}
		for i, y := range run("peak_copy", in, len(in), nil) {
			if y != in[i] {
				t.Fatalf("element %d is copied as %g, was %g", i, y, in[i])
			}
		}
		for i, y := range run("peak_read", in, local, nil) {
			if y != sums[i] {
				t.Errorf("invocation %d read %g, want %g", i, y, sums[i])
			}
		}
		// Invocation i begins at place i; each step adds places at and at+33 of four
		// equal numbers, and moves on by 67.
		for i, y := range run("peak_shared", nil, local, map[string]int{"rounds": 3}) {
			want, at := 0, i
			for range 3 * 8 {
				want += 4 * (at%256 + (at+33)%256)
				at += 67
			}
			if y != float32(want) {
				t.Errorf("invocation %d added up %g of shared memory, want %d", i, y, want)
			}
		}
	})
}
