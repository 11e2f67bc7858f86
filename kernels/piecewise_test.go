//go:build cgo

package kernels

import (
	"errors"
	"fmt"
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

// Gradients of random problems some images at a time: within the bound, nothing
// written beside them; those of single images are the bits of the whole.
func TestBatchwise(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		ran, refused := 0, 0
		convtest.Backward(t, convtest.Cases(60), func(c convtest.Case, g convtest.Grads, dy []float32) error {
			p, m := c.Problem, makerFor(d)
			want := wanted(p, g)
			if p.N < 2 {
				_, err := gradients(m, c, want, dy)
				return err
			}
			one := p
			one.N = 1
			m.traits.StorageRange = largest(one) + 4*int64(p.Weight().Len())*int64(p.N) + 1<<10
			plan, err := newBatchwise(m, p, 1+p.N/2, c.Weight) // two parts, the second often shorter
			if errors.Is(err, gpu.ErrTooLarge) {
				refused++
				m.traits.StorageRange = 1 << 40
				plan, err = newBatchwise(m, p, 1, c.Weight)
			}
			if err != nil {
				return err
			}
			defer plan.Close()
			ran++
			record := func(s *gpu.Stream, g Grads, t [4]Tensor) error {
				return plan.RecordBackward(s, g, t[0], t[1], t[2], t[3])
			}
			if err := runGradients(d, [4][]float32{c.X, c.Offset, c.Mask, dy}, want, record); err != nil {
				return err
			}
			whole := blank(p)
			if _, err := gradients(makerFor(d), c, whole, dy); err != nil {
				return err
			}
			for name, v := range map[string][2][]float32{"dx": {want.X, whole.X}, "doffset": {want.Offset, whole.Offset}, "dmask": {want.Mask, whole.Mask}} {
				for i := range v[0] {
					if math.Float32bits(v[0][i]) != math.Float32bits(v[1][i]) {
						return fmt.Errorf("%s, element %d is %v, of the whole problem's %v", name, i, v[0][i], v[1][i])
					}
				}
			}
			return nil
		})
		t.Logf("%d in parts, %d did not fit", ran, refused)
		if ran == 0 {
			t.Error("no case was cut")
		}
	})
}

// What fits no piece is refused, and newBackward halves the batch until it fits.
func TestNewBackward(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p, err := conv.Params{Padding: conv.Pad(1)}.Problem(conv.Shape{9, 4, 11, 11}, conv.Shape{2, 4, 3, 3}, true)
		if err != nil {
			t.Fatal(err)
		}
		m := makerFor(d)
		m.traits.StorageRange = 4 * 4 * 11 * 11 * 5 / 2
		b, err := newBackward(m, p, make([]float32, p.Weight().Len()))
		if err != nil {
			t.Fatal(err)
		}
		if w, ok := b.(*batchwise); !ok || w.images != 2 || b.Workspace() == 0 {
			t.Errorf("%s, workspace %d", b.Describe(), b.Workspace())
		}
		b.Close()
		m.traits.StorageRange = 4 * 11 * 11 / 2
		if _, err := newBackward(m, p, make([]float32, p.Weight().Len())); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("half a channel of an image in a binding: %v", err)
		}
	})
}
