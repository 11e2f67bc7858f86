package onnx

import (
	"errors"
	"math"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// PyTorch's SiLU comes as x·Sigmoid(x), either way round, and as Swish of later
// opsets: one activation, behind a convolution part of it.
func TestSwish(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		n := newNet().input("x", -1, 2, 3, 5)
		n.Initializer = append(n.Initializer, floats("w", []float32{3, 3}, 2, 1, 1, 1))
		m, err := Decode("m", n.node("Conv", "x w", "a", intAttr("group", 2)).
			node("Sigmoid", "a", "b").node("Mul", "b a", "y").
			node("Sigmoid", "x", "c").node("Mul", "x c", "z").
			node("Swish", "x", "s").output("y", "z", "s").bytes())
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 30)
		for i := range x {
			x[i] = float32(i)/4 - 4
		}
		feed := map[string]tensorio.Array{"x": {Shape: []int{1, 2, 3, 5}, Data: x}}
		for _, o := range []Options{{}, {NoFusion: true}} {
			p, err := m.Plan(ctx, e, feed, o)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(p.Layers()), 3; !o.NoFusion && got != want {
				t.Errorf("%d layers, want %d: %v", got, want, p.Layers())
			}
			if _, err := p.Verify(ctx, feed); err != nil {
				t.Error(err)
			}
			out, err := p.Run(ctx, feed)
			if err != nil {
				t.Fatal(err)
			}
			for name, scale := range map[string]float64{"y": 3, "z": 1, "s": 1} {
				for i, got := range out[name].Data.([]float32) {
					v := scale * float64(x[i])
					if want := v / (1 + math.Exp(-v)); !(math.Abs(float64(got)-want) <= 4e-7*(1+math.Abs(want))) {
						t.Fatalf("%s: %g of %g, want %g", name, got, v, want)
					}
				}
			}
			p.Close()
		}
	})
}

// A sigmoid that something else reads stays, and so does what multiplies other tensors.
func TestNoSwish(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	feed := map[string]tensorio.Array{"x": {Shape: []int{1, 1, 1, 2}, Data: make([]float32, 2)}}
	for i, net := range []net{
		newNet().input("x", 1, 1, 1, 2).node("Sigmoid", "x", "s").node("Mul", "x s", "y").output("y", "s"),
		newNet().input("x", 1, 1, 1, 2).node("Sigmoid", "x", "s").node("Relu", "x", "r").node("Mul", "r s", "y").output("y"),
		newNet().input("x", 1, 1, 1, 2).node("Sigmoid", "x", "s").node("Mul", "s s", "y").output("y"),
	} {
		m, err := Decode("m", net.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Plan(ctx, e, feed, Options{}); !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("model %d: %v", i, err)
		}
	}
}
