//go:build cgo

package kernels

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// smallFor is a maker for a device that binds so small a part of an image of p's,
// but not less than what is never cut.
func smallFor(d *gpu.Device, p conv.Problem, part int) maker {
	one := p
	one.N = 1
	bytes := 4 * max(p.Weight().Len(), p.K*p.Wo, 2*p.OffsetGroups*p.Taps()*p.Wo, p.H*p.W, one.Input().Len()/part)
	m := binding(d, int64(bytes)+granule)
	m.column, m.pixels = bytes/4, 1
	return m
}

// manyGroups are cases whose blocks of channels meet weight and offset groups in
// every way: whole ones of both, whole ones of one within the other, parts.
func manyGroups(t *testing.T, height, width int) (cases []convtest.Case) {
	for i, groups := range [][2]int{{1, 1}, {1, 3}, {4, 2}, {2, 4}, {3, 4}, {12, 1}, {6, 6}} {
		x, w := conv.Shape{1 + i%2, 12, height, width}, conv.Shape{12, 12 / groups[0], 1, 2}
		params := conv.Params{Padding: conv.Pad(1), Groups: groups[0], Activation: conv.Activation{Kind: conv.ReLU}}
		p, err := params.DeformProblem(conv.Deform{OffsetGroups: groups[1], Mask: i%3 > 0}, x, w, i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), uint64(i))), p)
		c.Name = fmt.Sprint(groups[0], " groups, ", groups[1], " offset groups")
		cases = append(cases, c)
	}
	return cases
}

// Gradients of deformable convolutions on a device that binds a band of an image's
// offsets, and the image or some channels of it: within the bound, nothing written
// beside them; those by offset and mask have the bits of the whole where only rows
// are cut.
func TestDeformSingle(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, part := range []int{1, 3} {
			ways := map[string]int{}
			run := func(c convtest.Case, g convtest.Grads, dy []float32) error {
				p, want := c.Problem, wanted(c.Problem, g)
				m := smallFor(d, p, part)
				plan, err := newBackward(m, p, c.Weight)
				if err != nil {
					return err
				}
				defer plan.Close()
				record := func(s *gpu.Stream, g Grads, t [4]Tensor) error {
					return plan.RecordBackward(s, g, t[0], t[1], t[2], t[3])
				}
				if err := runGradients(d, [4][]float32{c.X, c.Offset, c.Mask, dy}, want, record); err != nil {
					return fmt.Errorf("%s: %w", plan.Describe(), err)
				}
				if b, ok := plan.(*batchwise); ok {
					plan = b.plans[0]
				}
				s, ok := plan.(*deformSingle)
				if !ok {
					ways["whole images"]++
					return nil
				}
				if s.rows < p.Ho {
					ways["rows"]++
				}
				cut, err := newDeformBlocks(p, m.traits)
				if err == nil && cut.channels < p.C {
					ways["channels"]++
					return nil
				}
				whole := blank(p)
				if _, e := gradients(makerFor(d), c, whole, dy); e != nil {
					return e
				}
				return errors.Join(err, sameBits(want.Offset, whole.Offset), sameBits(want.Mask, whole.Mask))
			}
			backwardOf(t, convtest.Cases(60)/2+1, conv.Problem.Deformable, run)
			for _, c := range manyGroups(t, 6, 9) {
				c.Problem.Activation = conv.Activation{}
				convtest.OneBackward(t, c, run, map[string]float64{})
			}
			if ways["rows"] == 0 || part > 1 && ways["channels"] < 7 {
				t.Errorf("not every way was gone: %v", ways)
			}
			t.Log(part, ways)
		}
	})
}

// Deformable convolutions whose image passes a binding, in blocks of its channels,
// also between channels of wider tensors.
func TestBlockedDeform(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for name, run := range map[string]func(*gpu.Device, forward, convtest.Case, []float32) error{"whole": runForward, "views": runForwardViews} {
			blocks, worst := 0, 0.0
			cases := manyGroups(t, 24, 31)
			for i := range convtest.Cases(60) {
				cases = append(cases, convtest.RandomActivated(convtest.Seed(), i))
			}
			for _, c := range cases {
				if c.Problem.N == 0 || !c.Problem.Deformable() {
					continue
				}
				m := smallFor(d, c.Problem, 3)
				m.traits.StorageRange = max(m.traits.StorageRange, 4*8*int64(c.Problem.Weight().Len())) // packed
				plan, err := newForward(m, c.Problem, c.Weight, c.Bias)
				if err != nil {
					if !errors.Is(err, gpu.ErrTooLarge) {
						t.Fatalf("%s: %v", c.Name, err)
					}
					continue
				}
				if _, ok := plan.forward.(*blockedDeform); !ok {
					plan.Close()
					continue
				}
				blocks++
				y := make([]float32, c.Problem.Output().Len())
				if err := run(d, plan.forward, c, y); err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				v := conv.Judge(y, c.Want(), nil, c.Roundings())
				if worst = max(worst, v.Worst); !v.OK() {
					t.Fatalf("%s: %+v", c.Name, v)
				}
			}
			if blocks < 7 {
				t.Errorf("%d images were cut", blocks)
			}
			t.Logf("%s: %d images in blocks, worst share of the bound %.3f", name, blocks, worst)
		}
	})
}

// The gradient by the input of more cells and pixels than llvmpipe's loops go round,
// gathered and scattered.
func TestManyCells(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p, err := conv.Params{}.DeformProblem(conv.Deform{}, conv.Shape{1, 1, 520, 530}, conv.Shape{1, 1, 1, 1}, false)
		if err != nil {
			t.Fatal(err)
		}
		c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), 47)), p)
		worst := map[string]float64{}
		for _, lists := range []int{8 << 20, 0} {
			convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
				m := makerFor(d)
				m.lists = lists
				_, err := gradients(m, c, wanted(p, g), dy)
				return err
			}, worst)
		}
		t.Log(worst)
	})
}
