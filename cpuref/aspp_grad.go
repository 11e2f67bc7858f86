package cpuref

import "vkconv/conv"

// FilterGradients are the gradients by a [Filter]; Bias is there whether the
// filter has one or not.
type FilterGradients struct{ Weight, Bias []conv.Sum }

// ASPPGradients are those of an [ASPP], of the filters in their order.
type ASPPGradients struct {
	X       []conv.Sum
	Filters []FilterGradients
}

// ASPPBackward differentiates [ASPP]: every branch by the chain rule, and the
// gradients by the input along all of them added up. Errors of a float32
// computation are bounded with [conv.ProductRoundings]; the sums hold those of
// everything before, forward and backward.
func ASPPBackward[T Float](p conv.ASPP, x []T, filters []Filter[T], dy []T) (g ASPPGradients) {
	check("dy", dy, p.Output())
	r := newASPP(p, x, filters)
	f, n, c := p.Project.Activation, len(p.Branches), chainOf[T]()
	g.Filters = make([]FilterGradients, n+2)
	layer := func(i int, q conv.Problem, x, dy Approx) Approx {
		b := convolveBackward(q, x, filters[i].Weight, c.throughActivation(f, r.z[i], dy))
		g.Filters[i] = FilterGradients{b.Weight, b.Bias}
		return c.approx(b.X, conv.ProductRoundings)
	}
	dcat := layer(n+1, p.Project, r.cat, Exactly(dy))
	var paths []Approx
	part := func(i int) Approx {
		channels := func(v []float64) []float64 {
			return channels(v, p.Project.N, i*p.Pool.K, (i+1)*p.Pool.K, p.Project.H*p.Project.W)
		}
		return Approx{channels(dcat.Value), channels(dcat.Off)}
	}
	for i, q := range p.Branches {
		paths = append(paths, layer(i, q, r.in, part(i)))
	}
	last := part(n)
	spread := carry(ResizeBackward(p.Spread, last.Value), ResizeBackward(p.Spread, last.upper()))
	dmean := layer(n, p.Pool, r.mean, c.approx(spread, conv.ResizeRoundings))
	mean := carry(GlobalPoolBackward(p.Mean, dmean.Value), GlobalPoolBackward(p.Mean, dmean.upper()))
	g.X = together(append(paths, c.approx(mean, conv.PoolRoundings))...)
	return g
}

// convolveBackward is [Conv2DBackward] of tensors that are off, without the
// activation and always with the gradient by a bias.
func convolveBackward[T Float](q conv.Problem, x Approx, weight []T, dy Approx) Gradients {
	q.Activation, q.Bias = conv.Activation{}, true
	w := Exactly(weight)
	g, upper := Conv2DBackward(q, x.Value, w.Value, dy.Value), Conv2DBackward(q, x.upper(), w.upper(), dy.upper())
	return Gradients{X: carry(g.X, upper.X), Weight: carry(g.Weight, upper.Weight), Bias: carry(g.Bias, upper.Bias)}
}
