package fast

import "vkconv/conv"

// gradPlan is a sampling plan for the way back: sample4's addresses, weights
// (with the mask) and which pixels count, and apart from them what the
// derivatives by the position and the mask need.
type gradPlan struct {
	sample4
	fy, fx, f [4]float32 // fractions and mask
	shift     [4]int32   // what became of the pair, inPlace and so on
}

// planTap plans pixels [q0, q1) of image n at a tap of an offset group, for the
// rows [y0, y1) of the input alone, and reports whether any pixel meets them.
func (d *columnGrad) planTap(s *scratch, offset, mask []float32, n, og, t, q0, q1, y0, y1 int) (plans []gradPlan, any bool) {
	p := &d.p
	plane := p.Ho * p.Wo
	plans = grow(&s.grad.plans, d.pixels/4)[:ceilDiv(q1-q0, 4)]
	channel := (n*p.OffsetGroups+og)*p.Taps() + t
	from := &s.from
	*from = placed{h: y1 - y0, w: p.W}
	from.begin(&s.index, q0, q1, p.Ho, p.Wo, p.StrideY, p.StrideX)
	from.dy = offset[2*channel*plane:][q0:q1]
	from.dx = offset[(2*channel+1)*plane:][q0:q1]
	if p.Mask {
		from.f = mask[channel*plane:][q0:q1]
	}
	from.baseY = t/p.S*p.DilationY - p.Pad.Top - y0
	from.baseX = t%p.S*p.DilationX - p.Pad.Left
	any = d.ks.gradRow(plans, from, p.H, y0, y1, p.Border)
	*from = placed{}
	return plans, any
}

// gradRow plans a row of samples for rows [y0, y1) of an image of h, from which
// from.baseY counts. It reports whether any pixel meets them.
func (ks *kernels) gradRow(plans []gradPlan, from *placed, h, y0, y1 int, border conv.Border) (any bool) {
	for q := 0; q < len(plans); q++ {
		if ks.planGrads != nil {
			if n := ks.planGrads(plans, from, q); n > 0 {
				any = true
				if q += n; q == len(plans) {
					break
				}
			}
		}
		for i := range 4 {
			g := &plans[q]
			if 4*q+i >= len(from.dy) {
				g.set(i, from.w, h, 0, 0, 0, 0, 0, 0, 0, border)
				continue
			}
			if y, x, ly, lx, f := from.at(4*q + i); g.set(i, from.w, h, y0, y1, y+y0, x, ly, lx, f, border) {
				any = true
			}
		}
	}
	return any
}

// set plans lane i: a sample of an image of h rows at (y+ly, x+lx) with mask f, of
// its rows [y0, y1) alone, which are counted from y0, of w columns.
func (g *gradPlan) set(i, w, h, y0, y1, y, x int, ly, lx, f float32, border conv.Border) bool {
	g.fy[i], g.fx[i], g.f[i], g.shift[i] = ly, lx, f, inPlace
	hy, hx := 1-ly, 1-lx
	if y >= y0 && y+1 < y1 && uint(x) < uint(w-1) { // all four inside, as most are
		at := int32((y-y0)*w + x)
		g.at[0][i], g.at[1][i] = at, at+int32(w)
		g.w[0][i] = [2]float32{hy * hx * f, hy * lx * f}
		g.w[1][i] = [2]float32{ly * hx * f, ly * lx * f}
		g.m[0][i], g.m[1][i] = [2]uint32{on, on}, [2]uint32{on, on}
		return true
	}
	g.clear(i)
	rows := [2]int{y, y + 1}
	if border == conv.BorderCut {
		if uint(y) >= uint(h) || uint(x) >= uint(w) {
			return false
		}
		rows[1] = min(y+1, h-1)
	}
	if x < -1 || x >= w {
		return false
	}
	pair, left, right := x, hx, lx
	counts := [2]uint32{on, on}
	switch { // as in sample4.set and setCut
	case x < 0:
		pair, left, right, counts, g.shift[i] = 0, lx, 0, [2]uint32{on, 0}, movedRight
	case x == w-1 && border == conv.BorderCut:
		if pair, left, right, counts, g.shift[i] = w-2, 0, hx+lx, [2]uint32{0, on}, bothRight; w == 1 {
			pair, left, right, counts, g.shift[i] = 0, right, 0, [2]uint32{on, 0}, bothLeft
		}
	case x == w-1 && w > 1:
		pair, left, right, counts, g.shift[i] = w-2, 0, hx, [2]uint32{0, on}, movedLeft
	case x == w-1:
		right, counts = 0, [2]uint32{on, 0}
	}
	if border == conv.BorderFade && (y == -1 && ly == 0 || x == -1 && lx == 0) {
		g.shift[i] |= atMinusOne
	}
	any := false
	for k, wy := range [2]float32{hy, ly} {
		if y := rows[k]; y >= y0 && y < y1 {
			g.at[k][i] = int32((y-y0)*w + pair)
			g.w[k][i], g.m[k][i] = [2]float32{wy * left * f, wy * right * f}, counts
			any = true
		}
	}
	return any
}

// What became of a pair of columns to lie inside the image, and which of its
// pixels are the left and the right neighbour of the position.
const (
	inPlace    = iota
	movedRight // its left pixel is the right neighbour, the left one is outside
	movedLeft  // the reverse
	bothLeft   // its left pixel is both neighbours
	bothRight  // its right one is

	atMinusOne = 1 << 8 // and: the position is at −1 exactly, where the sample is 0 whatever the pixel at 0
)

// dotsGo is kernels.dots.
func dotsGo(sums []float32, plans []gradPlan, col []float32, colStride int, src []float32, srcStride, n int) {
	for v := range plans {
		g := &plans[v]
		t := (*[16]float32)(sums[16*v:])
		for i := range 4 {
			for k := range 2 {
				at := int(g.at[k][i])
				for e := range 2 {
					if g.m[k][i][e] == 0 {
						continue
					}
					sum := t[8*k+2*i+e]
					for c := range n {
						sum += col[c*colStride+4*v+i] * src[c*srcStride+at+e]
					}
					t[8*k+2*i+e] = sum
				}
			}
		}
	}
}

// corners returns the sums over a lane's four neighbours, upper left, upper
// right, lower left, lower right, 0 for those outside.
func (g *gradPlan) corners(i int, t *[16]float32) (s00, s01, s10, s11 float32) {
	s00, s01, s10, s11 = t[2*i], t[2*i+1], t[8+2*i], t[8+2*i+1]
	switch g.shift[i] &^ atMinusOne {
	case movedRight:
		return 0, s00, 0, s10
	case movedLeft:
		return s01, 0, s11, 0
	case bothLeft:
		return s00, s00, s10, s10
	case bothRight:
		return s01, s01, s11, s11
	}
	return s00, s01, s10, s11
}

// scatterGo is kernels.scatter.
func scatterGo(dst []float32, plans []gradPlan, col []float32, pitch int) {
	for q := range 4 * len(plans) {
		g, i := &plans[q/4], q%4
		from := col[q*pitch:][:pitch]
		for k := range 2 {
			for e := range 2 {
				if g.m[k][i][e] == 0 {
					continue
				}
				w := g.w[k][i][e]
				to := dst[(int(g.at[k][i])+e)*pitch:][:pitch]
				for c, v := range from {
					to[c] += w * v
				}
			}
		}
	}
}
