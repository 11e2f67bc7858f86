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

// backwardOf is convtest.Backward for the random cases of some kind.
func backwardOf(t *testing.T, cases int, kind func(p conv.Problem) bool, run convtest.RunBackward) {
	t.Helper()
	worst := map[string]float64{}
	for i := range cases {
		c := convtest.Random(convtest.Seed(), i)
		if c.Problem.N == 0 || !kind(c.Problem) {
			continue
		}
		if convtest.OneBackward(t, c, run, worst); t.Failed() {
			t.Fatalf("stopped at case %d of seed %d", i, convtest.Seed())
		}
	}
	t.Logf("seed %d: worst share of the bound %v", convtest.Seed(), worst)
}

// Gradients of random problems on a device that does not bind one image of theirs:
// within the bound, nothing written beside them; the bits of the whole where there
// is one image and no sum spans pieces.
func TestSingle(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		ways := map[string]int{}
		ordinary := func(p conv.Problem) bool { return !p.Deformable() }
		backwardOf(t, convtest.Cases(60), ordinary, func(c convtest.Case, g convtest.Grads, dy []float32) error {
			p, want, m := c.Problem, wanted(c.Problem, g), makerFor(d)
			one := p
			one.N = 1
			least := max(p.H*p.W, p.Ho*p.Wo, p.Weight().Len(), p.C*p.W, p.K*min(p.R+1, p.Ho)*p.Wo)
			m.traits.StorageRange = 4*int64(max(least, one.Input().Len()/3, one.Output().Len()/3)) + granule
			plan, err := newBackward(m, p, c.Weight)
			if errors.Is(err, gpu.ErrTooLarge) {
				ways["refused"]++
				_, err := gradients(makerFor(d), c, want, dy)
				return err
			}
			if err != nil {
				return err
			}
			defer plan.Close()
			part := plan
			if b, ok := plan.(*batchwise); ok {
				part = b.plans[0]
			}
			record := func(s *gpu.Stream, g Grads, t [4]Tensor) error {
				return plan.RecordBackward(s, g, t[0], t[1], t[2], t[3])
			}
			if err := runGradients(d, [4][]float32{c.X, c.Offset, c.Mask, dy}, want, record); err != nil {
				return err
			}
			s, ok := part.(*single)
			if !ok {
				ways["whole images"]++
				return nil
			}
			sameX := true
			switch in := s.input.(type) {
			case *forwardInput:
				ways["forward"]++
				_, pieces := in.forward.(*piecewise) // of another kernel, perhaps
				sameX = !pieces
			case *bandedGradient:
				ways["bands"]++
			case *inputBlocks:
				ways["blocks"]++
				for _, b := range in.blocks {
					sameX = sameX && b.add == nil
				}
			}
			if len(s.sums.blocks) > 1 {
				ways["weight in blocks"]++
			}
			whole := blank(p)
			if _, err := gradients(makerFor(d), c, whole, dy); err != nil {
				return err
			}
			if sameX {
				ways["dx compared"]++
				err = sameBits(want.X, whole.X)
			}
			if p.N == 1 {
				err = errors.Join(err, sameBits(want.Weight, whole.Weight), sameBits(want.Bias, whole.Bias))
			}
			return err
		})
		for _, way := range []string{"forward", "bands", "blocks", "weight in blocks"} {
			if ways[way] == 0 && convtest.Cases(60) >= 60 {
				t.Errorf("no case went by %s: %v", way, ways)
			}
		}
		t.Log(ways)
	})
}
