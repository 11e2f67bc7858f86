package convtest

import (
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// Grads are the gradients of a case, in the shapes of what they differentiate
// by; nil for what the problem does not have.
type Grads struct{ X, Weight, Bias, Offset, Mask []float32 }

// RunBackward computes all gradients of a case, given those by the output.
type RunBackward func(c Case, g Grads, dy []float32) error

// OutputGrad draws the gradient by the output of a case, the same every time.
func (c Case) OutputGrad() []float32 {
	n := c.Problem.Output().Len()
	return Normal(rand.New(rand.NewPCG(5, uint64(n))), n)
}

// WantGrads asks the oracle for the gradients.
func (c Case) WantGrads(dy []float32) cpuref.Gradients {
	if c.Problem.Deformable() {
		return cpuref.DeformConv2DBackward(c.Problem, c.X, c.Offset, c.Mask, c.Weight, dy)
	}
	return cpuref.Conv2DBackward(c.Problem, c.X, c.Weight, dy)
}

// Backward is [Forward] for gradients.
func Backward(t *testing.T, n int, run RunBackward) {
	t.Helper()
	seed := Seed()
	worst := map[string]float64{}
	for i := range n {
		OneBackward(t, Random(seed, i), run, worst)
		if t.Failed() {
			t.Fatalf("stopped at case %d of seed %d", i, seed)
		}
	}
	t.Logf("%d random cases, seed %d: worst share of the bound %v", n, seed, worst)
}

// OneBackward checks one case and raises worst, by gradient, to its shares of
// the bound.
func OneBackward(t *testing.T, c Case, run RunBackward, worst map[string]float64) {
	t.Helper()
	dy := Guard("dy", c.OutputGrad())
	in := []*Guarded{dy, Guard("x", c.X), Guard("weight", c.Weight), Guard("offset", c.Offset), Guard("mask", c.Mask)}
	want := c.WantGrads(dy.Data)
	out := []*Guarded{Poisoned("dx", len(want.X)), Poisoned("dweight", len(want.Weight)), Poisoned("dbias", len(want.Bias)),
		Poisoned("doffset", len(want.Offset)), Poisoned("dmask", len(want.Mask))}
	guarded := Case{Name: c.Name, Problem: c.Problem, X: in[1].Data, Weight: in[2].Data, Bias: c.Bias, Offset: in[3].Data, Mask: in[4].Data}
	g := Grads{X: out[0].Data, Weight: out[1].Data, Bias: out[2].Data, Offset: out[3].Data, Mask: out[4].Data}
	if err := run(guarded, g, dy.Data); err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return
	}
	for _, b := range append(in, out...) {
		if err := b.Check(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	for i, sums := range [][]conv.Sum{want.X, want.Weight, want.Bias, want.Offset, want.Mask} {
		name := out[i].Name
		v := conv.Judge(out[i].Data, sums, nil, c.Roundings())
		worst[name] = max(worst[name], v.Worst)
		if !v.OK() {
			t.Errorf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", c.Name, name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
	}
}
