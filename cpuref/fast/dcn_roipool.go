package fast

import (
	"context"
	"math"

	"vkconv/conv"
)

// RoIPool is a plan of deformable RoI pooling, plain or position-sensitive: see
// [vkconv/cpuref.RoIPool] for the formulas. It computes in float32 in plain Go.
// Its methods may be called from any number of goroutines.
type RoIPool struct {
	pool *Pool
	q    conv.RoIPool
}

// NewRoIPool makes a plan.
func NewRoIPool(pool *Pool, q conv.RoIPool) *RoIPool { return &RoIPool{pool, q} }

// Run computes y from x, rois, offset and mask, in the shapes of the problem;
// offset and mask are only looked at where it has them.
func (p *RoIPool) Run(ctx context.Context, y, x, rois, offset, mask []float32) error {
	q, err := p.inputs(x, rois, offset, mask)
	if err != nil {
		return err
	}
	defer q.done()
	if err := length("y", y, q.Output().Len(), q.Output()); err != nil {
		return err
	}
	return q.run(ctx, p.pool, roiBins, q.RoIs*q.K, y, gradArgs{})
}

// Workspace returns the bytes that runs need beyond inputs and outputs: none.
func (p *RoIPool) Workspace() int64 { return 0 }

// Backward computes the gradients dx, doffset and dmask from the one by y, dy.
// A nil gradient is not computed. The same call gives the same bits with any
// number of workers.
func (p *RoIPool) Backward(ctx context.Context, dx, doffset, dmask, x, rois, offset, mask, dy []float32) error {
	q, err := p.inputs(x, rois, offset, mask)
	if err != nil {
		return err
	}
	defer q.done()
	if err := length("dy", dy, q.Output().Len(), q.Output()); err != nil {
		return err
	}
	for _, g := range []struct {
		name  string
		data  []float32
		shape conv.Shape
	}{{"dx", dx, q.Input()}, {"doffset", doffset, q.OffsetShape()}, {"dmask", dmask, q.MaskShape()}} {
		if g.data != nil {
			if err := length(g.name, g.data, g.shape.Len(), g.shape); err != nil {
				return err
			}
		}
	}
	if dx != nil {
		if err := q.run(ctx, p.pool, roiInput, q.N*q.C, dx, gradArgs{dy: dy}); err != nil {
			return err
		}
	}
	clear(doffset)
	clear(dmask)
	if doffset == nil && dmask == nil {
		return nil
	}
	return q.run(ctx, p.pool, roiParts, q.RoIs*q.Classes, nil, gradArgs{dy: dy, g: Grads{Offset: doffset, Mask: dmask}})
}

// roiInputs is a run: what every part of it reads, and which part is next.
type roiInputs struct {
	conv.RoIPool
	x, rois, offset, mask []float32
	part                  roiPart
}

type roiPart int

const (
	roiBins  roiPart = iota // a unit is a region's output channel
	roiInput                // an image's channel of dx
	roiParts                // a region's class of doffset and dmask
)

// roiRuns keeps runs that are done, so that the next ones allocate nothing.
var roiRuns freeList[*roiInputs]

func (q *roiInputs) done() {
	*q = roiInputs{}
	roiRuns.put(q)
}

func (q *roiInputs) run(ctx context.Context, pool *Pool, part roiPart, units int, y []float32, g gradArgs) error {
	q.part = part
	return pool.runGrad(ctx, q, units, g, y, nil, nil, nil)
}

func (q *roiInputs) tile(i int, j *job, _ *scratch) {
	switch q.part {
	case roiBins:
		q.pooled(j.y, i/q.K, i%q.K)
	case roiInput:
		q.input(j, i/q.C, i%q.C)
	case roiParts:
		q.parts(j.g.Offset, j.g.Mask, j.dy, i/q.Classes, i%q.Classes)
	}
}

func (p *RoIPool) inputs(x, rois, offset, mask []float32) (*roiInputs, error) {
	q := p.q
	if err := length("x", x, q.Input().Len(), q.Input()); err != nil {
		return nil, err
	}
	if err := length("rois", rois, q.RoIShape().Len(), q.RoIShape()); err != nil {
		return nil, err
	}
	if q.Offset {
		if err := length("offset", offset, q.OffsetShape().Len(), q.OffsetShape()); err != nil {
			return nil, err
		}
	}
	if q.Mask {
		if err := length("mask", mask, q.MaskShape().Len(), q.MaskShape()); err != nil {
			return nil, err
		}
	}
	run := roiRuns.get()
	if run == nil {
		run = new(roiInputs)
	}
	*run = roiInputs{RoIPool: q, x: x, rois: rois, offset: offset, mask: mask}
	return run, nil
}

// roiBin is one bin: where it samples, and how.
type roiBin struct {
	image, channel int // image −1: the region is of no use
	y, x           roiAxis
	m              float32
	offsetAt       int
	maskAt         int
}

// roiAxis is where a bin samples along an axis.
type roiAxis struct {
	sensitive   bool
	extent      int
	start, step float32
	samples     int
	size        float32 // of the region
}

// roiSample is one sample along an axis: the two pixels, the second's share, and
// whether the position moves it.
type roiSample struct {
	low, high int
	f, slope  float32
}

// bin works out a bin.
func (q *roiInputs) bin(r, k, by, bx int) roiBin {
	roi := q.rois[5*r:][:5]
	b := roiBin{image: -1, channel: q.Channel(k, by, bx), m: 1}
	class, py, px := q.Part(k, by, bx)
	b.maskAt = ((r*q.Classes+class)*q.PartY+py)*q.PartX + px
	b.offsetAt = ((r*2*q.Classes+2*class)*q.PartY+py)*q.PartX + px
	var dy, dx float32
	if q.Offset {
		dx, dy = q.offset[b.offsetAt], q.offset[b.offsetAt+q.PartY*q.PartX]
	}
	b.x = q.axis(roi[1], roi[3], q.W, q.Wo, bx, dx)
	b.y = q.axis(roi[2], roi[4], q.H, q.Ho, by, dy)
	nan := b.x.size - b.x.size + b.y.size - b.y.size // 0 where all that counts is finite
	for _, v := range roi {
		nan += v - v
	}
	if nan == 0 && roi[0] > -1 && roi[0] < float32(q.N) {
		b.image = int(roi[0])
	}
	if q.Mask {
		b.m = q.mask[b.maskAt]
	}
	return b
}

// axis works out an axis of a bin, the i-th of so many, of a region from lo to
// hi: the published code's operations in their order, each rounded.
func (q *roiInputs) axis(lo, hi float32, extent, bins, i int, delta float32) roiAxis {
	a := roiAxis{sensitive: q.PositionSensitive, extent: extent, samples: q.Samples}
	if a.sensitive {
		start := float32(float32(math.Round(float64(lo)))*q.SpatialScale) - 0.5
		a.size = max(float32(float32((float32(math.Round(float64(hi)))+1)*q.SpatialScale)-0.5)-start, 0.1)
		own := a.size / float32(bins)
		a.step = own / float32(q.Samples)
		a.start = float32(float32(i)*own) + start
		if q.Offset {
			a.start += float32(float32(delta*q.Gamma) * a.size)
		}
		return a
	}
	start := float32(lo*q.SpatialScale) - 0.5
	a.size = float32(float32(hi*q.SpatialScale)-0.5) - start
	own := a.size / float32(bins)
	if a.samples == 0 && own-own == 0 {
		a.samples = int(min(max(math.Ceil(float64(own)), 0), float64(q.MaxSamples())))
	}
	if q.Offset {
		start += float32(float32(q.Gamma*a.size) * delta)
	}
	a.start, a.step = start+float32(float32(i)*own), own
	return a
}

// sample returns the i-th sample of an axis, and whether it counts.
func (a *roiAxis) sample(i int) (s roiSample, ok bool) {
	n := float32(a.extent)
	var v float32
	if a.sensitive {
		v = a.start + float32(float32(i)*a.step)
		ok = !(v < -0.5 || v > n-0.5)
	} else {
		v = a.start + float32(float32((float32(i)+0.5)*a.step)/float32(a.samples))
		ok = !(v < -1 || v > n)
	}
	if !ok {
		return s, false
	}
	if v != v {
		return roiSample{f: v, slope: v}, true
	}
	clamped := min(max(v, 0), n-1)
	s.low = int(clamped)
	s.high = min(s.low+1, a.extent-1)
	s.f = clamped - float32(s.low)
	if v >= 0 && v < n-1 && (s.f > 0 || !a.sensitive) {
		s.slope = 1
	}
	return s, true
}

// each calls f with every sample of a bin and returns what to divide by.
func (q *roiInputs) each(b *roiBin, f func(y, x roiSample)) int {
	count := 0
	for i := range b.y.samples {
		y, ok := b.y.sample(i)
		if !ok {
			continue
		}
		for j := range b.x.samples {
			if x, ok := b.x.sample(j); ok {
				f(y, x)
				count++
			}
		}
	}
	if !q.PositionSensitive {
		count = max(b.y.samples*b.x.samples, 1)
	}
	return count
}

// plane is the channel that a bin pools.
func (q *roiInputs) plane(b *roiBin) []float32 {
	return q.x[(b.image*q.C+b.channel)*q.H*q.W:][:q.H*q.W]
}

// between returns the four pixels around a sample.
func (q *roiInputs) between(plane []float32, y, x roiSample) (v00, v01, v10, v11 float32) {
	return plane[y.low*q.W+x.low], plane[y.low*q.W+x.high], plane[y.high*q.W+x.low], plane[y.high*q.W+x.high]
}

// pooled computes all bins of a region and an output channel.
func (q *roiInputs) pooled(y []float32, r, k int) {
	for by := range q.Ho {
		for bx := range q.Wo {
			b := q.bin(r, k, by, bx)
			to := &y[((r*q.K+k)*q.Ho+by)*q.Wo+bx]
			if b.image < 0 {
				*to = float32(math.NaN())
				continue
			}
			plane, sum := q.plane(&b), float32(0)
			count := q.each(&b, func(y, x roiSample) {
				v00, v01, v10, v11 := q.between(plane, y, x)
				sum += (1-y.f)*((1-x.f)*v00+x.f*v01) + y.f*((1-x.f)*v10+x.f*v11)
			})
			*to = 0
			if count > 0 {
				*to = sum / float32(count) * b.m
			}
		}
	}
}

// input computes dx of one channel of one image: one worker owns the plane and
// adds to it in the order of regions and bins.
func (q *roiInputs) input(j *job, n, c int) {
	dy := j.dy
	dx := j.y[(n*q.C+c)*q.H*q.W:][:q.H*q.W]
	clear(dx)
	k := c / (q.Group * q.Group)
	for r := range q.RoIs {
		if j.ended() {
			return
		}
		for by := range q.Ho {
			for bx := range q.Wo {
				if q.Channel(k, by, bx) != c {
					continue
				}
				b := q.bin(r, k, by, bx)
				if b.image != n {
					continue
				}
				count := q.each(&b, func(roiSample, roiSample) {})
				f := dy[((r*q.K+k)*q.Ho+by)*q.Wo+bx] * b.m / float32(max(count, 1))
				q.each(&b, func(y, x roiSample) {
					if nan := y.f + x.f; nan != nan {
						return
					}
					dx[y.low*q.W+x.low] += (1 - y.f) * (1 - x.f) * f
					dx[y.low*q.W+x.high] += (1 - y.f) * x.f * f
					dx[y.high*q.W+x.low] += y.f * (1 - x.f) * f
					dx[y.high*q.W+x.high] += y.f * x.f * f
				})
			}
		}
	}
}

// parts computes doffset and dmask of a region and a class.
func (q *roiInputs) parts(doffset, dmask, dy []float32, r, class int) {
	perClass := q.K / q.Classes
	for k := class * perClass; k < (class+1)*perClass; k++ {
		for by := range q.Ho {
			for bx := range q.Wo {
				b := q.bin(r, k, by, bx)
				if b.image < 0 {
					continue
				}
				var sum, sx, sy float32
				plane := q.plane(&b)
				count := q.each(&b, func(y, x roiSample) {
					v00, v01, v10, v11 := q.between(plane, y, x)
					sum += (1-y.f)*((1-x.f)*v00+x.f*v01) + y.f*((1-x.f)*v10+x.f*v11)
					sx += x.slope * ((1-y.f)*(v01-v00) + y.f*(v11-v10))
					sy += y.slope * ((1-x.f)*(v10-v00) + x.f*(v11-v01))
				})
				if count == 0 {
					continue
				}
				f := dy[((r*q.K+k)*q.Ho+by)*q.Wo+bx] / float32(count)
				if doffset != nil {
					doffset[b.offsetAt] += sx * f * b.m * q.Gamma * b.x.size
					doffset[b.offsetAt+q.PartY*q.PartX] += sy * f * b.m * q.Gamma * b.y.size
				}
				if dmask != nil {
					dmask[b.maskAt] += sum * f
				}
			}
		}
	}
}
