//go:build cgo

package gpu_test

import (
	"context"
	"testing"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

func benchmark(b *testing.B, f func(b *testing.B, d *gpu.Device, p *gpu.Pipeline, x, y *gpu.Buffer)) {
	for _, i := range gputest.List(b) {
		b.Run(i.Driver, func(b *testing.B) {
			d := gputest.Open(b, gpu.Options{Device: i.Name, CacheDir: "off"})
			p := must[*gpu.Pipeline](b)(d.Pipeline(module(b, "add"), nil))
			b.ReportAllocs()
			f(b, d, p, buffer(b, d, 1), buffer(b, d, 1))
		})
	}
}

// Recording alone: what a dispatch costs the processor before the device sees it.
func BenchmarkRecord(b *testing.B) {
	benchmark(b, func(b *testing.B, d *gpu.Device, p *gpu.Pipeline, x, y *gpu.Buffer) {
		push := words(1)
		s := must[*gpu.Stream](b)(d.NewStream())
		n := 0
		for b.Loop() {
			if n++; n%1000 == 0 {
				b.StopTimer()
				s.Discard()
				s = must[*gpu.Stream](b)(d.NewStream())
				b.StartTimer()
			}
			check(b, s.Dispatch(p, [3]uint32{1, 1, 1}, push, []gpu.Binding{{Buffer: x}, {Buffer: y, Access: gpu.Read}}))
		}
		s.Discard()
	})
}

// The way there and back: one tiny dispatch recorded, submitted and waited for.
func BenchmarkRoundTrip(b *testing.B) {
	benchmark(b, func(b *testing.B, d *gpu.Device, p *gpu.Pipeline, x, y *gpu.Buffer) {
		push := words(1)
		for b.Loop() {
			s := must[*gpu.Stream](b)(d.NewStream())
			check(b, s.Dispatch(p, [3]uint32{1, 1, 1}, push, []gpu.Binding{{Buffer: x}, {Buffer: y, Access: gpu.Read}}))
			u := must[*gpu.Submission](b)(s.Submit())
			check(b, u.Wait(context.Background()))
		}
	})
}

func BenchmarkOpenClose(b *testing.B) {
	for _, i := range gputest.List(b) {
		b.Run(i.Driver, func(b *testing.B) {
			for b.Loop() {
				check(b, must[*gpu.Device](b)(gpu.Open(gpu.Options{Device: i.Name, CacheDir: "off"})).Close())
			}
		})
	}
}
