package exact

import "vkconv/conv"

// Resize computes a bilinear resize, and dx from dy. Bounds take
// [conv.ResizeRoundings].
func Resize(r conv.Resize, x, dy []float64) (y, dx []conv.Sum) {
	to, by := make([]tally, len(dy)), make([]tally, len(x))
	for i := range dy {
		plane := i / (r.Ho * r.Wo) * r.H * r.W
		y0, fy := between(i/r.Wo%r.Ho, r.H, r.Ho, r.AlignCorners)
		x0, fx := between(i%r.Wo, r.W, r.Wo, r.AlignCorners)
		corners(y0, x0, fy, fx, r.H, r.W, conv.BorderCut, func(c corner) {
			share, near := c.wy.times(c.wx), c.wy.hi+c.wx.hi
			to[i].add(share.by(x[plane+c.at]), x[plane+c.at]*near, true)
			by[plane+c.at].add(share.by(dy[i]), dy[i]*near, true)
		})
	}
	return sums(to), sums(by)
}

// between is where output i of an axis of n pixels made m samples, see [conv.Resize].
func between(i, n, m int, aligned bool) (int, num) {
	position, unit := i*(n-1), max(m-1, 1)
	if !aligned {
		position, unit = max((2*i+1)*n-m, 0), 2*m
	}
	return position / unit, quotient(float64(position%unit), float64(unit))
}

// GlobalPool computes the mean of every channel, and dx from dy. Bounds take
// [conv.PoolRoundings].
func GlobalPool(p conv.GlobalPool, x, dy []float64) (y, dx []conv.Sum) {
	plane := p.H * p.W
	to, by := make([]tally, p.N*p.C), make([]tally, len(x))
	share := quotient(1, float64(plane))
	for i, v := range x {
		to[i/plane].add(share.by(v), 0, true)
		by[i].add(share.by(dy[i/plane]), 0, true)
	}
	return sums(to), sums(by)
}
