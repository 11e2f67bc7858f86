package fast

import (
	"context"
	"fmt"
	"testing"

	"vkconv/conv"
)

// BenchmarkDCN measures DCNv3 and DCNv4 at the stages of InternImage-T: groups of 16 channels, 3×3 points. GFLOP/s count
// five multiply-adds a sample and channel, forward; backward the same once for each gradient of a sample's value, place and
// mask would say little, so there it is milliseconds alone.
func BenchmarkDCN(b *testing.B) {
	for _, s := range []struct{ channels, size int }{{64, 56}, {128, 28}, {256, 14}} {
		p := conv.DCNParams{Padding: conv.Pad(1), Groups: s.channels / 16}
		x := conv.Shape{1, s.channels, s.size, s.size}
		v3, err := p.V3(x)
		if err != nil {
			b.Fatal(err)
		}
		v4, err := p.V4(x)
		if err != nil {
			b.Fatal(err)
		}
		p.Softmax = true
		soft, err := p.V3(x)
		if err != nil {
			b.Fatal(err)
		}
		for _, o := range []struct {
			name string
			d    conv.DCN
		}{{"v3", v3}, {"v3 softmax", soft}, {"v4", v4}} {
			pool := NewPool(*workers)
			ctx := context.Background()
			plan, err := NewDCN(pool, o.d)
			if err != nil {
				b.Fatal(err)
			}
			in, offset, mask := floats(o.d.Input().Len()), floats(o.d.Offset().Len()), floats(o.d.MaskShape().Len())
			y, dx, do, dm := floats(o.d.Output().Len()), floats(len(in)), floats(len(offset)), floats(len(mask))
			if o.d.Packed {
				dm = nil
			}
			for name, run := range map[string]func() error{
				"forward": func() error { return plan.Run(ctx, y, in, offset, mask) },
				"dx":      func() error { return plan.Backward(ctx, dx, nil, nil, in, offset, mask, y) },
				"doffset": func() error { return plan.Backward(ctx, nil, do, dm, in, offset, mask, y) },
			} {
				b.Run(fmt.Sprintf("%s/%d_%d/%s", o.name, s.channels, s.size, name), func(b *testing.B) {
					for b.Loop() {
						if err := run(); err != nil {
							b.Fatal(err)
						}
					}
					if name == "forward" {
						c := o.d.Cost()
						b.ReportMetric(2*float64(c.MACs+c.SampleMACs)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
					}
				})
			}
			pool.Close()
		}
	}
}
