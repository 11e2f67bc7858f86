package fast

import (
	"math"
	"testing"

	"vkconv/conv"
)

// TestActivate compares every activation with conv's, at edges and over the range.
func TestActivate(t *testing.T) {
	inf := float32(math.Inf(1))
	values := []float32{0, float32(math.Copysign(0, -1)), inf, -inf, float32(math.NaN()), 1e30, -1e30, 88, -88, 104, -104, 1e-40, 6, -0.5}
	for i := -2000; i <= 2000; i++ {
		values = append(values, float32(i)/50)
	}
	eachSet(t, func(t *testing.T) {
		for kind := conv.Identity; kind <= conv.Clamp; kind++ {
			a := conv.Activation{Kind: kind, Slope: 0.25, Min: -1, Max: 2}
			y := guard(len(values))
			copy(y.s, values)
			current.Load().ks.activate(a, y.s)
			y.check(t, kind.String())
			for i, x := range values {
				sum := a.Apply(conv.Sum{Value: float64(x)})
				if share := conv.Share(y.s[i], sum.Value, sum.Slack+0x1p-126+math.Abs(sum.Value)*conv.Roundoff); share > 1 {
					t.Errorf("%v(%v) is %v, must be %v", kind, x, y.s[i], sum.Value)
				}
			}
		}
	})
}
