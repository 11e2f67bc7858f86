package fast

import (
	"fmt"

	"vkconv/conv"
)

const (
	depthColumns = 1024    // input columns of a tile, about
	depthFloats  = 16384   // padded input of a tile, so that it stays near the core
	depthWork    = 1 << 17 // multiply-adds of a tile, about
	depthMost    = 1 << 20 // padded input of a tile at most: else the general way is taken
	depthRows    = 64      // kernel rows at most
	depthCall    = 1 << 20 // multiply-adds of a call
	maxLanes     = 16
)

// depthwise computes convolutions whose groups have one input channel. A tile is
// a band of output rows and columns of some channels. Of each channel the input
// it needs is copied, with its padding, so that the inner loop has no borders:
//
//	padded rows, a stride of 2 taken apart         output row
//	│ p0 p2 p4 … │ p1 p3 p5 … │                    │ y0 y1 y2 … │
//	  tap 0 →      tap 1 →         tap s reads phase s·dx mod sx from s·dx/sx on
//
// Where the taps' rows lie further apart than a band is high, each has a slab of
// its own, otherwise they share one. Taps outside the image's rows are left out,
// if there are enough of them; if not, zero rows are copied and multiplied too.
type depthwise struct {
	p  conv.Problem
	ks *kernels

	columns, colTiles int // output columns of a tile, tiles in a row
	band, bands       int // output rows of a tile, tiles in a column
	channels, parts   int // input channels of a tile, tiles of them
	slab              int // input rows of a slab
	slabStep          int // slabs' distance in rows: a tap's row r begins at r·slabStep
	rows              int // rows in memory: slabs and all
	phase, pitch      int // floats of a phase, of a row
	runs              []rowRun
	zeroRows          bool // rows in zero padding are multiplied like others
}

// rowRun is a run of output rows, up to end, that meet zero padding with the same
// kernel rows: the taps left and where they read.
type rowRun struct {
	end      int
	taps, at []int32
}

// newDepthwise plans p, which has one input channel a group; nil where dilation
// and stride make even the smallest tile too large.
func newDepthwise(ks *kernels, workers int, p conv.Problem) *depthwise {
	d := &depthwise{p: p, ks: ks}
	d.colTiles = ceilDiv(p.Wo, max(16, depthColumns/p.StrideX))
	d.columns = ceilDiv(p.Wo, d.colTiles)
	reach := (d.columns-1)*p.StrideX + (p.S-1)*p.DilationX + 1
	phases := min(p.StrideX, reach)
	d.phase = ceilDiv(reach, p.StrideX)
	d.pitch = phases * d.phase
	for d.bands = 1; ; d.bands++ {
		d.band = ceilDiv(p.Ho, d.bands)
		d.slab = (d.band-1)*p.StrideY + 1
		d.slabStep, d.rows = p.DilationY, d.slab+(p.R-1)*p.DilationY
		if p.DilationY > d.slab {
			d.slabStep, d.rows = d.slab, d.slab*p.R
		}
		if d.band == 1 || d.rows*d.pitch <= depthFloats {
			break
		}
	}
	if d.rows*d.pitch > depthMost {
		return nil
	}
	d.bands = ceilDiv(p.Ho, d.band)
	work := d.band * d.columns * p.Taps() * (p.K / p.C)
	d.channels = max(1, min(p.C, depthWork/work))
	if units := p.N * d.bands * d.colTiles; units > 0 {
		d.channels = max(1, min(d.channels, p.C*units/(6*workers)))
	}
	d.parts = ceilDiv(p.C, d.channels)
	d.findRuns()
	return d
}

// findRuns cuts the output rows where the set of kernel rows in zero padding changes.
func (d *depthwise) findRuns() {
	p := &d.p
	row := func(oy, r int) int { return oy*p.StrideY - p.Pad.Top + r*p.DilationY }
	outside := 0
	for oy := range p.Ho {
		for r := range p.R {
			if conv.MapPad(p.Mode, row(oy, r), p.H) < 0 {
				outside++
			}
		}
	}
	d.zeroRows = 8*outside < p.Ho*p.R
	live := make([]bool, p.R)
	for oy := range p.Ho {
		same := oy > 0
		for r := range live {
			in := d.zeroRows || conv.MapPad(p.Mode, row(oy, r), p.H) >= 0
			same = same && in == live[r]
			live[r] = in
		}
		if !same {
			d.runs = append(d.runs, rowRun{})
		}
		run := &d.runs[len(d.runs)-1]
		if run.end = oy + 1; same {
			continue
		}
		for t := range p.Taps() {
			if r, shift := t/p.S, t%p.S*p.DilationX; live[r] {
				run.taps = append(run.taps, int32(t))
				run.at = append(run.at, int32(r*d.slabStep*d.pitch+shift%p.StrideX*d.phase+shift/p.StrideX))
			}
		}
	}
}

func (d *depthwise) tiles() int { return d.p.N * d.parts * d.bands * d.colTiles }

func (d *depthwise) bytes() int64 {
	return 4 * int64(d.rows*d.pitch+maxLanes+d.p.Taps()+d.pitch)
}

func (d *depthwise) describe() string {
	return fmt.Sprintf("depthwise, %s, tiles of %d channels × %d rows × %d columns, %d units of work an image",
		d.ks.name, d.channels, d.band, d.columns, d.parts*d.bands*d.colTiles)
}

// tile computes work unit i with weights (K×taps) and bias (K).
func (d *depthwise) tile(i int, y, x, weights, bias []float32, s *scratch) {
	p := &d.p
	ox0 := i % d.colTiles * d.columns
	i /= d.colTiles
	oy0 := i % d.bands * d.band
	i /= d.bands
	c0 := i % d.parts * d.channels
	n := i / d.parts
	ox1, oy1, c1 := min(ox0+d.columns, p.Wo), min(oy0+d.band, p.Ho), min(c0+d.channels, p.C)

	padded := growAligned(&s.panel, d.rows*d.pitch+maxLanes)
	some := grow(&s.sums, p.Taps())
	from := grow(&s.index, d.pitch)
	first, last := d.mapColumns(from, ox0)

	for c := c0; c < c1; c++ {
		image := x[(n*p.C+c)*p.H*p.W:][:p.H*p.W]
		if c == c0 || first == last {
			d.pad(padded, image, from, first, last, oy0, oy1)
		}
		if first < last {
			d.repad(padded, image, int(from[first]), first, last, oy0, oy1)
		}
		for k := c * (p.K / p.C); k < (c+1)*(p.K/p.C); k++ {
			out := y[(n*p.K+k)*p.Ho*p.Wo:][:p.Ho*p.Wo]
			w := weights[k*p.Taps():][:p.Taps()]
			oy := oy0
			for r := range d.runs {
				run := &d.runs[r]
				if run.end <= oy {
					continue
				}
				v := w
				if len(run.taps) < len(w) {
					v = some[:len(run.taps)]
					for i, t := range run.taps {
						v[i] = w[t]
					}
				}
				// Assembly cannot be preempted: a call is some rows.
				for most := max(1, depthCall/(len(v)*(ox1-ox0)+1)); oy < min(run.end, oy1); {
					rows := min(run.end-oy, oy1-oy, most)
					d.ks.planeFMA(out[oy*p.Wo+ox0:], p.Wo, rows, ox1-ox0,
						padded[(oy-oy0)*p.StrideY*d.pitch:], p.StrideY*d.pitch, run.at, v, bias[k])
					if p.Activation.Kind != conv.Identity {
						for r := range rows {
							d.ks.activate(p.Activation, out[(oy+r)*p.Wo+ox0:][:ox1-ox0])
						}
					}
					oy += rows
				}
			}
		}
	}
}

// mapColumns finds the input column of every place in a padded row, −1 in zero
// padding. Places [first, last) of each phase are inside; none, where there is no
// fast way to copy them.
func (d *depthwise) mapColumns(from []int32, ox0 int) (first, last int) {
	p := &d.p
	x0 := ox0*p.StrideX - p.Pad.Left
	edge := p.W + p.Pad.Right // a phase may end in places beyond the padding, which no tap reads
	for i := range from {
		ix := x0 + i%d.phase*p.StrideX + i/d.phase
		from[i] = -1
		if ix < edge {
			from[i] = int32(conv.MapPad(p.Mode, ix, p.W))
		}
	}
	// Place i of phase f < 2 is column x0 + i·stride + f.
	if p.Mode == conv.Zeros && (p.StrideX == 1 || p.StrideX == 2 && d.pitch == 2*d.phase) {
		first = min(max(0, ceilDiv(-x0, p.StrideX)), d.phase)
		last = min(max(first, (p.W-x0)/p.StrideX), d.phase)
	}
	return first, last
}

// pad copies the rows that output rows [oy0, oy1) need, padding and all, but for
// places [first, last) of each phase.
func (d *depthwise) pad(padded, image []float32, from []int32, first, last, oy0, oy1 int) {
	p := &d.p
	done := 0 // rows of the slab before, shared with this one, end here
	for r := range p.R {
		top := r * d.slabStep
		for j := range (oy1-oy0-1)*p.StrideY + 1 {
			if top+j < done {
				continue
			}
			done = top + j + 1
			iy := oy0*p.StrideY - p.Pad.Top + r*p.DilationY + j
			dst := padded[(top+j)*d.pitch:][:d.pitch]
			if iy = conv.MapPad(p.Mode, iy, p.H); iy < 0 {
				clear(dst)
			} else {
				row := image[iy*p.W:][:p.W]
				for f := 0; f < d.pitch; f += d.phase {
					spread(dst[f:f+first], row, from[f:])
					spread(dst[f+last:f+d.phase], row, from[f+last:])
				}
			}
		}
	}
}

// repad copies what pad does not, and all that changes from channel to channel
// after it: what lies inside the image.
func (d *depthwise) repad(padded, image []float32, at, first, last, oy0, oy1 int) {
	p := &d.p
	slabs, height, step := 1, (oy1-oy0-1)*p.StrideY+1+(p.R-1)*p.DilationY, 1
	if d.slabStep == d.slab { // each on its own, and only the rows that taps read
		slabs, height, step = p.R, oy1-oy0, p.StrideY
	}
	for r := range slabs {
		y := oy0*p.StrideY - p.Pad.Top + r*p.DilationY
		lo := 0
		if y < 0 {
			lo = ceilDiv(-y, step)
		}
		hi := min(height, ceilDiv(p.H-y, step))
		if lo >= hi {
			continue
		}
		dst := padded[(r*d.slab+lo*step)*d.pitch:]
		src := image[(y+lo*step)*p.W:]
		if p.StrideX == 1 {
			d.ks.copyRows(dst[first:], step*d.pitch, src[at:], step*p.W, hi-lo, last-first)
			continue
		}
		d.ks.splitRows(dst[first:], d.phase, step*d.pitch, src[at:], step*p.W, hi-lo, last-first)
		// One place more may be inside: the odd one before, the even one behind.
		if at > 0 && first > 0 {
			d.ks.copyRows(dst[d.phase+first-1:], step*d.pitch, src[at-1:], step*p.W, hi-lo, 1)
		}
		if end := at + 2*(last-first); end < p.W && last < d.phase {
			d.ks.copyRows(dst[last:], step*d.pitch, src[end:], step*p.W, hi-lo, 1)
		}
	}
}

// spread fills places from a row, with zeros where they come from nowhere.
func spread(dst, row []float32, from []int32) {
	from = from[:len(dst)]
	for i, f := range from {
		v := float32(0)
		if uint(f) < uint(len(row)) {
			v = row[f]
		}
		dst[i] = v
	}
}
