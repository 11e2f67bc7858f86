package bench

import (
	"fmt"

	"vkconv/conv"
)

// Layer is one convolution of a case.
type Layer struct {
	Weight conv.Shape // K×(C/groups)×R×S
	Params conv.Params
	Deform *conv.Deform // nil for an ordinary convolution
	Bias   bool
}

// Case is a chain of layers, usually of one.
type Case struct {
	Group  string // what the cases around it have in common
	Name   string
	Input  conv.Shape
	Layers []Layer
}

// Problems follows the chain and returns each layer's problem.
func (c Case) Problems() ([]conv.Problem, error) {
	var problems []conv.Problem
	x := c.Input
	for _, l := range c.Layers {
		var p conv.Problem
		var err error
		if l.Deform != nil {
			p, err = l.Params.DeformProblem(*l.Deform, x, l.Weight, l.Bias)
		} else {
			p, err = l.Params.Problem(x, l.Weight, l.Bias)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		problems = append(problems, p)
		x = p.Output()
	}
	return problems, nil
}

// same returns a layer of k → k channels whose output is as large as its input.
func same(k, size, dilation int) Layer {
	return Layer{
		Weight: conv.Shape{k, k, size, size}, Bias: true,
		Params: conv.Params{Padding: conv.Pad(dilation * (size - 1) / 2), Dilation: [2]int{dilation, dilation}},
	}
}

// Main is the built-in set: what dilation and deformation are used for, at the
// channel counts of the networks that use them, cut down where the oracle would
// need more than a second or so for one case.
//
//   - One 9×9 against 3×3 kernels: four stacked 3×3 see as far as one 9×9, with
//     36 against 81 weights a channel pair.
//   - Dilations 1, 2, 4 at the size of ResNet's first stage.
//   - The three rates of DeepLab's atrous spatial pyramid (Chen et al. 2017,
//     "Rethinking Atrous Convolution") on its 33×33×256 map. At rate 18 most
//     taps of a kernel lie outside the image.
//   - Deformable v1 and v2 at ResNet's last three stages, where Dai et al. 2017
//     and Zhu et al. 2018 put them.
func Main() []Case {
	var cases []Case
	add := func(group, name string, input conv.Shape, layers ...Layer) {
		cases = append(cases, Case{group, name, input, layers})
	}

	field := "field of view: 3×3 against 9×9, alone and stacked"
	small := conv.Shape{1, 32, 56, 56}
	add(field, "3×3", small, same(32, 3, 1))
	add(field, "9×9", small, same(32, 9, 1))
	add(field, "four 3×3", small, same(32, 3, 1), same(32, 3, 1), same(32, 3, 1), same(32, 3, 1))

	for _, d := range []int{1, 2, 4} {
		add("dilation: 3×3 at ResNet's first stage", fmt.Sprintf("dilation %d", d), conv.Shape{1, 64, 56, 56}, same(64, 3, d))
	}

	for _, rate := range []int{6, 12, 18} {
		l := same(256, 3, rate)
		l.Weight[0] = 128
		add("ASPP: 3×3 at DeepLab's rates", fmt.Sprintf("rate %d", rate), conv.Shape{1, 256, 33, 33}, l)
	}

	for _, s := range []struct{ stage, channels, size int }{{3, 128, 28}, {4, 256, 14}, {5, 512, 7}} {
		for version := 1; version <= 2; version++ {
			l := same(s.channels, 3, 1)
			l.Deform = &conv.Deform{OffsetGroups: 1, Mask: version == 2}
			add("deformable: 3×3 at ResNet's stages", fmt.Sprintf("v%d, stage %d", version, s.stage),
				conv.Shape{1, s.channels, s.size, s.size}, l)
		}
	}
	return cases
}
