package main

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// Every layer of the slim network within its bound of PyTorch's answer, on every
// device, and the whole as close to float64 as PyTorch's own float32.
func TestAgainstPyTorch(t *testing.T) {
	ctx := context.Background()
	file, err := tensorio.NewSafetensors("slim.safetensors", slim)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := tensorio.OpenSafetensors("testdata/slim_layers.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer layers.Close()
	input, err := layers.Info("input")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			e, err := vkconv.Open(vkconv.Options{Device: name})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			before := e.Memory().InUse
			n, err := NewNetwork(e, file, conv.Shape(input.Shape))
			if err != nil {
				t.Fatal(err)
			}
			results, err := Compare(ctx, n, layers)
			if err != nil {
				t.Fatal(err)
			}
			// Everything that PyTorch recorded was compared, but for the input and the
			// concatenation, which no layer makes.
			if want := len(layers.Tensors()) - 2; len(results) != want {
				t.Errorf("%d layers compared, PyTorch recorded %d", len(results), want)
			}
			for _, r := range results {
				if !r.OK() {
					t.Errorf("%s: element %d is %g, PyTorch's is %g, allowed is %.3g", r.Layer, r.Index, r.Got, r.Want, r.Bound)
				}
			}
			end, err := EndToEnd(ctx, n, layers)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("end to end: %+v", end)
			// Another order of additions: some times PyTorch's error, never a wrong digit.
			if !(end.Ours <= 8*end.Theirs) || end.Same < 99.9 {
				t.Errorf("end to end: %+v", end)
			}
			n.Close()
			if now := e.Memory().InUse; now != before {
				t.Errorf("%d bytes are left in use", now-before)
			}
		})
	}
}

// A layer that computes something else is noticed.
func TestNoticesAWrongLayer(t *testing.T) {
	arrays, err := tensorio.ReadSafetensors("testdata/slim.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	w := arrays["classifier.0.convs.2.0.weight"].Data.([]float32)
	w[7] = math.Nextafter32(w[7], 9) + 1e-3
	path := filepath.Join(t.TempDir(), "wrong.safetensors")
	if err := tensorio.WriteSafetensors(path, arrays, map[string]string{"rates": "2,4,6"}); err != nil {
		t.Fatal(err)
	}
	err = run(path, "testdata/slim_layers.safetensors", "", "cpu", "", 1)
	if err == nil || !strings.Contains(err.Error(), "classifier.0.convs.2: element") {
		t.Errorf("a wrong weight: %v", err)
	}
	delete(arrays, "backbone.layer2.0.bn2.running_var")
	if err := tensorio.WriteSafetensors(path, arrays, map[string]string{"rates": "2,4,6"}); err != nil {
		t.Fatal(err)
	}
	if err := run(path, "", "", "cpu", "", 1); err == nil || !strings.Contains(err.Error(), `array "backbone.layer2.0.bn2.running_var" is missing`) {
		t.Errorf("a missing weight: %v", err)
	}
	if err := tensorio.WriteSafetensors(path, arrays, nil); err != nil {
		t.Fatal(err)
	}
	if err := run(path, "", "", "cpu", "", 1); err == nil || !strings.Contains(err.Error(), "rates") {
		t.Errorf("no rates: %v", err)
	}
}

// The photograph is segmented and painted.
func TestPicture(t *testing.T) {
	out := filepath.Join(t.TempDir(), "labels.png")
	if err := run("", "", "", "cpu", out, 2); err != nil {
		t.Fatal(err)
	}
	m, err := tensorio.ReadImage(out)
	if err != nil {
		t.Fatal(err)
	}
	colours := map[[3]float32]int{}
	plane := m.Shape[2] * m.Shape[3]
	for i := range plane {
		colours[[3]float32{m.Pix[i], m.Pix[plane+i], m.Pix[2*plane+i]}]++
	}
	if m.Shape != (conv.Shape{1, 3, 256, 256}) || len(colours) < 2 || len(colours) > 5 {
		t.Errorf("painted %v in %v", m.Shape, colours)
	}
	grey := tensorio.Image{Shape: conv.Shape{1, 1, 1, 2}, Pix: []float32{0.485, 1}}
	if x := Normalize(grey); x[0] != 0 || len(x) != 6 || !slices.IsSorted(x[:2]) {
		t.Errorf("normalized to %v", x)
	}
}
