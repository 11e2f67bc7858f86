//go:build cgo

package kernels

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// processorTime is the time that all threads of the process have spent on
// processors, where it is known: software drivers can be measured by it while
// other programs run.
var processorTime = func() time.Duration { return 0 }

// benchProblem is a layer as networks have them.
type benchProblem struct {
	name                             string
	c, size, k, kernel, dilation, by int // by: stride
	groups, pad                      int
	deform                           bool
}

var benchProblems = []benchProblem{
	{"3x3", 64, 56, 64, 3, 1, 1, 1, 1, false},
	{"3x3d2", 64, 56, 64, 3, 2, 1, 1, 2, false},
	{"256_3x3d2", 256, 28, 256, 3, 2, 1, 1, 2, false},
	{"256_3x3d12", 256, 33, 256, 3, 12, 1, 1, 12, false},
	{"depthwise_d2", 144, 56, 144, 3, 2, 1, 144, 2, false},
	{"1x1", 256, 56, 64, 1, 1, 1, 1, 0, false},
	{"7x7s2", 3, 224, 64, 7, 1, 2, 1, 3, false},
	{"deform", 64, 56, 64, 3, 1, 1, 1, 1, true},
	{"deform256", 256, 28, 256, 3, 1, 1, 1, 1, true},
	{"deform_depthwise", 144, 56, 144, 3, 1, 1, 144, 1, true},
}

// BenchmarkForward measures each layer with the variant chosen, and with all
// others too with VKCONV_VARIANTS=1 (or a part of their names). GFLOP/s count a multiplication
// and an addition as two, by device time.
func BenchmarkForward(b *testing.B) {
	all := os.Getenv("VKCONV_VARIANTS")
	for _, info := range gputest.List(b) {
		d := gputest.Open(b, gpu.Options{Device: info.Name})
		for _, q := range benchProblems {
			p := q.problem(b)
			best, err := choose(p, traitsOf(info))
			if err != nil {
				b.Fatal(err)
			}
			name := info.Name[:4] + "/" + q.name + "/"
			b.Run(name+"chosen="+best.variant.String(), func(b *testing.B) { benchmark(b, d, p, best) })
			for _, v := range variants {
				if l, why, err := plan(p, traitsOf(info), v); all != "" && err == nil && why == "" && v != best.variant && (all == "1" || strings.Contains(v.module, all)) {
					b.Run(name+v.String(), func(b *testing.B) { benchmark(b, d, p, l) })
				}
			}
		}
	}
}

func (q benchProblem) problem(b *testing.B) conv.Problem {
	params := conv.Params{Stride: [2]int{q.by, q.by}, Dilation: [2]int{q.dilation, q.dilation}, Padding: conv.Pad(q.pad), Groups: q.groups}
	x, w := conv.Shape{1, q.c, q.size, q.size}, conv.Shape{q.k, q.c / q.groups, q.kernel, q.kernel}
	p, err := params.Problem(x, w, true)
	if err == nil && q.deform {
		p, err = params.DeformProblem(conv.Deform{Mask: true}, x, w, true)
	}
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func benchmark(b *testing.B, d *gpu.Device, p conv.Problem, l launch) {
	c := convtest.Fill(rand.New(rand.NewPCG(1, 1)), p)
	for i := range c.Offset { // what networks learn
		c.Offset[i] = float32(rand.NormFloat64())
	}
	o, err := newOperator(d, l, c.Weight, c.Bias)
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	a := newArena(d.Info().Limits.StorageAlign, [slots][]float32{slotX: c.X, slotY: make([]float32, p.Output().Len()), slotOffset: c.Offset, slotMask: c.Mask})
	buf, err := d.NewBuffer(int64(4 * len(a.words)))
	if err != nil {
		b.Fatal(err)
	}
	defer buf.Free()
	if err := d.Upload(buf, 0, a.bytes(a.words)); err != nil {
		b.Fatal(err)
	}
	tensor := func(i int) Tensor { return Tensor{buf, int64(4 * max(a.at[i], 0))} }
	once := func() float64 {
		s, err := d.NewStream()
		if err != nil {
			b.Fatal(err)
		}
		s.Timestamp()
		if p.Deformable() {
			err = (&DeformConv2D{planned{forward: o}}).Record(s, tensor(slotY), tensor(slotX), tensor(slotOffset), tensor(slotMask))
		} else {
			err = (&Conv2D{planned{forward: o}}).Record(s, tensor(slotY), tensor(slotX))
		}
		if err != nil {
			b.Fatal(err)
		}
		s.Timestamp()
		u, err := s.Submit()
		if err != nil {
			b.Fatal(err)
		}
		if err := u.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
		stamps, err := u.Timestamps()
		if err != nil {
			b.Fatal(err)
		}
		return stamps[1].Seconds()
	}
	once() // drivers compile on the first run
	best, cpu := once(), math.Inf(1)
	for b.Loop() {
		before := processorTime()
		best = min(best, once())
		cpu = min(cpu, (processorTime() - before).Seconds())
	}
	b.ReportMetric(2*float64(p.Cost().MACs)/best*1e-9, "GFLOP/s")
	if cpu > 0 {
		b.ReportMetric(2*float64(p.Cost().MACs)/cpu*1e-9, "GFLOP/core-s")
	}
}
