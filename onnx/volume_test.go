package onnx

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// triple draws one number for each axis.
func triple(r *rand.Rand, from, to int) (v [3]int) {
	for i := range v {
		v[i] = from + r.IntN(to-from+1)
	}
	return v
}

func wide64(v ...int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

// Convolutions of volumes by the sums that define them, of whole numbers, which
// float32 adds exactly.
func TestVolumes(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		r := rand.New(rand.NewPCG(5, 3))
		for range 24 {
			volume(t, e, r, r.IntN(2) == 0)
		}
	})
}

func volume(t *testing.T, e *vkconv.Engine, r *rand.Rand, transposed bool) {
	n, groups := 1+r.IntN(2), 1+r.IntN(2)
	c, k := groups*(1+r.IntN(2)), groups*(1+r.IntN(3))
	size, kernel, stride, dilation := triple(r, 3, 6), triple(r, 1, 3), triple(r, 1, 3), triple(r, 1, 2)
	before, behind, extra := triple(r, 0, 1), triple(r, 0, 1), [3]int{}
	var out [3]int
	for a := range out {
		reach := dilation[a]*(kernel[a]-1) + 1
		if transposed {
			extra[a] = r.IntN(max(stride[a], dilation[a]))
			out[a] = stride[a]*(size[a]-1) + reach + extra[a] - before[a] - behind[a]
		} else {
			out[a] = (size[a]+before[a]+behind[a]-reach)/stride[a] + 1
		}
		if out[a] < 1 || size[a]+before[a]+behind[a] < reach && !transposed || transposed && min(before[a], behind[a]) > reach-1 {
			return
		}
	}
	shape, op := wide64(k, c/groups, kernel[0], kernel[1], kernel[2]), "Conv"
	attrs := append(wide64(before[:]...), wide64(behind[:]...)...)
	m := newNet().input("x", wide64(n, c, size[0], size[1], size[2])...).weight("b", int64(k))
	if transposed {
		shape[0], shape[1], op = int64(c), int64(k/groups), "ConvTranspose"
	}
	with := []int64(wide64(extra[:]...))
	m.weight("w", shape...)
	if transposed {
		m.node(op, "x w b", "v", intsAttr("strides", wide64(stride[:]...)...), intsAttr("dilations", wide64(dilation[:]...)...), intsAttr("pads", attrs...),
			intAttr("group", int64(groups)), intsAttr("output_padding", with...))
	} else {
		m.node(op, "x w b", "v", intsAttr("strides", wide64(stride[:]...)...), intsAttr("dilations", wide64(dilation[:]...)...), intsAttr("pads", attrs...),
			intAttr("group", int64(groups)))
	}
	m.node("Relu", "v", "y").output("y")
	weight, bias := m.Initializer[1].FloatData, m.Initializer[0].FloatData
	x := tensorio.Array{Shape: []int{n, c, size[0], size[1], size[2]}, Data: make([]float32, n*c*size[0]*size[1]*size[2])}
	data := x.Data.([]float32)
	for i := range data {
		data[i] = float32(r.IntN(9) - 4)
	}
	want := make([]float32, n*k*out[0]*out[1]*out[2])
	for i := range want {
		want[i] = bias[i/(out[0]*out[1]*out[2])%k]
	}
	// Every product: of the image, of channel and kernel in one group, of pixel and tap.
	for at := range n * c * k {
		img, ch, ker := at/(c*k), at/k%c, at%k
		if ch/(c/groups) != ker/(k/groups) {
			continue
		}
		row := ker*(c/groups) + ch%(c/groups)
		if transposed {
			row = ch*(k/groups) + ker%(k/groups)
		}
		lower, steps := out, size // the side that strides, and the other
		if transposed {
			lower, steps = size, out
		}
		for i := range lower[0] * lower[1] * lower[2] {
			p := [3]int{i / (lower[1] * lower[2]), i / lower[2] % lower[1], i % lower[2]}
			for tap := range kernel[0] * kernel[1] * kernel[2] {
				q, inside := [3]int{tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]}, true
				for a := range q {
					q[a] = p[a]*stride[a] - before[a] + q[a]*dilation[a]
					inside = inside && q[a] >= 0 && q[a] < steps[a]
				}
				if !inside {
					continue
				}
				from, to := q, p
				if transposed {
					from, to = p, q
				}
				flat := func(s, p [3]int) int { return (p[0]*s[1]+p[1])*s[2] + p[2] }
				want[(img*k+ker)*out[0]*out[1]*out[2]+flat(out, to)] +=
					weight[row*kernel[0]*kernel[1]*kernel[2]+tap] * data[(img*c+ch)*size[0]*size[1]*size[2]+flat(size, from)]
			}
		}
	}
	for i, v := range want {
		want[i] = max(v, 0)
	}
	model, err := Decode("m.onnx", m.bytes())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := model.Plan(ctx, e, map[string]tensorio.Array{"x": x}, Options{})
	if err != nil {
		t.Fatalf("%s of %v by %v, stride %v, dilation %v, pads %v, groups %d, output padding %v: %v", op, x.Shape, shape, stride, dilation, attrs, groups, extra, err)
	}
	defer plan.Close()
	y, err := plan.Run(ctx, map[string]tensorio.Array{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	if s := []int{n, k, out[0], out[1], out[2]}; !slices.Equal(y["y"].Shape, s) || !slices.Equal(y["y"].Data.([]float32), want) {
		t.Errorf("%s of %v by %v, stride %v, dilation %v, pads %v, groups %d, output padding %v: %v, want %v", op, x.Shape, shape, stride, dilation, attrs, groups, extra, y["y"].Shape, s)
	}
}

// Volumes that cannot be.
func TestVolumeRefusals(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		base := func(d int64, weight ...int64) net { return newNet().input("x", 1, 2, d, 4, 4).weight("w", weight...) }
		for name, c := range map[string]struct {
			net  net
			kind error
			want string
		}{
			"strides": {base(4, 3, 2, 2, 2, 2).node("Conv", "x w", "y", intsAttr("strides", 1, 2)), conv.ErrShape, "has strides [1 2], must have 3 for its 3 axes"},
			"pads":    {base(4, 3, 2, 2, 2, 2).node("ConvTranspose", "x w", "y", intsAttr("pads", 1, 1, 1)), conv.ErrShape, "must have 6"},
			"rank":    {base(4, 3, 2, 2, 2).node("Conv", "x w", "y"), conv.ErrShape, "its input has 5 extents"},
			"depth":   {base(2, 3, 2, 3, 1, 1).node("Conv", "x w", "y"), conv.ErrShape, "3"},
			"groups":  {base(4, 3, 2, 2, 2, 2).node("Conv", "x w", "y", intAttr("group", 0)), conv.ErrShape, "group 0"},
			"budget":  {base(30000, 8, 2, 1, 1, 1).node("Conv", "x w", "y"), conv.ErrShape, "budget"},
		} {
			m, err := Decode("m.onnx", c.net.output("y").bytes())
			if err != nil {
				t.Fatal(name, err)
			}
			d := c.net.Input[0].Type.GetTensorType().Shape.Dim[2].GetDimValue()
			x := tensorio.Array{Shape: []int{1, 2, int(d), 4, 4}, Data: make([]float32, 32*d)}
			plan, err := m.Plan(ctx, e, map[string]tensorio.Array{"x": x}, Options{})
			if err == nil {
				plan.Close()
			}
			if !errors.Is(err, c.kind) && !errors.Is(err, conv.ErrParams) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want … %s", name, err, c.want)
			}
		}
	})
}
