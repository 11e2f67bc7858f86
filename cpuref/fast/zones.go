package fast

import (
	"slices"

	"vkconv/conv"
)

// whole is the output as one zone.
func whole(p conv.Problem, _ int) []zone {
	return []zone{{width: p.Wo, height: p.Ho}}
}

// zonesOf cuts the output where the set of taps that meet only zero padding
// changes, if leaving them out saves more than it costs to tile the parts by
// themselves. With a large dilation it saves most of the work:
//
//	d = pad = 12 on 33×33: in the corners 4 of 9 taps
//	meet the image, at the edges 6, in the middle 9
//	      12   9   12
//	    ┌────┬───┬────┐
//	 12 │ 4  │ 6 │ 4  │
//	    ├────┼───┼────┤
//	  9 │ 6  │ 9 │ 6  │
//	    ├────┼───┼────┤
//	 12 │ 4  │ 6 │ 4  │
//	    └────┴───┴────┘
func zonesOf(p conv.Problem, lanes int) []zone {
	const most = 16 // kernel rows and columns worth the search
	if p.Mode != conv.Zeros || p.R > most || p.S > most {
		return whole(p, lanes)
	}
	rows := cuts(p.Ho, p.H, p.R, p.StrideY, p.DilationY, p.Pad.Top)
	columns := cuts(p.Wo, p.W, p.S, p.StrideX, p.DilationX, p.Pad.Left)
	best, least := whole(p, lanes), 0.0
	for i, c := range [][2][]int{
		{{0, p.Ho}, {0, p.Wo}}, {rows, {0, p.Wo}}, {{0, p.Ho}, columns}, {rows, columns},
	} {
		zones, cost := grid(p, c[0], c[1], lanes)
		if len(c[1]) > 2 {
			cost *= 1.04 // outputs do not lie together and are collected elsewhere
		}
		if i == 0 || cost < 0.97*least {
			best, least = zones, cost
		}
	}
	return best
}

// cuts returns the places along one axis, from 0 to out, between which the same
// taps meet the image. Places too near to the one before are left out.
func cuts(out, in, kernel, stride, dilation, pad int) []int {
	const narrow = 4
	var all []int
	for r := range kernel {
		lo, hi := span(out, in, stride, r*dilation-pad)
		all = append(all, lo, hi)
	}
	slices.Sort(all)
	at := []int{0}
	for _, c := range all {
		if c-at[len(at)-1] >= narrow && out-c >= narrow {
			at = append(at, c)
		}
	}
	return append(at, out)
}

// span returns the outputs [lo, hi) along one axis whose place i·stride+shift
// lies in an image of in pixels.
func span(out, in, stride, shift int) (lo, hi int) {
	if shift < 0 {
		lo = min(ceilDiv(-shift, stride), out)
	}
	if in > shift {
		hi = min(ceilDiv(in-shift, stride), out)
	}
	return lo, max(lo, hi)
}

// grid makes zones of all rows × columns and counts vectors × taps that they take.
func grid(p conv.Problem, rows, columns []int, lanes int) (zones []zone, cost float64) {
	live := func(out, in, kernel, stride, dilation, pad, a, b int) (n int) {
		for r := range kernel {
			if lo, hi := span(out, in, stride, r*dilation-pad); lo < b && hi > a {
				n++
			}
		}
		return n
	}
	for i, y := range rows[:len(rows)-1] {
		r := live(p.Ho, p.H, p.R, p.StrideY, p.DilationY, p.Pad.Top, y, rows[i+1])
		for j, x := range columns[:len(columns)-1] {
			s := live(p.Wo, p.W, p.S, p.StrideX, p.DilationX, p.Pad.Left, x, columns[j+1])
			z := zone{x0: x, y0: y, width: columns[j+1] - x, height: rows[i+1] - y}
			zones = append(zones, z)
			cost += float64(ceilDiv(z.pixels(), lanes)*r*s) + 1
		}
	}
	return zones, cost
}
