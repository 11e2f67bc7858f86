package fast

// placed is what a row of samples is planned from: pixel i samples at row
// baseY + stepY·ys[i] + dy[i] and column baseX + stepX·xs[i] + dx[i] of an h×w
// plane, times f[i], or 1 where f is nil.
type placed struct {
	ys, xs       []int32
	stepY, stepX int
	baseY, baseX int
	dy, dx, f    []float32
	h, w         int
}

// farPlace is how far vector kernels count: the sum of two places is an int32.
const farPlace = 1 << 30

// begin fills ys and xs with output pixels [q0, q1) of ho×wo, row by row; times the
// strides, so that the steps are 1, unless that is far.
func (p *placed) begin(room *[]int32, q0, q1, ho, wo, strideY, strideX int) {
	p.stepY, p.stepX = strideY, strideX
	if (ho-1) <= farPlace/strideY && (wo-1) <= farPlace/strideX {
		p.stepY, p.stepX = 1, 1
	} else {
		strideY, strideX = 1, 1
	}
	n := q1 - q0
	all := grow(room, 2*n)
	p.ys, p.xs = all[:n], all[n:]
	oy, ox := q0/wo, q0%wo
	for i := range p.ys {
		p.ys[i], p.xs[i] = int32(oy*strideY), int32(ox*strideX)
		if ox++; ox == wo {
			oy, ox = oy+1, 0
		}
	}
}

// at returns where pixel i samples.
func (p *placed) at(i int) (y, x int, ly, lx, f float32) {
	y, ly = split(p.baseY+p.stepY*int(p.ys[i]), p.dy[i])
	x, lx = split(p.baseX+p.stepX*int(p.xs[i]), p.dx[i])
	if f = 1; p.f != nil {
		f = p.f[i]
	}
	return y, x, ly, lx, f
}
