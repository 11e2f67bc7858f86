package vkconv_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// TestSplitFloat32: a device without matrix units for bfloat16 refuses the option by
// name, as do the CPU path, other layers and other types; one that has them
// computes within float32's bound.
func TestSplitFloat32(t *testing.T) {
	params := conv.Params{Padding: conv.Pad(1)}
	xs, ws := conv.Shape{1, 64, 28, 28}, conv.Shape{64, 64, 3, 3}
	p, err := params.Problem(xs, ws, true)
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), 2)), p)
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		split := vkconv.SplitFloat32()
		_, backward := e.NewConv2DBackward(xs, c.Weight, ws, params, split)
		_, half := e.NewConv2D(xs, c.Weight, c.Bias, ws, params, split, vkconv.Stored(conv.Float16))
		_, double := e.NewConv2D(xs, c.Weight, c.Bias, ws, params, split, vkconv.Stored(conv.Float64))
		_, block := e.NewPyramid(xs, 1, split)
		for _, refused := range []struct {
			err  error
			says string
		}{
			{backward, "for Conv2D and DeformConv2D layers, not for conv2d backward"},
			{half, "for float32 tensors, the layer's are float16"},
			{double, "for float32 tensors, the layer's are float64"},
			{block, "takes no option but Stored"},
		} {
			if !errors.Is(refused.err, conv.ErrUnsupported) || !strings.Contains(refused.err.Error(), refused.says) {
				t.Errorf("%v, want %q", refused.err, refused.says)
			}
		}
		deform, failed := e.NewDeformConv2D(xs, c.Weight, c.Bias, ws, params, conv.Deform{}, split)
		if failed == nil {
			deform.Close()
		}
		l, err := e.NewConv2D(xs, c.Weight, c.Bias, ws, params, split)
		if err != nil {
			for _, err := range []error{err, failed} {
				if !errors.Is(err, conv.ErrUnsupported) || !strings.Contains(err.Error(), "matrix units for bfloat16") {
					t.Errorf("%v, want it to say what the device lacks", err)
				}
			}
			t.Skipf("not run: %v", err)
		}
		defer l.Close()
		if failed != nil {
			t.Errorf("deformable: %v", failed)
		}
		y := tensor(t, e, p.Output(), make([]float32, p.Output().Len()))
		if err := l.Run(ctx, y, tensor(t, e, xs, c.X)); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, p.Output().Len())
		if err := y.Download(ctx, got); err != nil {
			t.Fatal(err)
		}
		if v := conv.Judge(got, c.Want(), nil, conv.ProductRoundings); !v.OK() {
			t.Errorf("%s: y[%d] is %g, want %g ± %g", l.Describe(), v.Index, v.Got, v.Want, v.Bound)
		}
	})
}
