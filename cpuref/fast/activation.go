package fast

import (
	"math"

	"vkconv/conv"
)

// activate applies a problem's activation to finished outputs, while they are
// in the cache. NaN stays NaN.
func (ks *kernels) activate(a conv.Activation, y []float32) {
	switch a.Kind {
	case conv.Identity:
	case conv.ReLU:
		ks.clamp(y, 0, float32(math.Inf(1)))
	case conv.ReLU6:
		ks.clamp(y, 0, 6)
	case conv.Clamp:
		ks.clamp(y, a.Min, a.Max)
	case conv.LeakyReLU:
		for i, v := range y { // no branch to mispredict: one of the terms is 0
			y[i] = max(v, 0) + a.Slope*min(v, 0)
		}
	default:
		for i, v := range y {
			y[i] = float32(a.Eval(float64(v)))
		}
	}
}

func clampGo(y []float32, lo, hi float32) {
	for i, v := range y {
		y[i] = min(max(v, lo), hi)
	}
}
