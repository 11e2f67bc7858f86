package vkconv_test

import (
	"errors"
	"math"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// array reads one array of an archive as float32.
func array(t *testing.T, a *tensorio.Archive, name string) tensorio.Array {
	t.Helper()
	v, err := a.Array(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func floats(t *testing.T, v tensorio.Array) []float32 {
	t.Helper()
	f, err := v.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func shape4(v tensorio.Array) conv.Shape { return conv.Shape(v.Shape) }

// mmcv's published outputs of the layers that predict their own offsets.
func TestDeformPack(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, name := range []string{"v1", "v2"} {
			a, err := tensorio.OpenNPZ("convtest/testdata/known/mmcv_deform_pack_" + name + ".npz")
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			x, w := array(t, a, "x"), array(t, a, "weight")
			weights := vkconv.PackWeights{Weight: floats(t, w), Offset: floats(t, array(t, a, "offset_weight")), OffsetBias: floats(t, array(t, a, "offset_bias"))}
			if a.Has("bias") {
				weights.Bias = floats(t, array(t, a, "bias"))
			}
			var params conv.Params
			stride, _ := array(t, a, "stride").Ints()
			padding, _ := array(t, a, "padding").Ints()
			dilation, _ := array(t, a, "dilation").Ints()
			groups, _ := array(t, a, "groups").Ints()
			params.Stride, params.Dilation, params.Groups = [2]int(stride), [2]int(dilation), groups[0]
			params.Padding = conv.Padding{Top: padding[0], Left: padding[1], Bottom: padding[2], Right: padding[3]}
			l, err := e.NewDeformPack(shape4(x), weights, shape4(w), params, conv.Deform{Mask: name == "v2"})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			y, err := e.NewTensor(l.Problem().Output())
			if err != nil {
				t.Fatal(err)
			}
			defer y.Free()
			if err := l.Run(ctx, y, tensor(t, e, shape4(x), floats(t, x))); err != nil {
				t.Fatal(err)
			}
			got := make([]float32, y.Shape().Len())
			if err := y.Download(ctx, got); err != nil {
				t.Fatal(err)
			}
			want, err := array(t, a, "y").Float64()
			if err != nil {
				t.Fatal(err)
			}
			atol, _ := array(t, a, "atol").Float64()
			for i, v := range got { // few terms, digits as printed: float32's own error is far below
				if !(math.Abs(float64(v)-want[i]) <= atol[0]+1e-6*math.Abs(want[i])) {
					t.Errorf("%s: y[%d] is %g, mmcv has %g", name, i, v, want[i])
				}
			}
			weights.OffsetBias = weights.OffsetBias[1:]
			if _, err := e.NewDeformPack(shape4(x), weights, shape4(w), params, conv.Deform{Mask: name == "v2"}); !errors.Is(err, conv.ErrShape) {
				t.Errorf("a bias too short: %v", err)
			}
		}
	})
}
