package conv

import "math"

// Winograd is F(m×m, 3×3): m×m outputs of a 3×3 convolution of stride 1 made of
// (m+2)×(m+2) inputs with as many products a channel, m being 2 or 4,
//
//	y = Aᵀ [ Σ_c (G g Gᵀ) ∘ (Bᵀ d B) ] A
//
// (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, "Fast
// Algorithms for Convolutional Neural Networks", CVPR 2016). The 9·m² products
// of the definition become (m+2)², at the price of accuracy: see [Winograd.Bounds].
// With a dilation the same holds on each of the interleaved grids of pixels.
type Winograd int

// Matrices returns Bᵀ, (m+2)×(m+2), G, (m+2)×3, and Aᵀ, m×(m+2), that of the
// points 0, 1, −1 for m = 2 and 0, ±1, ±2 for m = 4.
func (m Winograd) Matrices() (b, g, a [][]float64) {
	if m == 2 {
		return [][]float64{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
			[][]float64{{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}},
			[][]float64{{1, 1, 1, 0}, {0, 1, -1, -1}}
	}
	return [][]float64{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}},
		[][]float64{{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}},
		[][]float64{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}
}

// Weight returns GgGᵀ of the 3×3 weights g, (m+2)² values by rows.
func (m Winograd) Weight(g []float32) []float64 {
	_, gm, _ := m.Matrices()
	return sandwich(gm, g, func(v float32) float64 { return float64(v) }, func(v float64) float64 { return v })
}

// Covers reports whether p is a convolution that F(m×m, 3×3) computes.
func (m Winograd) Covers(p Problem) bool {
	return p.R == 3 && p.S == 3 && p.StrideY == 1 && p.StrideX == 1 && !p.Deformable()
}

// roundings are those made on a path through the algorithm besides the additions
// over channels: the weight (computed in float64) once, on each of the input's
// axes one addition, for m = 4 two and a product by 5, the product, on each of
// the output's axes two additions or three, and the bias.
func (m Winograd) roundings() int {
	if m == 2 {
		return 1 + 2*1 + 1 + 2*2 + 1
	}
	return 1 + 2*3 + 1 + 2*3 + 1
}

// Bounds returns how far each element of a float32 computation of p by
// F(m×m, 3×3) may be off,
//
//	γ(C/G − 1 + r) · ( |Aᵀ| [ Σ_c (|G||g||Gᵀ|) ∘ (|Bᵀ||d||B|) ] |A| + |bias| )
//
// with r roundings on each path besides the additions over channels: 9 for
// m = 2, 15 for m = 4. It is the forward error bound of a chain of sums and
// products (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3)
// applied to the algorithm's, each absolute value of a sum replaced by the sum of
// absolute values, since intermediate results cancel. On top comes what is
// flushed: 2⁻¹²⁶ of every product, and of every transformed input times its
// weight. For normally distributed operands it is some 4 times [Sum.Bound] for
// m = 2 and some 50 times for m = 4; what is really off is far below either.
//
// x is N×C×H×W, weight K×(C/G)×3×3, bias K or nil; the bounds are N×K×Ho×Wo. An
// activation behind is not looked at. Made for tests, not for speed.
func (m Winograd) Bounds(p Problem, x, weight, bias []float32) []float64 {
	bm, gm, am := m.Matrices()
	abs := func(v float64) float64 { return math.Abs(v) }
	alpha, cg, kg := int(m)+2, p.C/p.Groups, p.K/p.Groups
	u := make([][]float64, p.K*cg)
	for i := range u {
		u[i] = sandwich(gm, weight[9*i:][:9], func(v float32) float64 { return math.Abs(float64(v)) }, abs)
	}
	bounds := make([]float64, p.Output().Len())
	gamma := Gamma(cg - 1 + m.roundings())
	d, v, sums := make([]float64, alpha*alpha), make([][]float64, p.C), make([]float64, alpha*alpha)
	identity := func(v float64) float64 { return v }
	for n := range p.N {
		for _, oy := range m.origins(p.Ho, p.DilationY) {
			for _, ox := range m.origins(p.Wo, p.DilationX) {
				for c := range v {
					image := x[(n*p.C+c)*p.H*p.W:]
					for i := range d {
						iy := m.place(p.Mode, oy+i/alpha*p.DilationY-p.Pad.Top, p.H)
						ix := m.place(p.Mode, ox+i%alpha*p.DilationX-p.Pad.Left, p.W)
						if d[i] = 0; iy >= 0 && ix >= 0 {
							d[i] = math.Abs(float64(image[iy*p.W+ix]))
						}
					}
					v[c] = sandwich(bm, d, identity, abs)
				}
				for k := range p.K {
					clear(sums)
					for c := range cg {
						uc, vc := u[k*cg+c], v[k/kg*cg+c]
						for i := range sums {
							sums[i] += gamma*uc[i]*vc[i] + tiny*(1+uc[i])
						}
					}
					b := 0.0
					if bias != nil {
						b = gamma * math.Abs(float64(bias[k]))
					}
					for i, sum := range sandwich(am, sums, identity, abs) {
						y, x := oy+i/int(m)*p.DilationY, ox+i%int(m)*p.DilationX
						if y < p.Ho && x < p.Wo {
							bounds[((n*p.K+k)*p.Ho+y)*p.Wo+x] = sum + b
						}
					}
				}
			}
		}
	}
	return bounds
}

// place is [MapPad] for the last tile too, which may reach beyond what padding
// makes of the image; it takes the nearest pixel there.
func (m Winograd) place(mode PaddingMode, i, n int) int {
	at := MapPad(mode, i, n)
	if mode == Zeros {
		return at
	}
	return min(max(at, 0), n-1)
}

// origins lists the first outputs of tiles along one axis, grid after grid.
func (m Winograd) origins(out, dilation int) (at []int) {
	for phase := range min(dilation, out) {
		for o := phase; o < out; o += int(m) * dilation {
			at = append(at, o)
		}
	}
	return at
}

// sandwich returns l·v·lᵀ by rows, v being square, with every element of l
// through f.
func sandwich[T any](l [][]float64, v []T, of func(T) float64, f func(float64) float64) []float64 {
	rows, inner := len(l), len(l[0])
	half, out := make([]float64, rows*inner), make([]float64, rows*rows)
	for i := range rows {
		for j := range inner {
			for t := range inner {
				half[i*inner+j] += f(l[i][t]) * of(v[t*inner+j])
			}
		}
	}
	for i := range rows {
		for j := range rows {
			for t := range inner {
				out[i*rows+j] += half[i*inner+t] * f(l[j][t])
			}
		}
	}
	return out
}
