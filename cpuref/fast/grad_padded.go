package fast

import "vkconv/conv"

// paddedGrad is inputGrad where the padding is so wide that hardly any of the
// padded image is read by anybody: a dilation of 1,000 under a padding mode. It
// goes the deformable way: one tap's gradient by the samples at a time, added
// where the samples came from. A unit is some channels of an image.
type paddedGrad struct {
	*columnGrad
	list []paddedBlock
}

// paddedBlock is channels [c0, c1) of a part of columnGrad.
type paddedBlock struct{ part, c0, c1 int }

// farPadded reports whether p is such a problem.
func farPadded(p conv.Problem) bool {
	padded := float64(p.H+p.Pad.Top+p.Pad.Bottom) * float64(p.W+p.Pad.Left+p.Pad.Right)
	return p.Mode != conv.Zeros && padded > 8*(float64(p.H)*float64(p.W)+float64(p.Ho)*float64(p.Wo))
}

func newPaddedGrad(pool *Pool, p conv.Problem) (*paddedGrad, error) {
	l, err := newLayout(pool, p, whole, 256)
	if err != nil {
		return nil, err
	}
	d := &paddedGrad{columnGrad: newColumnGrad(l)}
	step := l.ks.whole(sampleChannels)
	for i, q := range d.parts {
		for c := q.c0; c < q.c1; c += step {
			d.list = append(d.list, paddedBlock{i, c, min(c+step, q.c1)})
		}
	}
	return d, nil
}

func (d *paddedGrad) tile(i int, j *job, s *scratch) {
	p := &d.p
	b := d.list[i%len(d.list)]
	n := i / len(d.list)
	q := &d.parts[b.part]
	dx := j.y[(n*p.C+b.c0)*p.H*p.W:][:(b.c1-b.c0)*p.H*p.W]
	clear(dx)
	col := growAligned(&s.grad.cols, sampleChannels*d.pixels)
	places := grow(&s.index, d.pixels)
	for q0 := 0; q0 < p.Ho*p.Wo; q0 += d.pixels {
		if j.ended() {
			return
		}
		q1 := min(q0+d.pixels, p.Ho*p.Wo)
		outs := d.packOuts(s, j.x, n, q.g, q.g+1, q0, q1)
		for t := range d.taps {
			d.compute(col, q, b.c0, b.c1, t, outs, q.g, q.g+1, q1-q0)
			for o := q0; o < q1; o++ {
				iy := conv.MapPad(p.Mode, o/p.Wo*p.StrideY-p.Pad.Top+t/p.S*p.DilationY, p.H)
				ix := conv.MapPad(p.Mode, o%p.Wo*p.StrideX-p.Pad.Left+t%p.S*p.DilationX, p.W)
				places[o-q0] = int32(iy*p.W + ix)
			}
			for c := range b.c1 - b.c0 {
				plane := dx[c*p.H*p.W:][:p.H*p.W]
				for k, v := range col[c*d.pixels:][:q1-q0] {
					plane[places[k]] += v
				}
			}
		}
	}
}

func (d *paddedGrad) bytes() int64 {
	return 4 * int64((sampleChannels+1+d.kg)*d.pixels)
}
