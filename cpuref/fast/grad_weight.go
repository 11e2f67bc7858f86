package fast

import (
	"context"
	"fmt"
	"math"
	"sync"
)

const (
	gradOutputs = 128     // output channels of a unit, twice that where there are enough units
	gradRows    = 384     // rows of a block of panels: times the output channels of a unit, they are its sums
	gradTile    = 192     // pixels of a tile, or four sub-panels: a product runs along them
	gradUnits   = 16      // units that a small gradient is split into, by pixels
	gradPixels  = 256     // pixels of a slice at least
	gradReduce  = 1 << 14 // elements of a unit that adds up slices
)

// panels packs a tile's input as the forward pass does: [Conv2D] or [DeformConv2D].
type panels interface {
	plan(u *unit, j *job, s *scratch, og, t0, t1 int) (live []int32)
	pack(u *unit, j *job, s *scratch, panel []float32, c0, c1 int, live []int32)
	planBytes() int64 // of one worker
}

type convPanels struct{ c *Conv2D }

func (c *convPanels) plan(u *unit, j *job, s *scratch, _, t0, t1 int) []int32 {
	return c.c.planVectors(u, s, t0, t1)
}

func (c *convPanels) pack(u *unit, j *job, s *scratch, panel []float32, c0, c1 int, live []int32) {
	c.c.packBlock(u, s, panel, j.x, c0, c1, live)
}

func (c *convPanels) planBytes() int64 { return c.c.planBytes() }

type deformPanels struct{ d *DeformConv2D }

func (d *deformPanels) plan(u *unit, j *job, s *scratch, og, t0, t1 int) []int32 {
	return d.d.planSamples(u, s, j.offset, j.mask, og, t0, t1)
}

func (d *deformPanels) pack(u *unit, j *job, s *scratch, panel []float32, c0, c1 int, live []int32) {
	d.d.sampleBlock(u, s, panel, j.x, c0, c1, live)
}

func (d *deformPanels) planBytes() int64 { return d.d.planBytes() }

// weightGrad computes the gradient by the weight,
//
//	dweight[k,c,t] = Σ_pixels dy[k] · x[c, where tap t reads]
//
// a matrix product whose reduction runs over pixels. The forward pass's panels
// of x (one row a channel and tap, vectors along pixels) are transposed, and dy
// likewise, so that the same micro-kernel multiplies them:
//
//	           a run of (tap, channel) rows
//	           ├────────────────┤
//	       px  │ x  transposed  │
//	k   ┌────┐ └────────────────┘
//	│dyᵀ│    │ ┌────────────────┐  taps that meet only padding in a tile
//	└───┴────┘ │ dweight        │  end a run; their rows are left alone
//
// A unit of work owns the rows of a block for some output channels and adds up
// its tiles in order. Where that makes few units, tiles are split into slices
// with sums of their own, added in order afterwards: how many depends on the
// problem alone, so results do not depend on the number of workers.
type weightGrad struct {
	*layout
	panels
	list    []weightBlock
	outputs int // output channels of a unit at most, about
	slices  int
	units   int

	depth *depthGrad // everything, where groups have one input channel

	parts freeList[[]float32]
	sum   sumSlices
}

// weightBlock is a block of the reduction of the forward pass, for output channels [k0, k1) of its groups.
type weightBlock struct {
	block
	og, k0, k1 int
}

func newWeightGrad(panels panels, l *layout) *weightGrad {
	l.rows = gradRows // the panels' layout and ours are one
	w := &weightGrad{layout: l, panels: panels, depth: newDepthGrad(l)}
	// The fewest tiles: what is reduced is better long, and tiles are no units here.
	l.subs = min(max(tileSubs, gradTile/(l.ks.nv*l.ks.lanes)), mostSubs)
	l.cut()
	w.outputs = 2 * gradOutputs
	if w.cut(); len(w.list) < gradUnits {
		w.outputs = gradOutputs
		w.cut()
	}
	pixels := l.p.N * l.p.Ho * l.p.Wo
	w.slices = max(1, min(ceilDiv(gradUnits, len(w.list)), l.p.N*l.spans, pixels/gradPixels))
	w.units = len(w.list) * w.slices
	w.sum = sumSlices{w.slices, l.p.Weight().Len()}
	return w
}

// cut lists the blocks, for at most w.outputs output channels each.
func (w *weightGrad) cut() {
	w.list = w.list[:0]
	og := 0
	w.blocks(0, w.p.Groups, func(o, _, _ int) { og = o }, func(b block) {
		parts := ceilDiv(w.kg, w.outputs)
		for i := range parts {
			w.list = append(w.list, weightBlock{b, og, w.whole(i * w.kg / parts), w.whole((i + 1) * w.kg / parts)})
		}
		w.list[len(w.list)-1].k1 = w.kg
	})
}

// whole rounds output channels down to whole micro-tiles.
func (w *weightGrad) whole(k int) int { return w.ks.whole(k) }

func (w *weightGrad) run(ctx context.Context, dw, x, offset, mask, dy []float32) error {
	a := gradArgs{dy: dy}
	if w.depth != nil {
		return w.pool.runGrad(ctx, w.depth, w.depth.units(), a, dw, x, nil, nil)
	}
	if w.slices > 1 {
		if a.part = w.parts.get(); a.part == nil {
			a.part = make([]float32, w.slices*len(dw))
		}
		defer w.parts.put(a.part)
	}
	if err := w.pool.runGrad(ctx, w, w.units, a, dw, x, offset, mask); err != nil || w.slices == 1 {
		return err
	}
	return w.pool.runGrad(ctx, &w.sum, ceilDiv(len(dw), gradReduce), a, dw, nil, nil, nil)
}

// sumSlices adds up slices in order.
type sumSlices struct{ slices, n int }

func (w *sumSlices) tile(i int, j *job, _ *scratch) {
	lo, hi := i*gradReduce, min((i+1)*gradReduce, w.n)
	sum := j.y[lo:hi]
	copy(sum, j.part[lo:hi])
	for s := 1; s < w.slices; s++ {
		part := j.part[s*w.n+lo:][:len(sum)]
		for e, v := range part {
			sum[e] += v
		}
	}
}

func (w *weightGrad) tile(i int, j *job, s *scratch) {
	b := &w.list[i/w.slices]
	slice := i % w.slices
	rows := (b.c1 - b.c0) * (b.t1 - b.t0)
	acc := growAligned(&s.grad.acc, w.accLen())[:rows*(b.k1-b.k0)]
	clear(acc)
	tiles := w.p.N * w.spans
	for t := slice * tiles / w.slices; t < (slice+1)*tiles/w.slices; t++ {
		if j.ended() {
			return
		}
		s.grad.unit = w.unit(t * w.chunks)
		w.addTile(b, &s.grad.unit, j, s, acc)
	}
	to := j.y
	if w.slices > 1 {
		n := w.p.Weight().Len()
		to = j.part[slice*n:][:n]
	}
	for g := b.g0; g < b.g1; g++ {
		part := w.of(b.block, g)
		n := part.c1 - part.c0
		for k := b.k0; k < b.k1; k++ {
			kernels := to[((g*w.kg+k)*w.cg+part.c0-g*w.cg)*w.taps+b.t0:]
			w.unpack(kernels, acc, n, b.t1-b.t0, s)
			acc = acc[n*(b.t1-b.t0):]
		}
	}
}

// unpack writes kernels of n channels, whose taps lie together, from sums of which
// channels do.
func (w *weightGrad) unpack(kernels, sums []float32, n, taps int, s *scratch) {
	if taps == 1 && w.taps == 1 {
		copy(kernels, sums[:n])
		return
	}
	t, eights := 0, n&^7
	for ; eights > 0 && t+8 <= taps; t += 8 {
		for i := range s.grad.at {
			s.grad.at[i] = int32((t + i) * n)
		}
		w.ks.transpose(kernels[t:], w.taps, sums, &s.grad.at, eights)
		for i := range 8 {
			for c := eights; c < n; c++ {
				kernels[c*w.taps+t+i] = sums[(t+i)*n+c]
			}
		}
	}
	for ; t < taps; t++ {
		for c, v := range sums[t*n:][:n] {
			kernels[c*w.taps+t] = v
		}
	}
}

// addTile adds the pixels of one tile to a block's sums: for each group [k][tap][channel].
func (w *weightGrad) addTile(b *weightBlock, u *unit, j *job, s *scratch, acc []float32) {
	live := w.plan(u, j, s, b.og, b.t0, b.t1)
	if len(live) == 0 {
		return
	}
	all := b.c1 - b.c0
	panel := growAligned(&s.panel, w.panelLen())
	w.pack(u, j, s, panel, b.c0, b.c1, live)
	for g := b.g0; g < b.g1; g++ {
		part := w.of(b.block, g)
		n := part.c1 - part.c0
		ldc := n * (b.t1 - b.t0)
		outs := w.packOuts(g, b.k0, b.k1, u, j.dy, s)
		for first := 0; first < len(live); {
			last := first + 1
			for last < len(live) && live[last] == live[last-1]+1 {
				last++
			}
			to := acc[int(live[first])*n:]
			lanes := (last - first) * n
			vectors := ceilDiv(lanes, w.ks.lanes)
			parts := ceilDiv(vectors, w.ks.nv)
			for i := range parts {
				v0, v1 := i*vectors/parts, (i+1)*vectors/parts
				lo, hi := v0*w.ks.lanes, min(v1*w.ks.lanes, lanes)
				rows := w.packRows(u, panel, len(live)*all, first*all+part.c0-b.c0, all, n, lo, hi, v1-v0, s)
				w.product(to[lo:], ldc, b, outs, rows, u.q1-u.q0, v1-v0, hi-lo-(v1-v0-1)*w.ks.lanes)
			}
			first = last
		}
		acc = acc[ldc*(b.k1-b.k0):]
	}
}

// product multiplies packed dy with packed rows.
func (w *weightGrad) product(c []float32, ldc int, b *weightBlock, outs, rows []float32, pixels, nv, tail int) {
	for k := b.k0; k < b.k1; {
		mr := w.ks.height(b.k1 - k)
		w.ks.gemm(c[(k-b.k0)*ldc:], ldc, outs[:pixels*mr], rows, nil, oneSegment, pixels, 0, mr, nv, tail)
		outs = outs[pixels*mr:]
		k += mr
	}
}

// packRows transposes lanes [lo, hi) of a run: lane t·n+c is row first + t·all + c of a panel of rows rows.
func (w *weightGrad) packRows(u *unit, panel []float32, rows, first, all, n, lo, hi, nv int, s *scratch) []float32 {
	lanes := w.ks.lanes
	width := nv * lanes
	dst := growAligned(&s.grad.rows, w.rowsLen())
	at, from := &s.grad.at, &s.grad.from
	for e := lo; e < hi; e += 8 {
		for i := range at {
			lane := min(e+i, hi-1)
			at[i] = int32(first + lane/n*all + lane%n)
		}
		for i := range u.subs {
			v0, subs := u.sub(i)
			src := panel[rows*v0*lanes:]
			for i, r := range at {
				from[i] = r * int32(subs*lanes)
			}
			to := dst[v0*lanes*width+e-lo:]
			if rest := width - (e - lo); rest < 8 { // vectors of four: an eighth column would be the next row's
				transposeSome(to, width, src, from[:rest], subs*lanes)
			} else {
				w.ks.transpose(to, width, src, from, subs*lanes)
			}
		}
	}
	return dst[:u.vectors*lanes*width]
}

// packOuts transposes dy at a unit's pixels for channels [k0, k1) of a group, as weights are packed.
func (w *weightGrad) packOuts(g, k0, k1 int, u *unit, dy []float32, s *scratch) []float32 {
	p := &w.p
	pixels := u.q1 - u.q0
	dst := growAligned(&s.grad.outs, w.outsLen())
	plane := p.Ho * p.Wo
	to := dst
	for k := k0; k < k1; {
		mr := w.ks.height(k1 - k)
		src := dy[(u.n*p.K+g*w.kg+k)*plane:][:mr*plane]
		oy, ox := u.z.place(u.q0)
		for q := 0; q < pixels; {
			n := min(pixels-q, u.z.x0+u.z.width-ox)
			if u.z.width == p.Wo {
				n = pixels
			}
			w.ks.transposeRows(to[q*mr:], src[oy*p.Wo+ox:], plane, mr, n, &s.grad.at)
			q += n
			oy, ox = oy+1, u.z.x0
		}
		to = to[pixels*mr:]
		k += mr
	}
	return dst
}

// transposeRows turns mr rows of n: dst[l·mr+i] = src[i·stride+l].
func (ks *kernels) transposeRows(dst, src []float32, stride, mr, n int, at *[8]int32) {
	if mr == 8 && n >= 8 && 7*stride <= math.MaxInt32 {
		for i := range at {
			at[i] = int32(i * stride)
		}
		ks.transpose(dst, 8, src, at, n&^7)
		if n&7 != 0 { // once more, from eight before the end
			ks.transpose(dst[(n-8)*8:], 8, src[n-8:], at, 8)
		}
		return
	}
	if mr == 4 && n >= 4 {
		ks.transposeFours(dst, src, stride, n&^3)
		if n&3 != 0 {
			ks.transposeFours(dst[(n-4)*4:], src[n-4:], stride, 4)
		}
		return
	}
	for i := range mr {
		row := src[i*stride:][:n]
		for l, v := range row {
			dst[l*mr+i] = v
		}
	}
}

// transposeFoursGo is kernels.transposeFours.
func transposeFoursGo(dst, src []float32, stride, n int) {
	for i := range 4 {
		for l, v := range src[i*stride:][:n] {
			dst[4*l+i] = v
		}
	}
}

// transposeGo is kernels.transpose.
func transposeGo(dst []float32, dstStride int, src []float32, at *[8]int32, n int) {
	transposeSome(dst, dstStride, src, at[:], n)
}

// transposeSome is kernels.transpose of fewer rows.
func transposeSome(dst []float32, dstStride int, src []float32, at []int32, n int) {
	for i, o := range at {
		row := src[o:][:n]
		for l, v := range row {
			dst[l*dstStride+i] = v
		}
	}
}

func (w *weightGrad) accLen() int {
	most := 0
	for i := range w.list {
		b := &w.list[i]
		most = max(most, (b.c1-b.c0)*(b.t1-b.t0)*(b.k1-b.k0))
	}
	return most
}

func (w *weightGrad) rowsLen() int { return w.cols * w.ks.nv * w.ks.lanes }

func (w *weightGrad) outsLen() int { return w.cols * min(w.kg, w.outputs+w.ks.rows[0]) }

// workspace is what runs need of a pool's workers, and the slices of one run.
func (w *weightGrad) workspace() int64 {
	if w.depth != nil {
		return int64(w.pool.workers) * w.depth.bytes()
	}
	tile := 4 * (w.panelLen() + w.tapChunk() + w.accLen() + w.rowsLen() + w.outsLen())
	return int64(w.pool.workers)*(int64(tile)+w.planBytes()) + w.fixed()
}

// fixed is the part of it that does not depend on how many workers there are: the slices.
func (w *weightGrad) fixed() int64 {
	if w.depth != nil || w.slices == 1 {
		return 0
	}
	return 4 * int64(w.sum.n) * int64(w.slices)
}

func (w *weightGrad) describe() string {
	if w.depth != nil {
		return w.depth.describeGrad()
	}
	return fmt.Sprintf("product over pixels of transposed panels, %s, %d units of work in %d slices", w.ks.name, w.units, w.slices)
}

// freeList keeps what runs need one of each, so that they allocate nothing in
// the steady state.
type freeList[T any] struct {
	mu   sync.Mutex
	free []T
}

func (f *freeList[T]) get() (v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		v, f.free = f.free[n-1], f.free[:n-1]
	}
	return v
}

func (f *freeList[T]) put(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = append(f.free, v)
}
