//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// single computes the gradients of one image whose tensors pass a binding, of an
// ordinary convolution or a transposed one. Those by weight and bias go block by
// block (singleweight.go). That by the input is the first of these that there is:
//
//   - a forward convolution in pieces, see mirrored;
//   - bands of its rows, each from the rows of dy that reach it (singleband.go);
//   - with a padding mode, whose edges bring rows from anywhere, blocks of
//     channels, summed over blocks of dy's (singleinput.go).
//
// All but the last give the bits of the whole.
type single struct {
	problem    conv.Problem // normal; of a transposed convolution the one that goes the other way
	transposed bool
	input      inputGradient
	sums       *weightBlocks
}

// inputGradient computes the gradient by the input of one image.
type inputGradient interface {
	recordInput(s *gpu.Stream, dx, dy Tensor) error
	setWeights(weight []float32) error
	Workspace() int64
	Describe() string
	Close()
}

func newSingle(m maker, p conv.Problem, weight []float32, transposed bool) (*single, error) {
	p, m.tuning, m.winograd = normal(p), nil, false // pieces are chosen by the cost model
	p.Bias, p.Activation = false, conv.Activation{}
	b := &single{problem: p, transposed: transposed}
	err := (&backward{problem: p}).checkWeight(weight)
	if err == nil {
		err = checkSingle(p, m.traits)
	}
	if err != nil {
		return nil, err
	}
	if b.sums, err = newWeightBlocks(m, p, transposed); err == nil {
		b.input, err = newInputGradient(m, p, weight, transposed)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// checkSingle refuses what no cut of the image helps with.
func checkSingle(p conv.Problem, t traits) error {
	if bytes := 4 * int64(p.Weight().Len()); bytes > t.StorageRange {
		return fmt.Errorf("kernels: %w: the weight takes %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, bytes, t.StorageRange)
	}
	return checkReach(p)
}

func newInputGradient(m maker, p conv.Problem, weight []float32, transposed bool) (inputGradient, error) {
	if transposed {
		f, err := newForward(m, p, weight, nil)
		return ifMade(&forwardInput{f, p, false}, err)
	}
	if of, ok := mirrored(p); ok {
		f, err := newForward(m, of, mirror(p, weight), nil)
		if err == nil {
			return &forwardInput{f, p, true}, nil
		}
	}
	if p.Mode != conv.Zeros {
		return ifMade(newInputBlocks(m, p, weight))
	}
	return ifMade(newBandedGradient(m, p, weight))
}

// ifMade is g, but a nil interface where there is an error.
func ifMade[T inputGradient](g T, err error) (inputGradient, error) {
	if err != nil {
		return nil, err
	}
	return g, nil
}

// forwardInput is a gradient by the input that a forward convolution computes.
type forwardInput struct {
	forward
	problem conv.Problem
	mirror  bool
}

func (f *forwardInput) recordInput(s *gpu.Stream, dx, dy Tensor) error {
	return f.recordForward(s, View{Tensor: dx}, View{Tensor: dy}, Tensor{}, Tensor{})
}

func (f *forwardInput) setWeights(weight []float32) error {
	if f.mirror {
		weight = mirror(f.problem, weight)
	}
	return f.SetWeights(weight, nil)
}

// RecordBackward records the gradients that g wants.
func (b *single) RecordBackward(s *gpu.Stream, g Grads, x, _, _, dy Tensor) error {
	if g.Offset.wants() || g.Mask.wants() {
		return fmt.Errorf("kernels: %w: such a convolution has no gradient by offset or mask", conv.ErrParams)
	}
	p := &b.problem
	in, out := p.Input().Len(), p.Output().Len()
	if b.transposed {
		in, out = out, in
	}
	err := checkSpan("dy", span{dy, out})
	if err == nil && g.X.wants() {
		if err = checkSpan("dx", span{g.X, in}); err == nil {
			err = b.input.recordInput(s, g.X, dy)
		}
	}
	if err == nil && g.Weight.wants() {
		if err = checkSpan("x", span{x, in}); err == nil {
			err = checkSpan("dweight", span{g.Weight, p.Weight().Len()})
		}
	}
	if err != nil {
		return err
	}
	if b.transposed { // the other way's input is dy, its output's gradient x
		x, dy = dy, x
	}
	return b.sums.record(s, g.Weight, g.Bias, x, dy)
}

// SetWeights replaces the weight.
func (b *single) SetWeights(weight []float32) error {
	if err := (&backward{problem: b.problem}).checkWeight(weight); err != nil {
		return err
	}
	return b.input.setWeights(weight)
}

// Workspace is the device memory in bytes beyond tensors and weights.
func (b *single) Workspace() int64 { return b.input.Workspace() + b.sums.size }

// Choices say how kernels were chosen: nothing, in pieces.
func (b *single) Choices() []Choice { return nil }

// Describe names the kernels and the pieces.
func (b *single) Describe() string {
	return "dx by " + b.input.Describe() + "; " + b.sums.describe()
}

// Close frees weights and workspace. What was submitted before goes on.
func (b *single) Close() {
	if b.input != nil {
		b.input.Close()
	}
	if b.sums != nil {
		b.sums.free()
	}
}
