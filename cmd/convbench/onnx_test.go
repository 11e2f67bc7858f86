package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vkconv/tensorio"
)

func TestOnnx(t *testing.T) {
	data, err := filepath.Abs("../../onnx/testdata")
	if err != nil {
		t.Fatal(err)
	}
	files(t)
	// The backend tests, named and in directories.
	networks := filepath.Join(data, "networks")
	must(t, 0, []string{"pass  aspp", "9 layers, largest error", "9 passed, 0 failed\n"}, "onnx", "-test", "-device", "cpu", networks)
	must(t, 0, []string{"pass  test_Conv2d_dilated ", "of twice its bound; 1 layer", "left out, since they use what is not here:\n", "pass  test_Conv3d ", "  test_MaxPool3d: MaxPool \"1\" works on volumes"},
		"onnx", "-device", "cpu", "-test", filepath.Join(data, "pytorch"))
	must(t, 2, []string{`stderr: convbench: ` + filepath.Join(data, "pytorch", "test_MaxPool3d")}, "onnx", "-test", "-device", "cpu", filepath.Join(data, "pytorch", "test_MaxPool3d"))
	must(t, 2, []string{"has no model.onnx"}, "onnx", "-test", "cases")
	must(t, 2, []string{"-test takes directories"}, "onnx", "-test", "-fast", networks)

	// A wrong answer in a copy of one.
	if err := os.CopyFS("wrong", os.DirFS(filepath.Join(networks, "deform"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("wrong", "test_data_set_0", "output_0.pb")
	answer, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	answer[len(answer)-1] ^= 1 // an exponent's bit
	if err := os.WriteFile(path, answer, 0o666); err != nil {
		t.Fatal(err)
	}
	must(t, 1, []string{"FAIL  wrong", "must be", "0 passed, 1 failed"}, "onnx", "-test", "-device", "cpu", "wrong")

	// A model on a picture, and on arrays.
	model := filepath.Join(networks, "external", "model.onnx")
	must(t, 0, []string{"8 nodes, opset 19", "4 layers", "right   every layer is within its bound", "output  gemm7: 1×5, from ", "written to y.npz"},
		"onnx", model, "-device", "cpu", "-in", "x=photo.png", "-mean", "0.5", "-std", "0.5,0.25,0.25", "-o", "y.npz")
	y, err := tensorio.ReadNPZ("y.npz")
	if err != nil || len(y["gemm7"].Shape) != 2 {
		t.Errorf("wrote %v, %v", y, err)
	}
	x := tensorio.Array{Shape: []int{3, 3, 10, 10}, Data: make([]float32, 900)}
	if err := tensorio.WriteNPY("x.npy", x); err != nil {
		t.Fatal(err)
	}
	if err := tensorio.WriteSafetensors("x.safetensors", map[string]tensorio.Array{"x": x}, nil); err != nil {
		t.Fatal(err)
	}
	must(t, 0, []string{"Conv+Relu", "time #"}, "onnx", model, "-device", "cpu", "-in", "x=x.npy", "-layers", "-time", "-fast")
	must(t, 0, []string{"written to y.npy", "\n # Conv+Relu"}, "onnx", model, "-device", "cpu", "-in", "x.safetensors", "-o", "y.npy", "-layers")

	for _, bad := range []struct {
		says string
		args string
	}{
		{`-in gives no "x"; the model's inputs are x, ?×3×10×10`, ""},
		{`x.npz gives "y", the model's inputs are x`, "-in cases.npz"},
		{`gives "x" a second time`, "-in x=x.npy -in x=x.npy"},
		{`gives "z"`, "-in z=x.npy"},
		{"must be NAME=FILE", "-in x.npy"},
		{"not a picture", "-in x=text.png"},
		{"are for pictures", "-in x=x.npy -std 2"},
		{"must be finite numbers", "-in x=photo.png -std 0"},
		{"must be one number or 3", "-in x=photo.png -mean 1,2"},
		{"the name must end in", "-in x=x.npy -o y.txt"},
		{"cannot write to", "-in x=x.npy -o nosuch/y.npz"},
	} {
		args := append([]string{"onnx", model, "-device", "cpu"}, strings.Fields(bad.args)...)
		if strings.Contains(bad.args, "cases.npz") {
			if err := tensorio.WriteNPZ("cases.npz", map[string]tensorio.Array{"y": x}); err != nil {
				t.Fatal(err)
			}
			bad.says = strings.Replace(bad.says, "x.npz", "cases.npz", 1)
		}
		must(t, 2, []string{bad.says}, args...)
	}
	must(t, 2, []string{"not an ONNX"}, "onnx", "text.png")
	must(t, 2, []string{"no such file"}, "onnx", "nosuch.onnx")
	must(t, 2, []string{"needs a model"}, "onnx")
}
