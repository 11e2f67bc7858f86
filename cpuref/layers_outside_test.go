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

// layerFile is a file's arrays, with short ways to read them.
type layerFile map[string]tensorio.Array

func (a layerFile) floats(name string) []float32 { return a[name].Data.([]float32) }
func (a layerFile) ints(name string) []int64     { return a[name].Data.([]int64) }

// Activations, poolings and batch normalization against PyTorch in float64.
func TestLayersOutside(t *testing.T) {
	paths, err := filepath.Glob("../convtest/testdata/layers/*.npz")
	if err != nil || len(paths) < 30 {
		t.Fatalf("%d cases (%v)", len(paths), err)
	}
	for _, path := range paths {
		file, err := tensorio.ReadNPZ(path)
		if err != nil {
			t.Fatal(err)
		}
		a := layerFile(file)
		s := a["x"].Shape
		shape, x, dy := conv.Shape{s[0], s[1], s[2], s[3]}, a.floats("x"), a.floats("dy")
		got := map[string][]conv.Sum{}
		switch name := filepath.Base(path); {
		case strings.HasPrefix(name, "act"):
			act := conv.Activation{Slope: a.floats("slope")[0], Min: a.floats("min")[0], Max: a.floats("max")[0]}
			for act.Kind.String() != string(a["activation"].Data.([]uint8)) {
				act.Kind++
			}
			got["y"], got["dx"] = cpuref.Activation(act, x), cpuref.ActivationBackward(act, x, dy)
		case strings.HasPrefix(name, "pool"):
			two := func(name string) [2]int { v := a.ints(name); return [2]int{int(v[0]), int(v[1])} }
			pad := two("padding")
			params := conv.PoolParams{Kernel: two("kernel"), Stride: two("stride"), Dilation: two("dilation"), Ceil: a.ints("ceil")[0] == 1,
				Padding: conv.Padding{Top: pad[0], Bottom: pad[0], Left: pad[1], Right: pad[1]}, ExcludePadding: a.ints("exclude")[0] == 1}
			make := params.Average
			if a.ints("maximum")[0] == 1 {
				make = params.Max
			}
			p, err := make(shape)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			got["y"], got["dx"] = cpuref.Pool(p, x), cpuref.PoolBackward(p, x, dy)
		default:
			b, err := conv.BatchNormParams{Eps: a.floats("eps")[0], Momentum: a.floats("momentum")[0]}.BatchNorm(shape)
			if err != nil {
				t.Fatal(err)
			}
			w, bias, mean, variance := a.floats("weight"), a.floats("bias"), a.floats("running_mean"), a.floats("running_var")
			r := cpuref.BatchNormTraining(b, x, w, bias, mean, variance)
			got["y"], got["new_mean"], got["new_var"], got["given"] = r.Y, r.RunningMean, r.RunningVar, cpuref.BatchNorm(b, x, w, bias, mean, variance)
			// In float64, for the gradients take the batch's moments exactly.
			g := cpuref.BatchNormBackward(b, wide(x), wide(dy), wide(w), values(r.Mean), values(r.Var))
			got["dx"], got["dweight"], got["dbias"] = g.X, g.Weight, g.Bias
		}
		for name, sums := range got {
			want := a[name].Data.([]float64)
			if len(want) != len(sums) {
				t.Fatalf("%s: %s has %d elements, want %d", path, name, len(sums), len(want))
			}
			for i, s := range sums {
				if diff := math.Abs(s.Value - want[i]); !(diff <= 1e-13*(1+s.Abs)) {
					t.Errorf("%s: %s[%d] is %.17g, PyTorch has %.17g", path, name, i, s.Value, want[i])
				}
			}
		}
	}
}
