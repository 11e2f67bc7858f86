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
	case conv.Sigmoid:
		for i, v := range y {
			y[i] = float32(sigmoid(float64(v)))
		}
	case conv.SiLU:
		for i, v := range y { // −∞·0 would be NaN; the limit is 0
			y[i] = float32(max(float64(v), -1e3) * sigmoid(float64(v)))
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

// sigmoid returns 1/(1+e⁻ˣ) with a relative error of 10⁻⁸, far less than float32
// tells apart.
func sigmoid(x float64) float64 { return 1 / (1 + exp(-x)) }

// exp returns eˣ with a relative error of 10⁻⁸, of x bounded to ±700. eˣ = 2ⁿ·eʳ
// with |r| ≤ ln 2/2, the latter by its series; the rounding constant leaves n in
// the low bits of the sum.
func exp(x float64) float64 {
	const round = 3 << 51
	t := max(min(x, 700), -700)
	sum := t*math.Log2E + round
	r := t - (sum-round)*math.Ln2
	e := 1 + r*(1+r*(1.0/2+r*(1.0/6+r*(1.0/24+r*(1.0/120+r*(1.0/720+r*(1.0/5040)))))))
	return e * math.Float64frombits((math.Float64bits(sum)+1023)<<52)
}
