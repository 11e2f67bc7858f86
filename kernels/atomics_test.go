//go:build cgo

package kernels

import (
	"errors"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// Atomic additions change the order alone: the same bound, also where the work
// is cut into parts.
func TestBackwardAtomic(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		whole := makerFor(d)
		whole.atomics = true
		parts := whole
		parts.column, parts.pixels = 600, 5
		worst, ran := map[string]float64{}, 0
		for i := 0; ran < convtest.Cases(40); i++ {
			c := convtest.Random(convtest.Seed()+21, i)
			if !c.Problem.Deformable() {
				continue
			}
			if i%3 == 0 {
				c.Problem.Border = conv.BorderCut
			}
			if !d.Info().Features.FloatAtomicAdd {
				if _, err := NewBackwardAtomic(d, c.Problem, c.Weight); !errors.Is(err, conv.ErrUnsupported) {
					t.Fatalf("a device without atomic additions of floats: %v", err)
				}
				return
			}
			for _, m := range []maker{whole, parts} {
				convtest.OneBackward(t, c, func(k convtest.Case, g convtest.Grads, dy []float32) error {
					_, err := gradients(m, k, wanted(k.Problem, g), dy)
					return err
				}, worst)
			}
			if ran++; t.Failed() {
				t.Fatalf("stopped at case %d", i)
			}
		}
		t.Logf("%d cases: worst share of the bound %v", ran, worst)
	})
}
