package cpuref

import (
	"math"

	"vkconv/conv"
)

// DeformConv2DBackward differentiates [DeformConv2D]. With X the bilinear
// sample of channel c that tap t takes for an output pixel, m its mask and
// (Δy, Δx) its offset, every output element y = Σ weight·m·X + bias contributes
//
//	dx at the four neighbours += weight·m·dy · the neighbour's share of X
//	dweight += m·X·dy               dbias += dy
//	doffset += weight·m·dy · (∂X/∂y, ∂X/∂x)
//	dmask   += weight·X·dy
//
// At whole-pixel positions X has a kink; like torchvision this takes the
// derivative towards larger y and x, also on the border at −1, where the sample
// itself is 0 but the derivative is the pixel at 0. Errors of a float32
// computation are bounded with [conv.SampleRoundings].
func DeformConv2DBackward[T Float](p conv.Problem, x, offset, mask, weight, dy []T) Gradients {
	return DeformConv2DBackwardSome(p, x, offset, mask, weight, dy, 1)
}

// DeformConv2DBackwardSome is [DeformConv2DBackward] of one in every channels,
// kernels and taps of an offset group, as [Conv2DBackwardSome].
func DeformConv2DBackwardSome[T Float](p conv.Problem, x, offset, mask, weight, dy []T, every int) Gradients {
	check("x", x, p.Input())
	check("offset", offset, p.Offset())
	check("weight", weight, p.Weight())
	check("dy", dy, p.Output())
	if p.Mask {
		check("mask", mask, p.MaskShape())
	}
	return deformGrad[T]{p, x, offset, mask, weight, dy, nil}.all(every)
}

// all computes the gradients, of one unit of work in every.
func (d deformGrad[T]) all(every int) Gradients {
	p := d.p
	g := Gradients{
		X: make([]conv.Sum, len(d.x)), Weight: make([]conv.Sum, len(d.weight)),
		Offset: make([]conv.Sum, len(d.offset)), Bias: biasGradient(p, d.grad),
	}
	if p.Mask {
		g.Mask = make([]conv.Sum, len(d.mask))
	}
	// Each unit of work writes what no other writes.
	some(every, g.X, p.N*p.C, func(i int) { d.input(g.X, i/p.C, i%p.C) })
	some(every, g.Weight, p.C/p.Groups*p.K, func(i int) { d.weights(g.Weight, i) })
	taps := p.N * p.OffsetGroups * p.Taps()
	some(every, g.Offset, taps, func(i int) { d.offsets(g.Offset, g.Mask, i) })
	if p.Mask {
		some(every, g.Mask, taps, func(int) {}) // marks what the line above left out
	}
	return g
}

type deformGrad[T Float] struct {
	p                             conv.Problem
	x, offset, mask, weight, grad []T
	// moved is how far each offset may be off in a float32 computation, which goes
	// into the sums' Slack; nil for exact ones.
	moved []float64
}

// off returns how far the position of a sample may be off.
func (d deformGrad[T]) off(n, c, t, out int) (y, x float64) {
	if d.moved == nil {
		return 0, 0
	}
	i := offsetAt(d.p, n, c, t, out/d.p.Wo, out%d.p.Wo)
	return d.moved[i], d.moved[i+d.p.Ho*d.p.Wo]
}

// shift is how much |f|·(…) changes where positions are off by offY and offX, slopeY
// and slopeX its slopes; nothing, whatever the slopes are, where they are not off.
func shift(f, slopeY, offY, slopeX, offX float64) (change float64) {
	if offY != 0 {
		change = math.Abs(f) * slopeY * offY
	}
	if offX != 0 {
		change += math.Abs(f) * slopeX * offX
	}
	return change
}

// outputs calls f with every output channel that reads channel c: its weight at
// tap t and its dy at an output pixel.
func (d deformGrad[T]) outputs(n, c, t, oy, ox int, f func(w, dy float64)) {
	p := d.p
	perGroup, outPerGroup := p.C/p.Groups, p.K/p.Groups
	for k := c / perGroup * outPerGroup; k < (c/perGroup+1)*outPerGroup; k++ {
		f(float64(d.weight[(k*perGroup+c%perGroup)*p.Taps()+t]), float64(d.grad[((n*p.K+k)*p.Ho+oy)*p.Wo+ox]))
	}
}

// input computes dx of one channel of one image.
func (d deformGrad[T]) input(dx []conv.Sum, n, c int) {
	p := d.p
	dx = dx[(n*p.C+c)*p.H*p.W:][:p.H*p.W]
	for i := range p.Ho * p.Wo * p.Taps() {
		t, oy, ox := i%p.Taps(), i/p.Taps()/p.Wo, i/p.Taps()%p.Wo
		at := PlaceAt(p, d.offset, n, c, t, oy, ox)
		_, m := SampleAt(p, d.x, d.offset, d.mask, n, c, t, oy, ox)
		offY, offX := d.off(n, c, t, oy*p.Wo+ox)
		for corner := range 4 {
			to := neighbour(at.Y+corner/2, at.X+corner%2, p.H, p.W, at, p.Border)
			if to < 0 {
				continue
			}
			wy, wx := 1-at.Fy, 1-at.Fx
			if corner/2 == 1 {
				wy = at.Fy
			}
			if corner%2 == 1 {
				wx = at.Fx
			}
			d.outputs(n, c, t, oy, ox, func(w, dy float64) {
				f := w * dy * m
				dx[to].AddSampled(f*wy*wx, f*wy*wx, f*(wy+wx))
				dx[to].Slack += shift(f, wx, offY, wy, offX)
			})
		}
	}
}

// weights computes dweight of the i-th kernel.
func (d deformGrad[T]) weights(dw []conv.Sum, i int) {
	p := d.p
	perGroup := p.C / p.Groups
	k := i / perGroup
	c := i%perGroup + k/(p.K/p.Groups)*perGroup
	dw = dw[i*p.Taps():][:p.Taps()]
	for n := range p.N {
		for t := range p.Taps() {
			for oy := range p.Ho {
				for ox := range p.Wo {
					s, m := SampleAt(p, d.x, d.offset, d.mask, n, c, t, oy, ox)
					f := m * float64(d.grad[((n*p.K+k)*p.Ho+oy)*p.Wo+ox])
					dw[t].AddSampled(f*s.Value, f*s.Abs, f*(s.SlopeY+s.SlopeX))
					offY, offX := d.off(n, c, t, oy*p.Wo+ox)
					dw[t].Slack += shift(f, s.DyAbs, offY, s.DxAbs, offX)
				}
			}
		}
	}
}

// offsets computes doffset and dmask of the i-th pair of offset group and tap.
func (d deformGrad[T]) offsets(doffset, dmask []conv.Sum, i int) {
	p := d.p
	pixels := p.Ho * p.Wo
	t, group, n := i%p.Taps(), i/p.Taps()%p.OffsetGroups, i/p.Taps()/p.OffsetGroups
	perOffset := p.C / p.OffsetGroups
	dyAt, dxAt := doffset[2*i*pixels:][:pixels], doffset[(2*i+1)*pixels:][:pixels]
	for out := range pixels {
		for c := group * perOffset; c < (group+1)*perOffset; c++ {
			s, m := SampleAt(p, d.x, d.offset, d.mask, n, c, t, out/p.Wo, out%p.Wo)
			offY, offX := d.off(n, c, t, out)
			d.outputs(n, c, t, out/p.Wo, out%p.Wo, func(w, dy float64) {
				f := w * dy
				dyAt[out].AddSampled(f*m*s.Dy, f*m*s.DyAbs, f*m*s.Twist)
				dxAt[out].AddSampled(f*m*s.Dx, f*m*s.DxAbs, f*m*s.Twist)
				dyAt[out].Slack += shift(f*m, s.TwistAbs, offX, 0, 0)
				dxAt[out].Slack += shift(f*m, s.TwistAbs, offY, 0, 0)
				if p.Mask {
					dmask[i*pixels+out].Slack += shift(f, s.DyAbs, offY, s.DxAbs, offX)
					dmask[i*pixels+out].AddSampled(f*s.Value, f*s.Abs, f*(s.SlopeY+s.SlopeX))
				}
			})
		}
	}
}
