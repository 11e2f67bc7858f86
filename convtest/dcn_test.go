package convtest

import (
	"testing"

	"vkconv/conv"
)

// round puts the oracle's own values into buffers.
func round(to [][]float32, from ...[]conv.Sum) error {
	for i, sums := range from {
		for j, s := range sums {
			to[i][j] = float32(s.Value)
		}
	}
	return nil
}

func TestDCNSuitePassesTheOracle(t *testing.T) {
	for _, random := range []func(uint64, int) DCNCase{RandomDCNv3, RandomDCNv4} {
		DCNForward(t, Cases(100), random, func(c DCNCase, y []float32) error { return round([][]float32{y}, c.Want()) })
		DCNBackward(t, Cases(100), random, func(c DCNCase, g Grads, dy []float32) error {
			want := c.WantGrads(dy)
			return round([][]float32{g.X, g.Offset, g.Mask}, want.X, want.Offset, want.Mask)
		})
	}
}

func TestRoISuitePassesTheOracle(t *testing.T) {
	for _, random := range []func(uint64, int) RoICase{RandomRoIPool, RandomPSRoIPool} {
		RoIForward(t, Cases(100), random, func(c RoICase, y []float32) error { return round([][]float32{y}, c.Want()) })
		RoIBackward(t, Cases(100), random, func(c RoICase, g Grads, dy []float32) error {
			want := c.WantGrads(dy)
			return round([][]float32{g.X, g.Offset, g.Mask}, want.X, want.Offset, want.Mask)
		})
	}
}

// The generators must reach what they promise.
func TestRandomDCNReaches(t *testing.T) {
	seen := map[string]int{}
	count := func(name string, ok bool) {
		seen[name] += 0
		if ok {
			seen[name]++
		}
	}
	for i := range 1000 {
		c := RandomDCNv4(1, i)
		count("softmax", c.D.Softmax)
		count("center removed", c.D.RemoveCenter)
		count("scaled", c.D.Scale != 1)
		count("filled up", c.D.Offset()[1] > 3*c.D.Groups*c.D.Points())
		count("kernel not square", c.D.R != c.D.S)
		for _, random := range []func(uint64, int) RoICase{RandomRoIPool, RandomPSRoIPool} {
			c := random(1, i)
			nan, zero := 0, 0
			for _, s := range c.Want() {
				if s.Value != s.Value {
					nan++
				} else if s.Terms == 0 {
					zero++
				}
			}
			count("NaN regions", nan > 0)
			count("bins without samples", zero > 0)
			count("part is not pooled size", c.Q.PartX != c.Q.Wo)
			count("adaptive samples", c.Q.Samples == 0)
		}
	}
	for name, n := range seen {
		if n < 20 {
			t.Errorf("%s: only %d of 1000 cases", name, n)
		}
	}
}
