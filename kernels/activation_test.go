//go:build cgo

package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// activations has every kind, with parameters that matter.
var activations = []conv.Activation{
	{}, {Kind: conv.ReLU}, {Kind: conv.ReLU6}, {Kind: conv.LeakyReLU, Slope: 0.1}, {Kind: conv.LeakyReLU, Slope: -1}, {Kind: conv.SiLU},
	{Kind: conv.GELU}, {Kind: conv.Sigmoid}, {Kind: conv.Clamp, Min: -1.5, Max: 2}, {Kind: conv.Clamp, Min: float32(math.Inf(-1)), Max: -3},
}

// arguments are values to evaluate a function at: a fine grid, all magnitudes
// and what is no number.
func arguments() (x []float32) {
	for v := -12.0; v < 12; v += 0.0371 {
		x = append(x, float32(v))
	}
	for e := -149; e < 127; e++ {
		v := float32(math.Ldexp(1.37, e))
		x = append(x, v, -v)
	}
	for v := float32(-110); v < 110; v += 0.613 {
		x = append(x, v)
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x = append(x, 0, float32(math.Copysign(0, -1)), inf, -inf, nan, -nan, math.MaxFloat32, -math.MaxFloat32)
	for len(x)%4 != 0 { // for the kernels of four neighbours
		x = append(x, 1)
	}
	return x
}

// TestActivations: behind a convolution that multiplies by 1 the functions are
// within their own bounds, NaN stays NaN, and infinities become the limits.
func TestActivations(t *testing.T) {
	x := arguments()
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		worst := map[conv.ActivationKind]float64{}
		done := map[kind]bool{}
		for _, v := range variants {
			if done[v.kind] { // a pipeline of each kind's first variant: compiling takes long
				continue
			}
			shape, w := conv.Shape{1, 1, 1, len(x)}, conv.Shape{1, 1, 1, 1}
			if v.kind != pointwise && v.kind != deform && v.kind != deformDepthwise {
				w = conv.Shape{1, 1, 3, 3}
				if v.module == "conv2d_l8_m32n4s7e2" || v.module == "conv2d_l4_m16n4s7e2" {
					continue // sums over a stride of 2: TestEveryVariant has it
				}
			}
			for _, a := range activations {
				params := conv.Params{Padding: conv.Padding{Top: w[2] / 2, Bottom: w[2] / 2, Left: w[3] / 2, Right: w[3] / 2}, Activation: a}
				p, err := params.Problem(shape, w, false)
				if v.kind == deform || v.kind == deformDepthwise {
					p, err = params.DeformProblem(conv.Deform{}, shape, w, false)
				}
				if err != nil {
					t.Fatal(err)
				}
				l, why, err := plan(p, traitsOf(d.Info()), v)
				if err != nil {
					t.Fatal(err)
				}
				if why != "" {
					continue
				}
				c := convtest.Fill(rand.New(rand.NewPCG(1, 1)), p)
				done[v.kind] = true
				c.Name = v.module + " " + a.Kind.String()
				c.X = x
				clear(c.Offset)
				// One tap of 1. The others read neighbours, whose NaN and infinity would
				// spread: those stand alone, between two ones.
				clear(c.Weight)
				c.Weight[len(c.Weight)/2] = 1
				want := make([]float32, len(x))
				if err := run(d, l, c, want); err != nil {
					t.Fatal(err)
				}
				for i, sum := range c.Want() {
					// An infinity next door, times 0.
					if math.IsNaN(sum.Value) && !math.IsNaN(float64(x[i])) {
						continue
					}
					// The sum flushes subnormals.
					if share := conv.Share(want[i], sum.Value, sum.Bound(c.Roundings())); !(share <= 1) {
						t.Fatalf("%s(%g) is %g, want %g within %g (%.2f)", c.Name, x[i], want[i], sum.Value, sum.Bound(c.Roundings()), share)
					} else {
						worst[a.Kind] = max(worst[a.Kind], share)
					}
				}
			}
		}
		t.Logf("worst shares of the bound: %v", worst)
	})
}
