// Package tensorio reads and writes what convolutions live on: NumPy files (.npy,
// .npz), safetensors, outside cases made by another program, and images.
//
// Files come from strangers. Every length a file claims is checked against
// what is really there before anything of that size is allocated, and every
// refusal is one sentence that names the file, the array, what it was and what
// is allowed. Errors about a file's content match [ErrFormat] (or
// [vkconv/conv.ErrShape], [vkconv/conv.ErrParams] where the arrays are sound but
// no convolution fits them) under errors.Is, a missing array [ErrMissing];
// errors of the operating system keep their own, such as fs.ErrNotExist.
//
// The .npy format is NumPy's NEP 1. ONNX models have a package of their own, onnx.
package tensorio

import (
	"errors"
	"fmt"
)

var (
	// ErrFormat: a file that is damaged, or not what it should be.
	ErrFormat = errors.New("bad file format")
	// ErrMissing: an archive without an array that is needed.
	ErrMissing = errors.New("array is missing")
)

// refusal is a sentence of a given kind.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}
