package onnx

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/tensorio"
)

// A model with a byte changed gives a sentence or a model, never a panic.
func TestFlippedBytes(t *testing.T) {
	files, _ := filepath.Glob("testdata/networks/*/model.onnx")
	masks, step := []byte{0x41}, 13
	if convtest.Cases(60) >= 1000 {
		masks, step = []byte{1, 2, 4, 8, 16, 32, 64, 128, 0x41, 0xff}, 1
	}
	for _, name := range files {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += step {
			for _, mask := range masks {
				whole[i] ^= mask
				m, err := Decode("flipped", whole)
				switch {
				case err == nil:
					inferOnly(t, m)
				case !errors.Is(err, tensorio.ErrFormat) && !errors.Is(err, conv.ErrUnsupported):
					t.Errorf("%s, byte %d ^ %#x: %v is of no kind", name, i, mask, err)
				}
				whole[i] ^= mask
			}
		}
	}
}
