package fast

import (
	"context"
	"fmt"
	"sync"

	"vkconv/conv"
)

// DeformConv2DBackward differentiates [DeformConv2D]: see
// [vkconv/cpuref.DeformConv2DBackward] for the formulas. Make one with
// [NewDeformConv2DBackward]; its methods may be called from any number of goroutines.
type DeformConv2DBackward struct {
	p      conv.Problem
	pool   *Pool
	cols   *columnGrad
	offset *offsetGrad
	input  *sampleGrad
	weight *weightGrad
}

// NewDeformConv2DBackward packs weight (K×C/groups×R×S) into a plan for the
// gradients of a deformable problem; one with an activation is refused. Errors
// match [conv.ErrShape], [conv.ErrParams] or [conv.ErrUnsupported].
func NewDeformConv2DBackward(pool *Pool, p conv.Problem, weight []float32) (*DeformConv2DBackward, error) {
	if !p.Deformable() {
		return nil, fmt.Errorf("fast: the problem has no offset groups, NewDeformConv2DBackward needs one at least: %w", conv.ErrParams)
	}
	if err := noActivation(p.Activation); err != nil {
		return nil, err
	}
	l, err := newLayout(pool, p, whole, 256)
	if err != nil {
		return nil, err
	}
	d := &DeformConv2D{layout: l, sample: l.ks.sample}
	if p.W < 2 {
		d.sample = sampleGo
	}
	b := &DeformConv2DBackward{p: p, pool: pool, cols: newColumnGrad(l)}
	b.offset, b.input = newOffsetGrad(b.cols), newSampleGrad(b.cols)
	b.weight = newWeightGrad(&deformPanels{d}, l)
	return b, b.SetWeights(weight)
}

// SetWeights packs another weight (K×C/groups×R×S) into the plan. It waits for
// runs in progress.
func (b *DeformConv2DBackward) SetWeights(weight []float32) error { return b.cols.setWeights(weight) }

// Run computes the gradients that are wanted, given dy (N×K×Ho×Wo), those by
// the output, and the forward pass's inputs: x (N×C×H×W; not looked at for the
// gradient by itself), offset (N×(2·offsetGroups·R·S)×Ho×Wo) and mask
// (N×(offsetGroups·R·S)×Ho×Wo, only looked at with p.Mask). Otherwise it is like
// [Conv2DBackward.Run].
//
// At whole pixels the gradient by the offset is the slope towards larger y and x,
// as in torchvision. Where an offset is NaN, so are the gradients it takes part in;
// a neighbour outside the image takes no part, whatever dy and its pixel would be.
func (b *DeformConv2DBackward) Run(ctx context.Context, g Grads, x, offset, mask, dy []float32) error {
	p := &b.p
	if err := checkGrads(b.p, g, x, dy); err != nil {
		return err
	}
	if err := length("offset", offset, p.Offset().Len(), p.Offset()); err != nil {
		return err
	}
	if p.Mask {
		if err := length("mask", mask, p.MaskShape().Len(), p.MaskShape()); err != nil {
			return err
		}
	}
	if g.Offset != nil {
		if err := length("doffset", g.Offset, p.Offset().Len(), p.Offset()); err != nil {
			return err
		}
	}
	if g.Mask != nil {
		if !p.Mask {
			return fmt.Errorf("fast: a gradient by the mask is wanted, the problem has none: %w", conv.ErrParams)
		}
		if err := length("dmask", g.Mask, p.MaskShape().Len(), p.MaskShape()); err != nil {
			return err
		}
	}
	b.cols.mu.RLock()
	defer b.cols.mu.RUnlock()
	a := gradArgs{g: g, dy: dy}
	if g.Offset != nil || g.Mask != nil {
		if err := b.pool.runGrad(ctx, b.offset, p.N*b.cols.spans, a, nil, x, offset, mask); err != nil {
			return err
		}
	}
	if g.X != nil {
		if err := b.pool.runGrad(ctx, b.input, b.input.units, a, nil, nil, offset, mask); err != nil {
			return err
		}
	}
	if g.Weight != nil {
		if err := b.weight.run(ctx, g.Weight, x, offset, mask, dy); err != nil {
			return err
		}
	}
	if g.Bias != nil {
		return biasGrad(ctx, b.pool, p.N, p.K, p.Ho*p.Wo, g.Bias, dy)
	}
	return nil
}

// Workspace returns the bytes that runs need beyond inputs, outputs and packed
// weights. It grows with a row of the image at most, and plans of one pool share
// most of it; each run that goes on at the same time needs its own partial sums.
func (b *DeformConv2DBackward) Workspace() int64 {
	return b.offset.workspace() + b.input.workspace() + b.weight.workspace()
}

// Describe says how the plan computes.
func (b *DeformConv2DBackward) Describe() string {
	return fmt.Sprintf("dx, doffset, dmask: gradients by the samples, tiles of %d pixels, dx of %d channels × %d rows a unit; dweight: %s",
		b.cols.pixels, b.input.channels, b.input.band, b.weight.describe())
}

// columnGrad computes the gradient by the samples of a tile of pixels, one tap
// and some channels at a time,
//
//	col[c, pixel] = Σ_k weight[k,c,tap] · dy[k,pixel]
//
// It is never in memory as a whole.
type columnGrad struct {
	*layout
	parts  []part
	pixels int // of a tile
	spans  int // tiles of an image

	mu      sync.RWMutex
	weights []float32 // packed: [part][tap][micro-tile of channels][k][channel]
}

// part is channels [c0, c1) of one group of weights and one of offsets.
type part struct {
	g, og, c0, c1 int
	at            int // where its weights begin
}

// columnFloats bounds a tile's packed dy.
const columnFloats = 1 << 16

func newColumnGrad(l *layout) *columnGrad {
	d := &columnGrad{layout: l}
	at := 0
	for c := 0; c < l.p.C; {
		q := part{g: c / l.cg, og: c / l.cog, c0: c, at: at}
		q.c1 = min((q.g+1)*l.cg, (q.og+1)*l.cog)
		at += (q.c1 - q.c0) * l.kg * l.taps
		c = q.c1
		d.parts = append(d.parts, q)
	}
	sub := l.ks.nv * l.ks.lanes
	plane := l.p.Ho * l.p.Wo
	d.pixels = min(tileSubs, max(1, columnFloats/(sub*l.p.K))) * sub
	for d.pixels > sub && l.p.N*ceilDiv(plane, d.pixels) < 8 {
		d.pixels -= sub
	}
	d.spans = ceilDiv(plane, d.pixels)
	return d
}

func (d *columnGrad) setWeights(weight []float32) error {
	p := &d.p
	if err := length("weight", weight, p.Weight().Len(), p.Weight()); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.weights == nil {
		d.weights = make([]float32, len(weight))
	}
	to := d.weights
	for _, q := range d.parts {
		for t := range d.taps {
			for c := q.c0; c < q.c1; {
				mr := d.ks.height(q.c1 - c)
				for k := q.g * d.kg; k < (q.g+1)*d.kg; k++ {
					for i := range mr {
						to[i] = weight[(k*d.cg+c+i-q.g*d.cg)*d.taps+t]
					}
					to = to[mr:]
				}
				c += mr
			}
		}
	}
	return nil
}

// whole is the largest number of channels up to n made of tallest micro-tiles, so
// that weights packed for all channels of a part serve a stretch of them.
func (ks *kernels) whole(n int) int { return n / ks.rows[0] * ks.rows[0] }

// packOuts packs dy of groups [g0, g1) at pixels [q0, q1) of image n: sub-panels
// of [k][pixels].
func (d *columnGrad) packOuts(s *scratch, dy []float32, n, g0, g1, q0, q1 int) []float32 {
	p := &d.p
	rows := (g1 - g0) * d.kg
	width := d.ks.nv * d.ks.lanes
	plane := p.Ho * p.Wo
	dst := growAligned(&s.grad.outs, rows*d.pixels)
	src := dy[(n*p.K+g0*d.kg)*plane:][:rows*plane]
	for q := q0; q < q1; q += width {
		m := min(width, q1-q)
		d.ks.copyRows(dst[(q-q0)*rows:], ceilDiv(m, d.ks.lanes)*d.ks.lanes, src[q:], plane, rows, m)
	}
	return dst
}

// compute writes col of channels [c0, c1) of a part at a tap: rows pixels apart. outs
// are groups [g0, g1) of dy.
func (d *columnGrad) compute(col []float32, q *part, c0, c1, tap int, outs []float32, g0, g1, pixels int) {
	lanes := d.ks.lanes
	width := d.ks.nv * lanes
	rows := (g1 - g0) * d.kg
	for c := c0; c < c1; {
		mr := d.ks.height(q.c1 - c)
		a := d.weights[q.at+(tap*(q.c1-q.c0)+c-q.c0)*d.kg:][:mr*d.kg]
		for at := 0; at < pixels; at += width {
			n := min(width, pixels-at)
			nv := ceilDiv(n, lanes)
			b := outs[at*rows+(q.g-g0)*d.kg*nv*lanes:]
			d.ks.gemm(col[(c-c0)*d.pixels+at:], d.pixels, a, b, zeroBias[:], oneSegment, d.kg, 0, mr, nv, n-(nv-1)*lanes)
		}
		c += mr
	}
}
