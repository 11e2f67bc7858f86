package convtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// TransposedCase is a transposed convolution with its data.
type TransposedCase struct {
	Name            string
	Problem         conv.Transposed
	OutputPadding   [2]int
	X, Weight, Bias []float32
}

// RandomTransposed returns the i-th random transposed convolution of a seed,
// always the same one: small and awkward like those of [Random].
func RandomTransposed(seed uint64, i int) TransposedCase {
	r := rand.New(rand.NewPCG(seed, uint64(i)|1<<40))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	for {
		params := conv.Params{
			Stride:   [2]int{pick(1, 1, 2, 3), pick(1, 2, 2, 4)},
			Dilation: [2]int{pick(1, 1, 2, 3), pick(1, 1, 2, 5)},
			Padding:  conv.Padding{Top: pick(0, 0, 1, 2), Left: pick(0, 0, 1, 3), Bottom: pick(0, 0, 1, 2), Right: pick(0, 0, 1, 3)},
			Groups:   pick(1, 1, 1, 2, 3),
		}
		if r.IntN(5) == 0 {
			params.Groups = pick(4, 8) // depthwise, below
		}
		in, out := pick(1, 2, 3, 8, 17), pick(1, 2, 5, 8, 19)
		if params.Groups >= 4 {
			in, out = 1, 1
		}
		x := conv.Shape{pick(0, 1, 1, 2, 3), params.Groups * in, pick(1, 2, 5, 9, 14), pick(1, 3, 4, 8, 17)}
		w := conv.Shape{params.Groups * in, out, pick(1, 2, 3, 3, 4), pick(1, 2, 3, 3, 5)}
		extra := [2]int{r.IntN(max(params.Stride[0], params.Dilation[0])), r.IntN(max(params.Stride[1], params.Dilation[1]))}
		q, err := params.TransposedProblem(x, w, extra, r.IntN(2) == 0)
		if err != nil || q.Of.Cost().MACs > 400_000 {
			continue
		}
		c := TransposedCase{Problem: q, OutputPadding: extra, X: Normal(r, x.Len()), Weight: Normal(r, w.Len())}
		if q.Bias {
			c.Bias = Normal(r, q.Output()[1])
		}
		c.Name = fmt.Sprintf("seed %d transposed case %d: %v * %v stride %v dilation %v pad %+v output padding %v groups %d",
			seed, i, x, w, params.Stride, params.Dilation, params.Padding, extra, params.Groups)
		return c
	}
}

// OutputGrad draws the gradient by the output of a case, the same every time.
func (c TransposedCase) OutputGrad() []float32 {
	return Normal(rand.New(rand.NewPCG(6, uint64(len(c.X)))), c.Problem.Output().Len())
}

// RunTransposed computes y and the gradients of a case, given those by the output.
type RunTransposed func(c TransposedCase, y []float32, g Grads, dy []float32) error

// Transposed is [Forward] and [Backward] for transposed convolution.
func Transposed(t *testing.T, n int, run RunTransposed) {
	t.Helper()
	seed := Seed()
	worst := map[string]float64{}
	for i := range n {
		c := RandomTransposed(seed, i)
		OneTransposed(t, c, run, worst)
		if t.Failed() {
			t.Fatalf("stopped at case %d of seed %d", i, seed)
		}
	}
	t.Logf("%d random cases, seed %d: worst share of the bound %v", n, seed, worst)
}

// OneTransposed checks one case, see [OneBackward].
func OneTransposed(t *testing.T, c TransposedCase, run RunTransposed, worst map[string]float64) {
	t.Helper()
	q := c.Problem
	x, w, b := Guard("x", c.X), Guard("weight", c.Weight), Guard("bias", c.Bias)
	dy := Guard("dy", c.OutputGrad())
	want := cpuref.ConvTranspose2DBackward(q, c.X, c.Weight, dy.Data)
	y := Poisoned("y", q.Output().Len())
	out := []*Guarded{y, Poisoned("dx", len(want.X)), Poisoned("dweight", len(want.Weight)), Poisoned("dbias", len(want.Bias))}
	c.X, c.Weight = x.Data, w.Data
	if q.Bias {
		c.Bias = b.Data
	}
	if err := run(c, y.Data, Grads{X: out[1].Data, Weight: out[2].Data, Bias: out[3].Data}, dy.Data); err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return
	}
	for _, g := range append(out, x, w, b, dy) {
		if err := g.Check(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	for i, sums := range [][]conv.Sum{cpuref.ConvTranspose2D(q, c.X, c.Weight, c.Bias), want.X, want.Weight, want.Bias} {
		name := out[i].Name
		v := conv.Judge(out[i].Data, sums, nil, conv.ProductRoundings)
		worst[name] = max(worst[name], v.Worst)
		if !v.OK() {
			t.Errorf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", c.Name, name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
	}
}
