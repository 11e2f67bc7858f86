package exact

import (
	"math"

	"vkconv/conv"
)

// Conv2D computes a convolution, ordinary or deformable, and given dy its
// gradients, those behind no activation. What the problem lacks is nil. Bounds
// take [conv.ProductRoundings] or, deformable, [conv.SampleRoundings].
func Conv2D(p conv.Problem, x, weight, bias, offset, mask, dy []float64) ([]conv.Sum, Gradients) {
	y := make([]tally, p.Output().Len())
	dx, dw := make([]tally, len(x)), make([]tally, len(weight))
	var db, doff, dm []tally
	if p.Bias {
		db = make([]tally, p.K)
	}
	if p.Deformable() {
		doff = make([]tally, len(offset))
	}
	if p.Mask {
		dm = make([]tally, len(mask))
	}
	pixels := p.Ho * p.Wo
	eachTap(p, func(n, k, c, out, plane, wAt, r, s, oy, ox int) {
		w, d := weight[wAt], 0.0
		if dy != nil {
			d = dy[out]
		}
		iy, ix := oy*p.StrideY-p.Pad.Top+r*p.DilationY, ox*p.StrideX-p.Pad.Left+s*p.DilationX
		if !p.Deformable() {
			if iy, ix = conv.MapPad(p.Mode, iy, p.H), conv.MapPad(p.Mode, ix, p.W); iy < 0 || ix < 0 {
				return
			}
			v := x[plane+iy*p.W+ix]
			y[out].add(prodOf(w, v), 0, true)
			dx[plane+iy*p.W+ix].add(prodOf(w, d), 0, true)
			dw[wAt].add(prodOf(v, d), 0, true)
			return
		}
		q, tap := c/(p.C/p.OffsetGroups), r*p.S+s
		at := ((n*p.OffsetGroups+q)*p.Taps()+tap)*2*pixels + oy*p.Wo + ox
		mAt, m := ((n*p.OffsetGroups+q)*p.Taps()+tap)*pixels+oy*p.Wo+ox, 1.0
		if p.Mask {
			m = mask[mAt]
		}
		iy, fy := split(iy, offset[at])
		ix, fx := split(ix, offset[at+pixels])
		y[out].terms++
		dw[wAt].terms++
		doff[at].terms++
		doff[at+pixels].terms++
		if p.Mask {
			dm[mAt].terms++
		}
		faded := iy == -1 && fy == (num{}) || ix == -1 && fx == (num{})
		// A NaN position samples NaN, wherever its pixels are; each slope is one of
		// the other coordinate's.
		nanY, nanX := math.IsNaN(fy.hi), math.IsNaN(fx.hi)
		if nan := (num{math.NaN(), 0}); nanY || nanX {
			if !faded {
				y[out].v, dw[wAt].v = nan, nan
				if p.Mask {
					dm[mAt].v = nan
				}
			}
			if nanX {
				doff[at].v = nan
			}
			if nanY {
				doff[at+pixels].v = nan
			}
		}
		corners(iy, ix, fy, fx, p.H, p.W, p.Border, func(k corner) {
			v := x[plane+k.at]
			share, near := k.wy.times(k.wx), math.Abs(k.wy.hi)+math.Abs(k.wx.hi)
			dx[plane+k.at].add(prodOf(w, m).times(share).by(d), w*m*d*near, true)
			doff[at].add(prodOf(w, m).times(k.wx).times(prodOf(v, d)).by(k.sy), w*m*v*d, false)
			doff[at+pixels].add(prodOf(w, m).times(k.wy).times(prodOf(v, d)).by(k.sx), w*m*v*d, false)
			if faded { // the sample is 0, its slope is not
				return
			}
			y[out].add(prodOf(w, m).times(share).by(v), w*m*v*near, false)
			dw[wAt].add(prodOf(m, v).times(share).by(d), m*v*d*near, false)
			if p.Mask {
				dm[mAt].add(prodOf(w, v).times(share).by(d), w*v*d*near, false)
			}
		})
	})
	for i := range y {
		k := i / pixels % p.K
		if p.Bias {
			y[i].add(num{bias[k], 0}, 0, true)
			if dy != nil {
				db[k].add(num{dy[i], 0}, 0, true)
			}
		}
	}
	out := sums(y)
	for i := range out {
		out[i] = p.Activation.Apply64(out[i])
	}
	if dy == nil {
		return out, Gradients{}
	}
	return out, Gradients{sums(dx), sums(dw), sums(db), sums(doff), sums(dm)}
}

// eachTap calls f for every output, channel that it reads and tap, with the
// places of the output, the channel's plane and the weight.
func eachTap(p conv.Problem, f func(n, k, c, out, plane, weight, r, s, oy, ox int)) {
	cg, kg := p.C/p.Groups, p.K/p.Groups
	for n := range p.N {
		for k := range p.K {
			for i := range cg * p.Taps() {
				c, r, s := k/kg*cg+i/p.Taps(), i%p.Taps()/p.S, i%p.S
				for o := range p.Ho * p.Wo {
					f(n, k, c, (n*p.K+k)*p.Ho*p.Wo+o, (n*p.C+c)*p.H*p.W, k*cg*p.Taps()+i, r, s, o/p.Wo, o%p.Wo)
				}
			}
		}
	}
}

// ConvTranspose2D computes a transposed convolution and its gradients.
func ConvTranspose2D(t conv.Transposed, x, weight, bias, dy []float64) ([]conv.Sum, Gradients) {
	p := t.Of
	y, dx, dw := make([]tally, t.Output().Len()), make([]tally, len(x)), make([]tally, len(weight))
	var db []tally
	// The other way's outputs are this one's inputs, and its taps lead to its outputs.
	eachTap(p, func(_, _, _, in, plane, wAt, r, s, oy, ox int) {
		iy, ix := oy*p.StrideY-p.Pad.Top+r*p.DilationY, ox*p.StrideX-p.Pad.Left+s*p.DilationX
		if iy < 0 || iy >= p.H || ix < 0 || ix >= p.W {
			return
		}
		to := plane + iy*p.W + ix
		y[to].add(prodOf(x[in], weight[wAt]), 0, true)
		dx[in].add(prodOf(weight[wAt], dy[to]), 0, true)
		dw[wAt].add(prodOf(x[in], dy[to]), 0, true)
	})
	if t.Bias {
		db = make([]tally, p.C)
		for i := range y {
			c := i / (p.H * p.W) % p.C
			y[i].add(num{bias[c], 0}, 0, true)
			db[c].add(num{dy[i], 0}, 0, true)
		}
	}
	out := sums(y)
	for i := range out {
		out[i] = t.Activation.Apply64(out[i])
	}
	return out, Gradients{X: sums(dx), Weight: sums(dw), Bias: sums(db)}
}
