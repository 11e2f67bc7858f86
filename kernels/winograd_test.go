//go:build cgo

package kernels

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// winogradCase draws a problem that Winograd's algorithm covers.
func winogradCase(r *rand.Rand) (convtest.Case, error) {
	n := func(least, most int) int { return least + r.IntN(most-least+1) }
	groups := 1
	if r.IntN(4) == 0 {
		groups = n(2, 3)
	}
	params := conv.Params{
		Dilation: [2]int{n(1, 4), n(1, 4)}, Groups: groups, Mode: conv.PaddingMode(r.IntN(4)),
		Padding: conv.Padding{Top: n(0, 4), Bottom: n(0, 4), Left: n(0, 4), Right: n(0, 4)},
	}
	if r.IntN(3) == 0 {
		params.Activation = conv.Activation{Kind: conv.ReLU}
	}
	x := conv.Shape{n(1, 3), groups * n(1, 9), n(5, 24), n(5, 24)}
	w := conv.Shape{groups * n(1, 37), x[1] / groups, 3, 3}
	p, err := params.Problem(x, w, r.IntN(2) == 0)
	if err != nil {
		return convtest.Case{}, err
	}
	return convtest.Fill(r, p), nil
}

// runWinograd computes c between guard bands; channels around x and y where wide.
func runWinograd(d *gpu.Device, w winogradPlan, c convtest.Case, y []float32, wide bool) error {
	p := c.Problem
	o, err := newWinograd(d, p, w, c.Weight, c.Bias)
	if err != nil {
		return err
	}
	defer o.Close()
	before, behind := 0, 0
	if wide {
		before, behind = 3, 2
	}
	place := func(s conv.Shape, values []float32) []float32 { // as channels of a wider tensor
		plane := s[2] * s[3]
		var out []float32
		for n := range s[0] {
			out = append(out, poisoned(before*plane)...)
			if values == nil {
				out = append(out, poisoned(s[1]*plane)...)
			} else {
				out = append(out, values[n*s[1]*plane:][:s[1]*plane]...)
			}
			out = append(out, poisoned(behind*plane)...)
		}
		return out
	}
	a := newArena(d.Info().Limits.StorageAlign, [slots][]float32{slotX: place(p.Input(), c.X), slotY: place(p.Output(), nil)})
	buf, err := d.NewBuffer(int64(4 * len(a.words)))
	if err != nil {
		return err
	}
	defer buf.Free()
	if err := d.Upload(buf, 0, a.bytes(a.words)); err != nil {
		return err
	}
	view := func(slot, channels int) View {
		v := View{Tensor: Tensor{buf, int64(4 * a.at[slot])}}
		if wide {
			v.Channels, v.First = before+channels+behind, before
		}
		return v
	}
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	if err := (&Conv2D{planned{forward: o}}).RecordViews(s, view(slotY, p.K), view(slotX, p.C)); err != nil {
		s.Discard()
		return err
	}
	u, err := s.Submit()
	if err != nil {
		return err
	}
	if err := u.Wait(context.Background()); err != nil {
		return err
	}
	got := make([]uint32, len(a.words))
	if err := d.Download(a.bytes(got), buf, 0); err != nil {
		return err
	}
	image := (before + p.K + behind) * p.Ho * p.Wo
	for i, word := range got {
		at := i - a.at[slotY]
		n, in := 0, 0
		if image > 0 {
			n, in = at/image, at%image-before*p.Ho*p.Wo
		}
		if at >= 0 && n < p.N && in >= 0 && in < p.K*p.Ho*p.Wo {
			y[n*p.K*p.Ho*p.Wo+in] = math.Float32frombits(word)
		} else if word != a.words[i] {
			return fmt.Errorf("word %d outside the output changed from %#x to %#x", i, a.words[i], word)
		}
	}
	return nil
}

// poisoned is n values that no output may keep.
func poisoned(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.NaN())
	}
	return v
}

// TestWinograd compares both sizes with the oracle within their derived bounds,
// at any dilation, padding mode and number of groups, in one part and in many,
// and asks for the same bits twice.
func TestWinograd(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, m := range []conv.Winograd{2, 4} {
			r := rand.New(rand.NewPCG(convtest.Seed(), uint64(m)))
			worst, most := 0.0, 0
			for range convtest.Cases(12) {
				c, err := winogradCase(r)
				if err != nil {
					continue
				}
				room := winogradRoom
				if r.IntN(2) == 0 {
					room = 1 + r.IntN(20000)
				}
				w, err := planWinograd(c.Problem, traitsOf(d.Info()), m, room)
				if err != nil {
					t.Fatalf("%s: %v", convtest.Describe(c.Problem), err)
				}
				most = max(most, ceil(w.tiles, w.room))
				y, again := make([]float32, c.Problem.Output().Len()), make([]float32, c.Problem.Output().Len())
				wide := r.IntN(3) == 0
				for _, to := range [][]float32{y, again} {
					if err := runWinograd(d, w, c, to, wide); err != nil {
						t.Fatalf("seed %d, %s: %v", convtest.Seed(), convtest.Describe(c.Problem), err)
					}
				}
				// ReLU brings no two values further apart, so the bound holds behind it.
				bounds := m.Bounds(c.Problem, c.X, c.Weight, c.Bias)
				for i, want := range c.Want() {
					share := conv.Share(y[i], want.Value, bounds[i])
					if worst = max(worst, share); share > 1 || math.Float32bits(y[i]) != math.Float32bits(again[i]) {
						t.Fatalf("seed %d, F(%d), %s: element %d is %g and then %g, want %g ± %g", convtest.Seed(), m, convtest.Describe(c.Problem), i, y[i], again[i], want.Value, bounds[i])
					}
				}
			}
			t.Logf("F(%d×%d, 3×3): worst share of the bound %.3g, at most %d parts", m, m, worst, most)
		}
	})
}

// TestWinogradIsOptional checks that nothing but the option lets a plan be one.
func TestWinogradIsOptional(t *testing.T) {
	p, err := conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}.Problem(conv.Shape{1, 128, 40, 40}, conv.Shape{128, 128, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	weight := make([]float32, p.Weight().Len())
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, options := range [][]Option{nil, {AllowWinograd}} {
			c, err := NewConv2D(d, p, weight, nil, options...)
			if err != nil {
				t.Fatal(err)
			}
			if _, is := c.forward.(*winograd); is != (options != nil) || is != (c.Workspace() > 0) {
				t.Errorf("with options %v: %s, workspace %d", options, c.Describe(), c.Workspace())
			}
			c.Close()
		}
	})
}
