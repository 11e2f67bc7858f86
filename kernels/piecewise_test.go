//go:build cgo

package kernels

import (
	"errors"
	"math"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// largest is the size of a problem's largest tensor in bytes.
func largest(p conv.Problem) int64 {
	n := max(p.Input().Len(), p.Output().Len(), p.Weight().Len())
	if p.Deformable() {
		n = max(n, p.Offset().Len())
	}
	return 4 * int64(n)
}

// Random problems on a device that binds less than they take: the bits of the
// same kernel on the whole problem, and nothing written beside the output.
func TestPiecewise(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		kinds := map[string]int{}
		for i := range convtest.Cases(60)/3 + 1 {
			c := convtest.RandomActivated(convtest.Seed(), i)
			p, whole := c.Problem, traitsOf(d.Info())
			for _, part := range []int64{2, 5, 30} {
				few := whole
				few.StorageRange = largest(p)/part + granule
				cut, err := cutUp(p, few)
				if err != nil {
					if !errors.Is(err, gpu.ErrTooLarge) {
						t.Errorf("%s within %d bytes: %v", c.Name, few.StorageRange, err)
					}
					kinds["refused"]++
					continue
				}
				switch {
				case cut.banded && cut.blocks > 1:
					kinds["rows and channels"]++
				case cut.banded:
					kinds["rows"]++
				case cut.blocks > 1:
					kinds["channels"]++
				default:
					kinds["images"]++
				}
				l, why, err := plan(p, whole, cut.launch.variant)
				if why != "" || err != nil {
					kinds["kernel for pieces alone"]++
					if l, err = choose(p, whole); err != nil {
						t.Fatal(err)
					}
				}
				want := make([]float32, p.Output().Len())
				if err := run(d, l, c, want); err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				for name, f := range map[string]func(*gpu.Device, forward, convtest.Case, []float32) error{"": runForward, "views": runForwardViews} {
					plan, err := cut.build(d, c.Weight, c.Bias)
					if err != nil {
						t.Fatalf("%s: %v", c.Name, err)
					}
					text := plan.Describe()
					got := make([]float32, len(want))
					if err := f(d, plan, c, got); err != nil {
						t.Fatalf("%s, %s %s: %v", c.Name, text, name, err)
					}
					for k := range got {
						if math.Float32bits(got[k]) != math.Float32bits(want[k]) && why == "" {
							t.Fatalf("%s, %s %s: element %d is %v, of the whole problem's %v", c.Name, text, name, k, got[k], want[k])
						}
					}
				}
			}
		}
		for _, kind := range []string{"rows", "channels", "images"} {
			if kinds[kind] == 0 && convtest.Cases(60) >= 60 {
				t.Errorf("no case was cut by %s: %v", kind, kinds)
			}
		}
		t.Log(kinds)
	})
}
