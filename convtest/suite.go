package convtest

import (
	"os"
	"strconv"
	"testing"

	"vkconv/conv"
)

// Run computes a case into y, which has the output's length.
type Run func(c Case, y, x, weight, bias, offset, mask []float32) error

// Cases returns how many random cases a test runs: $VKCONV_CASES, or usual.
func Cases(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("VKCONV_CASES")); err == nil && n >= 0 {
		return n
	}
	return usual
}

// Seed returns $VKCONV_SEED, or 1.
func Seed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("VKCONV_SEED"), 10, 64); err == nil {
		return n
	}
	return 1
}

// Forward holds an implementation to the oracle on n random cases, with guard
// bands around every buffer, poisoned outputs and inputs compared afterwards.
// It logs the seed and the worst share of the bound.
func Forward(t *testing.T, n int, run Run) {
	t.Helper()
	forward(t, n, Random, run)
}

// ForwardActivated is [Forward] on the cases of [RandomActivated].
func ForwardActivated(t *testing.T, n int, run Run) {
	t.Helper()
	forward(t, n, RandomActivated, run)
}

func forward(t *testing.T, n int, random func(seed uint64, i int) Case, run Run) {
	t.Helper()
	seed := Seed()
	var worst conv.Verdict
	worstName := ""
	for i := range n {
		c := random(seed, i)
		v := One(t, c, run)
		if v.Worst > worst.Worst {
			worst, worstName = v, c.Name
		}
		if t.Failed() {
			t.Fatalf("stopped at case %d of seed %d", i, seed)
		}
	}
	t.Logf("%d random cases, seed %d: worst share of the bound %.3f (%s)", n, seed, worst.Worst, worstName)
}

// One checks one case, see [Forward].
func One(t *testing.T, c Case, run Run) conv.Verdict {
	t.Helper()
	y := Poisoned("y", c.Problem.Output().Len())
	in := []*Guarded{Guard("x", c.X), Guard("weight", c.Weight), Guard("bias", c.Bias), Guard("offset", c.Offset), Guard("mask", c.Mask)}
	if err := run(c, y.Data, in[0].Data, in[1].Data, in[2].Data, in[3].Data, in[4].Data); err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return conv.Verdict{}
	}
	for _, g := range append(in, y) {
		if err := g.Check(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	v := conv.Judge(y.Data, c.Want(), nil, c.Roundings())
	if !v.OK() {
		t.Errorf("%s: y[%d] is %g, want %g within %g (%.2f of the bound)", c.Name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
	}
	return v
}
