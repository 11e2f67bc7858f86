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
	as := func(v []float64) []T {
		if v == nil {
			return nil
		}
		w := make([]T, len(v))
		for i := range v {
			w[i] = T(v[i])
		}
		return w
	}
	x, weight, bias, rois, offset, mask, dy := as(c.X), as(c.Weight), as(c.Bias), as(c.RoIs), as(c.Offset), as(c.Mask), as(c.Dy)
	var out []conv.Sum
	var by cpuref.Gradients
	switch p := c.Problem.(type) {
	case conv.Problem:
		if p.Deformable() {
			out, by = cpuref.DeformConv2D(p, x, offset, mask, weight, bias), cpuref.DeformConv2DBackward(p, x, offset, mask, weight, dy)
		} else {
			out, by = cpuref.Conv2D(p, x, weight, bias), cpuref.Conv2DBackward(p, x, weight, dy)
		}
	case conv.Transposed:
		out, by = cpuref.ConvTranspose2D(p, x, weight, bias), cpuref.ConvTranspose2DBackward(p, x, weight, dy)
	case conv.DCN:
		if p.Packed {
			out, by = cpuref.DCNv4(p, x, offset), cpuref.DCNv4Backward(p, x, offset, dy)
		} else {
			out, by = cpuref.DCNv3(p, x, offset, mask), cpuref.DCNv3Backward(p, x, offset, mask, dy)
		}
	case conv.RoIPool:
		out, by = cpuref.RoIPool(p, x, rois, offset, mask), cpuref.RoIPoolBackward(p, x, rois, offset, mask, dy)
	case conv.Resize:
		out, by.X = cpuref.Resize(p, x), cpuref.ResizeBackward(p, dy)
	case conv.GlobalPool:
		out, by.X = cpuref.GlobalPool(p, x), cpuref.GlobalPoolBackward(p, dy)
	default:
		return fmt.Errorf("no such problem: %T", c.Problem)
	}
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
