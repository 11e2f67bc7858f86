package fast

import "vkconv/conv"

// vectorPlan says where one vector of a panel comes from at one tap: lane i
// takes place at[j]+i·step of a channel's plane where bit i of bits[j] is set, and
// 0 where it is set in neither; step is the horizontal stride, 1 or 2. With indexed
// set that is not enough, and each lane has an index of its own in scratch.index.
type vectorPlan struct {
	at      [2]int
	bits    [2]uint32
	indexed bool
}

// place returns the output pixel of a zone's pixel q.
func (z *zone) place(q int) (oy, ox int) {
	return z.y0 + q/z.width, z.x0 + q%z.width
}

// planVectors plans all vectors of a unit for taps [t0, t1) and returns the
// taps, relative to t0, that meet more than padding.
func (c *Conv2D) planVectors(u *unit, s *scratch, t0, t1 int) (live []int32) {
	p, lanes := &c.p, c.ks.lanes
	live = grow(&s.segs, t1-t0)[:0]
	vectors := grow(&s.vectors, (t1-t0)*u.vectors)
	index := grow(&s.index, (t1-t0)*u.vectors*lanes)
	for t := t0; t < t1; t++ {
		dy, dx := t/p.S*p.DilationY-p.Pad.Top, t%p.S*p.DilationX-p.Pad.Left
		lo, hi := span(p.Wo, p.W, p.StrideX, dx)
		oy, ox := u.z.place(u.q0)
		any := false
		for v := range u.vectors {
			at := len(live)*u.vectors + v
			plan := &vectors[at]
			n := min(lanes, u.q1-u.q0-v*lanes)
			nextY, nextX := oy, ox
			if c.runs && plan.findRuns(p, u.z, &nextY, &nextX, n, dy, dx, lo, hi) {
				any = any || plan.bits[0] != 0
			} else {
				*plan = vectorPlan{indexed: true}
				if findPlaces(index[at*lanes:][:lanes], p, u.z, oy, ox, n, dy, dx) {
					any = true
				}
				nextY, nextX = u.z.place(u.q0 + v*lanes + n)
			}
			oy, ox = nextY, nextX
		}
		if any {
			live = append(live, int32(t-t0))
		}
	}
	return live
}

// findRuns finds the stretches of places that n output pixels from (oy, ox) on
// read at a tap (dy, dx) whose columns inside are [lo, hi). It reports whether
// two are enough, and leaves the pixel behind in (oy, ox).
func (v *vectorPlan) findRuns(p *conv.Problem, z *zone, oy, ox *int, n, dy, dx, lo, hi int) bool {
	*v = vectorPlan{}
	runs := 0
	end := z.x0 + z.width
	for lane := 0; lane < n; {
		length := min(n-lane, end-*ox)
		a, b := max(*ox, lo), min(*ox+length, hi)
		if iy := *oy*p.StrideY + dy; a < b && uint(iy) < uint(p.H) {
			first := lane + a - *ox
			at := iy*p.W + a*p.StrideX + dx - first*p.StrideX
			set := (uint32(1)<<(b-a) - 1) << first
			switch {
			case runs > 0 && v.at[runs-1] == at: // one row's end is the next one's beginning
				v.bits[runs-1] |= set
			case runs == 2:
				return false
			default:
				v.at[runs], v.bits[runs] = at, set
				runs++
			}
		}
		lane += length
		if *ox += length; *ox == end {
			*oy, *ox = *oy+1, z.x0
		}
	}
	return true
}

// findPlaces finds the place that each of n output pixels from (oy, ox) on reads,
// −1 for a zero, and reports whether any is more than that.
func findPlaces(at []int32, p *conv.Problem, z *zone, oy, ox, n, dy, dx int) (any bool) {
	row := conv.MapPad(p.Mode, oy*p.StrideY+dy, p.H)
	for i := range at {
		at[i] = -1
		if i >= n {
			continue
		}
		col := ox*p.StrideX + dx
		if uint(col) >= uint(p.W) {
			col = conv.MapPad(p.Mode, col, p.W)
		}
		if row >= 0 && col >= 0 {
			at[i] = int32(row*p.W + col)
			any = true
		}
		if ox++; ox == z.x0+z.width {
			oy, ox = oy+1, z.x0
			if i+1 < n {
				row = conv.MapPad(p.Mode, oy*p.StrideY+dy, p.H)
			}
		}
	}
	return any
}

// packBlock packs channels [c0, c1) of a unit's image at the live taps into panels.
func (c *Conv2D) packBlock(u *unit, s *scratch, panel, x []float32, c0, c1 int, live []int32) {
	p, lanes := &c.p, c.ks.lanes
	plane, n := p.H*p.W, c1-c0
	src := x[(u.n*p.C+c0)*plane:][:n*plane]
	rows := n * len(live)
	pack := c.ks.pack
	if p.StrideX == 2 {
		pack = c.ks.packEven
	}
	for i := range u.subs {
		v0, nv := u.sub(i)
		dst := panel[rows*v0*lanes:][:rows*nv*lanes]
		for t := range live {
			for v := range nv {
				to := dst[(t*n*nv+v)*lanes:]
				at := t*u.vectors + v0 + v
				if plan := &s.vectors[at]; plan.indexed {
					packIndexed(to, nv*lanes, src, plane, n, s.index[at*lanes:][:lanes])
				} else {
					pack(to, nv*lanes, src, plane, n, plan)
				}
			}
		}
	}
}
