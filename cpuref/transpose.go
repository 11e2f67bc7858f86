package cpuref

import "vkconv/conv"

// ConvTranspose2D computes PyTorch's ConvTranspose2d: every input pixel adds
// its kernel, times its value, to the output,
//
//	y[n,k, iy·sy − top + r·dy, ix·sx − left + s·dx] += x[n,c,iy,ix] · weight[c,k,r,s]
//
// over the channels c and k of one group, plus bias[k], behind it the activation. x is N×C×H×W, weight
// C×(K/G)×R×S, y N×K×Ho×Wo. Errors of a float32 computation are bounded with
// [conv.ProductRoundings].
func ConvTranspose2D[T Float](t conv.Transposed, x, weight, bias []T) []conv.Sum {
	p := t.Of // from y to x: its K are the channels of x, its C those of y
	check("x", x, t.Input())
	check("weight", weight, t.Weight())
	y := make([]conv.Sum, t.Output().Len())
	kPerGroup, cPerGroup := p.C/p.Groups, p.K/p.Groups
	parallel(p.N*p.C, func(i int) {
		n, k := i/p.C, i%p.C
		plane := y[i*p.H*p.W:][:p.H*p.W]
		for c := k / kPerGroup * cPerGroup; c < (k/kPerGroup+1)*cPerGroup; c++ {
			image := x[(n*p.K+c)*p.Ho*p.Wo:][:p.Ho*p.Wo]
			kernel := weight[(c*kPerGroup+k%kPerGroup)*p.Taps():][:p.Taps()]
			for at, v := range image {
				for tap, w := range kernel {
					oy := at/p.Wo*p.StrideY - p.Pad.Top + tap/p.S*p.DilationY
					ox := at%p.Wo*p.StrideX - p.Pad.Left + tap%p.S*p.DilationX
					if 0 <= oy && oy < p.H && 0 <= ox && ox < p.W {
						plane[oy*p.W+ox].Add(float64(v) * float64(w))
					}
				}
			}
		}
		if t.Bias {
			for j := range plane {
				plane[j].Add(float64(bias[k]))
			}
		}
		for j := range plane {
			plane[j] = t.Activation.Apply(plane[j])
		}
	})
	return y
}

// ConvTranspose2DBackward differentiates [ConvTranspose2D]: dx is the
// convolution of dy that goes the other way, dweight sums x·dy over the places
// where they meet, dbias sums dy.
func ConvTranspose2DBackward[T Float](t conv.Transposed, x, weight, dy []T) Gradients {
	p := t.Of
	// d/dweight of Σ dy·convT(x) is d/dweight of Σ conv(dy)·x: the same pairs.
	g := Gradients{X: Conv2D(p, dy, weight, nil), Weight: Conv2DBackward(p, dy, weight, x).Weight}
	if t.Bias {
		of := p
		of.Bias, of.K, of.Ho, of.Wo = true, p.C, p.H, p.W
		g.Bias = biasGradient(of, dy)
	}
	return g
}
