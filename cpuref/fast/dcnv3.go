package fast

import (
	"context"
	"math"
	"unsafe"

	"vkconv/conv"
)

// DCN is a plan of DCNv3, or with a packed problem of DCNv4: see
// [vkconv/cpuref.DCNv3] for the formulas. It computes in float32 in plain Go:
// the places of a pixel's points are worked out once for all channels of a
// group. Its methods may be called from any number of goroutines.
type DCN struct {
	pool *Pool
	d    conv.DCN
}

// NewDCN makes a plan.
func NewDCN(pool *Pool, d conv.DCN) *DCN { return &DCN{pool, d} }

// Run computes y from x, offset and mask, in the shapes of the problem; a packed
// problem has no mask.
func (p *DCN) Run(ctx context.Context, y, x, offset, mask []float32) error {
	q, err := p.inputs(x, offset, mask)
	if err != nil {
		return err
	}
	defer q.done()
	if err := length("y", y, p.d.Output().Len(), p.d.Output()); err != nil {
		return err
	}
	return q.run(ctx, p.pool, dcnRow, p.d.N*p.d.Groups*p.d.Ho, y, nil, gradArgs{})
}

// Workspace returns the bytes that runs need beyond inputs and outputs, which
// plans of one pool share.
func (p *DCN) Workspace() int64 {
	points := int64(p.d.Points())
	return int64(p.pool.workers) * points * (int64(unsafe.Sizeof(dcnPoint{})) + 4)
}

// Backward computes the gradients dx, doffset and dmask from the one by y, dy.
// A nil gradient is not computed; a packed problem has doffset alone, of the
// packed tensor. The same call gives the same bits with any number of workers.
func (p *DCN) Backward(ctx context.Context, dx, doffset, dmask, x, offset, mask, dy []float32) error {
	d := p.d
	q, err := p.inputs(x, offset, mask)
	if err != nil {
		return err
	}
	defer q.done()
	if err := length("dy", dy, d.Output().Len(), d.Output()); err != nil {
		return err
	}
	for _, g := range []struct {
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
		blocks := ceilDiv(d.C/d.Groups, dxBlock)
		if err := q.run(ctx, p.pool, dcnInput, d.N*d.Groups*blocks, dx, nil, gradArgs{dy: dy}); err != nil {
			return err
		}
	}
	if d.Packed {
		dmask = doffset
		clear(doffset)
	}
	if doffset == nil && dmask == nil {
		return nil
	}
	return q.run(ctx, p.pool, dcnOffset, d.N*d.Groups*d.Ho, nil, nil, gradArgs{dy: dy, g: Grads{Offset: doffset, Mask: dmask}})
}

// dcnInputs is a run: what every part of it reads, and which part is next.
type dcnInputs struct {
	conv.DCN
	x, offset, mask              []float32
	offsetChannels, maskChannels int
	part                         dcnPart
}

type dcnPart int

const (
	dcnRow    dcnPart = iota // a unit is an output row of a group
	dcnInput                 // a block of channels of dx
	dcnOffset                // an output row of a group of doffset and dmask
)

// dcnRuns keeps runs that are done, so that the next ones allocate nothing.
var dcnRuns freeList[*dcnInputs]

func (q *dcnInputs) done() {
	*q = dcnInputs{}
	dcnRuns.put(q)
}

func (q *dcnInputs) run(ctx context.Context, pool *Pool, part dcnPart, units int, y, x []float32, g gradArgs) error {
	q.part = part
	return pool.runGrad(ctx, q, units, g, y, x, nil, nil)
}

func (q *dcnInputs) tile(i int, j *job, s *scratch) {
	points := grow(&s.points, q.DCN.Points())
	switch q.part {
	case dcnRow:
		q.row(j.y, i, points)
	case dcnInput:
		q.input(j, i, points)
	case dcnOffset:
		q.offsetRow(j.g.Offset, j.g.Mask, j.dy, i, points, grow(&s.sums, len(points)))
	}
}

func (p *DCN) inputs(x, offset, mask []float32) (*dcnInputs, error) {
	d := p.d
	if err := length("x", x, d.Input().Len(), d.Input()); err != nil {
		return nil, err
	}
	if err := length("offset", offset, d.Offset().Len(), d.Offset()); err != nil {
		return nil, err
	}
	channels := d.Offset()[1]
	if d.Packed {
		mask = offset
	} else {
		if err := length("mask", mask, d.MaskShape().Len(), d.MaskShape()); err != nil {
			return nil, err
		}
		channels = d.MaskShape()[1]
	}
	q := dcnRuns.get()
	if q == nil {
		q = new(dcnInputs)
	}
	*q = dcnInputs{DCN: d, x: x, offset: offset, mask: mask, offsetChannels: d.Offset()[1], maskChannels: channels}
	return q, nil
}

// dcnPoint is where a point samples: the four neighbours in their plane, row
// above first, −1 outside; the fractions and the mask.
type dcnPoint struct {
	at     [4]int
	w      [4]float32 // shares of the neighbours
	fy, fx float32
	m      float32
	inside bool // all four
	border bool // exactly at −1: the sample is 0 even where the pixel at 0 is infinite
	nan    bool
}

// points places all points of a group at an output pixel.
func (q *dcnInputs) points(to []dcnPoint, n, g, out int) {
	pixels := q.Ho * q.Wo
	for t := range to {
		r, s := q.Point(t)
		by, bx, ky, kx := q.Base(out/q.Wo, out%q.Wo, r, s)
		from := (n*q.offsetChannels+q.OffsetChannel(g, t))*pixels + out
		x, fx := displace(bx, kx, q.offset[from], q.Scale)
		y, fy := displace(by, ky, q.offset[from+pixels], q.Scale)
		p := dcnPoint{at: [4]int{-1, -1, -1, -1}, fy: fy, fx: fx, m: q.mask[(n*q.maskChannels+q.MaskChannel(g, t))*pixels+out]}
		if nan := fx + fy; nan != nan {
			p.fy, p.fx, p.nan = nan, nan, true
		} else {
			for k := range 4 {
				if iy, ix := y+k/2, x+k%2; 0 <= iy && iy < q.H && 0 <= ix && ix < q.W {
					p.at[k] = iy*q.W + ix
				}
			}
			p.border = y == -1 && fy == 0 || x == -1 && fx == 0
			p.inside = uint(y) < uint(q.H-1) && uint(x) < uint(q.W-1)
		}
		hy, hx := 1-p.fy, 1-p.fx
		p.w = [4]float32{hy * hx, hy * p.fx, p.fy * hx, p.fy * p.fx}
		to[t] = p
	}
	if q.Softmax {
		softmax(to)
	}
}

// displace returns the whole part and the fraction of base + (k + delta)·scale;
// the product is the published one, every operation rounded.
func displace(base, k int, delta, scale float32) (int, float32) {
	if scale == 1 {
		return split(base+k, delta)
	}
	return split(base, float32(float32(float32(k)+delta)*scale))
}

// softmax replaces the masks by their softmax.
func softmax(p []dcnPoint) {
	top, sum := p[0].m, float32(0)
	for i := range p {
		top = max(top, p[i].m)
	}
	for i := range p {
		p[i].m = float32(math.Exp(float64(p[i].m - top)))
		sum += p[i].m
	}
	for i := range p {
		p[i].m /= sum
	}
}

// sample is the bilinear sample of a plane whose rows are w apart.
func (p *dcnPoint) sample(plane []float32, w int) float32 {
	if p.inside {
		upper, lower := plane[p.at[0]:][:2], plane[p.at[0]+w:][:2]
		return p.w[0]*upper[0] + p.w[1]*upper[1] + p.w[2]*lower[0] + p.w[3]*lower[1]
	}
	return p.value(p.neighbours(plane))
}

// neighbours returns the four pixels of a point in a plane, 0 outside.
func (p *dcnPoint) neighbours(plane []float32) (v [4]float32) {
	for k, at := range p.at {
		if at >= 0 {
			v[k] = plane[at]
		}
	}
	return v
}

// value is the bilinear sample between four neighbours.
func (p *dcnPoint) value(v [4]float32) float32 {
	if p.border {
		return 0
	}
	return p.w[0]*v[0] + p.w[1]*v[1] + p.w[2]*v[2] + p.w[3]*v[3]
}

// row computes an output row of a group.
func (q *dcnInputs) row(y []float32, i int, points []dcnPoint) {
	n, g, oy := i/q.Ho/q.Groups, i/q.Ho%q.Groups, i%q.Ho
	perGroup := q.C / q.Groups
	for ox := range q.Wo {
		out := oy*q.Wo + ox
		q.points(points, n, g, out)
		for c := g * perGroup; c < (g+1)*perGroup; c++ {
			plane := q.x[(n*q.C+c)*q.H*q.W:][:q.H*q.W]
			sum := float32(0)
			for t := range points {
				sum += points[t].m * points[t].sample(plane, q.W)
			}
			y[(n*q.C+c)*q.Ho*q.Wo+out] = sum
		}
	}
}

// dxBlock is how many channels share the places that dx is scattered to.
const dxBlock = 8

// input computes dx of a block of channels of a group: one worker owns their
// planes and adds to them in the order of the output's pixels.
func (q *dcnInputs) input(j *job, i int, points []dcnPoint) {
	dx, dy := j.y, j.dy
	perGroup, plane, pixels := q.C/q.Groups, q.H*q.W, q.Ho*q.Wo
	blocks := ceilDiv(perGroup, dxBlock)
	block, g, n := i%blocks, i/blocks%q.Groups, i/blocks/q.Groups
	c0, c1 := g*perGroup+block*dxBlock, g*perGroup+min((block+1)*dxBlock, perGroup)
	dx = dx[(n*q.C+c0)*plane:][:(c1-c0)*plane]
	clear(dx)
	for out := range pixels {
		if out%q.Wo == 0 && j.ended() {
			return
		}
		q.points(points, n, g, out)
		for t := range points {
			p := &points[t]
			if p.nan {
				continue
			}
			for c := c0; c < c1; c++ {
				f := p.m * dy[(n*q.C+c)*pixels+out]
				for k, at := range p.at {
					if at >= 0 {
						dx[(c-c0)*plane+at] += f * p.w[k]
					}
				}
			}
		}
	}
}

// offsetRow computes doffset and dmask of a group at an output row.
func (q *dcnInputs) offsetRow(doffset, dmask, dy []float32, i int, points []dcnPoint, dm []float32) {
	n, g, oy := i/q.Ho/q.Groups, i/q.Ho%q.Groups, i%q.Ho
	perGroup, pixels := q.C/q.Groups, q.Ho*q.Wo
	for ox := range q.Wo {
		out := oy*q.Wo + ox
		q.points(points, n, g, out)
		for t := range points {
			p := &points[t]
			var sx, sy, sm float32
			for c := g * perGroup; c < (g+1)*perGroup; c++ {
				v := p.neighbours(q.x[(n*q.C+c)*q.H*q.W:][:q.H*q.W])
				f := dy[(n*q.C+c)*pixels+out]
				sm += f * p.value(v)
				sx += f * ((1-p.fy)*(v[1]-v[0]) + p.fy*(v[3]-v[2]))
				sy += f * ((1-p.fx)*(v[2]-v[0]) + p.fx*(v[3]-v[1]))
			}
			dm[t] = sm
			if doffset != nil {
				to := (n*q.offsetChannels+q.OffsetChannel(g, t))*pixels + out
				doffset[to], doffset[to+pixels] = sx*p.m*q.Scale, sy*p.m*q.Scale
			}
		}
		if dmask == nil {
			continue
		}
		mean := float32(0)
		for t := range points {
			mean += points[t].m * dm[t]
		}
		for t := range points {
			v := dm[t]
			if q.Softmax {
				v = points[t].m * (v - mean)
			}
			dmask[(n*q.maskChannels+q.MaskChannel(g, t))*pixels+out] = v
		}
	}
}
