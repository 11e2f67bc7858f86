//go:build cgo

package kernels

import (
	"errors"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/gpu"
)

// What is too large is said in one sentence, whatever else is too large, too.
func TestTooLargeSentence(t *testing.T) {
	p, err := conv.Params{}.DeformProblem(conv.Deform{}, conv.Shape{1, 2, 9, 9}, conv.Shape{3, 2, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	var small traits
	small.StorageRange = 600
	err = check(p, small, launch{weights: 54}, cut{})
	want := "too large for the device: the input takes 648 bytes, the offset tensor takes 3528 bytes; a binding on this device holds at most 600"
	if !errors.Is(err, gpu.ErrTooLarge) || err.Error() != want || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, want %s", err, want)
	}
}
