package exact

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// Against package math/big in 400 bits: sums and products of two float64s are
// exact, those of nums good to 100 bits of what went in.
func TestNum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	wide := func(v float64) *big.Float { return new(big.Float).SetPrec(400).SetFloat64(v) }
	of := func(n num) *big.Float { return new(big.Float).SetPrec(400).Add(wide(n.hi), wide(n.lo)) }
	draw := func() float64 { return math.Ldexp(r.NormFloat64(), r.IntN(60)-30) }
	near := func(name string, got num, want, size *big.Float, bits int) {
		diff := new(big.Float).Sub(of(got), want)
		if limit := new(big.Float).SetMantExp(size.Abs(size), -bits); diff.Abs(diff).Cmp(limit) > 0 {
			t.Errorf("%s is %g + %g, off by %g", name, got.hi, got.lo, diff)
		}
	}
	for range 20000 {
		a, b := draw(), draw()
		sum, product := new(big.Float).Add(wide(a), wide(b)), new(big.Float).Mul(wide(a), wide(b))
		near("a + b", sumOf(a, b), sum, new(big.Float), 0)
		near("a · b", prodOf(a, b), product, new(big.Float), 0)
		near("a / b", quotient(a, b), new(big.Float).Quo(wide(a), wide(b)), new(big.Float).Quo(wide(a), wide(b)), 100)
		x, y := sumOf(draw(), draw()*0x1p-55), sumOf(draw(), draw()*0x1p-55)
		larger := of(x)
		if math.Abs(y.hi) > math.Abs(x.hi) {
			larger = of(y)
		}
		near("x + y", x.plus(y), new(big.Float).Add(of(x), of(y)), larger, 100)
		near("x − y", x.minus(y), new(big.Float).Sub(of(x), of(y)), larger, 100)
		near("x · y", x.times(y), new(big.Float).Mul(of(x), of(y)), new(big.Float).Mul(of(x), of(y)), 100)
	}
	inf := math.Inf(1)
	if got := prodOf(inf, 2).plus(num{1, 0}).times(num{3, 0}); got != (num{inf, 0}) {
		t.Errorf("∞ became %g + %g", got.hi, got.lo)
	}
}
