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

// Small mistakes must not pass: the suite is given cases that are a little off.
func TestDCNSuiteCatches(t *testing.T) {
	for _, softmax := range []bool{false, true} {
		i := 0
		c := RandomDCNv3(7, i)
		dull := func() bool { // nothing, or samples that are all outside
			samples := 0
			for _, s := range c.Want() {
				if s.Abs > 0 {
					samples++
				}
			}
			return samples < 100
		}
		for c.D.Softmax != softmax || c.D.Scale < 0.5 || c.D.Points() < 3 || i%16 == 3 || dull() {
			i++
			c = RandomDCNv3(7, i)
		}
		dy := c.OutputGrad()
		want, grads := c.Want(), c.WantGrads(dy)
		for name, spoil := range map[string]func(c *DCNCase){
			"masks off by one part in 10,000": func(c *DCNCase) {
				for j := range c.Mask {
					c.Mask[j] *= 1 + 1e-4
				}
			},
			"scale off by one part in 10,000": func(c *DCNCase) { c.D.Scale *= 1 + 1e-4 },
			"x and y exchanged": func(c *DCNCase) {
				plane := c.D.Ho * c.D.Wo
				for j := 0; j < len(c.Offset); j += 2 * plane {
					for k := range plane {
						c.Offset[j+k], c.Offset[j+plane+k] = c.Offset[j+plane+k], c.Offset[j+k]
					}
				}
			},
		} {
			off := c
			off.Mask, off.Offset = append([]float32(nil), c.Mask...), append([]float32(nil), c.Offset...)
			spoil(&off)
			got := make([]float32, len(want))
			if round([][]float32{got}, off.Want()); conv.Judge(got, want, nil, conv.DCNRoundings).OK() {
				t.Errorf("softmax %v: %s are accepted", softmax, name)
			}
			dx := make([]float32, len(c.X))
			if round([][]float32{dx}, off.WantGrads(dy).X); conv.Judge(dx, grads.X, nil, conv.DCNRoundings).OK() {
				t.Errorf("softmax %v: dx with %s is accepted", softmax, name)
			}
		}
	}
}
