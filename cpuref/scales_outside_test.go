package cpuref_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// Resizing and pooling against PyTorch in float64.
func TestScalesOutside(t *testing.T) {
	paths, err := filepath.Glob("../convtest/testdata/scales/*.npz")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d cases (%v)", len(paths), err)
	}
	for _, path := range paths {
		a, err := tensorio.ReadNPZ(path)
		if err != nil {
			t.Fatal(err)
		}
		s := a["x"].Shape
		shape := conv.Shape{s[0], s[1], s[2], s[3]}
		var y, dx []conv.Sum
		switch name := filepath.Base(path); {
		case strings.HasPrefix(name, "resize"):
			out := a["y"].Shape
			r, err := conv.NewResize(shape, out[2], out[3], a["align_corners"].Data.([]int64)[0] == 1)
			if err != nil {
				t.Fatal(err)
			}
			y, dx = cpuref.Resize(r, a["x"].Data.([]float32)), cpuref.ResizeBackward(r, a["dy"].Data.([]float32))
		case strings.HasPrefix(name, "pool"):
			p, err := conv.NewGlobalPool(shape)
			if err != nil {
				t.Fatal(err)
			}
			y, dx = cpuref.GlobalPool(p, a["x"].Data.([]float32)), cpuref.GlobalPoolBackward(p, a["dy"].Data.([]float32))
		default: // blocks made of several operators, see the root package
			continue
		}
		for name, got := range map[string][]conv.Sum{"y": y, "dx": dx} {
			want := a[name].Data.([]float64)
			if len(want) != len(got) {
				t.Fatalf("%s: %s has %d elements, want %d", path, name, len(got), len(want))
			}
			for i, s := range got {
				// PyTorch rounds a position as large as the image in float64.
				if diff := math.Abs(s.Value - want[i]); !(diff <= 1e-13*(1+s.Abs+s.Slope)) {
					t.Fatalf("%s: %s[%d] is %.17g, PyTorch has %.17g", path, name, i, s.Value, want[i])
				}
			}
		}
	}
}
