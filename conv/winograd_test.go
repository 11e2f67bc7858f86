package conv

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestWinogradMatrices checks in float64 that the algorithm is the convolution:
// m×m outputs of (m+2)×(m+2) inputs and 3×3 weights.
func TestWinogradMatrices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	same := func(v float64) float64 { return v }
	for _, m := range []Winograd{2, 4} {
		b, _, a := m.Matrices()
		alpha := int(m) + 2
		d, g := make([]float64, alpha*alpha), make([]float32, 9)
		for range 20 {
			for i := range d {
				d[i] = r.NormFloat64()
			}
			for i := range g {
				g[i] = float32(r.NormFloat64())
			}
			products := sandwich(b, d, same, same)
			for i, u := range m.Weight(g) {
				products[i] *= u
			}
			for i, got := range sandwich(a, products, same, same) {
				want := 0.0
				for tap, w := range g {
					want += float64(w) * d[(i/int(m)+tap/3)*alpha+i%int(m)+tap%3]
				}
				if math.Abs(got-want) > 1e-12 {
					t.Fatalf("F(%d): output %d is %g, want %g", m, i, got, want)
				}
			}
		}
	}
}
