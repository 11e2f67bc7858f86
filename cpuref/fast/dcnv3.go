package fast

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"vkconv/conv"
)

const (
	dcnPixels   = 96 // output pixels of a tile, whole eights
	dcnChannels = 64 // channels of a unit at most
)

// DCN is a plan of DCNv3, or with a packed problem of DCNv4: see
// [vkconv/cpuref.DCNv3] for the formulas. A unit of work is a tile of output pixels
// of a group, for which the points are planned one by one as those of
// [DeformConv2D] are:
//
//	masks of the tile, softmax and all │ p0 p1 p2 …
//	point t: plans of four pixels each │ ▪ ▪ ▪ ▪   serve all channels of the group,
//	sums, channels × pixels            │ += m·(bilinear sample)
//
// Its methods may be called from any number of goroutines.
type DCN struct {
	pool           *Pool
	d              conv.DCN
	ks             *kernels
	tiles          int // of an image and group
	channels       int // of a unit, forward
	chunks         int // units that the channels of a group make
	dx             dcnBands
	perGroup       int
	offsetChannels int // in the offset tensor
	maskChannels   int // in the tensor that holds masks
}

// NewDCN makes a plan of a problem made by [conv.DCNParams.V3] or V4. Errors match
// [conv.ErrParams] or [conv.ErrUnsupported].
func NewDCN(pool *Pool, d conv.DCN) (*DCN, error) {
	ks, err := choose()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, fmt.Errorf("fast: the pool is nil, a plan needs one: %w", conv.ErrParams)
	}
	if d.H > math.MaxInt32/d.W || d.Ho > math.MaxInt32/d.Wo {
		return nil, fmt.Errorf("fast: a plane of %d×%d pixels in or %d×%d out is too large, it may have at most 2^31-1 pixels: %w",
			d.H, d.W, d.Ho, d.Wo, conv.ErrUnsupported)
	}
	p := &DCN{pool: pool, d: d, ks: ks, perGroup: d.C / d.Groups, tiles: ceilDiv(d.Ho*d.Wo, dcnPixels),
		offsetChannels: d.Offset()[1], maskChannels: d.MaskShape()[1]}
	if d.Packed {
		p.maskChannels = p.offsetChannels
	}
	p.chunks = ceilDiv(p.perGroup, dcnChannels)
	p.channels = ceilDiv(p.perGroup, p.chunks)
	p.dx = newDCNBands(p)
	return p, nil
}

// Run computes y from x, offset and mask, in the shapes of the problem; a packed
// problem has no mask.
func (p *DCN) Run(ctx context.Context, y, x, offset, mask []float32) error {
	mask, err := p.inputs(x, offset, mask)
	if err != nil {
		return err
	}
	if err := length("y", y, p.d.Output().Len(), p.d.Output()); err != nil {
		return err
	}
	return p.pool.run(ctx, p, p.d.N*p.d.Groups*p.tiles*p.chunks, y, x, offset, mask)
}

// Describe says how the plan computes.
func (p *DCN) Describe() string {
	return fmt.Sprintf("sampling plans, %s, tiles of %d channels × %d pixels, %d units of work an image",
		p.ks.name, p.channels, dcnPixels, p.d.Groups*p.tiles*p.chunks)
}

// Workspace returns the bytes that runs need beyond inputs and outputs, which
// plans of one pool share.
func (p *DCN) Workspace() int64 {
	points := p.d.Points()
	forward := 4*dcnPixels*(p.channels+points+2+2) + dcnPixels/4*int(unsafe.Sizeof(sample4{}))
	back := 4*(dcnPixels*(p.perGroup+points+4)+p.dx.floats()) + dcnPixels/4*int(unsafe.Sizeof(gradPlan{}))
	return int64(p.pool.workers) * int64(forward+back)
}

// inputs checks what both ways read, and returns the tensor that holds masks.
func (p *DCN) inputs(x, offset, mask []float32) ([]float32, error) {
	d := &p.d
	if err := length("x", x, d.Input().Len(), d.Input()); err != nil {
		return nil, err
	}
	if err := length("offset", offset, d.Offset().Len(), d.Offset()); err != nil {
		return nil, err
	}
	if d.Packed {
		return offset, nil
	}
	return mask, length("mask", mask, d.MaskShape().Len(), d.MaskShape())
}

// tile computes a tile of output pixels of some channels of a group.
func (p *DCN) tile(i int, j *job, s *scratch) {
	d := &p.d
	chunk, u := i%p.chunks, p.unit(i/p.chunks)
	c0 := u.g*p.perGroup + chunk*p.channels
	n := min(p.channels, (u.g+1)*p.perGroup-c0)
	plane, pixels := d.H*d.W, d.Ho*d.Wo
	src := j.x[(u.n*d.C+c0)*plane:][:n*plane]
	y := j.y[(u.n*d.C+c0)*pixels:][:n*pixels]
	sums := growAligned(&s.sums, p.channels*dcnPixels)
	masks := p.masks(&u, j.mask, &s.panel)
	sample, sampleAdd := p.ks.sample, p.ks.sampleAdd
	if d.W < 2 {
		sample, sampleAdd = sampleGo, sampleAddGo // the vector kernels read two neighbours at once
	}
	plans := grow(&s.samples, dcnPixels/4)[:ceilDiv(u.q1-u.q0, 4)]
	empty := true
	from := &s.from
	*from = placed{h: d.H, w: d.W}
	from.begin(&s.index, u.q0, u.q1, d.Ho, d.Wo, d.StrideY, d.StrideX)
	for t := range d.Points() {
		p.place(from, &u, j.offset, masks, t, 0)
		any := p.ks.sampleRow(plans, from, conv.BorderFade)
		if !spreadNaN(plans, from) && !any {
			continue
		}
		if empty {
			sample(sums, dcnPixels, src, plane, n, plans)
		} else {
			sampleAdd(sums, dcnPixels, src, plane, n, plans)
		}
		empty = false
	}
	*from = placed{}
	if empty {
		clear(sums)
	}
	p.ks.copyRows(y[u.q0:], pixels, sums, dcnPixels, n, u.q1-u.q0)
}

// spreadNaN makes samples NaN where either offset is, at the border too. It reports
// whether any is.
func spreadNaN(plans []sample4, from *placed) (any bool) {
	dx := from.dx[:len(from.dy)]
	for i, y := range from.dy {
		if x := dx[i]; x != x || y != y {
			g := &plans[i/4]
			g.clear(i % 4)
			g.w[0][i%4][0], g.m[0][i%4][0] = x+y, on
			any = true
		}
	}
	return any
}

// dcnUnit is output pixels [q0, q1) of a group of an image.
type dcnUnit struct{ n, g, q0, q1 int }

func (p *DCN) unit(i int) (u dcnUnit) {
	u.q0 = i % p.tiles * dcnPixels
	u.q1 = min(u.q0+dcnPixels, p.d.Ho*p.d.Wo)
	i /= p.tiles
	u.g, u.n = i%p.d.Groups, i/p.d.Groups
	return u
}

// row returns a unit's pixels of a channel of a tensor that has so many.
func (u *dcnUnit) row(tensor []float32, channels, channel, pixels int) []float32 {
	return tensor[(u.n*channels+channel)*pixels:][u.q0:u.q1]
}

// masks returns the masks of a unit's points, dcnPixels apart, and room for two rows.
func (p *DCN) masks(u *dcnUnit, mask []float32, room *[]float32) []float32 {
	d := &p.d
	points, n := d.Points(), u.q1-u.q0
	m := growAligned(room, (points+2)*dcnPixels)
	for t := range points {
		copy(m[t*dcnPixels:], u.row(mask, p.maskChannels, d.MaskChannel(u.g, t), d.Ho*d.Wo))
	}
	if d.Softmax {
		softmax(m[:points*dcnPixels], n, m[points*dcnPixels:][:n], m[(points+1)*dcnPixels:][:n])
	}
	return m
}

// softmax replaces n columns of values, dcnPixels apart, by their softmax.
func softmax(m []float32, n int, top, sum []float32) {
	copy(top, m[:n])
	for t := dcnPixels; t < len(m); t += dcnPixels {
		for i, v := range m[t:][:n] {
			top[i] = max(top[i], v)
		}
	}
	clear(sum)
	for t := 0; t < len(m); t += dcnPixels {
		row := m[t:][:n]
		for i, v := range row {
			e := float32(exp(float64(v - top[i])))
			row[i] = e
			sum[i] += e
		}
	}
	for t := 0; t < len(m); t += dcnPixels {
		row := m[t:][:n]
		for i := range row {
			row[i] /= sum[i]
		}
	}
}

// place tells where point t of a unit's pixels samples, with the masks of all; rows
// before firstRow are not counted.
func (p *DCN) place(from *placed, u *dcnUnit, offset, masks []float32, t, firstRow int) {
	d := &p.d
	pixels := d.Ho * d.Wo
	channel := d.OffsetChannel(u.g, t)
	from.dx, from.dy = u.row(offset, p.offsetChannels, channel, pixels), u.row(offset, p.offsetChannels, channel+1, pixels)
	from.f = masks[t*dcnPixels:][:len(from.dx)]
	r, s := d.Point(t)
	y, x, ky, kx := d.Base(0, 0, r, s)
	if d.Scale == 1 {
		y, x = y+ky, x+kx
	} else { // the published product, every operation rounded
		room := masks[d.Points()*dcnPixels:]
		from.dy = scaled(room, from.dy, ky, d.Scale)
		from.dx = scaled(room[dcnPixels:], from.dx, kx, d.Scale)
	}
	from.baseY, from.baseX = y-firstRow, x
}

// scaled computes (k + delta)·scale.
func scaled(room, delta []float32, k int, scale float32) []float32 {
	room = room[:len(delta)]
	for i, v := range delta {
		room[i] = float32(float32(float32(k)+v) * scale)
	}
	return room
}
