package fast

import "unsafe"

// dotChannels is how many channels of a tile's column gradient are in memory, about.
const dotChannels = 64

// offsetGrad computes the gradients by offset and mask. Both are made of four
// sums over the channels of an offset group, one for each neighbour of a sample:
//
//	S_ij = Σ_c col[c]·pixel_ij[c]          for the neighbours ij = 00 01 10 11
//	dmask    = hy·hx·S00 + hy·lx·S01 + ly·hx·S10 + ly·lx·S11
//	doffsetY = mask·(hx·(S10 − S00) + lx·(S11 − S01)),  doffsetX likewise
//
// with col the gradient by the sample, see columnGrad. A unit is a tile of
// pixels, of which it writes everything.
type offsetGrad struct{ *columnGrad }

func newOffsetGrad(d *columnGrad) *offsetGrad { return &offsetGrad{d} }

func (d *offsetGrad) tile(i int, j *job, s *scratch) {
	p := &d.p
	n := i / d.spans
	q0 := i % d.spans * d.pixels
	q1 := min(q0+d.pixels, p.Ho*p.Wo)
	pixels := q1 - q0
	outs := d.packOuts(s, j.dy, n, 0, p.Groups, q0, q1)
	col := growAligned(&s.grad.cols, dotChannels*d.pixels)
	all := growAligned(&s.grad.dots, 4*d.pixels)
	plane := p.H * p.W
	step := d.ks.whole(dotChannels)
	for first, last := 0, 0; first < len(d.parts); first = last {
		og := d.parts[first].og
		for last < len(d.parts) && d.parts[last].og == og {
			last++
		}
		for t := range d.taps {
			plans, any := d.planTap(s, j.offset, j.mask, n, og, t, q0, q1, 0, p.H)
			sums := all[:16*len(plans)]
			clear(sums)
			if any {
				for at := first; at < last; at++ {
					q := &d.parts[at]
					for c := q.c0; c < q.c1; c += step {
						end := min(c+step, q.c1)
						d.columnGrad.compute(col, q, c, end, t, outs, 0, p.Groups, pixels)
						d.dots(sums, plans, col, d.pixels, j.x[(n*p.C+c)*plane:][:(end-c)*plane], plane, end-c)
					}
				}
			}
			d.write(j, n, og, t, q0, pixels, plans, sums)
		}
	}
}

// write finishes the gradients of one tap.
func (d *offsetGrad) write(j *job, n, og, t, q0, pixels int, plans []gradPlan, sums []float32) {
	p := &d.p
	plane := p.Ho * p.Wo
	channel := (n*p.OffsetGroups+og)*p.Taps() + t
	var dy, dx, dm []float32
	if j.g.Offset != nil {
		dy = j.g.Offset[2*channel*plane+q0:][:pixels]
		dx = j.g.Offset[(2*channel+1)*plane+q0:][:pixels]
	}
	if j.g.Mask != nil {
		dm = j.g.Mask[channel*plane+q0:][:pixels]
	}
	for i := range pixels {
		g := &plans[i/4]
		s00, s01, s10, s11 := g.corners(i%4, (*[16]float32)(sums[i/4*16:]))
		ly, lx, f := g.fy[i%4], g.fx[i%4], g.f[i%4]
		hy, hx := 1-ly, 1-lx
		if dy != nil {
			dy[i] = f * (hx*(s10-s00) + lx*(s11-s01))
			dx[i] = f * (hy*(s01-s00) + ly*(s11-s10))
		}
		if dm != nil {
			if dm[i] = 0; g.shift[i%4]&atMinusOne == 0 {
				dm[i] = hy*hx*s00 + hy*lx*s01 + ly*hx*s10 + ly*lx*s11
			}
		}
	}
}

// dots calls the kernel; columns of one pixel have no pairs for it.
func (d *offsetGrad) dots(sums []float32, plans []gradPlan, col []float32, colStride int, src []float32, srcStride, n int) {
	if d.p.W < 2 {
		dotsGo(sums, plans, col, colStride, src, srcStride, n)
	} else {
		d.ks.dots(sums, plans, col, colStride, src, srcStride, n)
	}
}

func (d *offsetGrad) workspace() int64 {
	tile := 4*(d.p.K+dotChannels+4)*d.pixels + d.pixels/4*int(unsafe.Sizeof(gradPlan{}))
	return int64(d.pool.workers) * int64(tile)
}
