package fast

// depthPhases is inputGrad for depthwise convolutions with strides. All phases of
// a tile read the same outputs, which are copied once, with zeros around them;
// a phase is a list of taps with places of their own in that copy. Phases that
// lie beside each other are interleaved on the way out.
//
//	padded dy                    stride 2: four phases       dx
//	┌───────────┐  taps 00 02 20 22 → │ a a a │ ┐
//	│ 0 0 0 0 0 │  taps 01 21       → │ b b b │ ┘→  │ a b a b a b │
//	│ 0 y y y 0 │  taps 10 12       → │ c c c │ ┐
//	└───────────┘  tap  11          → │ d d d │ ┘→  │ c d c d c d │
type depthPhases struct {
	*inputGrad
	list             []depthPhase // [row phase][column phase]
	nx               int          // column phases
	y0, x0           int          // output that padded row 0 of place 0 holds, likewise columns
	height, width    int          // places of a phase at most
	pitch, reach     int          // of a padded row; rows that a place reads
	band, bands      int          // rows of places of a tile
	channels, groups int          // of a tile, and how many such
}

type depthPhase struct {
	at, taps []int32
}

// newDepthPhases plans d's problem, nil where it is none of these.
func newDepthPhases(d *inputGrad, workers int) *depthPhases {
	p := &d.p
	if p.C != p.Groups || p.K != p.Groups || d.fold || p.R > depthRows {
		return nil
	}
	type tap struct{ phase, at, index int }
	axis := func(in, kernel, stride, dilation, pad int) (taps []tap, lo, hi int) {
		for r := range kernel {
			// Place i is fed by output (i + pad − r·dilation)/stride, where that is whole.
			phase := ((r*dilation-pad)%stride + stride) % stride
			if phase >= in {
				continue
			}
			at := (phase + pad - r*dilation) / stride
			if len(taps) == 0 {
				lo, hi = at, at
			}
			lo, hi = min(lo, at), max(hi, at)
			taps = append(taps, tap{phase, at, r})
		}
		return taps, lo, hi
	}
	q := &depthPhases{inputGrad: d, nx: min(p.StrideX, p.W), height: ceilDiv(p.H, p.StrideY), width: ceilDiv(p.W, p.StrideX)}
	ys, y0, y1 := axis(p.H, p.R, p.StrideY, p.DilationY, p.Pad.Top)
	xs, x0, x1 := axis(p.W, p.S, p.StrideX, p.DilationX, p.Pad.Left)
	q.y0, q.x0, q.reach = y0, x0, y1-y0+1
	q.pitch = q.width + x1 - x0
	if p.StrideY > 8 || p.StrideX > 8 || q.reach*q.pitch > depthMost/2 {
		return nil
	}
	for q.bands = 1; ; q.bands++ {
		if q.band = ceilDiv(q.height, q.bands); q.band == 1 || (q.band+q.reach)*q.pitch <= depthFloats {
			break
		}
	}
	q.bands = ceilDiv(q.height, q.band)
	q.list = make([]depthPhase, min(p.StrideY, p.H)*q.nx)
	for _, y := range ys {
		for _, x := range xs {
			f := &q.list[y.phase*q.nx+x.phase]
			f.at = append(f.at, int32((y.at-y0)*q.pitch+x.at-x0))
			f.taps = append(f.taps, int32(y.index*p.S+x.index))
		}
	}
	q.channels = max(1, min(16, p.C*max(p.N, 1)*q.bands/(6*workers)))
	q.groups = ceilDiv(p.C, q.channels)
	return q
}

func (q *depthPhases) units() int { return q.p.N * q.groups * q.bands }

func (q *depthPhases) bytes() int64 {
	return 4 * int64((q.band-1+q.reach)*q.pitch+maxLanes+q.p.Taps()+q.nx*q.band*q.width)
}

func (q *depthPhases) tile(i int, j *job, s *scratch) {
	p := &q.p
	j0 := i % q.bands * q.band
	i /= q.bands
	c0 := i % q.groups * q.channels
	n := i / q.groups
	rows := min(q.band, q.height-j0)
	padded := growAligned(&s.panel, (q.band-1+q.reach)*q.pitch+maxLanes)
	outs := growAligned(&s.grad.cols, q.nx*q.band*q.width)
	some := grow(&s.sums, p.Taps())
	for c := c0; c < min(c0+q.channels, p.C); c++ {
		q.pad(padded, j.x[(n*p.C+c)*p.Ho*p.Wo:][:p.Ho*p.Wo], j0, rows)
		bias := float32(0)
		if q.bias {
			bias = q.biases[c]
		}
		plane := j.y[(n*p.C+c)*p.H*p.W:][:p.H*p.W]
		w := q.plain[c*p.Taps():][:p.Taps()]
		for fy := range len(q.list) / q.nx {
			for fx := range q.nx {
				f := &q.list[fy*q.nx+fx]
				v := some[:len(f.taps)]
				for k, t := range f.taps {
					v[k] = w[t]
				}
				out := outs[fx*q.band*q.width:][:rows*q.width]
				// Assembly cannot be preempted: a call is some rows.
				most := max(1, depthCall/(len(v)*q.width+1))
				for r := 0; r < rows; r += most {
					q.ks.planeFMA(out[r*q.width:], q.width, min(most, rows-r), q.width, padded[r*q.pitch:], q.pitch, f.at, v, bias)
				}
				q.ks.activate(q.act, out)
			}
			for r := range rows {
				if iy := (j0+r)*p.StrideY + fy; iy < p.H {
					q.row(plane[iy*p.W:][:p.W], outs[r*q.width:])
				}
			}
		}
	}
}

// pad copies the outputs that rows of places from j0 on read.
func (q *depthPhases) pad(padded, dy []float32, j0, rows int) {
	p := &q.p
	left := min(max(0, -q.x0), q.pitch)
	from := max(0, q.x0)
	n := max(0, min(q.pitch-left, p.Wo-from))
	for r := range rows - 1 + q.reach {
		to := padded[r*q.pitch:][:q.pitch]
		oy := j0 + r + q.y0
		if oy < 0 || oy >= p.Ho || n == 0 {
			clear(to)
			continue
		}
		clear(to[:left])
		copy(to[left:], dy[oy*p.Wo+from:][:n])
		clear(to[left+n:])
	}
}

// row puts a row's phases together: place i of phase f is column i·StrideX + f.
func (q *depthPhases) row(to, outs []float32) {
	step := q.band * q.width
	if q.nx == 2 && q.p.StrideX == 2 {
		n := len(to) / 2
		q.ks.merge(to, outs, outs[step:], n)
		if len(to)%2 == 1 {
			to[2*n] = outs[n]
		}
		return
	}
	for f := range q.nx {
		from := outs[f*step:]
		for i := f; i < len(to); i += q.p.StrideX {
			to[i] = from[i/q.p.StrideX]
		}
	}
}

func mergeGo(dst, even, odd []float32, n int) {
	dst, even, odd = dst[:2*n], even[:n], odd[:n]
	for i, v := range even {
		dst[2*i], dst[2*i+1] = v, odd[i]
	}
}
