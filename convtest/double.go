package convtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/cpuref/exact"
)

// Case64 is a problem with float64 data, whose numbers need their last bits: as
// float32 they would be others.
type Case64 struct {
	Name string
	// Problem is a [conv.Problem], [conv.Transposed], [conv.DCN], [conv.RoIPool],
	// [conv.Resize] or [conv.GlobalPool]. It says which of the others there are; of
	// DCNv4 Offset is the packed tensor.
	Problem                             any
	X, Weight, Bias, RoIs, Offset, Mask []float64
	Dy                                  []float64 // gradient by the output
	OutputPadding                       [2]int
	Roundings                           int // for [conv.Sum.Bound64]
}

// Grads64 are gradients to be computed; nil for what a case does not have.
type Grads64 struct{ X, Weight, Bias, Offset, Mask []float64 }

// Want asks the oracle for the output and the gradients.
func (c Case64) Want() ([]conv.Sum, exact.Gradients) {
	switch p := c.Problem.(type) {
	case conv.Problem:
		y, _ := exact.Conv2D(p, c.X, c.Weight, c.Bias, c.Offset, c.Mask, nil)
		p.Activation = conv.Activation{} // gradients do not go through it
		_, g := exact.Conv2D(p, c.X, c.Weight, c.Bias, c.Offset, c.Mask, c.Dy)
		return y, g
	case conv.Transposed:
		return exact.ConvTranspose2D(p, c.X, c.Weight, c.Bias, c.Dy)
	case conv.DCN:
		return exact.DCN(p, c.X, c.Offset, c.Mask, c.Dy)
	case conv.RoIPool:
		return exact.RoIPool(p, c.X, c.RoIs, c.Offset, c.Mask, c.Dy)
	case conv.Resize:
		y, dx := exact.Resize(p, c.X, c.Dy)
		return y, exact.Gradients{X: dx}
	case conv.GlobalPool:
		y, dx := exact.GlobalPool(p, c.X, c.Dy)
		return y, exact.Gradients{X: dx}
	}
	panic(fmt.Sprintf("convtest: no such problem: %T", c.Problem))
}

// Plain asks package cpuref for the output and the gradients, from the data as T.
func Plain[T cpuref.Float](c Case64) ([]conv.Sum, cpuref.Gradients) {
	as := func(v []float64) []T {
		if v == nil {
			return nil
		}
		w := make([]T, len(v))
		for i := range v {
			w[i] = T(v[i])
		}
		return w
	}
	x, weight, bias, rois, offset, mask, dy := as(c.X), as(c.Weight), as(c.Bias), as(c.RoIs), as(c.Offset), as(c.Mask), as(c.Dy)
	switch p := c.Problem.(type) {
	case conv.Problem:
		if p.Deformable() {
			return cpuref.DeformConv2D(p, x, offset, mask, weight, bias), cpuref.DeformConv2DBackward(p, x, offset, mask, weight, dy)
		}
		return cpuref.Conv2D(p, x, weight, bias), cpuref.Conv2DBackward(p, x, weight, dy)
	case conv.Transposed:
		return cpuref.ConvTranspose2D(p, x, weight, bias), cpuref.ConvTranspose2DBackward(p, x, weight, dy)
	case conv.DCN:
		if p.Packed {
			return cpuref.DCNv4(p, x, offset), cpuref.DCNv4Backward(p, x, offset, dy)
		}
		return cpuref.DCNv3(p, x, offset, mask), cpuref.DCNv3Backward(p, x, offset, mask, dy)
	case conv.RoIPool:
		return cpuref.RoIPool(p, x, rois, offset, mask), cpuref.RoIPoolBackward(p, x, rois, offset, mask, dy)
	case conv.Resize:
		return cpuref.Resize(p, x), cpuref.Gradients{X: cpuref.ResizeBackward(p, dy)}
	case conv.GlobalPool:
		return cpuref.GlobalPool(p, x), cpuref.Gradients{X: cpuref.GlobalPoolBackward(p, dy)}
	}
	panic(fmt.Sprintf("convtest: no such problem: %T", c.Problem))
}

// small bounds the products of a float64 case: the oracle takes a microsecond each.
const small = 20_000

// widen gives float32 numbers further bits, but keeps whole numbers and halves,
// where samples have kinks, and what is not finite.
func widen(r *rand.Rand, v []float32) []float64 {
	if v == nil {
		return nil
	}
	w := make([]float64, len(v))
	for i, f := range v {
		w[i] = float64(f)
		if twice := 2 * w[i]; twice != math.Round(twice) {
			w[i] *= 1 + (r.Float64()-0.5)*0x1p-23
		}
	}
	return w
}

// Random64 returns the i-th case of a seed, always the same one, of every
// operator in turn.
func Random64(seed uint64, i int) Case64 {
	r := rand.New(rand.NewPCG(seed+64, uint64(i)))
	of := i / len(operators64)
	for { // of the kind's cases the first that is small
		if c, ok := operators64[i%len(operators64)].draw(r, seed, of); ok {
			c.Name = "float64: " + c.Name
			return c
		}
		of += 1 << 20
	}
}

// operators64 are the operators that a float64 suite goes through.
var operators64 = []struct {
	name string
	draw func(r *rand.Rand, seed uint64, i int) (Case64, bool)
}{
	{"convolution", convolution64(false)},
	{"deformable", convolution64(true)},
	{"transposed", func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
		c := RandomTransposed(seed, i)
		if r.IntN(3) == 0 {
			c.Problem.Activation = RandomActivation(r)
		}
		return Case64{Name: fmt.Sprintf("%s, %v", c.Name, c.Problem.Activation.Kind), Problem: c.Problem, X: widen(r, c.X), Weight: widen(r, c.Weight), Bias: widen(r, c.Bias),
			Dy: widen(r, c.OutputGrad()), OutputPadding: c.OutputPadding, Roundings: conv.ProductRoundings}, c.Problem.Of.Cost().MACs <= 4*small
	}},
	{"DCNv3", dcn64(RandomDCNv3)},
	{"DCNv4", dcn64(RandomDCNv4)},
	{"RoI pooling", roi64(RandomRoIPool)},
	{"position-sensitive RoI pooling", roi64(RandomPSRoIPool)},
	{"resize", scale64(false)},
	{"pooling", scale64(true)},
}

func convolution64(deformable bool) func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
	return func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
		c := RandomActivated(seed, 2*i)
		for j := range 60 { // half of them are of the other kind
			if c = RandomActivated(seed, i+j<<24); c.Problem.Deformable() == deformable && c.Problem.Cost().MACs <= small {
				break
			}
		}
		for j := 0; len(c.Offset) > 0 && i%8 == 3 && j < 3; j++ {
			c.Offset[r.IntN(len(c.Offset))] = float32(math.NaN())
		}
		return Case64{Name: c.Name, Problem: c.Problem, X: widen(r, c.X), Weight: widen(r, c.Weight), Bias: widen(r, c.Bias),
			Offset: widen(r, c.Offset), Mask: widen(r, c.Mask), Dy: widen(r, c.OutputGrad()), Roundings: c.Roundings(),
		}, c.Problem.Deformable() == deformable && c.Problem.Cost().MACs <= small
	}
}

func scale64(pool bool) func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
	return func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
		c := RandomScale(seed, i)
		d := Case64{Name: c.Name, X: widen(r, c.X), Dy: widen(r, c.Dy), Roundings: conv.PoolRoundings}
		if c.Pool != nil {
			d.Problem = *c.Pool
		} else {
			d.Problem, d.Roundings = *c.Resize, conv.ResizeRoundings
		}
		return d, pool == (c.Pool != nil)
	}
}

func dcn64(random func(seed uint64, i int) DCNCase) func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
	return func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
		c := random(seed, i)
		return Case64{Name: c.Name, Problem: c.D, X: widen(r, c.X), Offset: widen(r, c.Offset), Mask: widen(r, c.Mask),
			Dy: widen(r, c.OutputGrad()), Roundings: conv.DCNRoundings}, c.D.Cost().MACs <= small
	}
}

func roi64(random func(seed uint64, i int) RoICase) func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
	return func(r *rand.Rand, seed uint64, i int) (Case64, bool) {
		c := random(seed, i)
		return Case64{Name: c.Name, Problem: c.Q, X: widen(r, c.X), RoIs: widen(r, c.RoIs), Offset: widen(r, c.Offset), Mask: widen(r, c.Mask),
			Dy: widen(r, c.OutputGrad()), Roundings: conv.RoIPoolRoundings}, true
	}
}

// Run64 computes a case's output and, from c.Dy, its gradients.
type Run64 func(c Case64, y []float64, g Grads64) error

// Double holds an implementation to the float64 oracle on n random cases of every
// operator, forward and backward: the bound of [conv.Judge64], which no float32
// computation meets.
func Double(t *testing.T, n int, run Run64) {
	t.Helper()
	seed := Seed()
	for k, op := range operators64 {
		worst := map[string]float64{}
		for i := range n {
			c := Random64(seed, i*len(operators64)+k)
			OneDouble(t, c, run, worst)
			if t.Failed() {
				t.Fatalf("%s: stopped at case %d of seed %d", op.name, i, seed)
			}
		}
		t.Logf("%s, %d random cases, seed %d: worst share of the bound %v", op.name, n, seed, worst)
	}
}

// OneDouble checks one case and raises worst to its shares of the bound.
func OneDouble(t *testing.T, c Case64, run Run64, worst map[string]float64) {
	t.Helper()
	y, g := c.Want()
	names := [...]string{"y", "dx", "dweight", "dbias", "doffset", "dmask"}
	want := [...][]conv.Sum{y, g.X, g.Weight, g.Bias, g.Offset, g.Mask}
	var got [len(want)][]float64
	for i, w := range want {
		if w == nil {
			continue
		}
		got[i] = make([]float64, len(w))
		for j := range got[i] {
			got[i][j] = math.NaN()
		}
	}
	if err := run(c, got[0], Grads64{got[1], got[2], got[3], got[4], got[5]}); err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return
	}
	for i, sums := range want {
		v := conv.Judge64(got[i], sums, c.Roundings)
		worst[names[i]] = max(worst[names[i]], math.Round(v.Worst*1e4)/1e4)
		if !v.OK() {
			t.Errorf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", c.Name, names[i], v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
	}
}
