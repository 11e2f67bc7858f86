// Package gonummat carries gonum's matrices to an engine and back. A matrix is a
// channel of r rows and c columns; several make an image of as many channels.
// It is a package of its own, so that nobody else needs gonum.
//
// Matrices are float64. What they hold goes through float32, rounded to nearest on
// the way in.
package gonummat

import (
	"context"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"vkconv"
	"vkconv/conv"
)

// Values returns matrices of one size as the elements of a tensor 1×len(ms)×r×c,
// or of a weight of one output and as many inputs. The error matches
// [conv.ErrShape] where there is none or their sizes differ.
func Values(ms ...mat.Matrix) ([]float32, conv.Shape, error) {
	if len(ms) == 0 {
		return nil, conv.Shape{}, fmt.Errorf("%w: no matrix was given, a tensor needs at least one channel", conv.ErrShape)
	}
	r, c := ms[0].Dims()
	v := make([]float32, 0, len(ms)*r*c)
	for k, m := range ms {
		if h, w := m.Dims(); h != r || w != c {
			return nil, conv.Shape{}, fmt.Errorf("%w: matrix %d is %d×%d, must be %d×%d as the first", conv.ErrShape, k, h, w, r, c)
		}
		for i := range r {
			for j := range c {
				v = append(v, float32(m.At(i, j)))
			}
		}
	}
	return v, conv.Shape{1, len(ms), r, c}, nil
}

// Tensor makes a tensor on an engine of matrices of one size, see [Values].
func Tensor(e *vkconv.Engine, ms ...mat.Matrix) (*vkconv.Tensor, error) {
	v, shape, err := Values(ms...)
	if err != nil {
		return nil, err
	}
	return e.TensorOf(shape, v)
}

// Dense waits for the work queued so far and returns every channel of every image
// of a tensor as a matrix, image by image. Images without rows or columns are refused with
// [conv.ErrShape], for gonum has no such matrix.
func Dense(ctx context.Context, t *vkconv.Tensor) ([]*mat.Dense, error) {
	s := t.Shape()
	if s[2] == 0 || s[3] == 0 {
		return nil, fmt.Errorf("%w: tensor is %v, a matrix has at least one row and one column", conv.ErrShape, s)
	}
	v := make([]float32, s.Len())
	if err := t.Download(ctx, v); err != nil {
		return nil, err
	}
	plane := s[2] * s[3]
	out := make([]*mat.Dense, s[0]*s[1])
	for k := range out {
		wide := make([]float64, plane)
		for i, x := range v[k*plane:][:plane] {
			wide[i] = float64(x)
		}
		out[k] = mat.NewDense(s[2], s[3], wide)
	}
	return out, nil
}
