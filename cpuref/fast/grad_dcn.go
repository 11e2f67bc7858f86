package fast

import (
	"context"

	"vkconv/conv"
)

// Backward computes the gradients dx, doffset and dmask from the one by y, dy.
// A nil gradient is not computed; a packed problem has doffset alone, of the
// packed tensor. The same call gives the same bits with any number of workers.
func (p *DCN) Backward(ctx context.Context, dx, doffset, dmask, x, offset, mask, dy []float32) error {
	d := &p.d
	mask, err := p.inputs(x, offset, mask)
	if err != nil {
		return err
	}
	if err := length("dy", dy, d.Output().Len(), d.Output()); err != nil {
		return err
	}
	for _, g := range [...]struct {
		name  string
		data  []float32
		shape conv.Shape
	}{{"dx", dx, d.Input()}, {"doffset", doffset, d.Offset()}, {"dmask", dmask, d.MaskShape()}} {
		if g.data != nil {
			if err := length(g.name, g.data, g.shape.Len(), g.shape); err != nil {
				return err
			}
		}
	}
	if dx != nil {
		if err := p.pool.runGrad(ctx, &p.dx, p.dx.units, gradArgs{dy: dy}, dx, nil, offset, mask); err != nil {
			return err
		}
	}
	if d.Packed {
		dmask = doffset
		clear(doffset) // channels that fill it up
	}
	if doffset == nil && dmask == nil {
		return nil
	}
	g := gradArgs{dy: dy, g: Grads{Offset: doffset, Mask: dmask}}
	return p.pool.runGrad(ctx, (*dcnOffsets)(p), d.N*d.Groups*p.tiles, g, nil, x, offset, mask)
}

// dropNaN lets no pixel count where an offset is NaN, and makes both fractions NaN,
// so that gradients by place and mask are, and that by the input is not.
func dropNaN(plans []gradPlan) {
	for q := range plans {
		g := &plans[q]
		for i := range 4 {
			if nan := g.fy[i] + g.fx[i]; nan != nan {
				g.clear(i)
				g.fy[i], g.fx[i], g.shift[i] = nan, nan, inPlace
			}
		}
	}
}

// dcnBands computes dx. As in [sampleGrad], a unit owns what it adds to, some
// channels of a band of rows, in which the channels of a pixel lie together; it
// walks all tiles of output pixels of its group, in order.
type dcnBands struct {
	*DCN
	channels, blocks int // of a unit, units that a group's channels make
	pitch            int // channels in memory
	band, bands      int // rows of a unit, units of them
	units            int
}

func newDCNBands(p *DCN) (b dcnBands) {
	d := &p.d
	most := dcnChannels
	for most > 16 && d.N*d.Groups*ceilDiv(p.perGroup, most) < 2*p.pool.workers {
		most /= 2
	}
	b.DCN = p
	b.blocks = ceilDiv(p.perGroup, most)
	b.channels = min(most, p.perGroup)
	whole := max(p.ks.lanes, 8)
	b.pitch = ceilDiv(b.channels, whole) * whole
	b.band = min(d.H, max(1, sampleFloats/(d.W*b.pitch)))
	b.bands = ceilDiv(d.H, b.band)
	b.band = ceilDiv(d.H, b.bands)
	b.bands = ceilDiv(d.H, b.band)
	b.units = d.N * d.Groups * b.blocks * b.bands
	return b
}

// floats is what a unit has of its own in memory: sums, dy and dy transposed.
func (b *dcnBands) floats() int { return b.pitch * (b.band*b.d.W + 2*dcnPixels) }

func (b *dcnBands) tile(i int, j *job, s *scratch) {
	d := &b.d
	band, block := i%b.bands, i/b.bands%b.blocks
	i /= b.bands * b.blocks
	g, n := i%d.Groups, i/d.Groups
	c0 := g*b.perGroup + block*b.channels
	channels := min(b.channels, (g+1)*b.perGroup-c0)
	y0, y1 := band*b.band, min((band+1)*b.band, d.H)
	plane, pixels := d.H*d.W, d.Ho*d.Wo
	dst := growAligned(&s.grad.acc, b.pitch*b.band*d.W)[:(y1-y0)*d.W*b.pitch]
	clear(dst)
	outs := growAligned(&s.grad.cols, b.pitch*dcnPixels)
	turned := growAligned(&s.grad.rows, b.pitch*dcnPixels)
	from := &s.from
	*from = placed{h: y1 - y0, w: d.W}
	for tile := range b.tiles {
		if j.ended() {
			return
		}
		u := b.unit((n*d.Groups+g)*b.tiles + tile)
		masks := b.masks(&u, j.mask, &s.panel)
		plans := grow(&s.grad.plans, dcnPixels/4)[:ceilDiv(u.q1-u.q0, 4)]
		from.begin(&s.index, u.q0, u.q1, d.Ho, d.Wo, d.StrideY, d.StrideX)
		ready := false
		for t := range d.Points() {
			b.place(from, &u, j.offset, masks, t, y0)
			if !b.ks.gradRow(plans, from, d.H, y0, y1, conv.BorderFade) {
				continue
			}
			dropNaN(plans)
			if !ready { // the same dy for all points
				b.ks.copyRows(outs, dcnPixels, j.dy[(n*d.C+c0)*pixels+u.q0:], pixels, channels, u.q1-u.q0)
				b.ks.turn(turned, b.pitch, outs, dcnPixels, channels, dcnPixels, &s.grad.at)
				ready = true
			}
			b.ks.scatter(dst, plans, turned, b.pitch)
		}
	}
	*from = placed{}
	b.ks.turnBack(j.y[(n*d.C+c0)*plane+y0*d.W:], plane, dst, b.pitch, channels, (y1-y0)*d.W, &s.grad.at)
}

// dcnOffsets computes doffset and dmask. Both are made of sums over the group's
// channels, one for each neighbour of a sample, as in [offsetGrad]; what is the
// gradient by the samples there is dy itself here. A unit is a tile of pixels of
// a group.
type dcnOffsets DCN

func (o *dcnOffsets) tile(i int, j *job, s *scratch) {
	p := (*DCN)(o)
	d := &p.d
	u := p.unit(i)
	n, points := u.q1-u.q0, d.Points()
	plane, pixels := d.H*d.W, d.Ho*d.Wo
	c0 := u.n*d.C + u.g*p.perGroup
	outs := growAligned(&s.grad.outs, p.perGroup*dcnPixels)
	p.ks.copyRows(outs, dcnPixels, j.dy[c0*pixels+u.q0:], pixels, p.perGroup, n)
	src := j.x[c0*plane:][:p.perGroup*plane]
	masks := p.masks(&u, j.mask, &s.panel)
	plans := grow(&s.grad.plans, dcnPixels/4)[:ceilDiv(n, 4)]
	all := growAligned(&s.grad.dots, (points+4)*dcnPixels)
	sums, dms := all[:16*len(plans)], all[4*dcnPixels:]
	dots := p.ks.dots
	if d.W < 2 {
		dots = dotsGo // the vector kernels read two neighbours at once
	}
	from := &s.from
	*from = placed{h: d.H, w: d.W}
	from.begin(&s.index, u.q0, u.q1, d.Ho, d.Wo, d.StrideY, d.StrideX)
	for t := range points {
		clear(sums)
		p.place(from, &u, j.offset, masks, t, 0)
		any := p.ks.gradRow(plans, from, d.H, 0, d.H, conv.BorderFade)
		dropNaN(plans)
		if any {
			dots(sums, plans, outs, dcnPixels, src, plane, p.perGroup)
		}
		var dx, dy []float32
		if j.g.Offset != nil {
			channel := d.OffsetChannel(u.g, t)
			dx, dy = u.row(j.g.Offset, p.offsetChannels, channel, pixels), u.row(j.g.Offset, p.offsetChannels, channel+1, pixels)
		}
		dm := dms[t*dcnPixels:][:n]
		for i := range dm {
			g := &plans[i/4]
			s00, s01, s10, s11 := g.corners(i%4, (*[16]float32)(sums[i/4*16:]))
			ly, lx, f := g.fy[i%4], g.fx[i%4], g.f[i%4]
			hy, hx := 1-ly, 1-lx
			if dx != nil {
				dx[i] = f * d.Scale * (hy*(s01-s00) + ly*(s11-s10))
				dy[i] = f * d.Scale * (hx*(s10-s00) + lx*(s11-s01))
			}
			if dm[i] = 0; g.shift[i%4]&atMinusOne == 0 {
				dm[i] = hy*hx*s00 + hy*lx*s01 + ly*hx*s10 + ly*lx*s11
			}
		}
	}
	*from = placed{}
	if j.g.Mask == nil {
		return
	}
	if d.Softmax { // dmask_t = m_t·(dm_t − Σ m·dm)
		mean := sums[:n]
		clear(mean)
		for t := range points {
			m, dm := masks[t*dcnPixels:][:n], dms[t*dcnPixels:][:n]
			for i := range mean {
				mean[i] += m[i] * dm[i]
			}
		}
		for t := range points {
			m, dm := masks[t*dcnPixels:][:n], dms[t*dcnPixels:][:n]
			for i := range dm {
				dm[i] = m[i] * (dm[i] - mean[i])
			}
		}
	}
	for t := range points {
		copy(u.row(j.g.Mask, p.maskChannels, d.MaskChannel(u.g, t), pixels), dms[t*dcnPixels:][:n])
	}
}
