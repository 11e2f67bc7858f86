package fast

import "fmt"

// depthGrad computes the gradient by the weight where groups have one input
// channel: the dot product of dy with what each tap reads, from rows padded as the
// forward pass does it (see depthwise). A unit is some channels of all images.
type depthGrad struct {
	*depthwise
	group int // channels of a unit
}

func newDepthGrad(l *layout) *depthGrad {
	if l.cg != 1 || l.kg > depthwiseOutputs || l.p.R > depthRows || l.p.Deformable() {
		return nil
	}
	d := newDepthwise(l.ks, l.pool.workers, l.p)
	if d == nil {
		return nil
	}
	return &depthGrad{d, min(16, max(1, l.p.C/(6*l.pool.workers)))}
}

func (d *depthGrad) units() int { return ceilDiv(d.p.C, d.group) }

func (d *depthGrad) tile(i int, j *job, s *scratch) {
	p := &d.p
	c0, c1 := i*d.group, min((i+1)*d.group, p.C)
	per, taps := p.K/p.C, p.Taps()
	padded := growAligned(&s.panel, d.rows*d.pitch+maxLanes)
	from := grow(&s.index, d.pitch)
	some := grow(&s.sums, taps)
	sums := j.y[c0*per*taps : c1*per*taps]
	clear(sums)
	for n := range p.N {
		for oy0 := 0; oy0 < p.Ho; oy0 += d.band {
			if j.ended() {
				return
			}
			oy1 := min(oy0+d.band, p.Ho)
			for ox0 := 0; ox0 < p.Wo; ox0 += d.columns {
				ox1 := min(ox0+d.columns, p.Wo)
				first, last := d.mapColumns(from, ox0)
				for c := c0; c < c1; c++ {
					image := j.x[(n*p.C+c)*p.H*p.W:][:p.H*p.W]
					if c == c0 || first == last {
						d.pad(padded, image, from, first, last, oy0, oy1)
					}
					if first < last {
						d.repad(padded, image, int(from[first]), first, last, oy0, oy1)
					}
					for k := c * per; k < (c+1)*per; k++ {
						dy := j.dy[(n*p.K+k)*p.Ho*p.Wo:][:p.Ho*p.Wo]
						d.dots(sums[(k-c0*per)*taps:][:taps], some, dy, padded, oy0, oy1, ox0, ox1)
					}
				}
			}
		}
	}
}

// dots adds a tile of one output channel to the sums of its taps.
func (d *depthGrad) dots(sums, some, dy, padded []float32, oy0, oy1, ox0, ox1 int) {
	p := &d.p
	oy := oy0
	for r := range d.runs {
		run := &d.runs[r]
		if run.end <= oy {
			continue
		}
		if len(run.taps) == 0 {
			oy = min(run.end, oy1)
			continue
		}
		v := some[:len(run.taps)]
		clear(v)
		// Assembly cannot be preempted: a call is some rows.
		for most := max(1, depthCall/(len(v)*(ox1-ox0))); oy < min(run.end, oy1); {
			rows := min(run.end-oy, oy1-oy, most)
			d.ks.planeDot(v, dy[oy*p.Wo+ox0:], p.Wo, rows, ox1-ox0,
				padded[(oy-oy0)*p.StrideY*d.pitch:], p.StrideY*d.pitch, run.at)
			oy += rows
		}
		for i, t := range run.taps {
			sums[t] += v[i]
		}
	}
}

func (d *depthGrad) describeGrad() string {
	return fmt.Sprintf("dot products of rows, %s, %d units of %d channels", d.ks.name, d.units(), d.group)
}

// planeDotGo is kernels.planeDot.
func planeDotGo(sums, dy []float32, yStride, rows, n int, x []float32, xStride int, at []int32) {
	for t, o := range at {
		var a0, a1, a2, a3 float32
		for oy := range rows {
			d, v := dy[oy*yStride:][:n], x[oy*xStride+int(o):][:n]
			for len(d) >= 4 && len(v) >= 4 {
				a0 += d[0] * v[0]
				a1 += d[1] * v[1]
				a2 += d[2] * v[2]
				a3 += d[3] * v[3]
				d, v = d[4:], v[4:]
			}
			for i := range d {
				a0 += d[i] * v[i]
			}
		}
		sums[t] += (a0 + a1) + (a2 + a3)
	}
}
