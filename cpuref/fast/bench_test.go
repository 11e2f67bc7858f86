package fast

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
)

var workers = flag.Int("workers", 1, "workers of the pool that benchmarks run on")

// shape is a benchmark's convolution, with a square image and kernel.
type shape struct {
	n, c, k, size, kernel    int
	stride, dilation, groups int
}

func (s shape) String() string {
	name := fmt.Sprintf("%dx%d-%d_%d_k%d", s.n, s.c, s.k, s.size, s.kernel)
	if s.stride > 1 {
		name += fmt.Sprintf("_s%d", s.stride)
	}
	if s.dilation > 1 {
		name += fmt.Sprintf("_d%d", s.dilation)
	}
	if s.groups > 1 {
		name += fmt.Sprintf("_g%d", s.groups)
	}
	return name
}

// problem pads so that the image keeps its size, up to the stride.
func (s shape) problem(b *testing.B) conv.Problem {
	p := conv.Params{
		Stride: [2]int{s.stride, s.stride}, Dilation: [2]int{s.dilation, s.dilation},
		Padding: conv.Pad(s.dilation * (s.kernel - 1) / 2), Groups: s.groups,
	}
	return mustProblem(b, p, conv.Shape{s.n, s.c, s.size, s.size}, conv.Shape{s.k, s.c / s.groups, s.kernel, s.kernel}, true)
}

func floats(n int) []float32 {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// measure repeats run and tells GFLOP/s by the operator's definition, by the clock
// and by the time spent on cores, and what part the latter is of the peak of a
// core, taken in the same run.
func measure(b *testing.B, p conv.Problem, run func() error) {
	again := func() {
		if err := run(); err != nil {
			b.Fatal(err)
		}
	}
	again()
	peak := Peak()
	start := cpuTime()
	for b.Loop() {
		again()
	}
	spent := cpuTime() - start
	work := float64(p.Cost().FLOPs()) * float64(b.N)
	b.ReportMetric(work/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
	b.ReportMetric(work/float64(spent.Nanoseconds()), "GFLOP/core-s")
	b.ReportMetric(100*work/float64(spent.Nanoseconds())/peak, "%peak")
	b.ReportMetric(0, "ns/op")
}

var convShapes = []shape{
	{1, 64, 64, 56, 3, 1, 1, 1},
	{8, 64, 64, 56, 3, 1, 1, 1},
	{1, 256, 256, 28, 3, 1, 2, 1},
	{1, 256, 256, 33, 3, 1, 12, 1},
	{1, 512, 256, 33, 3, 1, 6, 1},
	{1, 2048, 256, 33, 3, 1, 18, 1},
	{1, 256, 256, 56, 1, 1, 1, 1},
	{1, 1024, 256, 14, 1, 1, 1, 1},
	{1, 512, 512, 7, 3, 1, 1, 1},
	{1, 128, 128, 56, 3, 2, 1, 1},
	{1, 3, 64, 224, 7, 2, 1, 1},
	{1, 3, 32, 224, 3, 2, 1, 1},
	{1, 128, 128, 56, 3, 1, 1, 32},
}

var winogradShapes = []shape{
	{1, 64, 64, 56, 3, 1, 1, 1},
	{8, 64, 64, 56, 3, 1, 1, 1},
	{1, 128, 128, 28, 3, 1, 1, 1},
	{1, 256, 256, 28, 3, 1, 2, 1},
	{1, 256, 256, 56, 3, 1, 1, 1},
}

var depthwiseShapes = []shape{
	{1, 64, 64, 112, 3, 1, 1, 64},
	{1, 64, 64, 112, 3, 2, 1, 64},
	{1, 256, 256, 28, 3, 1, 2, 256},
	{1, 512, 512, 14, 3, 1, 1, 512},
	{1, 240, 240, 28, 5, 1, 1, 240},
	{1, 96, 96, 56, 7, 1, 1, 96},
}

var deformShapes = []shape{
	{1, 64, 64, 56, 3, 1, 1, 1},
	{8, 64, 64, 56, 3, 1, 1, 1},
	{1, 256, 256, 28, 3, 1, 2, 1},
	{1, 256, 256, 33, 3, 1, 12, 1},
	{1, 512, 256, 33, 3, 1, 6, 1},
}

func benchConv(b *testing.B, shapes []shape, options ...Option) {
	for _, name := range InstructionSets() {
		for _, s := range shapes {
			b.Run(name+"/"+s.String(), func(b *testing.B) {
				if err := SetInstructionSet(name); err != nil {
					b.Fatal(err)
				}
				defer SetInstructionSet("")
				pool := NewPool(*workers)
				defer pool.Close()
				p := s.problem(b)
				plan, err := NewConv2D(pool, p, floats(p.Weight().Len()), floats(p.K), options...)
				if err != nil {
					b.Fatal(err)
				}
				y, x := floats(p.Output().Len()), floats(p.Input().Len())
				measure(b, p, func() error { return plan.Run(context.Background(), y, x) })
			})
		}
	}
}

func BenchmarkConv2D(b *testing.B)    { benchConv(b, convShapes) }
func BenchmarkWinograd(b *testing.B)  { benchConv(b, winogradShapes, AllowWinograd) }
func BenchmarkDepthwise(b *testing.B) { benchConv(b, depthwiseShapes) }

func BenchmarkDeformConv2D(b *testing.B) {
	for _, name := range InstructionSets() {
		for _, s := range deformShapes {
			b.Run(name+"/"+s.String(), func(b *testing.B) {
				if err := SetInstructionSet(name); err != nil {
					b.Fatal(err)
				}
				defer SetInstructionSet("")
				pool := NewPool(*workers)
				defer pool.Close()
				p := s.problem(b)
				p.OffsetGroups, p.Mask = 1, true
				plan, err := NewDeformConv2D(pool, p, floats(p.Weight().Len()), floats(p.K))
				if err != nil {
					b.Fatal(err)
				}
				y, x := floats(p.Output().Len()), floats(p.Input().Len())
				offset, mask := floats(p.Offset().Len()), floats(p.MaskShape().Len())
				measure(b, p, func() error { return plan.Run(context.Background(), y, x, offset, mask) })
			})
		}
	}
}

// BenchmarkMicro is every micro-kernel on panels that fit the first-level cache.
func BenchmarkMicro(b *testing.B) {
	for _, name := range InstructionSets() {
		if err := SetInstructionSet(name); err != nil {
			b.Fatal(err)
		}
		ks, peak := current.Load().ks, Peak()
		SetInstructionSet("")
		for _, mr := range ks.rows {
			for nv := ks.nv; nv > 0; nv-- {
				b.Run(fmt.Sprintf("%s/%dx%d", name, mr, nv*ks.lanes), func(b *testing.B) {
					const rows = 96
					width := nv * ks.lanes
					a, x, c, bias := floats(rows*mr), growAligned(new([]float32), rows*width), floats(mr*width), floats(mr)
					segs := []int32{0}
					start := cpuTime()
					for b.Loop() {
						for range 100 {
							ks.gemm(c, width, a, x, bias, segs, rows, 0, mr, nv, ks.lanes)
						}
					}
					rate := float64(2*100*rows*mr*width*b.N) / float64((cpuTime() - start).Nanoseconds())
					b.ReportMetric(rate, "GFLOP/core-s")
					b.ReportMetric(100*rate/peak, "%peak")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}
