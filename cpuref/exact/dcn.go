package exact

import (
	"math"

	"vkconv/conv"
)

// modulation is a point's mask, and how far a float64 computation of it may be
// off in units of u.
type modulation struct{ value, slack float64 }

// DCN computes DCNv3 or, packed, DCNv4, whose mask is its offset tensor, and
// their gradients; packed that by the mask is in Offset. Bounds take
// [conv.DCNRoundings].
func DCN(d conv.DCN, x, offset, mask, dy []float64) ([]conv.Sum, Gradients) {
	channels := d.MaskShape()[1]
	y, dx, doff, dm := make([]tally, len(dy)), make([]tally, len(x)), make([]tally, len(offset)), make([]tally, len(mask))
	if d.Packed {
		mask, channels, dm = offset, d.Offset()[1], doff
	}
	pixels, perGroup := d.Ho*d.Wo, d.C/d.Groups
	for i := range d.N * d.Groups * pixels {
		n, g, out := i/pixels/d.Groups, i/pixels%d.Groups, i%pixels
		maskAt := func(t int) int { return (n*channels+d.MaskChannel(g, t))*pixels + out }
		ms := softmax(d, mask, maskAt)
		by := make([]tally, len(ms)) // the gradient by each mask
		for t, m := range ms {
			r, s := d.Point(t)
			baseY, baseX, ky, kx := d.Base(out/d.Wo, out%d.Wo, r, s)
			at := (n*d.Offset()[1]+d.OffsetChannel(g, t))*pixels + out
			iy, fy := displace(baseY, ky, offset[at+pixels], d.Scale)
			ix, fx := displace(baseX, kx, offset[at], d.Scale)
			nan := math.IsNaN(fy.hi) || math.IsNaN(fx.hi)
			faded := iy == -1 && fy == (num{}) || ix == -1 && fx == (num{})
			for c := g * perGroup; c < (g+1)*perGroup; c++ {
				plane, to := (n*d.C+c)*d.H*d.W, (n*d.C+c)*pixels+out
				for _, e := range []*tally{&y[to], &by[t], &doff[at], &doff[at+pixels]} {
					e.terms++
					if nan {
						e.v = num{math.NaN(), 0}
					}
				}
				if nan {
					continue
				}
				v := dy[to]
				scaled := prodOf(v, float64(d.Scale))
				corners(iy, ix, fy, fx, d.H, d.W, conv.BorderFade, func(k corner) {
					p := x[plane+k.at]
					share, near := k.wy.times(k.wx), k.wy.hi+k.wx.hi
					slope := m.value*near + m.slack*share.hi
					dx[plane+k.at].add(share.by(m.value).by(v), v*slope, true)
					doff[at].add(scaled.by(m.value).times(k.wy).by(p).by(k.sx), scaled.hi*p*(math.Abs(m.value)+m.slack), false)
					doff[at+pixels].add(scaled.by(m.value).times(k.wx).by(p).by(k.sy), scaled.hi*p*(math.Abs(m.value)+m.slack), false)
					if faded {
						return
					}
					y[to].add(share.by(m.value).by(p), math.Abs(p)*(math.Abs(m.value)*near+m.slack*share.hi), false)
					by[t].add(share.by(v).by(p), v*p*near, false)
				})
			}
		}
		if d.Softmax {
			by = throughSoftmax(ms, by)
		}
		for t := range by {
			dm[maskAt(t)] = by[t]
		}
	}
	g := Gradients{X: sums(dx), Offset: sums(doff)}
	if !d.Packed {
		g.Mask = sums(dm)
	}
	return sums(y), g
}

// displace is where base + (k + delta)·scale lies; with a scale other than 1 the
// published operator's two operations, each rounded, and from there on exact.
func displace(base, k int, delta float64, scale float32) (int, num) {
	if scale == 1 {
		return split(base+k, delta)
	}
	moved := float64(k) + delta
	return split(base, moved*float64(scale))
}

// softmax returns the masks of a group's points, or their softmax, in float64:
// math.Exp is held to the same limits as what is judged, so both may be off.
func softmax(d conv.DCN, mask []float64, at func(t int) int) []modulation {
	m, raw := make([]modulation, d.Points()), make([]float64, d.Points())
	top, sum := math.Inf(-1), 0.0
	for t := range m {
		raw[t] = mask[at(t)]
		m[t].value = raw[t]
		top = max(top, raw[t])
	}
	if !d.Softmax {
		return m
	}
	soft := make([]float64, len(m))
	for t, z := range raw {
		soft[t] = math.Exp(z - top)
		sum += soft[t]
	}
	for t := range soft {
		soft[t] /= sum
	}
	for t, e := range conv.SoftmaxError(raw, soft) {
		m[t] = modulation{soft[t], 2 * (soft[t]*e + 0x1p-1021/conv.Roundoff64)}
	}
	return m
}

// throughSoftmax turns gradients dm by softmax's results m into those by its
// inputs, m_j·(dm_j − Σ_i m_i·dm_i); what they are off by goes along.
func throughSoftmax(m []modulation, dm []tally) []tally {
	var mean tally
	for i, s := range dm {
		mean.v = mean.v.plus(s.v.by(m[i].value))
		mean.abs += m[i].value * s.abs
		mean.slope += m[i].value*s.slope + m[i].slack*s.abs
	}
	out := make([]tally, len(dm))
	for j, s := range dm {
		out[j] = tally{
			v:     s.v.minus(mean.v).by(m[j].value),
			abs:   m[j].value * (s.abs + mean.abs),
			slope: m[j].value*(s.slope+mean.slope) + m[j].slack*(s.abs+mean.abs),
			terms: s.terms + len(dm),
		}
	}
	return out
}
