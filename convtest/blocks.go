package convtest

import (
	"fmt"
	"math/rand/v2"

	"vkconv/conv"
	"vkconv/cpuref"
)

// PackCase is a layer that predicts its own offsets, with its data.
type PackCase struct {
	Name              string
	Problem           conv.Problem
	X                 []float32
	Filter, Predictor cpuref.Filter[float32]
}

// RandomPack returns the i-th random such layer of a seed, always the same one:
// the shapes of [Random], predictors of every strength and now and then the zero
// one that training starts with, an activation behind some. Offsets keep away
// from whole pixels by more than a float32 computation of them may be off, since
// gradients by them jump there.
func RandomPack(seed uint64, i int) PackCase {
	r := rand.New(rand.NewPCG(seed+71, uint64(i)))
	for {
		p, ok := randomProblem(r)
		if !ok || !p.Deformable() || p.C*p.Taps() > 200 || p.Offset().Len() > 4000 {
			continue
		}
		if r.IntN(3) == 0 {
			p.Activation = RandomActivation(r)
		}
		if r.IntN(4) == 0 {
			p.Border = conv.BorderCut
		}
		c := PackCase{Problem: p, X: Normal(r, p.Input().Len()), Filter: cpuref.Filter[float32]{Weight: Normal(r, p.Weight().Len())}}
		if p.Bias {
			c.Filter.Bias = Normal(r, p.K)
		}
		outputs := p.Offset()[1]
		if p.Mask {
			outputs += p.MaskShape()[1]
		}
		c.Predictor.Weight, c.Predictor.Bias = Normal(r, outputs*p.C*p.Taps()), Normal(r, outputs)
		scale := [...]float32{0, 0.02, 0.1, 0.1, 0.5, 1}[r.IntN(6)]
		for _, v := range [][]float32{c.Predictor.Weight, c.Predictor.Bias} {
			for j := range v {
				v[j] *= scale
			}
		}
		if !cpuref.PredictedClear(p, c.X, c.Predictor) {
			continue
		}
		c.Name = fmt.Sprintf("seed %d pack case %d: %s, predictor %g", seed, i, Describe(p), scale)
		return c
	}
}

// OutputGrad draws the gradient by the output of a case, the same every time.
func (c PackCase) OutputGrad() []float32 { return outputGrad(c.Problem.Output()) }

func outputGrad(s conv.Shape) []float32 {
	return Normal(rand.New(rand.NewPCG(8, uint64(s.Len()))), s.Len())
}

// ASPPCase is an ASPP with its data; Filters are in the order of [conv.ASPP.Layers].
type ASPPCase struct {
	Name    string
	Params  conv.ASPPParams
	Problem conv.ASPP
	X       []float32
	Filters []cpuref.Filter[float32]
}

// RandomASPP returns the i-th random ASPP of a seed, always the same one: rates
// inside and beyond the image, none, twice the same, with biases and without,
// any activation.
func RandomASPP(seed uint64, i int) ASPPCase {
	r := rand.New(rand.NewPCG(seed, uint64(i)|1<<42))
	x := conv.Shape{r.IntN(4), 1 + r.IntN(12), 1 + r.IntN(13), 1 + r.IntN(13)}
	c := ASPPCase{Params: conv.ASPPParams{Channels: 1 + r.IntN(9), Out: 1 + r.IntN(9), Rates: [][]int{{6, 12, 18}, {1, 2, 5}, {}, {24}, {2, 2}}[r.IntN(5)]}}
	if r.IntN(3) > 0 {
		c.Params.Activation = RandomActivation(r)
	}
	var err error
	if c.Problem, err = c.Params.Problem(x); err != nil {
		panic(err) // the draws above all fit
	}
	for _, q := range c.Problem.Layers() {
		f := cpuref.Filter[float32]{Weight: Normal(r, q.Weight().Len())}
		if r.IntN(3) > 0 {
			f.Bias = Normal(r, q.K)
		}
		c.Filters = append(c.Filters, f)
	}
	c.X = Normal(r, x.Len())
	c.Name = fmt.Sprintf("seed %d aspp case %d: %v, %+v", seed, i, x, c.Params)
	return c
}

// OutputGrad draws the gradient by the output of a case, the same every time.
func (c ASPPCase) OutputGrad() []float32 { return outputGrad(c.Problem.Output()) }

// PyramidCase is a pyramid with its data; of DLevels some are nil.
type PyramidCase struct {
	Name    string
	Problem conv.Pyramid
	X       []float32
	DLevels [][]float32
}

// RandomPyramid returns the i-th random pyramid of a seed, always the same one.
func RandomPyramid(seed uint64, i int) PyramidCase {
	r := rand.New(rand.NewPCG(seed, uint64(i)|1<<43))
	x := conv.Shape{r.IntN(4), 1 + r.IntN(7), 1 + r.IntN(30), 1 + r.IntN(30)}
	p, err := conv.NewPyramid(x, 1+r.IntN(5))
	if err != nil {
		panic(err) // the draws above all fit
	}
	c := PyramidCase{Problem: p, X: Normal(r, x.Len())}
	top := r.IntN(len(p.Levels)) // one that surely has a gradient
	for l, s := range p.Shapes() {
		var d []float32
		if l == top || r.IntN(3) > 0 {
			d = Normal(r, s.Len())
		}
		c.DLevels = append(c.DLevels, d)
	}
	c.Name = fmt.Sprintf("seed %d pyramid case %d: %v, %d levels", seed, i, x, len(p.Levels))
	return c
}
