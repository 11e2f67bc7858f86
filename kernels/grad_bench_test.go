//go:build cgo

package kernels

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// BenchmarkBackward times every gradient beside the forward pass, on the
// device's clock where it has one. GFLOP/s count 2 operations for each product
// of the forward pass.
func BenchmarkBackward(b *testing.B) {
	for _, c := range []struct {
		name   string
		params conv.Params
		x, w   conv.Shape
		groups int // of offsets; 0: not deformable
	}{
		{"3x3", conv.Params{Padding: conv.Pad(1)}, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 64, 3, 3}, 0},
		{"3x3_stride2", conv.Params{Padding: conv.Pad(1), Stride: [2]int{2, 2}}, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 64, 3, 3}, 0},
		{"3x3_reflect", conv.Params{Padding: conv.Pad(1), Mode: conv.Reflect}, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 64, 3, 3}, 0},
		{"1x1", conv.Params{}, conv.Shape{1, 256, 28, 28}, conv.Shape{256, 256, 1, 1}, 0},
		{"depthwise", conv.Params{Padding: conv.Pad(1), Groups: 64}, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 1, 3, 3}, 0},
		{"deform", conv.Params{Padding: conv.Pad(1)}, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 64, 3, 3}, 1},
		{"deform_depthwise", conv.Params{Padding: conv.Pad(1), Groups: 64}, conv.Shape{1, 64, 56, 56}, conv.Shape{64, 1, 3, 3}, 1},
	} {
		p, err := c.params.Problem(c.x, c.w, true)
		if c.groups > 0 {
			p, err = c.params.DeformProblem(conv.Deform{OffsetGroups: c.groups, Mask: true}, c.x, c.w, true)
		}
		if err != nil {
			b.Fatal(err)
		}
		k := convtest.Fill(rand.New(rand.NewPCG(1, 2)), p)
		for i := range k.Offset {
			k.Offset[i] = min(max(k.Offset[i], -4), 4)
		}
		for _, info := range gputest.List(b) {
			b.Run(c.name+"/"+info.Name, func(b *testing.B) {
				d := gputest.Open(b, gpu.Options{Device: info.Name, CacheDir: "off"})
				benchBackward(b, d, k)
			})
		}
	}
}

func benchBackward(b *testing.B, d *gpu.Device, c convtest.Case) {
	p := c.Problem
	tensor := func(v []float32, n int) Tensor {
		buf, err := d.NewBuffer(4 * int64(max(n, 1)))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(buf.Free)
		if v != nil {
			if err := d.Upload(buf, 0, bytesOf(v)); err != nil {
				b.Fatal(err)
			}
		}
		return Tensor{Buf: buf}
	}
	x, offset, mask := tensor(c.X, len(c.X)), tensor(c.Offset, len(c.Offset)), tensor(c.Mask, len(c.Mask))
	y, dy := tensor(nil, p.Output().Len()), tensor(c.OutputGrad(), p.Output().Len())
	g := Grads{X: tensor(nil, p.Input().Len()), Weight: tensor(nil, p.Weight().Len()), Bias: tensor(nil, p.K)}
	var forward func(s *gpu.Stream) error
	var backward func(s *gpu.Stream, g Grads) error
	var text string
	var workspace int64
	if p.Deformable() {
		f, err := NewDeformConv2D(d, p, c.Weight, c.Bias)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		r, err := NewDeformConv2DBackward(d, p, c.Weight)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		g.Offset, g.Mask = tensor(nil, p.Offset().Len()), tensor(nil, p.MaskShape().Len())
		forward = func(s *gpu.Stream) error { return f.Record(s, y, x, offset, mask) }
		backward, text = func(s *gpu.Stream, g Grads) error { return r.Record(s, g, x, offset, mask, dy) }, r.Describe()
		workspace = r.Workspace()
	} else {
		f, err := NewConv2D(d, p, c.Weight, c.Bias)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		r, err := NewConv2DBackward(d, p, c.Weight)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		forward = func(s *gpu.Stream) error { return f.Record(s, y, x) }
		backward, text = func(s *gpu.Stream, g Grads) error { return r.Record(s, g, x, dy) }, r.Describe()
		workspace = r.Workspace()
	}
	b.Log(text)
	run := func(record func(s *gpu.Stream) error) time.Duration {
		s, err := d.NewStream()
		if err != nil {
			b.Fatal(err)
		}
		start := clock()
		if err := record(s); err != nil {
			b.Fatal(err)
		}
		sub, err := s.Submit()
		if err == nil {
			err = sub.Wait(context.Background())
		}
		if err != nil {
			b.Fatal(err)
		}
		return clock() - start
	}
	passes := []struct {
		name  string
		g     Grads
		there bool
	}{{"y", Grads{}, true}, {"dx", Grads{X: g.X}, true}, {"dweight", Grads{Weight: g.Weight}, true}, {"dbias", Grads{Bias: g.Bias}, true},
		{"doffset", Grads{Offset: g.Offset, Mask: g.Mask}, p.Deformable()}, {"all", g, true}}
	defer func() { b.ReportMetric(float64(workspace)/(1<<20), "MiB") }()
	for b.Loop() {
		for _, pass := range passes {
			if !pass.there {
				continue
			}
			best := time.Duration(1 << 62)
			for range 4 {
				best = min(best, run(func(s *gpu.Stream) error {
					if pass.name == "y" {
						return forward(s)
					}
					return backward(s, pass.g)
				}))
			}
			b.ReportMetric(float64(best.Microseconds())/1e3, pass.name+"-ms")
			if pass.name == "y" || pass.name == "dx" || pass.name == "dweight" {
				b.ReportMetric(2*float64(p.Cost().MACs)/float64(best.Nanoseconds()), pass.name+"-GFLOP/s")
			}
		}
	}
}

// clock is replaced to tune on a busy machine.
var clock = func() time.Duration { return time.Since(began) }

var began = time.Now()
