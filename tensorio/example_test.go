package tensorio_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"vkconv/tensorio"
)

// Weights by PyTorch's names, written and read.
func ExampleWriteSafetensors() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "weights.safetensors")
	weights := map[string]tensorio.Array{
		"stem.weight": {Shape: []int{2, 1, 1, 1}, Data: []float32{1.5, -2}},
		"stem.bias":   {Shape: []int{2}, Data: tensorio.ToBFloat16([]float32{0.25, 3})},
	}
	if err := tensorio.WriteSafetensors(path, weights, map[string]string{"format": "pt"}); err != nil {
		log.Fatal(err)
	}
	file, err := tensorio.OpenSafetensors(path) // mapped, not read
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	for _, t := range file.Tensors() {
		a, err := file.Array(t.Name)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(t.Name, t.Type, a.Shape, a.Data)
	}
	// Output:
	// stem.weight F32 [2 1 1 1] [1.5 -2]
	// stem.bias BF16 [2] [0.25 3]
}
