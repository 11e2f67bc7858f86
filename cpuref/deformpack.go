package cpuref

import (
	"math"

	"vkconv/conv"
)

// DeformPack computes the layer that predicts its own offsets, mmcv's
// DeformConv2dPack and, with p.Mask, ModulatedDeformConv2dPack:
//
//	(Δ, z) = conv2d(x; predictor)        y = f(deform_conv2d(x, Δ, sigmoid(z); filter))
//
// with f the activation. The predictor has the kernel, stride, padding and
// dilation of p and one group; its outputs are the channels of the offset and
// behind them those of the mask. Errors of a computation in T are bounded with
// [conv.SampleRoundings]; they hold those of the predicted offsets, as long as
// these are [PredictedClear].
func DeformPack[T Float](p conv.Problem, x []T, filter, predictor Filter[T]) []conv.Sum {
	r := newPack(p, x, filter, predictor)
	return chainOf[T]().activated(p.Activation, r.z)
}

// PredictedClear reports whether no predicted offset of a [DeformPack] is so
// close to a whole pixel that a float32 computation may find it on the other
// side, where gradients by it are others.
func PredictedClear[T Float](p conv.Problem, x []T, predictor Filter[T]) bool {
	r := packRun{p: p, in: Exactly(x)}
	predict(&r, predictor)
	for i, v := range r.offset.Value {
		if off := 4 * r.offset.Off[i]; off > 0 && math.Floor(v-off) != math.Floor(v+off) {
			return false
		}
	}
	return true
}

// packRun is a forward pass with everything in between.
type packRun struct {
	p                        conv.Problem
	in, offset, logits, mask Approx
	weight, bias             Approx
	z                        []conv.Sum // before the activation
}

// predictorOf is the convolution that predicts for p.
func predictorOf(p conv.Problem) conv.Problem {
	q := p
	q.K = p.Offset()[1]
	if p.Mask {
		q.K += p.MaskShape()[1]
	}
	q.Groups, q.Bias, q.Activation, q.OffsetGroups, q.Mask, q.Border = 1, true, conv.Activation{}, 0, false, conv.BorderFade
	return q
}

// predict computes offsets and masks.
func predict[T Float](r *packRun, predictor Filter[T]) {
	p, c := r.p, chainOf[T]()
	sums := convolve(predictorOf(p), r.in, predictor)
	r.offset = c.approx(channels(sums, p.N, 0, p.Offset()[1], p.Ho*p.Wo), conv.ProductRoundings)
	if p.Mask {
		z := channels(sums, p.N, p.Offset()[1], p.Offset()[1]+p.MaskShape()[1], p.Ho*p.Wo)
		r.logits = c.approx(z, conv.ProductRoundings)
		r.mask = c.approx(c.activated(conv.Activation{Kind: conv.Sigmoid}, z), conv.ProductRoundings)
	}
}

// channels takes channels [from, to) of a tensor of n images.
func channels[S any](v []S, n, from, to, plane int) []S {
	part := make([]S, 0, n*(to-from)*plane)
	for i := range n {
		image := v[i*len(v)/n : (i+1)*len(v)/n]
		part = append(part, image[from*plane:to*plane]...)
	}
	return part
}

func newPack[T Float](p conv.Problem, x []T, filter, predictor Filter[T]) *packRun {
	r := &packRun{p: p, in: Exactly(x), weight: Exactly(filter.Weight), bias: Exactly(filter.Bias)}
	predict(r, predictor)
	q := p
	q.Activation, q.Bias = conv.Activation{}, filter.Bias != nil
	sums := DeformConv2D(q, r.in.Value, r.offset.Value, r.mask.Value, r.weight.Value, r.bias.Value)
	upper := DeformConv2D(q, r.in.upper(), r.offset.Value, r.mask.upper(), r.weight.upper(), r.bias.upper())
	r.move(q, upper)
	r.z = carry(sums, upper)
	return r
}

// move adds to sums what offsets that are off change of them.
func (r *packRun) move(p conv.Problem, sums []conv.Sum) {
	x, mask, weight := r.in.upper(), r.mask.upper(), r.weight.upper()
	d := deformGrad[float64]{p: p, moved: r.offset.Off}
	pixels, perGroup := p.Ho*p.Wo, p.C/p.Groups
	parallel(p.N*pixels, func(i int) {
		n, out := i/pixels, i%pixels
		for c := range p.C {
			for t := range p.Taps() {
				s, m := SampleAt(p, x, r.offset.Value, mask, n, c, t, out/p.Wo, out%p.Wo)
				offY, offX := d.off(n, c, t, out)
				change := shift(m, s.DyAbs, offY, s.DxAbs, offX)
				for k := c / perGroup * (p.K / p.Groups); k < (c/perGroup+1)*(p.K/p.Groups); k++ {
					sums[(n*p.K+k)*pixels+out].Slack += weight[(k*perGroup+c%perGroup)*p.Taps()+t] * change
				}
			}
		}
	})
}

// PackGradients are those of a [DeformPack], of the predictor's channels all together.
type PackGradients struct {
	X                 []conv.Sum
	Filter, Predictor FilterGradients
}

// DeformPackBackward differentiates [DeformPack]: dx along the samples and along
// the predictor, through offsets and mask. Errors of a computation in T are
// bounded with [conv.SampleRoundings]; the sums hold those of everything before,
// as long as the offsets are [PredictedClear].
func DeformPackBackward[T Float](p conv.Problem, x []T, filter, predictor Filter[T], dy []T) (g PackGradients) {
	check("dy", dy, p.Output())
	r, c := newPack(p, x, filter, predictor), chainOf[T]()
	dz := c.throughActivation(p.Activation, c.approx(r.z, conv.SampleRoundings), Exactly(dy))
	q := p
	q.Activation, q.Bias = conv.Activation{}, true
	exact := deformGrad[float64]{q, r.in.Value, r.offset.Value, r.mask.Value, r.weight.Value, dz.Value, nil}.all(1)
	upper := deformGrad[float64]{q, r.in.upper(), r.offset.Value, r.mask.upper(), r.weight.upper(), dz.upper(), r.offset.Off}.all(1)
	g.Filter = FilterGradients{carry(exact.Weight, upper.Weight), carry(exact.Bias, upper.Bias)}
	parts := []Approx{c.approx(carry(exact.Offset, upper.Offset), conv.SampleRoundings)}
	if p.Mask {
		dmask := c.approx(carry(exact.Mask, upper.Mask), conv.SampleRoundings)
		parts = append(parts, c.throughActivation(conv.Activation{Kind: conv.Sigmoid}, r.logits, dmask))
	}
	b := convolveBackward(predictorOf(p), r.in, predictor.Weight, concatenate(p.N, parts))
	g.Predictor = FilterGradients{b.Weight, b.Bias}
	g.X = together(c.approx(carry(exact.X, upper.X), conv.SampleRoundings), c.approx(b.X, conv.ProductRoundings))
	return g
}
