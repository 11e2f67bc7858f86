package vkconv_test

import (
	"errors"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
)

// rounded returns data as a type holds it.
func rounded(t conv.Type, data []float32) []float32 {
	if data == nil {
		return nil
	}
	v := make([]float32, len(data))
	for i := range v {
		v[i] = t.Round(data[i])
	}
	return v
}

// as uploads data into a tensor of a type.
func as(t *testing.T, e *vkconv.Engine, typ conv.Type, s conv.Shape, data []float32) *vkconv.Tensor {
	t.Helper()
	x, err := e.NewTensorAs(typ, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Free)
	if err := x.Upload(data); err != nil {
		t.Fatal(err)
	}
	return x
}

// Layers of 16-bit tensors, forward and backward, within their own bound.
func TestStored(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, typ := range []conv.Type{conv.Float16, conv.BFloat16} {
			worst := 0.0
			for i := range convtest.Cases(60) {
				c := convtest.Random(convtest.Seed()+50, i)
				c.X, c.Weight, c.Bias = rounded(typ, c.X), rounded(typ, c.Weight), rounded(typ, c.Bias)
				c.Offset, c.Mask = rounded(typ, c.Offset), rounded(typ, c.Mask)
				p, dy := c.Problem, rounded(typ, c.OutputGrad())
				x, y, grad := as(t, e, typ, p.Input(), c.X), as(t, e, typ, p.Output(), dy), as(t, e, typ, p.Output(), dy)
				g := vkconv.Gradients{X: as(t, e, typ, p.Input(), c.X), Weight: as(t, e, typ, p.Weight(), c.Weight)}
				var wantGrads cpuref.Gradients
				var err error
				if p.Deformable() {
					offset := as(t, e, typ, p.Offset(), c.Offset)
					g.Offset = as(t, e, typ, p.Offset(), c.Offset)
					var mask *vkconv.Tensor
					if p.Mask {
						mask = as(t, e, typ, p.MaskShape(), c.Mask)
					}
					d := conv.Deform{OffsetGroups: p.OffsetGroups, Mask: p.Mask}
					l, err1 := e.NewDeformConv2D(p.Input(), c.Weight, c.Bias, p.Weight(), paramsOf(p), d, vkconv.Stored(typ))
					b, err2 := e.NewDeformConv2DBackward(p.Input(), c.Weight, p.Weight(), paramsOf(p), d, vkconv.Stored(typ))
					if err := errors.Join(err1, err2); err != nil {
						t.Fatal(err)
					}
					defer l.Close()
					defer b.Close()
					err = errors.Join(l.Run(ctx, y, x, offset, mask), b.Run(ctx, g, x, offset, mask, grad))
					wantGrads = cpuref.DeformConv2DBackward(p, c.X, c.Offset, c.Mask, c.Weight, dy)
				} else {
					l, err1 := e.NewConv2D(p.Input(), c.Weight, c.Bias, p.Weight(), paramsOf(p), vkconv.Stored(typ))
					b, err2 := e.NewConv2DBackward(p.Input(), c.Weight, p.Weight(), paramsOf(p), vkconv.Stored(typ))
					if err := errors.Join(err1, err2); err != nil {
						t.Fatal(err)
					}
					defer l.Close()
					defer b.Close()
					err = errors.Join(l.Run(ctx, y, x), b.Run(ctx, g, x, grad))
					wantGrads = cpuref.Conv2DBackward(p, c.X, c.Weight, dy)
				}
				if err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				for j, want := range [][]conv.Sum{c.Want(), wantGrads.X, wantGrads.Weight, wantGrads.Offset} {
					from := []*vkconv.Tensor{y, g.X, g.Weight, g.Offset}[j]
					if from == nil {
						continue
					}
					got := make([]float32, len(want))
					if err := from.Download(ctx, got); err != nil {
						t.Fatal(err)
					}
					for k := range want {
						want[k] = typ.Stored(want[k], c.Roundings())
					}
					v := conv.Judge(got, want, nil, c.Roundings())
					worst = max(worst, v.Worst)
					if !v.OK() {
						t.Fatalf("%v %s: result %d element %d is %g, want %g within %g", typ, c.Name, j, v.Index, v.Got, v.Want, v.Bound)
					}
				}
			}
			t.Logf("%v: worst share of the bound %.3f", typ, worst)
		}
		x := tensor(t, e, conv.Shape{1, 1, 2, 2}, make([]float32, 4))
		l, err := e.NewConv2D(x.Shape(), []float32{1}, nil, conv.Shape{1, 1, 1, 1}, conv.Params{}, vkconv.Stored(conv.Float16))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.Run(ctx, x, as(t, e, conv.Float16, x.Shape(), make([]float32, 4))); !errors.Is(err, conv.ErrShape) {
			t.Errorf("a float32 output of a float16 layer: %v", err)
		}
		if _, err := e.NewTensorAs(9, x.Shape()); !errors.Is(err, conv.ErrParams) {
			t.Errorf("a tensor of type 9: %v", err)
		}
	})
}
