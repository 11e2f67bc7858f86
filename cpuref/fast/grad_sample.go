package fast

import "unsafe"

const (
	sampleChannels = 64      // channels of a unit at most
	sampleFloats   = 1 << 18 // gradient of a unit, unless one row of it is more
)

// sampleGrad computes the gradient by the input of a deformable convolution. Where
// samples lie is anybody's guess, so a unit of work owns what it adds to: some
// channels of a band of rows of an image. It walks all tiles of output pixels,
// in order, and leaves out those whose samples miss its band. Meanwhile the
// channels of a pixel lie together, so that one is a few vectors:
//
//	          band × W pixels                 col, transposed: pixels × channels
//	┌ c0 c1 … │ c0 c1 … │ c0 c1 … │ …  ←+=   weight of the corner × │ c0 c1 … │
//	└──▲──────────▲── the two pixels of a pair
//
// The order of additions does not depend on how units are cut.
type sampleGrad struct {
	*columnGrad
	channels int // of the largest unit
	band     int // input rows of a unit
	bands    int
	blocks   []sampleBlock
	units    int
}

// sampleBlock is the channels [c0, c1) of a unit, of one offset group.
type sampleBlock struct {
	og, c0, c1 int
	parts      []part // c0 and c1 within the unit, the rest as in columnGrad
	whole      []int  // the part each is of
}

func newSampleGrad(d *columnGrad) *sampleGrad {
	p := &d.p
	g := &sampleGrad{columnGrad: d}
	// Few channels a unit repeat the sampling plans, many leave workers idle.
	most := sampleChannels
	for most > 16 && p.N*ceilDiv(p.C, most) < 2*d.pool.workers {
		most /= 2
	}
	most = d.ks.whole(most)
	for i, q := range d.parts {
		for c := q.c0; c < q.c1; c += most {
			end := min(c+most, q.c1)
			last := len(g.blocks) - 1
			if last < 0 || g.blocks[last].og != q.og || end-g.blocks[last].c0 > most {
				g.blocks = append(g.blocks, sampleBlock{og: q.og, c0: c})
				last++
			}
			b := &g.blocks[last]
			b.c1 = end
			b.parts = append(b.parts, part{q.g, q.og, c, end, 0})
			b.whole = append(b.whole, i)
			g.channels = max(g.channels, g.pitch(b))
		}
	}
	g.band = min(p.H, max(1, sampleFloats/(p.W*g.channels)))
	g.bands = ceilDiv(p.H, g.band)
	g.band = ceilDiv(p.H, g.bands)
	g.bands = ceilDiv(p.H, g.band)
	g.units = p.N * len(g.blocks) * g.bands
	return g
}

// pitch is the channels of a block in memory: whole vectors, and eights, which are transposed together.
func (d *sampleGrad) pitch(b *sampleBlock) int {
	whole := max(d.ks.lanes, 8)
	return ceilDiv(b.c1-b.c0, whole) * whole
}

func (d *sampleGrad) tile(i int, j *job, s *scratch) {
	p := &d.p
	band := i % d.bands
	i /= d.bands
	b := &d.blocks[i%len(d.blocks)]
	n := i / len(d.blocks)
	y0, y1 := band*d.band, min((band+1)*d.band, p.H)
	pitch := d.pitch(b)
	dst := growAligned(&s.grad.acc, d.accLen())[:(y1-y0)*p.W*pitch]
	clear(dst)
	col := growAligned(&s.grad.cols, (sampleChannels+8)*d.pixels)
	turned := growAligned(&s.grad.rows, d.pixels*d.channels)
	g0, g1 := b.parts[0].g, b.parts[len(b.parts)-1].g+1
	for q0 := 0; q0 < p.Ho*p.Wo; q0 += d.pixels {
		if j.ended() {
			return
		}
		q1 := min(q0+d.pixels, p.Ho*p.Wo)
		var outs []float32
		for t := range d.taps {
			plans, any := d.planTap(s, j.offset, j.mask, n, b.og, t, q0, q1, y0, y1)
			if !any {
				continue
			}
			if outs == nil {
				outs = d.packOuts(s, j.dy, n, g0, g1, q0, q1)
			}
			for k := range b.parts {
				q := &b.parts[k]
				d.columnGrad.compute(col[(q.c0-b.c0)*d.pixels:], &d.parts[b.whole[k]], q.c0, q.c1, t, outs, g0, g1, q1-q0)
			}
			d.ks.turn(turned, pitch, col, d.pixels, b.c1-b.c0, q1-q0, &s.grad.at)
			d.ks.scatter(dst, plans, turned, pitch)
		}
	}
	d.ks.turnBack(j.g.X[(n*p.C+b.c0)*p.H*p.W+y0*p.W:], p.H*p.W, dst, pitch, b.c1-b.c0, (y1-y0)*p.W, &s.grad.at)
}

// turn transposes src, channels × pixels with rows stride apart, into rows of one
// pixel's channels. What is behind the last channel or pixel is of no use to anybody.
func (ks *kernels) turn(dst []float32, pitch int, src []float32, stride, channels, pixels int, at *[8]int32) {
	for c := 0; c < channels; c += 8 {
		for i := range at {
			at[i] = int32(min(c+i, channels-1) * stride)
		}
		ks.transpose(dst[c:], pitch, src, at, min(ceilDiv(pixels, 8)*8, stride)) // rows of fours are no eights
	}
}

// turnBack transposes finished sums back: dx[c·plane + i] = src[i·pitch + c].
func (ks *kernels) turnBack(dx []float32, plane int, src []float32, pitch, channels, places int, at *[8]int32) {
	whole := channels &^ 7
	for i := 0; i < places; i += 8 {
		from := src[i*pitch:]
		if places-i < 8 || whole == 0 {
			for k := range min(8, places-i) {
				for c, v := range from[k*pitch:][:channels] {
					dx[c*plane+i+k] = v
				}
			}
			continue
		}
		for k := range at {
			at[k] = int32(k * pitch)
		}
		ks.transpose(dx[i:], plane, from, at, whole)
		for k := range 8 {
			for c := whole; c < channels; c++ {
				dx[c*plane+i+k] = from[k*pitch+c]
			}
		}
	}
}

func (d *sampleGrad) accLen() int { return d.band * d.p.W * d.channels }

func (d *sampleGrad) workspace() int64 {
	groups := 1
	for i := range d.blocks {
		parts := d.blocks[i].parts
		groups = max(groups, parts[len(parts)-1].g+1-parts[0].g)
	}
	tile := 4*(d.accLen()+(sampleChannels+8+d.channels+groups*d.kg)*d.pixels) + d.pixels/4*int(unsafe.Sizeof(gradPlan{}))
	return int64(d.pool.workers) * int64(tile)
}
