package fast

import (
	"context"
	"fmt"
	"testing"

	"vkconv/conv"
)

// benchBackward measures gradients together and by themselves. GFLOP/s count a
// multiply-add of the definition twice: for one gradient that of the forward pass.
func benchBackward(b *testing.B, shapes []shape, deform bool) {
	for _, s := range shapes {
		p := s.problem(b)
		if deform {
			p.OffsetGroups, p.Mask = 1, true
		}
		g := Grads{X: make([]float32, p.Input().Len()), Weight: make([]float32, p.Weight().Len())}
		all := map[string]Grads{"all": g, "x": {X: g.X}, "weight": {Weight: g.Weight}}
		names := []string{"all", "x", "weight"}
		x, w, dy := floats(p.Input().Len()), floats(p.Weight().Len()), floats(p.Output().Len())
		var offset, mask []float32
		if deform {
			offset, mask = floats(p.Offset().Len()), floats(p.MaskShape().Len())
			g.Offset, g.Mask = make([]float32, len(offset)), make([]float32, len(mask))
			all["all"] = g
			all["offset"] = Grads{Offset: g.Offset, Mask: g.Mask}
			names = append(names, "offset")
		}
		pool := NewPool(*workers)
		for _, name := range names {
			b.Run(fmt.Sprintf("%v/%s", s, name), func(b *testing.B) {
				ctx := context.Background()
				q := p
				if name == "all" {
					q.N *= 2 // for measure: input and weight
				}
				if !deform {
					plan, err := NewConv2DBackward(pool, p, w)
					if err != nil {
						b.Fatal(err)
					}
					measure(b, q, func() error { return plan.Run(ctx, all[name], x, dy) })
					return
				}
				plan, err := NewDeformConv2DBackward(pool, p, w)
				if err != nil {
					b.Fatal(err)
				}
				measure(b, q, func() error { return plan.Run(ctx, all[name], x, offset, mask, dy) })
			})
		}
		pool.Close()
	}
}

func BenchmarkConv2DBackward(b *testing.B) { benchBackward(b, convShapes, false) }

func BenchmarkDepthwiseBackward(b *testing.B) { benchBackward(b, depthwiseShapes, false) }

func BenchmarkDeformConv2DBackward(b *testing.B) { benchBackward(b, deformShapes, true) }

// BenchmarkActivation measures the functions behind a convolution by themselves.
func BenchmarkActivation(b *testing.B) {
	for k := conv.ReLU; k <= conv.Clamp; k++ {
		b.Run(k.String(), func(b *testing.B) {
			x, v := floats(1<<14), make([]float32, 1<<14)
			b.SetBytes(4 << 14)
			for b.Loop() {
				copy(v, x)
				available[0].activate(conv.Activation{Kind: k, Slope: 0.1, Min: -1, Max: 1}, v)
			}
		})
	}
}
