package cpuref

import (
	"math"

	"vkconv/conv"
)

// DCNv3 computes the core operator of DCNv3 (Wang et al. 2022),
//
//	y[n,c,oy,ox] = Σ_t m_t · X_c(position of point t)
//
// over the points t of the group of channel c, where X_c(·,·) is the bilinear
// sample of channel c at the position that [conv.DCN] says, 0 outside, and m_t
// the mask or, with d.Softmax, its softmax over t. Shapes as [conv.DCN] says.
// Errors of a float32 computation are bounded with [conv.DCNRoundings].
//
// Where the offset's scale is not 1, (k + Δ)·scale is a product in the inputs'
// own type, as in the published code: for float32 inputs two rounded float32
// operations, from which on everything is exact. The whole part and the fraction
// of a position are never added up. A NaN in a point's offset makes what it
// reaches NaN, but no dx; an infinite one lies outside. For float64 inputs the
// sums' Slack holds what rounding those two changes.
func DCNv3[T Float](d conv.DCN, x, offset, mask []T) []conv.Sum {
	q := newDCN(d, x, offset, mask)
	y := make([]conv.Sum, d.Output().Len())
	pixels, perGroup := d.Ho*d.Wo, d.C/d.Groups
	parallel(d.N*d.Groups*pixels, func(i int) {
		n, g, out := i/pixels/d.Groups, i/pixels%d.Groups, i%pixels
		m := q.masks(n, g, out)
		for t := range m {
			at := q.place(n, g, t, out)
			offY, offX := q.off(n, g, t, out)
			for c := g * perGroup; c < (g+1)*perGroup; c++ {
				s := q.sample(n, c, at)
				sum := &y[(n*d.C+c)*pixels+out]
				sum.AddSampled(m[t].value*s.Value, m[t].value*s.Abs, math.Abs(m[t].value)*(s.SlopeY+s.SlopeX)+m[t].slack*s.Abs)
				sum.Slack += shift(m[t].value, s.DyAbs, offY, s.DxAbs, offX) + faint*s.TwistAbs
			}
		}
	})
	return y
}

// DCNv3Backward differentiates [DCNv3]. With X the sample that channel c takes
// at a point, m the point's mask and s the scale, every y contributes
//
//	dx at the four neighbours += m·dy · the neighbour's share of X
//	doffset += s·m·dy · (∂X/∂x, ∂X/∂y)        dm += X·dy
//
// and with d.Softmax dmask_j = m_j·(dm_j − Σ_i m_i·dm_i). At whole-pixel positions
// the derivative is that towards larger x and y, as automatic differentiation of
// the published reference function has it; the published CUDA code differs from
// that at exactly −1, where it gives none.
func DCNv3Backward[T Float](d conv.DCN, x, offset, mask, dy []T) Gradients {
	check("dy", dy, d.Output())
	g := Gradients{X: make([]conv.Sum, len(x)), Offset: make([]conv.Sum, len(offset)), Mask: make([]conv.Sum, len(mask))}
	newDCN(d, x, offset, mask).backward(g.X, g.Offset, g.Mask, dy)
	return g
}

// dcn is an operator with its inputs; of DCNv4 offset and mask are the same.
type dcn[T Float] struct {
	d               conv.DCN
	x, offset, mask []T
}

func newDCN[T Float](d conv.DCN, x, offset, mask []T) dcn[T] {
	check("x", x, d.Input())
	check("offset", offset, d.Offset())
	if !d.Packed {
		check("mask", mask, d.MaskShape())
	}
	return dcn[T]{d, x, offset, mask}
}

// at is the index of a channel at an output pixel, in a tensor of that many channels.
func (q dcn[T]) at(channels, n, channel, out int) int {
	return (n*channels+channel)*q.d.Ho*q.d.Wo + out
}

func (q dcn[T]) maskChannels() int {
	if q.d.Packed {
		return q.d.Offset()[1]
	}
	return q.d.MaskShape()[1]
}

func (q dcn[T]) place(n, g, t, out int) Place {
	d := q.d
	r, s := d.Point(t)
	by, bx, ky, kx := d.Base(out/d.Wo, out%d.Wo, r, s)
	i := q.at(d.Offset()[1], n, d.OffsetChannel(g, t), out)
	x, fx := displace(bx, kx, q.offset[i], d.Scale)
	y, fy := displace(by, ky, q.offset[i+d.Ho*d.Wo], d.Scale)
	if nan := fx + fy; nan != nan { // in one coordinate is in both
		fx, fy = nan, nan
	}
	return Place{y, x, fy, fx}
}

// off is how far a computation with float32 positions may be off from one with
// these: the sum k + Δ and its product with the scale are each rounded.
func (q dcn[T]) off(n, g, t, out int) (y, x float64) {
	if q.d.Scale == 1 || !wide[T]() {
		return 0, 0
	}
	d := q.d
	r, s := d.Point(t)
	_, _, ky, kx := d.Base(out/d.Wo, out%d.Wo, r, s)
	i := q.at(d.Offset()[1], n, d.OffsetChannel(g, t), out)
	scale := 2.01 * conv.Roundoff * math.Abs(float64(d.Scale))
	return scale * math.Abs(float64(ky)+float64(q.offset[i+d.Ho*d.Wo])), scale * math.Abs(float64(kx)+float64(q.offset[i]))
}

// wide reports whether inputs are float64.
func wide[T Float]() bool {
	var v T
	_, ok := any(v).(float64)
	return ok
}

// displace returns the whole part and the fraction of base + (k + delta)·scale.
func displace[T Float](base, k int, delta T, scale float32) (int, float64) {
	if scale == 1 {
		return split(base+k, float64(delta))
	}
	return split(base, float64(T(T(T(k)+delta)*T(scale))))
}

func (q dcn[T]) sample(n, c int, at Place) Sample {
	return Bilinear(q.x[(n*q.d.C+c)*q.d.H*q.d.W:][:q.d.H*q.d.W], q.d.H, q.d.W, at, conv.BorderFade)
}

// faint is what a tiny mask loses where its products with the two weights of a
// corner are flushed, before a factor that may be large comes: 2·2⁻¹²⁶.
const faint = 0x1p-125

// modulation is a point's mask, and how far a float32 computation of it may be
// off in units of u.
type modulation struct{ value, slack float64 }

// masks returns the masks of a group's points at an output pixel.
func (q dcn[T]) masks(n, g, out int) []modulation {
	m := make([]modulation, q.d.Points())
	raw := make([]float64, len(m))
	for t := range m {
		raw[t] = float64(q.mask[q.at(q.maskChannels(), n, q.d.MaskChannel(g, t), out)])
		m[t].value = raw[t]
	}
	if !q.d.Softmax {
		return m
	}
	top, sum := raw[0], 0.0
	for _, z := range raw {
		top = max(top, z)
	}
	soft := make([]float64, len(m))
	for t, z := range raw {
		soft[t] = math.Exp(z - top)
		sum += soft[t]
	}
	for t := range soft {
		soft[t] /= sum
	}
	// exp and the quotient may each be flushed to zero: 2·2⁻¹²⁶, here in units of u.
	const flushed = 0x1p-125 / conv.Roundoff
	for t, e := range conv.SoftmaxError(raw, soft) {
		m[t] = modulation{soft[t], soft[t]*e + flushed}
	}
	return m
}

// backward computes all gradients. dmask may be the same slice as doffset.
func (q dcn[T]) backward(dx, doffset, dmask []conv.Sum, dy []T) {
	d := q.d
	pixels, perGroup := d.Ho*d.Wo, d.C/d.Groups
	parallel(d.N*d.C, func(i int) { q.input(dx[i*d.H*d.W:][:d.H*d.W], i/d.C, i%d.C, dy) })
	parallel(d.N*d.Groups*pixels, func(i int) {
		n, g, out := i/pixels/d.Groups, i/pixels%d.Groups, i%pixels
		m := q.masks(n, g, out)
		dm := make([]conv.Sum, len(m))
		for t := range m {
			at := q.place(n, g, t, out)
			offY, offX := q.off(n, g, t, out)
			to := q.at(d.Offset()[1], n, d.OffsetChannel(g, t), out)
			for c := g * perGroup; c < (g+1)*perGroup; c++ {
				s, v := q.sample(n, c, at), float64(dy[(n*d.C+c)*pixels+out])
				f, slack := v*float64(d.Scale), math.Abs(v*float64(d.Scale))*m[t].slack
				doffset[to].AddSampled(f*m[t].value*s.Dx, f*m[t].value*s.DxAbs, math.Abs(f*m[t].value)*s.Twist+slack*s.DxAbs)
				doffset[to+pixels].AddSampled(f*m[t].value*s.Dy, f*m[t].value*s.DyAbs, math.Abs(f*m[t].value)*s.Twist+slack*s.DyAbs)
				dm[t].AddSampled(v*s.Value, v*s.Abs, v*(s.SlopeY+s.SlopeX))
				doffset[to].Slack += shift(f*m[t].value, s.TwistAbs, offY, 0, 0) + faint*math.Abs(f)*s.TwistAbs
				doffset[to+pixels].Slack += shift(f*m[t].value, s.TwistAbs, offX, 0, 0) + faint*math.Abs(f)*s.TwistAbs
				dm[t].Slack += shift(v, s.DyAbs, offY, s.DxAbs, offX)
			}
		}
		if d.Softmax {
			dm = throughSoftmax(m, dm)
		}
		for t := range m {
			dmask[q.at(q.maskChannels(), n, d.MaskChannel(g, t), out)] = dm[t]
		}
	})
}

// throughSoftmax turns the gradients by softmax's results m into those by its
// inputs. Each dm_i comes with the error that its Sum says, which the products
// with m_i and m_j carry on; to that their own slack is added.
func throughSoftmax(m []modulation, dm []conv.Sum) []conv.Sum {
	var mean conv.Sum // Σ m_i·dm_i
	for i, s := range dm {
		mean.Value += m[i].value * s.Value
		mean.Abs += m[i].value * s.Abs
		mean.Slope += m[i].value*s.Slope + m[i].slack*s.Abs
		mean.Terms = max(mean.Terms, s.Terms)
		mean.Slack += m[i].value * s.Slack
	}
	out := make([]conv.Sum, len(dm))
	for j, s := range dm {
		out[j] = conv.Sum{
			Value: m[j].value * (s.Value - mean.Value),
			Abs:   m[j].value * (s.Abs + mean.Abs),
			Slope: m[j].value*(s.Slope+mean.Slope) + m[j].slack*(s.Abs+mean.Abs),
			Terms: mean.Terms + len(dm),
			Slack: m[j].value * (s.Slack + mean.Slack),
		}
	}
	return out
}

// input computes dx of one channel of one image.
func (q dcn[T]) input(dx []conv.Sum, n, c int, dy []T) {
	d := q.d
	pixels, g := d.Ho*d.Wo, c/(d.C/d.Groups)
	for out := range pixels {
		f := float64(dy[(n*d.C+c)*pixels+out])
		for t, m := range q.masks(n, g, out) {
			offY, offX := q.off(n, g, t, out)
			scatter(dx, d.H, d.W, q.place(n, g, t, out), f, m, offY, offX)
		}
	}
}

// scatter adds f times the mask to the four neighbours of a position, itself off
// by offY and offX, by their shares. A NaN position has no neighbours.
func scatter(dx []conv.Sum, h, w int, at Place, f float64, m modulation, offY, offX float64) {
	if math.IsNaN(at.Fy) {
		return
	}
	lost, slack := faint*math.Abs(f), math.Abs(f)*m.slack
	f *= m.value
	for corner := range 4 {
		iy, ix := at.Y+corner/2, at.X+corner%2
		if iy < 0 || iy >= h || ix < 0 || ix >= w {
			continue
		}
		wy, wx := 1-at.Fy, 1-at.Fx
		if corner/2 == 1 {
			wy = at.Fy
		}
		if corner%2 == 1 {
			wx = at.Fx
		}
		dx[iy*w+ix].AddSampled(f*wy*wx, f*wy*wx, math.Abs(f)*(wy+wx)+slack*wy*wx)
		dx[iy*w+ix].Slack += shift(f, wx, offY, wy, offX) + lost
	}
}
