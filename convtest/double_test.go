package convtest_test

import (
	"fmt"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
)

// plain computes a case by package cpuref, which shares no code with the
// float64 oracle: T float64 as it should be, or float32 passed off as float64.
func plain[T cpuref.Float](c convtest.Case64, y []float64, g convtest.Grads64) error {
	out, by := convtest.Plain[T](c)
	for i, sums := range [][]conv.Sum{out, by.X, by.Weight, by.Bias, by.Offset, by.Mask} {
		to := [][]float64{y, g.X, g.Weight, g.Bias, g.Offset, g.Mask}[i]
		if len(to) != len(sums) {
			return fmt.Errorf("result %d has %d elements, the oracle %d", i, len(sums), len(to))
		}
		for j := range sums {
			to[j] = float64(T(sums[j].Value))
		}
	}
	return nil
}

// Two oracles that share no code agree, and float64 results meet their bound.
func TestDouble(t *testing.T) {
	convtest.Double(t, convtest.Cases(20), plain[float64])
}

// A float32 computation passed off as float64 is found out, whatever the
// operator, in most of the cases and in all of the gradients.
func TestDoubleCatchesFloat32(t *testing.T) {
	caught := map[string]int{}
	for i := range 9 * 12 {
		c := convtest.Random64(3, i)
		var y []float64
		var g convtest.Grads64
		want, by := c.Want()
		all := [][]conv.Sum{want, by.X, by.Weight, by.Bias, by.Offset, by.Mask}
		for j, to := range []*[]float64{&y, &g.X, &g.Weight, &g.Bias, &g.Offset, &g.Mask} {
			*to = make([]float64, len(all[j]))
		}
		if err := plain[float32](c, y, g); err != nil {
			t.Fatal(err)
		}
		for j, got := range [][]float64{y, g.X, g.Weight, g.Bias, g.Offset, g.Mask} {
			wrong := 0
			for k := range got {
				if v := conv.Share64(got[k], all[j][k].Value, all[j][k].Low, all[j][k].Bound64(c.Roundings)); !(v <= 1) {
					wrong++
				}
			}
			if wrong > 0 {
				caught[fmt.Sprintf("%T %d", c.Problem, j)]++
			}
		}
	}
	for _, want := range []string{"conv.Problem 0", "conv.Problem 1", "conv.Problem 2", "conv.Problem 3", "conv.Problem 4", "conv.Problem 5",
		"conv.Transposed 0", "conv.Transposed 1", "conv.Transposed 2", "conv.Transposed 3", "conv.DCN 0", "conv.DCN 1", "conv.DCN 4", "conv.DCN 5",
		"conv.RoIPool 0", "conv.RoIPool 1", "conv.RoIPool 4", "conv.RoIPool 5", "conv.Resize 0", "conv.Resize 1", "conv.GlobalPool 0", "conv.GlobalPool 1"} {
		if caught[want] == 0 {
			t.Errorf("%s: no float32 result was found out", want)
		}
	}
	t.Log(caught)
}
