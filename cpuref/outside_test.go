package cpuref_test

import (
	"math"
	"path/filepath"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// The oracle against PyTorch and torchvision in float64: forward and gradients
// agree but for the rounding of float64 itself.
func TestOutsideCases(t *testing.T) {
	for _, dir := range []string{"cases", "known"} {
		paths, err := filepath.Glob("../convtest/testdata/" + dir + "/*.npz")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no cases in %s (%v)", dir, err)
		}
		compared := 0
		for _, path := range paths {
			a, err := tensorio.OpenNPZ(path)
			if err != nil {
				t.Fatal(err)
			}
			if a.Has("op") { // an operator of its own
				a.Close()
				continue
			}
			atol := 0.0 // what the printed digits of a published answer leave open
			if v, err := a.Array("atol"); err == nil {
				f, _ := v.Float64()
				atol = f[0]
			}
			c, err := a.Case()
			a.Close()
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			compare(t, c, atol)
			compared++
		}
		t.Logf("%s: %d cases", dir, compared)
	}
}

func compare(t *testing.T, c tensorio.Case, atol float64) {
	p := c.Problem
	var y []conv.Sum
	var g cpuref.Gradients
	if p.Deformable() {
		y = cpuref.DeformConv2D(p, c.X, c.Offset, c.Mask, c.Weight, c.Bias)
	} else {
		y = cpuref.Conv2D(p, c.X, c.Weight, c.Bias)
	}
	if c.DY != nil {
		if p.Deformable() {
			g = cpuref.DeformConv2DBackward(p, c.X, c.Offset, c.Mask, c.Weight, c.DY)
		} else {
			g = cpuref.Conv2DBackward(p, c.X, c.Weight, c.DY)
		}
	}
	for i, pair := range []struct {
		got  []conv.Sum
		want []float64
	}{{y, c.Y}, {g.X, c.DX}, {g.Weight, c.DWeight}, {g.Bias, c.DBias}, {g.Offset, c.DOffset}, {g.Mask, c.DMask}} {
		name := []string{"y", "dx", "dweight", "dbias", "doffset", "dmask"}[i]
		if pair.want == nil {
			continue
		}
		if len(pair.got) != len(pair.want) {
			t.Errorf("%s: %s has %d elements, want %d", c.Name, name, len(pair.got), len(pair.want))
			continue
		}
		for j, s := range pair.got {
			// γ in float64: a few hundred terms of 2⁻⁵³, and positions as large as the
			// image or the offset lose as many bits of their fraction there.
			tol := 1e-13*(s.Abs+s.Slope)*float64(s.Terms+10) + atol
			if diff := math.Abs(s.Value - pair.want[j]); !(diff <= tol) && !(math.IsNaN(s.Value) && math.IsNaN(pair.want[j])) {
				t.Errorf("%s: %s[%d] is %.17g, want %.17g", c.Name, name, j, s.Value, pair.want[j])
				break
			}
		}
	}
}
