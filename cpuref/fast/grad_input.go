package fast

import (
	"context"
	"fmt"
	"sync"

	"vkconv/conv"
)

// inputGrad takes the outputs of a convolution back to its inputs: the gradient
// by the input, and a transposed convolution. Along one axis output o reads
// place o·stride + r·dilation of the padded input, so place i is fed by the taps
// with r·dilation ≡ i (mod stride), from o = (i − r·dilation)/stride. Places of one
// remainder are a phase, and a phase is an ordinary convolution of the outputs
// with stride 1:
//
//	stride 2, dilation 1, 3 taps          r=0 r=1 r=2
//	  padded input   0 1 2 3 4 5 …        even places: taps 2 and 0 of o = i/2 − 1, i/2
//	                 │ │ │ │              odd places:  tap 1 of o = (i−1)/2
//
// With stride 1 there is one phase, with a flipped kernel; it is a [Conv2D] plan.
// What a padding mode maps onto the image is computed over the padded image and
// added where it came from; then a unit of work is all of some channels of an image.
type inputGrad struct {
	p      conv.Problem // of the convolution
	pool   *Pool
	ks     *kernels
	bias   bool            // one value a channel of the result
	act    conv.Activation // behind it
	direct *Conv2D         // everything, where one plan can do it
	depth  *depthPhases    // the same
	padded *paddedGrad     // the same
	phases []phase
	fold   bool // a padding mode maps places onto others
	gaps   bool // places that no tap feeds
	tiles  int

	mu     sync.RWMutex
	biases []float32
	plain  []float32 // weights as they come, for depth
}

// phase is the part of the result at places (y.at + i·StrideY, x.at + j·StrideX) of the padded input.
type phase struct {
	*Conv2D
	y, x  axisPhase
	first int // its first tile
}

// axisPhase is a phase along one axis.
type axisPhase struct {
	at, n         int   // first place, number of places
	taps          []int // taps of the convolution in the order of the phase's own
	pad, dilation int
}

// axisPhases lists the phases of places [lo, hi) along an axis; gaps says that
// some places have none.
func axisPhases(lo, hi, kernel, stride, dilation int) (list []axisPhase, gaps bool) {
	g := gcd(stride, dilation)
	for at := lo; at < min(hi, lo+stride); at++ {
		first := 0
		for first < min(kernel, stride/g) && (at-first*dilation)%stride != 0 {
			first++
		}
		if first == min(kernel, stride/g) {
			gaps = true
			continue
		}
		a := axisPhase{at: at, n: ceilDiv(hi-at, stride), dilation: dilation / g}
		for r := first; r < kernel; r += stride / g {
			a.taps = append([]int{r}, a.taps...)
		}
		a.pad = (len(a.taps)-1)*a.dilation - (at-first*dilation)/stride
		list = append(list, a)
	}
	return list, gaps
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// newInputGrad plans the way back of p. bias and act are what a transposed
// convolution has behind it.
func newInputGrad(pool *Pool, p conv.Problem, bias bool, act conv.Activation) (*inputGrad, error) {
	if pool == nil {
		return nil, fmt.Errorf("fast: the pool is nil, a plan needs one: %w", conv.ErrParams)
	}
	ks, err := choose()
	if err != nil {
		return nil, err
	}
	d := &inputGrad{p: p, pool: pool, ks: ks, bias: bias, act: act, fold: p.Mode != conv.Zeros}
	if farPadded(p) {
		d.padded, err = newPaddedGrad(pool, p)
		return d, err
	}
	y0, y1, x0, x1 := p.Pad.Top, p.Pad.Top+p.H, p.Pad.Left, p.Pad.Left+p.W
	if d.fold {
		y0, y1, x0, x1 = 0, y1+p.Pad.Bottom, 0, x1+p.Pad.Right
	}
	phasesY, gapsY := axisPhases(y0, y1, p.R, p.StrideY, p.DilationY)
	phasesX, gapsX := axisPhases(x0, x1, p.S, p.StrideX, p.DilationX)
	d.gaps = gapsY || gapsX
	if p.StrideY > 1 || p.StrideX > 1 {
		if d.depth = newDepthPhases(d, pool.workers); d.depth != nil {
			return d, nil
		}
	}
	for _, y := range phasesY {
		for _, x := range phasesX {
			q := conv.Problem{N: p.N, C: p.K, H: p.Ho, W: p.Wo, K: p.C, R: len(y.taps), S: len(x.taps), Ho: y.n, Wo: x.n,
				StrideY: 1, StrideX: 1, DilationY: y.dilation, DilationX: x.dilation,
				Pad: conv.Padding{Top: y.pad, Left: x.pad}, Groups: p.Groups, Bias: bias, Activation: act}
			q.Pad.Bottom = q.Ho - 1 + conv.Reach(q.R, q.DilationY) - q.H - q.Pad.Top
			q.Pad.Right = q.Wo - 1 + conv.Reach(q.S, q.DilationX) - q.W - q.Pad.Left
			if !d.fold && p.StrideY == 1 && p.StrideX == 1 {
				// Biases and weights come later, by setWeights.
				d.direct, err = NewConv2D(pool, q, make([]float32, q.Weight().Len()), make([]float32, q.K))
				d.phases = append(d.phases, phase{Conv2D: d.direct, y: y, x: x})
				return d, err
			}
			l, err := newLayout(pool, q, zonesOf, 64)
			if err != nil {
				return nil, err
			}
			l.collect = true
			if d.fold {
				l.rechunk(ceilDiv(6*pool.workers, max(p.N, 1)))
			}
			c := &Conv2D{layout: l, runs: l.ks.pack != nil}
			d.phases = append(d.phases, phase{c, y, x, d.tiles})
			d.tiles += l.tiles()
		}
	}
	if d.fold {
		// All phases have the same channels, so they are cut in the same way.
		d.tiles = p.N * d.phases[0].chunks
	}
	return d, nil
}

// rechunk cuts the channels of a result into about parts.
func (l *layout) rechunk(parts int) {
	if l.p.Groups > 1 {
		l.chunkG = max(1, l.p.Groups/parts)
		l.chunks = ceilDiv(l.p.Groups, l.chunkG)
		return
	}
	tall := l.ks.rows[0]
	l.chunkK = max(ceilDiv(ceilDiv(l.p.K, parts), tall)*tall, min(l.p.K, 4*tall))
	l.chunks = ceilDiv(l.p.K, l.chunkK)
}

// setWeights packs weight (K×C/groups×R×S of the convolution) and biases (C).
func (d *inputGrad) setWeights(weight, bias []float32) error {
	p := &d.p
	if err := length("weight", weight, p.Weight().Len(), p.Weight()); err != nil {
		return err
	}
	if d.bias && len(bias) != p.C {
		return fmt.Errorf("fast: bias has %d elements, it must have %d, one an output channel: %w", len(bias), p.C, conv.ErrShape)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bias {
		d.biases = append(d.biases[:0], bias...)
	}
	if d.padded != nil {
		return d.padded.setWeights(weight)
	}
	if d.depth != nil {
		d.plain = append(d.plain[:0], weight...)
		return nil
	}
	kg, cg := p.K/p.Groups, p.C/p.Groups
	for i := range d.phases {
		ph := &d.phases[i]
		turned := make([]float32, p.C*kg*len(ph.y.taps)*len(ph.x.taps))
		at := 0
		for c := range p.C {
			g := c / cg
			for k := g * kg; k < (g+1)*kg; k++ {
				kernel := weight[(k*cg+c-g*cg)*p.Taps():][:p.Taps()]
				for _, r := range ph.y.taps {
					for _, s := range ph.x.taps {
						turned[at] = kernel[r*p.S+s]
						at++
					}
				}
			}
		}
		if err := ph.SetWeights(turned, bias); err != nil {
			return err
		}
	}
	return nil
}

// run computes dx (N×C×H×W) from dy (N×K×Ho×Wo).
func (d *inputGrad) run(ctx context.Context, dx, dy []float32) error {
	if d.direct != nil {
		return d.direct.Run(ctx, dx, dy)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.padded != nil {
		return d.pool.run(ctx, d.padded, d.p.N*len(d.padded.list), dx, dy, nil, nil)
	}
	if d.depth != nil {
		return d.pool.run(ctx, d.depth, d.depth.units(), dx, dy, nil, nil)
	}
	if d.gaps && !d.fold {
		if err := d.pool.run(ctx, (*gapFill)(d), d.p.N*d.p.C, dx, nil, nil, nil); err != nil {
			return err
		}
	}
	return d.pool.run(ctx, d, d.tiles, dx, dy, nil, nil)
}

// gapFill writes what places hold that no tap feeds; a unit is a plane.
type gapFill inputGrad

func (d *gapFill) tile(i int, j *job, _ *scratch) {
	plane := j.y[i*d.p.H*d.p.W:][:d.p.H*d.p.W]
	if !d.bias {
		clear(plane)
	} else {
		for k := range plane {
			plane[k] = d.biases[i%d.p.C]
		}
	}
	d.ks.activate(d.act, plane)
}

func (d *inputGrad) tile(i int, j *job, s *scratch) {
	if d.fold {
		d.foldUnit(i, j, s)
		return
	}
	at := 0
	for at+1 < len(d.phases) && d.phases[at+1].first <= i {
		at++
	}
	ph := &d.phases[at]
	u := ph.unit(i - ph.first)
	ph.compute(&u, j.x, s)
	d.place(ph, &u, j.y, s)
}

// foldUnit computes all of some channels of an image, in an order of its own:
// several places of the padded image may be one of the image.
func (d *inputGrad) foldUnit(i int, j *job, s *scratch) {
	n, chunk := i/d.phases[0].chunks, i%d.phases[0].chunks
	for at := range d.phases {
		ph := &d.phases[at]
		for span := range ph.spans {
			if j.ended() {
				return
			}
			u := ph.unit((n*ph.spans+span)*ph.chunks + chunk)
			if at == 0 && span == 0 {
				first := u.g0*ph.kg + u.k0
				count := (u.g1 - u.g0) * (u.k1 - u.k0)
				clear(j.y[(n*d.p.C+first)*d.p.H*d.p.W:][:count*d.p.H*d.p.W])
			}
			ph.compute(&u, j.x, s)
			d.place(ph, &u, j.y, s)
		}
	}
}

// compute leaves a unit's outputs in s.sums.
func (ph *phase) compute(u *unit, x []float32, s *scratch) {
	panel := growAligned(&s.panel, ph.panelLen())
	var live []int32
	ph.blocks(u.g0, u.g1, func(_, t0, t1 int) {
		live = ph.planVectors(u, s, t0, t1)
	}, func(b block) {
		ph.packBlock(u, s, panel, x, b.c0, b.c1, live)
		ph.multiply(u, b, live, panel, nil, s)
	})
	if ph.p.Activation.Kind != conv.Identity {
		for i := range (u.g1 - u.g0) * (u.k1 - u.k0) {
			ph.ks.activate(ph.p.Activation, s.sums[i*ph.cols:][:u.q1-u.q0])
		}
	}
}

// place writes or adds a unit's outputs to their places in dx.
func (d *inputGrad) place(ph *phase, u *unit, dx []float32, s *scratch) {
	p := &d.p
	for g := u.g0; g < u.g1; g++ {
		for k := u.k0; k < u.k1; k++ {
			from := s.sums[((g-u.g0)*ph.kg+k-u.k0)*ph.cols:][:u.q1-u.q0]
			plane := dx[(u.n*p.C+g*ph.kg+k)*p.H*p.W:][:p.H*p.W]
			oy, ox := u.z.place(u.q0)
			for len(from) > 0 {
				n := min(len(from), u.z.x0+u.z.width-ox)
				iy := conv.MapPad(p.Mode, ph.y.at+oy*p.StrideY-p.Pad.Top, p.H)
				row := plane[iy*p.W:][:p.W]
				ix := ph.x.at + ox*p.StrideX - p.Pad.Left
				switch {
				case d.fold:
					for _, v := range from[:n] {
						row[conv.MapPad(p.Mode, ix, p.W)] += v
						ix += p.StrideX
					}
				case p.StrideX == 1:
					copy(row[ix:], from[:n])
				default:
					for _, v := range from[:n] {
						row[ix] = v
						ix += p.StrideX
					}
				}
				from = from[n:]
				oy, ox = oy+1, u.z.x0
			}
		}
	}
}

// workspace is what runs need of a pool's workers: their buffers serve all phases.
func (d *inputGrad) workspace() int64 {
	if d.direct != nil {
		return d.direct.Workspace()
	}
	if d.padded != nil {
		return int64(d.pool.workers) * d.padded.bytes()
	}
	if d.depth != nil {
		return int64(d.pool.workers) * d.depth.bytes()
	}
	floats, plans := [3]int{}, int64(0)
	for i := range d.phases {
		ph := &d.phases[i]
		for k, n := range [...]int{ph.panelLen(), ph.sumsLen(), ph.tapChunk()} {
			floats[k] = max(floats[k], n)
		}
		plans = max(plans, ph.planBytes())
	}
	return int64(d.pool.workers) * (4*int64(floats[0]+floats[1]+floats[2]) + plans)
}

func (d *inputGrad) describe() string {
	if d.direct != nil {
		return d.direct.Describe()
	}
	if d.padded != nil {
		return fmt.Sprintf("by taps, %s", d.ks.name)
	}
	if d.depth != nil {
		return fmt.Sprintf("depthwise, %s, %d phases together, tiles of %d channels × %d rows", d.ks.name, len(d.depth.list), d.depth.channels, d.depth.band)
	}
	if len(d.phases) == 0 {
		return "nothing reaches the image"
	}
	return fmt.Sprintf("%d phases, %s", len(d.phases), d.phases[0].Describe())
}
