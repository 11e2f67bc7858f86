package exact

import (
	"math"

	"vkconv/conv"
)

// RoIPool computes deformable RoI pooling, plain or position-sensitive, and its
// gradients. Where samples lie is worked out in float64, every operation rounded
// in the published order, as whatever computes in float64 must: whether a sample
// counts depends on it. Bounds take [conv.RoIPoolRoundings].
func RoIPool(q conv.RoIPool, x, rois, offset, mask, dy []float64) ([]conv.Sum, Gradients) {
	y, dx := make([]tally, len(dy)), make([]tally, len(x))
	var doff, dm []tally
	if q.Offset {
		doff = make([]tally, len(offset))
	}
	if q.Mask {
		dm = make([]tally, len(mask))
	}
	for i := range dy {
		r, k, by, bx := i/q.Wo/q.Ho/q.K, i/q.Wo/q.Ho%q.K, i/q.Wo%q.Ho, i%q.Wo
		roi := rois[5*r:][:5]
		class, py, px := q.Part(k, by, bx)
		part := q.PartY * q.PartX
		mAt, oAt := (r*q.Classes+class)*part+py*q.PartX+px, (r*q.Classes+class)*2*part+py*q.PartX+px
		moveX, moveY, m := 0.0, 0.0, 1.0
		if q.Offset {
			moveX, moveY = offset[oAt], offset[oAt+part]
		}
		if q.Mask {
			m = mask[mAt]
		}
		columns, width := positions(q, roi[1], roi[3], q.W, q.Wo, bx, moveX)
		rows, height := positions(q, roi[2], roi[4], q.H, q.Ho, by, moveY)
		finite := width-width == 0 && height-height == 0 && roi[0] > -1 && roi[0] < float64(q.N)
		for _, v := range roi {
			finite = finite && v-v == 0
		}
		if !finite {
			y[i] = tally{v: num{math.NaN(), 0}, terms: 1}
			continue
		}
		// The grid's samples that count are those of rows and columns that do.
		inY, inX := inside(q, rows, q.H), inside(q, columns, q.W)
		count := len(inY) * len(inX)
		if !q.PositionSensitive {
			count = max(len(rows)*len(columns), 1)
		}
		if count == 0 {
			continue
		}
		plane := (int(roi[0])*q.C + q.Channel(k, by, bx)) * q.H * q.W
		part1 := quotient(dy[i], float64(count)).by(m)
		share := quotient(m, float64(count))
		toX, toY := part1.by(float64(q.Gamma)).by(width), part1.by(float64(q.Gamma)).by(height)
		for _, v := range inY {
			for _, h := range inX {
				y[i].terms++
				if q.Offset {
					doff[oAt].terms++
					doff[oAt+part].terms++
				}
				if q.Mask {
					dm[mAt].terms++
				}
				nan := math.IsNaN(v) || math.IsNaN(h)
				if nan {
					y[i].v = num{math.NaN(), 0}
					if q.Offset {
						doff[oAt].v, doff[oAt+part].v = y[i].v, y[i].v
					}
					if q.Mask {
						dm[mAt].v = y[i].v
					}
					continue
				}
				y0, fy, sy := edge(q, v, q.H)
				x0, fx, sx := edge(q, h, q.W)
				corners(y0, x0, fy, fx, q.H, q.W, conv.BorderCut, func(c corner) {
					p, w := x[plane+c.at], c.wy.times(c.wx)
					y[i].add(share.times(w).by(p), 0, false)
					dx[plane+c.at].add(part1.times(w), 0, true)
					if q.Offset {
						doff[oAt].add(toX.times(c.wy).by(p).by(c.sx*sx), 0, false)
						doff[oAt+part].add(toY.times(c.wx).by(p).by(c.sy*sy), 0, false)
					}
					if q.Mask {
						dm[mAt].add(quotient(dy[i], float64(count)).times(w).by(p), 0, false)
					}
				})
			}
		}
	}
	return sums(y), Gradients{X: sums(dx), Offset: sums(doff), Mask: sums(dm)}
}

// positions returns where a bin samples along an axis, and the region's extent.
func positions(q conv.RoIPool, lo, hi float64, extent, bins, i int, move float64) (at []float64, size float64) {
	scale, gamma := float64(q.SpatialScale), float64(q.Gamma)
	if q.PositionSensitive {
		start := float64(math.Round(lo)*scale) - 0.5
		size = max(float64(float64((math.Round(hi)+1)*scale)-0.5)-start, 0.1)
		own := size / float64(bins)
		step := own / float64(q.Samples)
		first := float64(float64(i)*own) + start
		if q.Offset {
			first += float64(float64(move*gamma) * size)
		}
		for k := range q.Samples {
			at = append(at, first+float64(float64(k)*step))
		}
		return at, size
	}
	start := float64(lo*scale) - 0.5
	size = float64(float64(hi*scale)-0.5) - start
	own := size / float64(bins)
	n := q.Samples
	if n == 0 && own-own == 0 {
		n = int(min(max(math.Ceil(own), 0), float64(q.MaxSamples())))
	}
	if q.Offset {
		start += float64(float64(gamma*size) * move)
	}
	start += float64(float64(i) * own)
	for k := range n {
		at = append(at, start+float64(float64((float64(k)+0.5)*own)/float64(n)))
	}
	return at, size
}

// inside keeps the positions that count; NaN does.
func inside(q conv.RoIPool, at []float64, extent int) (in []float64) {
	lo, hi := -1.0, float64(extent)
	if q.PositionSensitive {
		lo, hi = -0.5, float64(extent)-0.5
	}
	for _, v := range at {
		if !(v < lo || v > hi) {
			in = append(in, v)
		}
	}
	return in
}

// edge is the pixel below a position and the fraction to the next, that of the
// edge beyond the outermost pixels, where the position has no slope; nor has it,
// position-sensitive, on whole pixels.
func edge(q conv.RoIPool, v float64, extent int) (int, num, float64) {
	near := min(max(v, 0), float64(extent-1))
	whole := math.Floor(near)
	slope := 0.0
	if v >= 0 && v < float64(extent-1) && (near > whole || !q.PositionSensitive) {
		slope = 1
	}
	return int(whole), num{near - whole, 0}, slope // Sterbenz: exact
}
