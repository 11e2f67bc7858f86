package convtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"vkconv/conv"
	"vkconv/cpuref"
)

// Case is one problem with its data.
type Case struct {
	Name                          string
	Problem                       conv.Problem
	X, Weight, Bias, Offset, Mask []float32 // those the problem has; nil otherwise
}

// Want asks the oracle for the result.
func (c Case) Want() []conv.Sum {
	if c.Problem.Deformable() {
		return cpuref.DeformConv2D(c.Problem, c.X, c.Offset, c.Mask, c.Weight, c.Bias)
	}
	return cpuref.Conv2D(c.Problem, c.X, c.Weight, c.Bias)
}

// Roundings is what [conv.Sum.Bound] takes for the forward result.
func (c Case) Roundings() int {
	if c.Problem.Deformable() {
		return conv.SampleRoundings
	}
	return conv.ProductRoundings
}

// Random returns the i-th case of a seed, always the same one. The shapes are
// small and awkward on purpose: one-pixel images, empty batches, odd channel
// counts, strides that differ from the dilation, padding that the dilation does
// not divide, kernels as large as the padded image, depthwise with and without
// a multiplier; offsets far outside, on whole pixels and on the very border.
func Random(seed uint64, i int) Case {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	for {
		p, ok := randomProblem(r)
		if !ok {
			continue
		}
		c := Fill(r, p)
		c.Name = fmt.Sprintf("seed %d case %d: %s", seed, i, Describe(p))
		return c
	}
}

// RandomActivated is [Random] with what only the forward pass takes: an
// activation behind about a third of the cases, and the border cut in a third
// of the deformable ones.
func RandomActivated(seed uint64, i int) Case {
	c := Random(seed, i)
	r := rand.New(rand.NewPCG(seed^0xac7, uint64(i)))
	if r.IntN(3) == 0 {
		c.Problem.Activation = RandomActivation(r)
	}
	if c.Problem.Deformable() && r.IntN(3) == 0 {
		c.Problem.Border = conv.BorderCut
	}
	c.Name = fmt.Sprintf("seed %d case %d: %s", seed, i, Describe(c.Problem))
	return c
}

// RandomActivation draws any activation but none.
func RandomActivation(r *rand.Rand) conv.Activation {
	a := conv.Activation{Kind: conv.ActivationKind(1 + r.IntN(int(conv.Clamp)))}
	switch a.Kind {
	case conv.LeakyReLU:
		a.Slope = 2*r.Float32() - 1
	case conv.Clamp:
		a.Min = float32(r.NormFloat64())
		a.Max = a.Min + 3*r.Float32()
	}
	return a
}

// Describe puts a problem in one line.
func Describe(p conv.Problem) string {
	s := fmt.Sprintf("%v * %v stride %d,%d dilation %d,%d pad %d,%d,%d,%d groups %d",
		p.Input(), p.Weight(), p.StrideY, p.StrideX, p.DilationY, p.DilationX,
		p.Pad.Top, p.Pad.Left, p.Pad.Bottom, p.Pad.Right, p.Groups)
	if p.Activation.Kind != conv.Identity {
		s += " " + p.Activation.Kind.String()
	}
	if p.Mode != conv.Zeros {
		s += " " + p.Mode.String()
	}
	if p.Bias {
		s += " bias"
	}
	if p.Deformable() {
		s += fmt.Sprintf(" offset groups %d", p.OffsetGroups)
	}
	if p.Mask {
		s += " mask"
	}
	if p.Border != conv.BorderFade {
		s += " border " + p.Border.String()
	}
	return s
}

// randomProblem draws a problem; ok is false where the draw does not fit together.
func randomProblem(r *rand.Rand) (conv.Problem, bool) {
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	deform := r.IntN(2) == 0
	var params conv.Params
	if r.IntN(4) > 0 {
		params.Stride = [2]int{pick(1, 1, 2, 3), pick(1, 1, 2, 4)}
	}
	if r.IntN(3) > 0 {
		params.Dilation = [2]int{pick(1, 2, 3, 5, 7), pick(1, 2, 3, 4, 12)}
	}
	params.Padding = conv.Padding{Top: pick(0, 0, 1, 2, 3, 8), Left: pick(0, 0, 1, 2, 5, 12),
		Bottom: pick(0, 0, 1, 2, 3, 7), Right: pick(0, 0, 1, 2, 4, 13)}
	if r.IntN(3) == 0 { // what people use: padding that keeps the size
		params.Padding = conv.Pad(max(params.Dilation[0], 1))
	}
	if !deform && r.IntN(3) == 0 {
		params.Mode = conv.PaddingMode(1 + r.IntN(3))
	}
	kernel := [2]int{pick(1, 2, 3, 3, 3, 5), pick(1, 2, 3, 3, 3, 4, 7)}
	size := [2]int{pick(1, 2, 3, 5, 8, 9, 13, 17, 20), pick(1, 2, 3, 4, 7, 9, 16, 19, 33)}
	groups, perGroup, outPerGroup := 1, pick(1, 2, 3, 5, 8, 17, 33), pick(1, 2, 3, 7, 8, 16, 19, 40)
	switch r.IntN(4) {
	case 0: // grouped
		groups, perGroup, outPerGroup = pick(2, 3, 4), pick(1, 2, 3, 8), pick(1, 2, 5, 9)
	case 1: // depthwise, with a multiplier or without
		groups, perGroup, outPerGroup = pick(1, 2, 3, 8, 17, 36), 1, pick(1, 1, 2, 3)
	}
	params.Groups = groups
	x := conv.Shape{pick(0, 1, 1, 1, 1, 2, 2, 3), groups * perGroup, size[0], size[1]}
	w := conv.Shape{groups * outPerGroup, perGroup, kernel[0], kernel[1]}
	p, err := params.Problem(x, w, r.IntN(2) == 0)
	if err != nil || p.Cost().MACs > 400_000 {
		return p, false
	}
	if deform {
		d := conv.Deform{OffsetGroups: divisor(r, p.C), Mask: r.IntN(2) == 0}
		p, err = params.DeformProblem(d, x, w, p.Bias)
	}
	return p, err == nil
}

// divisor draws one of n's divisors.
func divisor(r *rand.Rand, n int) int {
	for {
		if d := 1 + r.IntN(n); n%d == 0 {
			return d
		}
	}
}

// Fill makes data for a problem.
func Fill(r *rand.Rand, p conv.Problem) Case {
	c := Case{Problem: p, X: Normal(r, p.Input().Len()), Weight: Normal(r, p.Weight().Len())}
	if p.Bias {
		c.Bias = Normal(r, p.K)
	}
	if p.Deformable() {
		c.Offset = Offsets(r, p)
	}
	if p.Mask {
		c.Mask = make([]float32, p.MaskShape().Len())
		for i := range c.Mask {
			c.Mask[i] = r.Float32()
		}
	}
	return c
}

// Normal draws n values of a standard normal distribution.
func Normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// Offsets draws offsets for a deformable problem: mostly a normal distribution
// of a random width, sprinkled with whole pixels, halves, huge and tiny values
// and steps onto and across the border.
func Offsets(r *rand.Rand, p conv.Problem) []float32 {
	v := Normal(r, p.Offset().Len())
	width := float32([]float64{0, 0.3, 1, 4, 30}[r.IntN(5)])
	for i := range v {
		v[i] *= width
		switch r.IntN(12) {
		case 0:
			v[i] = float32(math.Round(float64(v[i])))
		case 1:
			v[i] = float32(math.Round(float64(v[i]))) + 0.5
		case 2:
			special := [...]float32{0, -1, 1, -1e-8, 1e-8, -1e-30, 1e-30, 1e6, -1e6, 1e30, -1e30, 3e9, -3e9,
				float32(p.H), float32(-p.H), float32(p.W), float32(math.Copysign(0, -1)),
				float32(math.Inf(1)), float32(math.Inf(-1))}
			v[i] = special[r.IntN(len(special))]
		}
	}
	return v
}
