package convtest

import (
	"testing"

	"vkconv/conv"
)

// rounded is the oracle's own result in float32, the best there can be.
func rounded(c Case, y, x, weight, bias, offset, mask []float32) error {
	for i, s := range c.Want() {
		y[i] = float32(s.Value)
	}
	return nil
}

func TestSuitePassesTheOracle(t *testing.T) { Forward(t, Cases(300), rounded) }

func TestActivatedSuitePassesTheOracle(t *testing.T) {
	kinds := map[conv.ActivationKind]bool{}
	ForwardActivated(t, max(Cases(300), 300), func(c Case, y, x, weight, bias, offset, mask []float32) error {
		kinds[c.Problem.Activation.Kind] = true
		return rounded(c, y, x, weight, bias, offset, mask)
	})
	if len(kinds) != int(conv.Clamp)+1 {
		t.Errorf("only activations %v were drawn", kinds)
	}
}

func TestSuiteCatches(t *testing.T) {
	c := Random(7, 0)
	for i := 1; c.Problem.N == 0 || len(c.Want()) < 100; i++ {
		c = Random(7, i)
	}
	want := c.Want()
	got := make([]float32, len(want))
	for i, s := range want {
		got[i] = float32(s.Value)
	}
	if v := conv.Judge(got, want, nil, c.Roundings()); !v.OK() {
		t.Fatalf("the oracle's own result is refused: %+v", v)
	}
	for i := range c.Weight {
		c.Weight[i] *= 1 + 1e-4
	}
	for i, s := range c.Want() {
		got[i] = float32(s.Value)
	}
	if v := conv.Judge(got, want, nil, c.Roundings()); v.OK() {
		t.Error("a weight off by one part in 10,000 is accepted")
	}
	g := Poisoned("y", 4)
	g.all[guardWords+4] = 0
	if g.Check() == nil {
		t.Error("a write one past the end is not noticed")
	}
	in := Guard("x", []float32{1, 2})
	in.Data[1] = 3
	if in.Check() == nil {
		t.Error("a modified input is not noticed")
	}
}

// The generator must reach what it promises.
func TestRandomReaches(t *testing.T) {
	seen := map[string]int{}
	for i := range 3000 {
		p := Random(1, i).Problem
		count := func(name string, ok bool) {
			if ok {
				seen[name]++
			} else {
				seen[name] += 0
			}
		}
		count("empty batch", p.N == 0)
		count("one-pixel image", p.H == 1 && p.W == 1)
		count("depthwise dilated", p.Groups > 1 && p.Groups == p.C && p.DilationY > 1)
		count("stride differs from dilation", p.StrideY > 1 && p.DilationY > 1 && p.StrideY != p.DilationY)
		count("dilation does not divide padding", p.Pad.Top > 0 && p.Pad.Top%p.DilationY != 0)
		count("offset groups apart from groups", p.OffsetGroups > 1 && p.Groups > 1 && p.OffsetGroups != p.Groups)
		count("v1", p.Deformable() && !p.Mask)
		count("v2", p.Mask)
		for m := conv.Zeros; m <= conv.Circular; m++ {
			count("mode "+m.String(), p.Mode == m)
		}
		count("kernel as large as the image", p.Ho == 1 && p.R > 1)
	}
	for name, n := range seen {
		if n < 5 {
			t.Errorf("%s: only %d of 3000 cases", name, n)
		}
	}
}

// The formulas of the gradients in float32, by rounding the oracle's.
func TestBackwardSuitePassesTheOracle(t *testing.T) {
	Backward(t, Cases(60), func(c Case, g Grads, dy []float32) error {
		want := c.WantGrads(dy)
		for _, pair := range []struct {
			to   []float32
			from []conv.Sum
		}{{g.X, want.X}, {g.Weight, want.Weight}, {g.Bias, want.Bias}, {g.Offset, want.Offset}, {g.Mask, want.Mask}} {
			for i, s := range pair.from {
				pair.to[i] = float32(s.Value)
			}
		}
		return nil
	})
}
