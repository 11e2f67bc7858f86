package conv

import (
	"errors"
	"math"
	"testing"
)

// Values of torch.nn.functional in float64.
func TestActivation(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		a       Activation
		x, want float64
	}{
		{Activation{}, -2.5, -2.5},
		{Activation{Kind: ReLU}, -2, 0}, {Activation{Kind: ReLU}, 3, 3},
		{Activation{Kind: ReLU6}, 7, 6}, {Activation{Kind: ReLU6}, -1, 0},
		{Activation{Kind: LeakyReLU, Slope: 0.125}, -2, -0.25}, {Activation{Kind: LeakyReLU, Slope: 0.125}, 2, 2},
		{Activation{Kind: SiLU}, 1, 0.7310585786300049}, {Activation{Kind: SiLU}, -inf, 0}, {Activation{Kind: SiLU}, inf, inf},
		{Activation{Kind: GELU}, 1, 0.8413447460685429}, {Activation{Kind: GELU}, -2, -0.04550026389635842}, {Activation{Kind: GELU}, -inf, 0},
		{Activation{Kind: Sigmoid}, 0, 0.5}, {Activation{Kind: Sigmoid}, -inf, 0}, {Activation{Kind: Sigmoid}, 2, 0.8807970779778823},
		{Activation{Kind: Clamp, Min: -1, Max: 2}, 5, 2}, {Activation{Kind: Clamp, Min: -1, Max: 2}, -5, -1},
		{Activation{Kind: ReLU}, nan, nan}, {Activation{Kind: Clamp}, nan, nan}, {Activation{Kind: SiLU}, nan, nan},
	} {
		if got := c.a.Eval(c.x); !(math.Abs(got-c.want) < 1e-15 || got == c.want || math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%v(%g) = %.17g, want %.17g", c.a.Kind, c.x, got, c.want)
		}
	}
	for _, a := range []Activation{{Kind: 99}, {Kind: LeakyReLU, Slope: 2}, {Kind: Clamp, Min: 1}} {
		if _, err := (Params{Activation: a}).Problem(Shape{1, 1, 1, 1}, Shape{1, 1, 1, 1}, false); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

// The steepest slopes that Apply assumes.
func TestActivationSlopes(t *testing.T) {
	for k := Identity; k <= Clamp; k++ {
		a := Activation{Kind: k, Slope: 0.1, Min: -1, Max: 1}
		s := a.Apply(Sum{Value: 1, Abs: 1, Terms: 1})
		for x := -20.0; x < 20; x += 1e-3 {
			if slope := math.Abs(a.Eval(x+1e-4)-a.Eval(x)) / 1e-4; slope > s.Abs+1e-6 {
				t.Fatalf("%v has slope %g at %g, assumed at most %g", k, slope, x, s.Abs)
			}
		}
	}
}
