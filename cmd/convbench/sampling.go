package main

import (
	"context"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// dcn is a DCNv3, or a DCNv4 whose packed tensor is the offset; dy is nil for
// the forward pass alone.
type dcn struct {
	d                   conv.DCN
	x, offset, mask, dy []float32
	outside             bool // what is expected was computed in float64, positions too
}

func (o dcn) kind() string {
	if o.d.Packed {
		return "dcnv4"
	}
	return "dcnv3"
}

func (o dcn) describe() string { return shapeOf(o.d.Input(), o.d.Output()) }

func (o dcn) oracle() []answer {
	d := o.d
	var y []conv.Sum
	var g cpuref.Gradients
	if o.outside {
		y, g = oracleDCN(d, wide(o.x), wide(o.offset), wide(o.mask), wide(o.dy))
	} else {
		y, g = oracleDCN(d, o.x, o.offset, o.mask, o.dy)
	}
	all := want("y", d.Output(), y, conv.DCNRoundings)
	all = append(all, want("dx", d.Input(), g.X, conv.DCNRoundings)...)
	all = append(all, want("doffset", d.Offset(), g.Offset, conv.DCNRoundings)...)
	return append(all, want("dmask", d.MaskShape(), g.Mask, conv.DCNRoundings)...)
}

func oracleDCN[T cpuref.Float](d conv.DCN, x, offset, mask, dy []T) (y []conv.Sum, g cpuref.Gradients) {
	if d.Packed {
		y = cpuref.DCNv4(d, x, offset)
		if dy != nil {
			g = cpuref.DCNv4Backward(d, x, offset, dy)
		}
		return y, g
	}
	y = cpuref.DCNv3(d, x, offset, mask)
	if dy != nil {
		g = cpuref.DCNv3Backward(d, x, offset, mask, dy)
	}
	return y, g
}

// wide is the same numbers in float64; nil stays nil.
func wide(v []float32) []float64 { return cpuref.Exactly(v).Value }

func (o dcn) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	d, t := o.d, tensors{e: e}
	defer t.free()
	p := conv.DCNParams{Kernel: [2]int{d.R, d.S}, Stride: [2]int{d.StrideY, d.StrideX}, Dilation: [2]int{d.DilationY, d.DilationX},
		Padding: d.Pad, Groups: d.Groups, OffsetScale: d.Scale, RemoveCenter: d.RemoveCenter, Softmax: d.Softmax}
	x, offset, dy := t.of(d.Input(), o.x), t.of(d.Offset(), o.offset), t.of(d.Output(), o.dy)
	y := t.result("y", d.Output())
	var g vkconv.Gradients
	if o.dy != nil {
		g.X, g.Offset = t.result("dx", d.Input()), t.result("doffset", d.Offset())
	}
	if d.Packed {
		l, err := e.NewDCNv4(d.Input(), p)
		if err != nil || t.err != nil {
			return nil, first(t.err, err)
		}
		defer l.Close()
		if err := l.Run(ctx, y, x, offset); err != nil {
			return nil, err
		}
		if o.dy != nil {
			err = l.RunBackward(ctx, g, x, offset, dy)
		}
		return t.results(ctx, err)
	}
	mask := t.of(d.MaskShape(), o.mask)
	if o.dy != nil {
		g.Mask = t.result("dmask", d.MaskShape())
	}
	l, err := e.NewDCNv3(d.Input(), p)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer l.Close()
	if err := l.Run(ctx, y, x, offset, mask); err != nil {
		return nil, err
	}
	if o.dy != nil {
		err = l.RunBackward(ctx, g, x, offset, mask, dy)
	}
	return t.results(ctx, err)
}

// roiPool is a deformable RoI pooling of either kind; offset, mask and dy are
// nil where there are none.
type roiPool struct {
	q                         conv.RoIPool
	x, rois, offset, mask, dy []float32
	outside                   bool // as in dcn
}

func (o roiPool) kind() string {
	if o.q.PositionSensitive {
		return "psroi pool"
	}
	return "roi pool"
}

func (o roiPool) describe() string { return shapeOf(o.q.Input(), o.q.Output()) }

func (o roiPool) oracle() []answer {
	q := o.q
	var y []conv.Sum
	var g cpuref.Gradients
	if o.outside {
		y, g = oracleRoIPool(q, wide(o.x), wide(o.rois), wide(o.offset), wide(o.mask), wide(o.dy))
	} else {
		y, g = oracleRoIPool(q, o.x, o.rois, o.offset, o.mask, o.dy)
	}
	all := want("y", q.Output(), y, conv.RoIPoolRoundings)
	if o.dy == nil {
		return all
	}
	all = append(all, want("dx", q.Input(), g.X, conv.RoIPoolRoundings)...)
	if q.Offset {
		all = append(all, want("doffset", q.OffsetShape(), g.Offset, conv.RoIPoolRoundings)...)
	}
	if q.Mask {
		all = append(all, want("dmask", q.MaskShape(), g.Mask, conv.RoIPoolRoundings)...)
	}
	return all
}

func oracleRoIPool[T cpuref.Float](q conv.RoIPool, x, rois, offset, mask, dy []T) (y []conv.Sum, g cpuref.Gradients) {
	y = cpuref.RoIPool(q, x, rois, offset, mask)
	if dy != nil {
		g = cpuref.RoIPoolBackward(q, x, rois, offset, mask, dy)
	}
	return y, g
}

func (o roiPool) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	q, t := o.q, tensors{e: e}
	defer t.free()
	x, rois, dy := t.of(q.Input(), o.x), t.of(q.RoIShape(), o.rois), t.of(q.Output(), o.dy)
	y := t.result("y", q.Output())
	var offset, mask *vkconv.Tensor
	var g vkconv.Gradients
	if o.dy != nil {
		g.X = t.result("dx", q.Input())
	}
	if q.Offset {
		if offset = t.of(q.OffsetShape(), o.offset); o.dy != nil {
			g.Offset = t.result("doffset", q.OffsetShape())
		}
	}
	if q.Mask {
		if mask = t.of(q.MaskShape(), o.mask); o.dy != nil {
			g.Mask = t.result("dmask", q.MaskShape())
		}
	}
	if t.err != nil {
		return nil, t.err
	}
	l, err := o.plan(e)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := l.Run(ctx, y, x, rois, offset, mask); err != nil {
		return nil, err
	}
	if o.dy != nil {
		err = l.RunBackward(ctx, g, x, rois, offset, mask, dy)
	}
	return t.results(ctx, err)
}

func (o roiPool) plan(e *vkconv.Engine) (*vkconv.RoIPool, error) {
	q := o.q
	if q.PositionSensitive {
		return e.NewDeformPSRoIPool(q.Input(), q.RoIs, conv.PSRoIPoolParams{OutputChannels: q.K, GroupSize: q.Group, PooledSize: q.Ho,
			PartSize: q.PartY, SamplePerPart: q.Samples, SpatialScale: q.SpatialScale, TransStd: q.Gamma, Classes: q.Classes, Offset: q.Offset, Mask: q.Mask})
	}
	return e.NewDeformRoIPool(q.Input(), q.RoIs, conv.RoIPoolParams{Bins: [2]int{q.Ho, q.Wo}, SpatialScale: q.SpatialScale,
		SamplingRatio: q.Samples, Gamma: q.Gamma, Offset: q.Offset, Mask: q.Mask})
}
