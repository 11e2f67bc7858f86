package cpuref

import "vkconv/conv"

// ASPP computes the block that [conv.ASPPParams] describes, with the filters of
// its layers in the order of [conv.ASPP.Layers]. Errors of a computation in T
// are bounded with [conv.ProductRoundings]; they hold those of all layers.
func ASPP[T Float](p conv.ASPP, x []T, filters []Filter[T]) []conv.Sum {
	return newASPP(p, x, filters).y
}

// asppRun is a forward pass with everything in between.
type asppRun struct {
	in, mean, meanOut, cat Approx
	z                      []Approx // of each layer, before the activation
	y                      []conv.Sum
}

func newASPP[T Float](p conv.ASPP, x []T, filters []Filter[T]) (r asppRun) {
	check("x", x, p.Input())
	f, c := p.Project.Activation, chainOf[T]()
	r.in = Exactly(x)
	layer := func(i int, q conv.Problem, x Approx) []conv.Sum {
		z := convolve(q, x, filters[i])
		r.z = append(r.z, c.approx(z, conv.ProductRoundings))
		return c.activated(f, z)
	}
	var parts []Approx
	for i, q := range p.Branches {
		parts = append(parts, c.approx(layer(i, q, r.in), conv.ProductRoundings))
	}
	r.mean = c.approx(GlobalPool(p.Mean, x), conv.PoolRoundings)
	r.meanOut = c.approx(layer(len(parts), p.Pool, r.mean), conv.ProductRoundings)
	spread := carry(Resize(p.Spread, r.meanOut.Value), Resize(p.Spread, r.meanOut.upper()))
	parts = append(parts, c.approx(spread, conv.ResizeRoundings))
	r.cat = concatenate(p.Project.N, parts)
	r.y = layer(len(parts), p.Project, r.cat)
	return r
}

// concatenate joins the channels of tensors of n images each.
func concatenate(n int, parts []Approx) (cat Approx) {
	for i := range n {
		for _, p := range parts {
			each := len(p.Value) / n
			cat.Value = append(cat.Value, p.Value[i*each:][:each]...)
			cat.Off = append(cat.Off, p.Off[i*each:][:each]...)
		}
	}
	if n == 0 {
		cat = Exactly([]float64{})
	}
	return cat
}
