package fast

import (
	"math"

	"vkconv/conv"
)

// winogradRoundings are those made on a path through F(2×2, 3×3) besides the
// additions over channels: the weight (computed in float64) once, the input's two
// axes one addition each, the product, the output's two axes two additions each,
// and the bias.
const winogradRoundings = 1 + 2 + 1 + 4 + 1

// WinogradBounds returns how far each element that a plan with [AllowWinograd]
// computes may be off, where it does compute so:
//
//	γ(C − 1 + 9) · ( |Aᵀ| [ Σ_c (|G||g||Gᵀ|) ∘ (|Bᵀ||d||B|) ] |A| + |bias| )
//
// plus 2⁻¹²⁶ for every product that may be flushed. It is the forward error bound
// of a chain of sums and products (Higham, Accuracy and Stability of Numerical
// Algorithms, ch. 3) applied to the algorithm's: each absolute value of a sum is
// replaced by the sum of absolute values, since intermediate results cancel.
// Typically a few times [conv.Sum.Bound]. x is N×C×H×W, weight K×C×3×3, bias K or
// nil; the bounds are N×K×Ho×Wo. Made for tests, not for speed.
func WinogradBounds(p conv.Problem, x, weight, bias []float32) []float64 {
	bounds := make([]float64, p.Output().Len())
	u := make([][16]float64, p.K*p.C)
	for i := range u {
		u[i] = absWeight(weight[9*i:][:9])
	}
	gamma := conv.Gamma(p.C - 1 + winogradRoundings)
	v := make([][16]float64, p.C)
	for n := range p.N {
		for _, oy := range origins(p.Ho, p.DilationY) {
			for _, ox := range origins(p.Wo, p.DilationX) {
				for c := range v {
					v[c] = absInput(p, x[(n*p.C+c)*p.H*p.W:], int(oy), int(ox))
				}
				for k := range p.K {
					b := 0.0
					if p.Bias {
						b = math.Abs(float64(bias[k]))
					}
					for i, sum := range absOutput(u[k*p.C:][:p.C], v) {
						y, x := int(oy)+i/2*p.DilationY, int(ox)+i%2*p.DilationX
						if y < p.Ho && x < p.Wo {
							bounds[((n*p.K+k)*p.Ho+y)*p.Wo+x] = gamma*(sum+b) + float64(16*p.C)*0x1p-126
						}
					}
				}
			}
		}
	}
	return bounds
}

// absWeight returns |G||g||Gᵀ|.
func absWeight(g []float32) (u [16]float64) {
	axis := func(a, b, c float64) [4]float64 { s := (a + b + c) / 2; return [4]float64{a, s, s, c} }
	abs := func(i int) float64 { return math.Abs(float64(g[i])) }
	var half [3][4]float64
	for j := range half {
		half[j] = axis(abs(j), abs(3+j), abs(6+j))
	}
	for a := range 4 {
		r := axis(half[0][a], half[1][a], half[2][a])
		copy(u[4*a:], r[:])
	}
	return u
}

// absInput returns |Bᵀ||d||B| of the tile whose first output is (oy, ox).
func absInput(p conv.Problem, image []float32, oy, ox int) (v [16]float64) {
	var d [4][4]float64
	for a := range 4 {
		for b := range 4 {
			iy, ix := oy+a*p.DilationY-p.Pad.Top, ox+b*p.DilationX-p.Pad.Left
			if uint(iy) < uint(p.H) && uint(ix) < uint(p.W) {
				d[a][b] = math.Abs(float64(image[iy*p.W+ix]))
			}
		}
	}
	axis := func(a, b, c, d float64) [4]float64 { return [4]float64{a + c, b + c, b + c, b + d} }
	var half [4][4]float64 // transposed
	for b := range 4 {
		half[b] = axis(d[0][b], d[1][b], d[2][b], d[3][b])
	}
	for a := range 4 {
		r := axis(half[0][a], half[1][a], half[2][a], half[3][a])
		copy(v[4*a:], r[:])
	}
	return v
}

// absOutput returns |Aᵀ| [Σ_c u_c ∘ v_c] |A|, a 2×2 tile by rows.
func absOutput(u, v [][16]float64) [4]float64 {
	var m [16]float64
	for c := range u {
		for t := range m {
			m[t] += u[c][t] * v[c][t]
		}
	}
	part := func(a, b int) (sum float64) { // rows from a, columns from b, three each
		for i := range 3 {
			for j := range 3 {
				sum += m[4*(a+i)+b+j]
			}
		}
		return sum
	}
	return [4]float64{part(0, 0), part(0, 1), part(1, 0), part(1, 1)}
}
