package cpuref

import (
	"math"

	"vkconv/conv"
)

// RoIPoolBackward differentiates [RoIPool]. With X a sample of a bin, m the bin's
// mask, γ the offsets' factor and (w, h) the extents of the region, every y
// contributes by each of its samples
//
//	dx at the four neighbours += m·dy/count · the neighbour's share of X
//	doffset += γ·m·dy/count · (w·∂X/∂x, h·∂X/∂y)      dmask += dy/count · X
//
// Along an axis in which the sample is that of the edge, ∂X is 0. There the
// published backward pass of mmcv computes something else, which is not the
// derivative of its forward pass; everywhere else they agree. At whole pixels
// the plain form takes the derivative towards larger coordinates, as mmcv does,
// the position-sensitive one takes 0, as the authors' code does. Regions have no
// gradient.
func RoIPoolBackward[T Float](q conv.RoIPool, x, rois, offset, mask, dy []T) Gradients {
	p := newPool(q, x, rois, offset, mask)
	check("dy", dy, q.Output())
	g := Gradients{X: make([]conv.Sum, len(x))}
	if q.Offset {
		g.Offset = make([]conv.Sum, len(offset))
	}
	if q.Mask {
		g.Mask = make([]conv.Sum, len(mask))
	}
	for i := range dy {
		p.scatter(g, i, float64(dy[i]))
	}
	return g
}

// scatter adds what the i-th element of the output contributes.
func (p pool[T]) scatter(g Gradients, i int, dy float64) {
	q := p.q
	b := p.bin(p.index(i))
	if !b.ok {
		return
	}
	count := p.samples(b, func(Sample, [2]int, [2]int, float64, float64, [2]float64) {})
	if count == 0 {
		return
	}
	dy /= float64(count)
	m := p.modulation(b)
	image := g.X[(b.image*q.C+b.channel)*q.H*q.W:][:q.H*q.W]
	toX, toY := float64(q.Gamma)*float64(b.width)*m*dy, float64(q.Gamma)*float64(b.height)*m*dy
	p.samples(b, func(s Sample, ys, xs [2]int, fy, fx float64, off [2]float64) {
		if !math.IsNaN(fy + fx) { // a NaN position has no pixels
			for corner := range 4 {
				share := [2]float64{1 - fy, fy}[corner/2] * [2]float64{1 - fx, fx}[corner%2]
				to := &image[ys[corner/2]*q.W+xs[corner%2]]
				to.Add(share * m * dy)
				to.Slack += shift(m*dy, [2]float64{1 - fx, fx}[corner%2], off[0], [2]float64{1 - fy, fy}[corner/2], off[1])
			}
		}
		if q.Offset {
			g.Offset[b.part].AddSampled(toX*s.Dx, toX*s.DxAbs, 0)
			g.Offset[b.part+q.PartY*q.PartX].AddSampled(toY*s.Dy, toY*s.DyAbs, 0)
			byX, byY := &g.Offset[b.part], &g.Offset[b.part+q.PartY*q.PartX]
			byX.Slack += shift(toX, s.TwistAbs, off[0], 0, 0) + shift(float64(q.Gamma)*m*dy, s.DxAbs, b.widthOff, 0, 0)
			byY.Slack += shift(toY, s.TwistAbs, off[1], 0, 0) + shift(float64(q.Gamma)*m*dy, s.DyAbs, b.heightOff, 0, 0)
		}
		if q.Mask {
			g.Mask[b.partX].AddSampled(dy*s.Value, dy*s.Abs, 0)
			g.Mask[b.partX].Slack += shift(dy, s.DyAbs, off[0], s.DxAbs, off[1])
		}
	})
}
