package vkconv_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"vkconv"
	"vkconv/convtest"
)

// Offsets that are NaN, infinite or beyond any image, forward and backward: what
// the oracle says, on every device and on the CPU, inputs and guards untouched.
// DCNv3, DCNv4 and RoI pooling have such offsets among their random ones.
func TestDeformSpecialOffsets(t *testing.T) {
	inf := float32(math.Inf(1))
	specials := []float32{float32(math.NaN()), inf, -inf, 1e30, -1e30, math.MaxFloat32, -math.MaxFloat32}
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for i, ran := 0, 0; ran < 2+convtest.Cases(20)/10; i++ {
			c := convtest.Random(convtest.Seed()+13, i)
			if !c.Problem.Deformable() || c.Problem.N == 0 {
				continue
			}
			ran++
			r := rand.New(rand.NewPCG(convtest.Seed(), uint64(i)))
			for j := range c.Offset {
				if r.IntN(6) == 0 {
					c.Offset[j] = specials[r.IntN(len(specials))]
				}
			}
			convtest.One(t, c, func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
				return run(e, c, y, x, weight, bias, offset, mask)
			})
			convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
				return backward(t, e, c, g, dy)
			}, map[string]float64{})
			if t.Failed() {
				t.Fatal(c.Name)
			}
		}
	})
}
