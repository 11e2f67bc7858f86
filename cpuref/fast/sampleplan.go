package fast

import (
	"math/bits"

	"vkconv/conv"
)

// sample4 says how to sample four neighbouring output pixels at one tap: for
// each lane two addresses in a channel's plane, of the left pixel of the upper
// and of the lower pair, and for the left and the right of each pair a weight
// that holds the mask, and whether the pixel counts. Where the plane is at least
// two columns wide, pairs lie inside it, whatever counts of them.
type sample4 struct {
	at [2][4]int32
	w  [2][4][2]float32
	m  [2][4][2]uint32 // all ones where the pixel counts
}

const on = 0xffffffff

// planSamples plans all pixels of a unit for taps [t0, t1) of an offset group and
// returns the taps, relative to t0, at which any pixel meets the image.
func (d *DeformConv2D) planSamples(u *unit, s *scratch, offset, mask []float32, og, t0, t1 int) (live []int32) {
	p := &d.p
	plane := p.Ho * p.Wo
	quads := u.vectors * d.ks.lanes / 4
	samples := grow(&s.samples, (t1-t0)*quads)
	live = grow(&s.segs, t1-t0)[:0]
	from := &s.from
	*from = placed{h: p.H, w: p.W}
	from.begin(&s.index, u.q0, u.q1, p.Ho, p.Wo, p.StrideY, p.StrideX)
	for t := t0; t < t1; t++ {
		channel := (u.n*p.OffsetGroups+og)*p.Taps() + t
		from.dy = offset[2*channel*plane:][u.q0:u.q1]
		from.dx = offset[(2*channel+1)*plane:][u.q0:u.q1]
		if p.Mask {
			from.f = mask[channel*plane:][u.q0:u.q1]
		}
		from.baseY = t/p.S*p.DilationY - p.Pad.Top
		from.baseX = t%p.S*p.DilationX - p.Pad.Left
		if d.ks.sampleRow(samples[len(live)*quads:][:quads], from, p.Border) {
			live = append(live, int32(t-t0))
		}
	}
	*from = placed{}
	return live
}

// sampleRow plans a row of samples; what is left of the last plan samples nothing.
// It reports whether any pixel meets the image.
func (ks *kernels) sampleRow(plans []sample4, from *placed, border conv.Border) (any bool) {
	for q := 0; q < len(plans); q++ {
		if ks.planSamples != nil {
			if n := ks.planSamples(plans, from, q); n > 0 {
				any = true
				if q += n; q == len(plans) {
					break
				}
			}
		}
		for i := range 4 {
			if 4*q+i >= len(from.dy) {
				plans[q].clear(i)
				continue
			}
			y, x, ly, lx, f := from.at(4*q + i)
			if plans[q].set(i, from.h, from.w, y, x, ly, lx, f, border) {
				any = true
			}
		}
	}
	return any
}

// split returns the whole part and the fraction of base + delta. Adding them up
// in float32 would lose the fraction on large images.
func split(base int, delta float32) (int, float32) {
	const far = 1 << (30 + bits.UintSize/64) // beyond any image
	if delta >= far {
		return base + far, 0
	}
	if delta < -far {
		return base - far, 0
	}
	if delta != delta {
		return base, delta
	}
	whole := int(delta)
	if float32(whole) > delta {
		whole--
	}
	return base + whole, delta - float32(whole)
}

// clear makes a lane sample 0.
func (s *sample4) clear(i int) {
	for k := range 2 {
		s.at[k][i], s.w[k][i], s.m[k][i] = 0, [2]float32{}, [2]uint32{}
	}
}

// set plans lane i: a bilinear sample of an h×w plane at (y+ly, x+lx), times f.
// It reports whether the lane samples anything but 0.
func (s *sample4) set(i, h, w, y, x int, ly, lx, f float32, border conv.Border) bool {
	hy, hx := 1-ly, 1-lx
	if ly != ly || lx != lx || f-f != 0 {
		return s.setSpecial(i, h, w, y, x, ly, lx, f, border)
	}
	if uint(y) < uint(h-1) && uint(x) < uint(w-1) { // all four inside, as most are
		at := int32(y*w + x)
		s.at[0][i], s.at[1][i] = at, at+int32(w)
		s.w[0][i] = [2]float32{hy * hx * f, hy * lx * f}
		s.w[1][i] = [2]float32{ly * hx * f, ly * lx * f}
		s.m[0][i], s.m[1][i] = [2]uint32{on, on}, [2]uint32{on, on}
		return true
	}
	if s.clear(i); border == conv.BorderCut {
		return s.setCut(i, h, w, y, x, ly, lx, f)
	}
	if y < -1 || y >= h || x < -1 || x >= w || y == -1 && ly == 0 || x == -1 && lx == 0 {
		return false // at −1 exactly, too: the pixel at 0 may be infinite
	}
	// The pair that holds the columns that count: at an edge it is moved inside,
	// and what was its left pixel becomes its right one or the reverse.
	pair, left, right := x, hx, lx
	counts := [2]uint32{on, on}
	switch {
	case x < 0:
		pair, left, right, counts = 0, lx, 0, [2]uint32{on, 0}
	case x == w-1 && w > 1:
		pair, left, right, counts = w-2, 0, hx, [2]uint32{0, on}
	case x == w-1:
		right, counts = 0, [2]uint32{on, 0}
	}
	if y >= 0 {
		s.at[0][i] = int32(y*w + pair)
		s.w[0][i], s.m[0][i] = [2]float32{hy * left * f, hy * right * f}, counts
	}
	if y+1 < h {
		s.at[1][i] = int32((y+1)*w + pair)
		s.w[1][i], s.m[1][i] = [2]float32{ly * left * f, ly * right * f}, counts
	}
	return true
}

// setCut is what set does at the edge under BorderCut: a position beyond the last
// row or column takes its value.
func (s *sample4) setCut(i, h, w, y, x int, ly, lx, f float32) bool {
	if uint(y) >= uint(h) || uint(x) >= uint(w) {
		return false
	}
	pair, left, right := x, 1-lx, lx
	counts := [2]uint32{on, on}
	switch {
	case x == w-1 && w > 1:
		pair, left, right, counts = w-2, 0, 1, [2]uint32{0, on}
	case x == w-1:
		left, right, counts = 1, 0, [2]uint32{on, 0}
	}
	s.at[0][i], s.at[1][i] = int32(y*w+pair), int32(min(y+1, h-1)*w+pair)
	hy := 1 - ly
	s.w[0][i], s.m[0][i] = [2]float32{hy * left * f, hy * right * f}, counts
	s.w[1][i], s.m[1][i] = [2]float32{ly * left * f, ly * right * f}, counts
	return true
}

// setSpecial plans a lane whose offset is NaN or whose mask is not finite.
func (s *sample4) setSpecial(i, h, w, y, x int, ly, lx, f float32, border conv.Border) bool {
	nan := ly != ly || lx != lx
	if !nan && f == f && s.set(i, h, w, y, x, ly, lx, 1, border) {
		for k := range 2 { // the infinite mask counts where the sample has weight
			for e := range 2 {
				if s.w[k][i][e] != 0 {
					s.w[k][i][e] *= f
				}
			}
		}
		return true
	}
	s.clear(i) // a NaN sample; ∞·0, outside, is one too
	weight := f * 0
	if nan {
		if y == -1 && ly == 0 || x == -1 && lx == 0 { // not sampled, wherever the other coordinate is
			if weight == 0 {
				return false
			}
		} else {
			weight = ly + lx
		}
	}
	s.w[0][i][0], s.m[0][i][0] = weight, on
	return true
}
