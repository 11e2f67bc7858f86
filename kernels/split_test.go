//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// splitCase draws a problem with channels enough for parts.
func splitCase(t *testing.T, r *rand.Rand, deformable bool) convtest.Case {
	n := func(least, most int) int { return least + r.IntN(most-least+1) }
	for {
		params := conv.Params{Stride: [2]int{n(1, 2), n(1, 3)}, Dilation: [2]int{n(1, 4), n(1, 3)}, Groups: n(1, 2),
			Padding: conv.Padding{Top: n(0, 5), Bottom: n(0, 5), Left: n(0, 5), Right: n(0, 5)}}
		params.Activation = activations[r.IntN(2)]
		cg := 4 * n(3, 20)
		x := conv.Shape{n(1, 3), params.Groups * cg, n(1, 12), n(1, 12)}
		w := conv.Shape{params.Groups * n(1, 40), cg, n(1, 3), n(1, 3)}
		var p conv.Problem
		var err error
		if deformable {
			p, err = params.DeformProblem(conv.Deform{OffsetGroups: []int{1, 2, 4}[r.IntN(3)], Mask: r.IntN(2) == 0}, x, w, r.IntN(2) == 0)
		} else {
			params.Mode = conv.PaddingMode(r.IntN(2) * r.IntN(4))
			p, err = params.Problem(x, w, r.IntN(2) == 0)
		}
		if err == nil {
			c := convtest.Fill(r, p)
			c.Name = convtest.Describe(p)
			return c
		}
	}
}

// TestSplit forces every variant of splits on random cases, in several parts: right by the bound, the same bits
// between whole tensors and between channels of wider ones, and nothing else written.
func TestSplit(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, v := range splits {
			t.Run(v.String(), func(t *testing.T) {
				r := rand.New(rand.NewPCG(convtest.Seed(), 77))
				most := 0
				for range (convtest.Cases(24) + 3) / 4 {
					c := splitCase(t, r, v.kind == sharedDeform)
					l, why, err := planParts(c.Problem, traitsOf(d.Info()), v, 2+r.IntN(4))
					if why != "" || err != nil {
						t.Fatal(why, err)
					}
					if l.parts == 1 { // too few channels for two steps
						continue
					}
					most = max(most, l.parts)
					convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error {
						for i, how := range []func(*gpu.Device, forward, convtest.Case, []float32) error{runForward, runForwardViews} {
							o, err := newSplit(d, c.Problem, l, c.Weight, c.Bias)
							if err != nil {
								return err
							}
							if o.Workspace() != l.partialBytes() {
								return fmt.Errorf("the workspace is %d bytes, planned were %d", o.Workspace(), l.partialBytes())
							}
							again := make([]float32, len(y))
							if err := how(d, o, c, again); err != nil {
								return err
							}
							for j := range y {
								if i > 0 && math.Float32bits(y[j]) != math.Float32bits(again[j]) {
									return fmt.Errorf("y[%d] is %g, and %g between channels of wider tensors", j, y[j], again[j])
								}
							}
							copy(y, again)
						}
						return nil
					})
				}
				if most < 2 {
					t.Errorf("no case in more than %d parts", most)
				}
			})
		}
	})
}

// TestSplitChosen: where tiles are too few for a device whose width is known, and nowhere else.
func TestSplitChosen(t *testing.T) {
	software := big
	software.Software, software.Subgroup = true, 8
	for _, c := range []struct {
		name string
		t    traits
		x, w conv.Shape
		want bool
	}{
		{"few outputs, many channels", big, conv.Shape{1, 512, 7, 7}, conv.Shape{512, 512, 3, 3}, true},
		{"outputs for every slot", big, conv.Shape{8, 256, 56, 56}, conv.Shape{256, 256, 3, 3}, false},
		{"few outputs, few channels", big, conv.Shape{1, 8, 7, 7}, conv.Shape{16, 8, 3, 3}, false},
		{"a device of unknown width", software, conv.Shape{1, 512, 7, 7}, conv.Shape{512, 512, 3, 3}, false},
	} {
		p := problem(t, conv.Params{Padding: conv.Pad(1)}, c.x, c.w)
		list, candidates, err := ways(p, c.t, false)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range list {
			if why := candidates[i].Unfit; l.launch.parts > 1 && c.t.Software {
				t.Errorf("%s: %s fits a device of unknown width", c.name, candidates[i].Name)
			} else if c.t.Software && strings.HasPrefix(candidates[i].Name, "split_conv") && !strings.Contains(why, "side by side") {
				t.Errorf("%s: %s is unfit because %q", c.name, candidates[i].Name, why)
			}
		}
		i := guess(candidates)
		if got := list[i].launch.parts > 1; got != c.want {
			t.Errorf("%s: %s is chosen, in %d parts", c.name, candidates[i].Name, list[i].launch.parts)
		}
	}
}

// TestManyTaps: more taps than shared.comp marks, of which most meet only padding.
func TestManyTaps(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, w := range []conv.Shape{{5, 3, 1, 300}, {2, 18, 19, 17}} {
			for _, padding := range []int{0, 150, 290} {
				p, err := conv.Params{Padding: conv.Pad(padding), Stride: [2]int{7, 5}}.Problem(conv.Shape{1, w[1], 20, 310}, w, true)
				if err != nil {
					t.Fatal(err)
				}
				c := convtest.Fill(r, p)
				c.Name = convtest.Describe(p)
				for _, v := range variants {
					if v.module != "shared_conv_32x32" && v.module != "shared_conv_64x64m8" {
						continue
					}
					l, why, err := plan(p, traitsOf(d.Info()), v)
					if why != "" || err != nil {
						t.Fatal(why, err)
					}
					convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error { return run(d, l, c, y) })
				}
			}
		}
	})
}
