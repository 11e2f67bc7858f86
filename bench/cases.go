package bench

import (
	"fmt"
	"slices"

	"vkconv/conv"
)

// Layer is one convolution of a case.
type Layer struct {
	Weight conv.Shape // K×(C/groups)×R×S
	Params conv.Params
	Deform *conv.Deform // nil for an ordinary convolution
	Bias   bool
	// DCN makes it the operator of DCNv4 instead, which has neither a weight nor
	// anything else above; only as a case's single layer.
	DCN *conv.DCNParams
}

// Case is a chain of layers, usually of one.
type Case struct {
	Group  string // what the cases around it have in common
	Name   string
	Input  conv.Shape
	Layers []Layer
	// Backward measures, of a single layer, its gradients instead: by the
	// input, the weight, the bias, and where it has them the offset and the mask.
	Backward bool
	// Wanted are the gradients that are asked for, of dx, dweight, dbias, doffset
	// and dmask; nil means all.
	Wanted []string
	Set    string // the named set or file that it is from
	Times  int    // how often a network has it; 0 means once
}

// wants tells whether a gradient is asked for.
func (c Case) wants(name string) bool { return c.Wanted == nil || slices.Contains(c.Wanted, name) }

// dcn returns the problem of a case that is a DCNv4, nil of others.
func (c Case) dcn() (*conv.DCN, error) {
	if len(c.Layers) != 1 || c.Layers[0].DCN == nil {
		return nil, nil
	}
	d, err := c.Layers[0].DCN.V4(c.Input)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return &d, nil
}

// Problems follows the chain and returns each layer's problem.
func (c Case) Problems() ([]conv.Problem, error) {
	var problems []conv.Problem
	x := c.Input
	if c.Backward && len(c.Layers) != 1 {
		return nil, fmt.Errorf("%w: %s: backward is measured of one layer, not of %d", conv.ErrUnsupported, c.Name, len(c.Layers))
	}
	for _, l := range c.Layers {
		var p conv.Problem
		var err error
		if l.DCN != nil {
			return nil, fmt.Errorf("%w: %s: DCNv4 in a chain of convolutions", conv.ErrUnsupported, c.Name)
		}
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
//   - The gradients of a dilated and of a deformable layer, small ones: the
//     oracle takes longer for gradients than for anything else.
func Main() []Case {
	var cases []Case
	add := func(group, name string, input conv.Shape, layers ...Layer) {
		cases = append(cases, Case{Group: group, Name: name, Input: input, Layers: layers})
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

	backward := func(name string, input conv.Shape, l Layer) {
		cases = append(cases, Case{Group: "backward: gradients by input, weight, bias, offset and mask", Name: name, Input: input,
			Layers: []Layer{l}, Backward: true})
	}
	backward("dilation 2", conv.Shape{1, 64, 28, 28}, same(64, 3, 2))
	deformable := same(64, 3, 1)
	deformable.Deform = &conv.Deform{OffsetGroups: 1, Mask: true}
	backward("deformable v2", conv.Shape{1, 64, 14, 14}, deformable)
	return cases
}

// cost is what the case asks of a machine. A backward pass multiplies and adds
// as much by the weight for the input (and for the offset and the mask) as by
// the input for the weight, reads what the forward pass reads and dy, and writes
// a gradient for each but dy.
func (c Case) cost(problems []conv.Problem) (sum conv.Cost) {
	for _, p := range problems {
		cost := p.Cost()
		if c.Backward {
			cost = c.backwardCost(p, cost)
		}
		sum.MACs += cost.MACs
		sum.SampleMACs += cost.SampleMACs
		sum.Bytes += cost.Bytes
		sum.Params += cost.Params
	}
	return sum
}

func (c Case) backwardCost(p conv.Problem, cost conv.Cost) conv.Cost {
	size := func(s conv.Shape) int64 { return 4 * int64(s.Len()) }
	bytes := size(p.Input()) + size(p.Weight()) + size(p.Output()) // read: x, weight, dy
	offset, mask := int64(0), int64(0)
	if p.Deformable() {
		offset = size(p.Offset())
	}
	if p.Mask {
		mask = size(p.MaskShape())
	}
	bytes += offset + mask
	products := int64(0)
	if c.wants("dx") || p.Deformable() && (c.wants("doffset") || p.Mask && c.wants("dmask")) {
		products++
	}
	if c.wants("dweight") {
		products++
	}
	for _, g := range []struct {
		name string
		size int64
	}{{"dx", size(p.Input())}, {"dweight", size(p.Weight())}, {"dbias", 4 * int64(p.K)}, {"doffset", offset}, {"dmask", mask}} {
		if c.wants(g.name) && (g.name != "dbias" || p.Bias) {
			bytes += g.size
		}
	}
	cost.MACs *= products
	cost.SampleMACs *= products
	cost.Bytes = bytes
	return cost
}
