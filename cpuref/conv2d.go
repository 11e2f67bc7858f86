package cpuref

import "vkconv/conv"

// Conv2D computes PyTorch's Conv2d,
//
//	y[n,k,oy,ox] = f(bias[k] + Σ_{c,r,s} x[n, g·C/G+c, oy·sy − top + r·dy, ox·sx − left + s·dx] · weight[k,c,r,s])
//
// with g = k/(K/G) the group of k and f the activation. x is N×C×H×W, weight K×(C/G)×R×S, bias K
// elements (only read with p.Bias), y N×K×Ho×Wo. Errors of a float32
// computation are bounded with [conv.ProductRoundings].
func Conv2D[T Float](p conv.Problem, x, weight, bias []T) []conv.Sum {
	check("x", x, p.Input())
	check("weight", weight, p.Weight())
	y := make([]conv.Sum, p.Output().Len())
	parallel(p.N*p.K*p.Ho, func(row int) {
		oy, k, n := row%p.Ho, row/p.Ho%p.K, row/p.Ho/p.K
		for ox := range p.Wo {
			y[row*p.Wo+ox] = Conv2DAt(p, x, weight, bias, n, k, oy, ox)
		}
	})
	return y
}

// Conv2DAt computes the one element y[n,k,oy,ox] of [Conv2D].
func Conv2DAt[T Float](p conv.Problem, x, weight, bias []T, n, k, oy, ox int) (sum conv.Sum) {
	perGroup := p.C / p.Groups
	firstC := k / (p.K / p.Groups) * perGroup
	for c := range perGroup {
		image := x[(n*p.C+firstC+c)*p.H*p.W:][:p.H*p.W]
		kernel := weight[(k*perGroup+c)*p.Taps():][:p.Taps()]
		for r := range p.R {
			iy := conv.MapPad(p.Mode, oy*p.StrideY-p.Pad.Top+r*p.DilationY, p.H)
			if iy < 0 {
				continue
			}
			for s := range p.S {
				ix := conv.MapPad(p.Mode, ox*p.StrideX-p.Pad.Left+s*p.DilationX, p.W)
				if ix < 0 {
					continue
				}
				sum.Add(float64(image[iy*p.W+ix]) * float64(kernel[r*p.S+s]))
			}
		}
	}
	if p.Bias {
		sum.Add(float64(bias[k]))
	}
	return p.Activation.Apply(sum)
}
