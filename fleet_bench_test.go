//go:build cgo

package vkconv_test

import (
	"strconv"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/gpu/gputest"
)

// A batch from the host's memory to the host's memory: by an engine's layer of the whole
// batch, by a fleet of that one device, which computes image by image, and by a fleet of
// all devices.
func BenchmarkFleet(b *testing.B) {
	list := gputest.List(b)
	var all []string
	for _, i := range list {
		all = append(all, strconv.Itoa(i.Index))
	}
	for _, c := range []struct {
		name string
		x, w conv.Shape
	}{{"8x64x56x56", conv.Shape{8, 64, 56, 56}, conv.Shape{64, 64, 3, 3}}, {"64x8x7x7", conv.Shape{64, 8, 7, 7}, conv.Shape{8, 8, 3, 3}}} {
		params := conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}
		x, weight := noise(c.x.Len()), noise(c.w.Len())
		fleet := func(b *testing.B, atOnce int, names ...string) {
			f, err := vkconv.OpenFleet(vkconv.Options{}, names...)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			l, err := f.NewConv2D(c.x, weight, nil, c.w, params, vkconv.ImagesAtOnce(atOnce))
			if err != nil {
				b.Fatal(err)
			}
			y := make([]float32, l.Problem().Output().Len())
			if err := l.Run(ctx, y, x); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := l.Run(ctx, y, x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(l.Shares()[0].Images), "images-of-the-first")
		}
		for k, i := range list {
			b.Run(c.name+"/"+i.Driver+"/engine", func(b *testing.B) {
				e, err := vkconv.Open(vkconv.Options{Device: all[k]})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				l, err := e.NewConv2D(c.x, weight, nil, c.w, params)
				if err != nil {
					b.Fatal(err)
				}
				in, err1 := e.TensorOf(c.x, x)
				out, err2 := e.NewTensor(l.Problem().Output())
				if err1 != nil || err2 != nil {
					b.Fatal(err1, err2)
				}
				y := make([]float32, out.Shape().Len())
				for b.Loop() {
					if err := in.Upload(x); err != nil {
						b.Fatal(err)
					}
					if err := l.Run(ctx, out, in); err != nil {
						b.Fatal(err)
					}
					if err := out.Download(ctx, y); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(c.name+"/"+i.Driver+"/fleet of one", func(b *testing.B) { fleet(b, 1, all[k]) })
			b.Run(c.name+"/"+i.Driver+"/fleet of one, a quarter at once", func(b *testing.B) { fleet(b, c.x[0]/4, all[k]) })
		}
		b.Run(c.name+"/all", func(b *testing.B) { fleet(b, 1, all...) })
	}
}
