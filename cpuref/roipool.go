package cpuref

import (
	"math"

	"vkconv/conv"
)

// RoIPool computes deformable RoI pooling (Dai et al. 2017, section 2.2), plain
// or position-sensitive: every bin of a region is the mean of bilinear samples
// on a grid inside it, displaced by the bin's offset and times its mask
//
//	y[r,k,by,bx] = m / count · Σ_samples X_c(position)
//
// of the channel c that [conv.RoIPool.Channel] says. x is N×C×H×W, the others as
// in [conv.RoIPool]; offset and mask are only read where q has them. Errors of a
// float32 computation are bounded with [conv.RoIPoolRoundings].
//
// Positions are computed in the inputs' own type T, in the order of the
// published code, every operation rounded: whether a sample counts at all
// depends on them. For float32 inputs every implementation gets the same bits.
//
// Between the outermost pixels' centers and the border a sample is that of the
// edge. Beyond the border, −1 and the extent or, position-sensitive, −½ and the
// extent − ½, it is 0 or, position-sensitive, left out of the mean. A bin without
// samples is 0. A region that is not finite, or whose image does not exist, makes
// NaN and gives no gradient. For float64 inputs the sums' Slack holds what
// rounding the positions changes.
func RoIPool[T Float](q conv.RoIPool, x, rois, offset, mask []T) []conv.Sum {
	p := newPool(q, x, rois, offset, mask)
	y := make([]conv.Sum, q.Output().Len())
	parallel(len(y), func(i int) {
		y[i] = p.mean(i)
	})
	return y
}

type pool[T Float] struct {
	q                     conv.RoIPool
	x, rois, offset, mask []T
}

func newPool[T Float](q conv.RoIPool, x, rois, offset, mask []T) pool[T] {
	check("x", x, q.Input())
	check("rois", rois, q.RoIShape())
	if q.Offset {
		check("offset", offset, q.OffsetShape())
	}
	if q.Mask {
		check("mask", mask, q.MaskShape())
	}
	return pool[T]{q, x, rois, offset, mask}
}

// bin is one bin of one region for one output channel: where it samples.
type bin[T Float] struct {
	ok            bool // the region is of use
	image         int
	channel       int
	y, x          axis[T]
	height, width T // of the region
	part, partX   int

	heightOff, widthOff float64 // how far float32 ones may be off
}

// axis is where a bin samples along an axis.
type axis[T Float] struct {
	positionSensitive bool
	extent            int
	start             T // of the bin, displaced; without PositionSensitive its own steps excluded
	size              T // of a bin; of a sample's cell where PositionSensitive
	samples           int

	startOff, sizeOff float64 // how far float32 ones may be off
}

// off is how far the i-th position computed in float32 may be off: what start
// and size are, and each operation of position by half a unit.
func (a axis[T]) off(i int) float64 {
	if !wide[T]() {
		return 0
	}
	v, steps := math.Abs(float64(a.position(i))), float64(i)
	if a.positionSensitive {
		return a.startOff + steps*a.sizeOff + conv.Roundoff*(steps*math.Abs(float64(a.size))+v)
	}
	steps = (steps + 0.5) / float64(a.samples)
	return a.startOff + steps*a.sizeOff + conv.Roundoff*(2.01*steps*math.Abs(float64(a.size))+v)
}

// position returns where the i-th sample lies.
func (a axis[T]) position(i int) T {
	if a.positionSensitive {
		return a.start + T(T(i)*a.size)
	}
	return a.start + T(T((T(i)+0.5)*a.size)/T(a.samples))
}

// place tells whether the sample at v counts (inside), and the pixels and the
// fraction between which it lies; slope is 1 where v moves it, else 0.
func (a axis[T]) place(v T) (inside bool, low, high int, f, slope float64) {
	n := T(a.extent)
	if a.positionSensitive {
		inside = !(v < -0.5 || v > n-0.5)
	} else {
		inside = !(v < -1 || v > n)
	}
	if !inside {
		return false, 0, 0, 0, 0
	}
	if v != v {
		return true, 0, 0, math.NaN(), math.NaN()
	}
	clamped := min(max(v, 0), n-1)
	low = int(clamped)
	f = float64(clamped) - float64(low)
	high = min(low+1, a.extent-1)
	// The authors' operator rounds down and up, so that a whole pixel is both
	// neighbours of itself and has no slope; mmcv's takes the next pixel.
	if v >= 0 && v < n-1 && (f > 0 || !a.positionSensitive) {
		slope = 1
	}
	return true, low, high, f, slope
}

// bin works out the bin of an element of the output, r, k, by, bx.
func (p pool[T]) bin(r, k, by, bx int) bin[T] {
	q := p.q
	roi := p.rois[5*r:][:5]
	b := bin[T]{ok: true, channel: q.Channel(k, by, bx)}
	for _, v := range roi {
		b.ok = b.ok && v-v == 0
	}
	b.ok = b.ok && roi[0] > -1 && roi[0] < T(q.N)
	if !b.ok {
		return b
	}
	b.image = int(roi[0])
	class, py, px := q.Part(k, by, bx)
	b.part = ((r*2*q.Classes+2*class)*q.PartY+py)*q.PartX + px
	b.partX = ((r*q.Classes+class)*q.PartY+py)*q.PartX + px
	var dy, dx T
	if q.Offset {
		dx, dy = p.offset[b.part], p.offset[b.part+q.PartY*q.PartX]
	}
	b.x, b.width = newAxis(q, roi[1], roi[3], q.W, q.Wo, bx, dx)
	b.y, b.height = newAxis(q, roi[2], roi[4], q.H, q.Ho, by, dy)
	if wide[T]() {
		b.widthOff = b.x.bound(q, roi[1], roi[3], b.width, q.Wo, bx, dx)
		b.heightOff = b.y.bound(q, roi[2], roi[4], b.height, q.Ho, by, dy)
	}
	b.ok = b.height-b.height == 0 && b.width-b.width == 0
	return b
}

// newAxis works out an axis of a bin, the i-th of so many, of a region from lo to hi.
func newAxis[T Float](q conv.RoIPool, lo, hi T, extent, bins, i int, delta T) (axis[T], T) {
	a := axis[T]{positionSensitive: q.PositionSensitive, extent: extent, samples: q.Samples}
	scale, gamma := T(q.SpatialScale), T(q.Gamma)
	if q.PositionSensitive {
		start := T(round(lo)*scale) - 0.5
		size := max(T(T((round(hi)+1)*scale)-0.5)-start, T(0.1))
		own := T(size / T(bins))
		a.size = T(own / T(q.Samples))
		a.start = T(T(T(i)*own) + start)
		if q.Offset {
			a.start += T(T(delta*gamma) * size)
		}
		return a, size
	}
	start := T(lo*scale) - 0.5
	size := T(T(hi*scale)-0.5) - start
	own := T(size / T(bins))
	if q.Samples == 0 && own-own == 0 {
		a.samples = int(min(max(math.Ceil(float64(own)), 0), float64(q.MaxSamples())))
	}
	if q.Offset {
		start += T(T(gamma*size) * delta)
	}
	a.start, a.size = start+T(T(i)*own), own
	return a, size
}

// bound works out how far start and size of a float32 axis may be off, given
// what newAxis got and the region's size, and returns that of the latter. Each
// rounded operation adds u times its result, and carries on what its operands are
// off by.
func (a *axis[T]) bound(q conv.RoIPool, lo, hi, size T, bins, i int, delta T) float64 {
	const u = 1.01 * conv.Roundoff
	abs := func(v T) float64 { return math.Abs(float64(v)) }
	scale, gamma := T(q.SpatialScale), T(q.Gamma)
	if q.PositionSensitive {
		lo, hi = round(lo), round(hi)+1
	}
	start, end := lo*scale, hi*scale
	startOff := u * (abs(start) + abs(start-0.5))
	sizeOff := startOff + u*(2*abs(end)+abs(end-0.5)+abs(size))
	own := abs(size) / float64(bins)
	ownOff := sizeOff/float64(bins) + u*own
	moved := 0.0
	if q.Offset {
		factor := abs(gamma * delta)
		moved = factor*sizeOff + 2*u*factor*abs(size) + u*abs(a.start)
		moved += u * (abs(start-0.5) + factor*abs(size)) // the sum on the way
	}
	a.startOff = startOff + moved + float64(i)*(ownOff+u*own) + u*abs(a.start)
	if a.sizeOff = ownOff; q.PositionSensitive {
		a.startOff += u * (abs(start-0.5) + float64(i)*own)
		a.sizeOff = ownOff/float64(q.Samples) + u*abs(a.size)
	}
	return sizeOff
}

// round rounds halves away from zero.
func round[T Float](v T) T { return T(math.Round(float64(v))) }

// samples calls f with every sample of a bin that lies inside: its value and its
// places along both axes; and tells by how many the sum is divided.
func (p pool[T]) samples(b bin[T], f func(s Sample, ys, xs [2]int, fy, fx float64, off [2]float64)) (count int) {
	q := p.q
	image := p.x[(b.image*q.C+b.channel)*q.H*q.W:][:q.H*q.W]
	for i := range b.y.samples {
		inY, y0, y1, fy, sy := b.y.place(b.y.position(i))
		for j := range b.x.samples {
			inX, x0, x1, fx, sx := b.x.place(b.x.position(j))
			if !inY || !inX {
				continue
			}
			count++
			s := between(image, q.W, y0, y1, x0, x1, fy, fx)
			s.Dy, s.Dx, s.DyAbs, s.DxAbs = s.Dy*sy, s.Dx*sx, s.DyAbs*sy, s.DxAbs*sx
			f(s, [2]int{y0, y1}, [2]int{x0, x1}, fy, fx, [2]float64{b.y.off(i) * sy, b.x.off(j) * sx})
		}
	}
	if !q.PositionSensitive {
		count = max(b.y.samples*b.x.samples, 1)
	}
	return count
}

// between is the bilinear sample between two rows and two columns.
func between[T Float](image []T, w, y0, y1, x0, x1 int, fy, fx float64) Sample {
	v := [4]float64{float64(image[y0*w+x0]), float64(image[y0*w+x1]), float64(image[y1*w+x0]), float64(image[y1*w+x1])}
	a := [4]float64{math.Abs(v[0]), math.Abs(v[1]), math.Abs(v[2]), math.Abs(v[3])}
	hy, hx := 1-fy, 1-fx
	return Sample{
		Value: hy*hx*v[0] + hy*fx*v[1] + fy*hx*v[2] + fy*fx*v[3],
		Abs:   hy*hx*a[0] + hy*fx*a[1] + fy*hx*a[2] + fy*fx*a[3],
		Dy:    hx*(v[2]-v[0]) + fx*(v[3]-v[1]),
		Dx:    hy*(v[1]-v[0]) + fy*(v[3]-v[2]),
		DyAbs: hx*(a[2]+a[0]) + fx*(a[3]+a[1]),
		DxAbs: hy*(a[1]+a[0]) + fy*(a[3]+a[2]),

		TwistAbs: a[0] + a[1] + a[2] + a[3],
	}
}

// modulation returns the mask of a bin, 1 without one.
func (p pool[T]) modulation(b bin[T]) float64 {
	if p.q.Mask {
		return float64(p.mask[b.partX])
	}
	return 1
}

// index splits the index of an output element.
func (p pool[T]) index(i int) (r, k, by, bx int) {
	q := p.q
	return i / q.Wo / q.Ho / q.K, i / q.Wo / q.Ho % q.K, i / q.Wo % q.Ho, i % q.Wo
}

// mean computes the i-th element of the output.
func (p pool[T]) mean(i int) (sum conv.Sum) {
	b := p.bin(p.index(i))
	if !b.ok {
		return conv.Sum{Value: math.NaN(), Abs: math.NaN(), Terms: 1}
	}
	count := p.samples(b, func(s Sample, _, _ [2]int, _, _ float64, off [2]float64) {
		sum.AddSampled(s.Value, s.Abs, 0)
		sum.Slack += shift(1, s.DyAbs, off[0], s.DxAbs, off[1])
	})
	if count > 0 {
		m := p.modulation(b) / float64(count)
		sum.Value, sum.Abs, sum.Slack = sum.Value*m, sum.Abs*math.Abs(m), sum.Slack*math.Abs(m)
	}
	return sum
}
