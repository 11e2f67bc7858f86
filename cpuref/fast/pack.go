package fast

import (
	"math/bits"

	"vkconv/conv"
)

// vectorPlan says where one vector of a panel comes from at one tap: lane i
// takes place at[j]+i of a channel's plane where bit i of bits[j] is set, and 0
// where it is set in neither. With indexed set that is not enough, and each lane has
// an index of its own in scratch.index.
type vectorPlan struct {
	at      [2]int
	bits    [2]uint32
	indexed bool
}

// columns maps every output column and horizontal tap to an input column, −1
// outside: S×Wo.
func columns(p conv.Problem) []int32 {
	m := make([]int32, p.S*p.Wo)
	for s := range p.S {
		for ox := range p.Wo {
			m[s*p.Wo+ox] = int32(conv.MapPad(p.Mode, ox*p.StrideX-p.Pad.Left+s*p.DilationX, p.W))
		}
	}
	return m
}

// setPixels lists the output pixels of a unit.
func (l *layout) setPixels(u *unit, s *scratch) []pixel {
	px := grow(&s.pixels, u.q1-u.q0)
	oy, ox := u.q0/u.z.width, u.q0%u.z.width
	for i := range px {
		px[i] = pixel{int32(oy), int32(u.z.x0 + ox)}
		if ox++; ox == u.z.width {
			oy, ox = oy+1, 0
		}
	}
	return px
}

// planVectors plans all vectors of a unit for taps [t0, t1) and returns the
// taps, relative to t0, that meet more than padding.
func (c *Conv2D) planVectors(u *unit, s *scratch, t0, t1 int) (live []int32) {
	p, lanes := &c.p, c.ks.lanes
	px := s.pixels[:u.q1-u.q0]
	live = grow(&s.segs, t1-t0)[:0]
	vectors := grow(&s.vectors, (t1-t0)*u.vectors)
	index := grow(&s.index, (t1-t0)*u.vectors*lanes)
	for t := t0; t < t1; t++ {
		dy := t/p.S*p.DilationY - p.Pad.Top
		cols := c.cols[t%p.S*p.Wo:][:p.Wo]
		any := false
		lastY, row := int32(-1), -1
		for v := range u.vectors {
			at := index[(len(live)*u.vectors+v)*lanes:][:lanes]
			group := px[v*lanes : min((v+1)*lanes, len(px))]
			for i, q := range group {
				if q.oy != lastY {
					lastY = q.oy
					row = conv.MapPad(p.Mode, int(q.oy)*p.StrideY+dy, p.H)
				}
				at[i] = -1
				if col := cols[q.ox]; row >= 0 && col >= 0 {
					at[i] = int32(row*p.W) + col
					any = true
				}
			}
			for i := len(group); i < lanes; i++ {
				at[i] = -1
			}
			vectors[len(live)*u.vectors+v] = runs(at, c.ks.pack == nil)
		}
		if any {
			live = append(live, int32(t-t0))
		}
	}
	return live
}

// runs finds the at most two stretches of consecutive places that a vector is made of.
func runs(at []int32, indexed bool) (v vectorPlan) {
	if indexed {
		return vectorPlan{indexed: true}
	}
	n := 0
	base := int32(0)
	open := false
	for i, a := range at {
		if a < 0 {
			open = false
			continue
		}
		if !open || a-int32(i) != base {
			if n == 2 {
				return vectorPlan{indexed: true}
			}
			base, open = a-int32(i), true
			v.at[n] = int(base)
			n++
		}
		v.bits[n-1] |= 1 << i
	}
	return v
}

// packBlock packs channels [c0, c1) of image n at the live taps into panels.
func (c *Conv2D) packBlock(u *unit, s *scratch, panel, x []float32, c0, c1 int, live []int32) {
	p, lanes := &c.p, c.ks.lanes
	plane, n := p.H*p.W, c1-c0
	src := x[(u.n*p.C+c0)*plane:][:n*plane]
	rows := n * len(live)
	for i := range u.subs {
		v0, nv := u.sub(i)
		dst := panel[rows*v0*lanes:][:rows*nv*lanes]
		for t := range live {
			for v := range nv {
				to := dst[(t*n*nv+v)*lanes:]
				plan := &s.vectors[t*u.vectors+v0+v]
				if plan.indexed {
					packIndexed(to, nv*lanes, src, plane, n, s.index[(t*u.vectors+v0+v)*lanes:][:lanes])
				} else {
					c.ks.pack(to, nv*lanes, src, plane, n, plan)
				}
			}
		}
	}
}

// ends returns the first lane of a run and the one after its last.
func ends(mask uint32) (lo, hi int) {
	return bits.TrailingZeros32(mask), bits.Len32(mask)
}
