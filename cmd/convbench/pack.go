package main

import (
	"context"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// pack is the predictor of a layer that computes its own offsets.
type pack struct{ weight, bias []float32 }

// oracle computes the layer's output. The deformable convolution reads offsets
// and masks that were themselves computed in float32; what their errors, up to
// δ, change comes on top of its own bound: δ times the slope by a position, and
// a mask's relative error times Σ|terms|.
func (k *pack) oracle(o operation) []conv.Sum {
	p := o.p
	predictor := p
	predictor.Groups, predictor.Bias, predictor.OffsetGroups, predictor.Mask = 1, true, 0, false
	each := p.C * p.Taps()
	predict := func(from, to int) (values []float32, absolute, relative float64) {
		predictor.K = to - from
		for _, s := range cpuref.Conv2D(predictor, o.x, k.weight[from*each:to*each], k.bias[from:to]) {
			v := float32(s.Value)
			values = append(values, v)
			bound := s.Bound(conv.ProductRoundings) + conv.Roundoff*max(s.Value, -s.Value)
			absolute = max(absolute, bound)
			if v > 0 {
				relative = max(relative, bound/float64(v))
			}
		}
		return values, absolute, relative
	}
	offsets := p.Offset()[1]
	offset, moved, _ := predict(0, offsets)
	var mask []float32
	var scaled float64
	if p.Mask {
		predictor.Activation.Kind = conv.Sigmoid
		mask, _, scaled = predict(offsets, offsets+p.MaskShape()[1])
	}
	sums := cpuref.DeformConv2D(p, o.x, offset, mask, o.weight, o.bias)
	for i := range sums {
		sums[i].Slack += moved*sums[i].Slope + scaled*sums[i].Abs
	}
	return sums
}

// forward runs the layer.
func (k *pack) forward(ctx context.Context, e *vkconv.Engine, o operation, y, x *vkconv.Tensor) (vkconv.Timing, error) {
	params, deform := o.params()
	weights := vkconv.PackWeights{Weight: o.weight, Bias: o.bias, Offset: k.weight, OffsetBias: k.bias}
	layer, err := e.NewDeformPack(o.p.Input(), weights, o.p.Weight(), params, deform)
	if err != nil {
		return vkconv.Timing{}, err
	}
	defer layer.Close()
	return e.Time(ctx, func() error { return layer.Run(ctx, y, x) })
}
