package vkconv_test

import (
	"errors"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// Atomic additions are an option of one layer, and within its bound.
func TestAtomics(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		one := conv.Shape{1, 1, 1, 1}
		_, err1 := e.NewConv2D(one, []float32{1}, nil, one, conv.Params{}, vkconv.Atomics())
		_, err2 := e.NewConv2DBackward(one, []float32{1}, one, conv.Params{}, vkconv.Atomics())
		_, err3 := e.NewResizeBackward(one, 2, 2, false, vkconv.Atomics())
		_, err4 := e.NewDCNv3(one, conv.DCNParams{Padding: conv.Pad(1)}, vkconv.Atomics())
		_, err5 := e.NewDeformConv2DBackward(one, []float32{1}, one, conv.Params{}, conv.Deform{}, vkconv.Atomics(), vkconv.Stored(conv.Float64))
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, conv.ErrUnsupported) {
				t.Errorf("layer %d with atomic additions: %v", i, err)
			}
		}
		l, err := e.NewDeformConv2DBackward(one, []float32{1}, one, conv.Params{}, conv.Deform{}, vkconv.Atomics())
		if errors.Is(err, conv.ErrUnsupported) {
			t.Log(err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Log(l.Describe())
		l.Close()
		worst := map[string]float64{}
		for i := range convtest.Cases(40) {
			c := convtest.Random(convtest.Seed()+22, i)
			if !c.Problem.Deformable() {
				continue
			}
			convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
				return backward(t, e, c, g, dy, vkconv.Atomics())
			}, worst)
		}
		t.Logf("worst share of the bound %v", worst)
	})
}
