package onnx

import "slices"

// fuse puts behind each layer with weights what can be folded into them, and its
// activation: nodes that are the only reader of what comes before them. The nodes
// returned are copies; those that were fused are gone.
//
//	Conv ── BatchNormalization ── Add of a constant ── Relu   becomes one layer
//
// Folding changes where rounding happens, not what is computed: the weight is
// multiplied in float64 and rounded once, and [Plan.Verify] counts that.
func (p *planner) fuse(nodes []*node, outputs []Value) []*node {
	readers := map[string][]*node{}
	count := map[string]int{}
	for _, n := range nodes {
		for _, in := range n.inputs {
			readers[in] = append(readers[in], n)
			count[in]++
		}
	}
	for _, v := range outputs {
		count[v.Name]++
	}
	gone := map[*node]bool{}
	var fused []*node
	for _, n := range nodes {
		if gone[n] {
			continue
		}
		c := *n
		c.outputs = slices.Clone(n.outputs)
		fused = append(fused, &c)
		if !p.scales(n) && n.op != "Conv" && n.op != "ConvTranspose" && n.op != "DeformConv" && n.op != "Gemm" {
			continue
		}
		for count[c.outputs[0]] == 1 && len(readers[c.outputs[0]]) == 1 {
			next := readers[c.outputs[0]][0]
			switch {
			case isActivation(next.op) && next.inputs[0] == c.outputs[0]:
				c.act = next
			case p.scales(next) && p.dataIn(next) == c.outputs[0] && n.op != "Gemm":
				c.affine = append(c.affine, next)
			}
			if c.act != next && (len(c.affine) == 0 || c.affine[len(c.affine)-1] != next) {
				break
			}
			gone[next] = true
			c.outputs[0] = next.outputs[0]
			c.with = append(c.with, next.op)
			if c.act != nil {
				break
			}
		}
	}
	return fused
}

// swish makes ONNX's Swish of x·Sigmoid(x), which is how PyTorch exports a SiLU,
// where nothing else reads the sigmoid.
func (p *planner) swish(nodes []*node) []*node {
	from, reads := map[string]*node{}, map[string]int{} // sigmoids by their outputs
	for _, n := range nodes {
		if n.op == "Sigmoid" {
			from[n.outputs[0]] = n
		}
		for _, in := range n.inputs {
			reads[in]++
		}
	}
	for _, v := range p.m.outputs {
		reads[v.Name]++
	}
	gone := map[*node]bool{}
	out := slices.Clone(nodes)
	for i, n := range nodes {
		for at := range n.inputs {
			s := from[n.inputs[at]]
			if n.op != "Mul" || s == nil || s.inputs[0] != n.inputs[1-at] || reads[s.outputs[0]] != 1 {
				continue
			}
			gone[s] = true
			out[i] = &node{op: "Swish", name: n.name, inputs: s.inputs, outputs: n.outputs, opset: n.opset}
		}
	}
	return slices.DeleteFunc(out, func(n *node) bool { return gone[n] })
}

// scales tells whether a node only multiplies channels by constants and adds some.
func (p *planner) scales(n *node) bool {
	switch n.op {
	case "BatchNormalization":
		return !slices.ContainsFunc(n.inputs[1:], func(in string) bool { return p.knownOf(in) == nil })
	case "Add", "Mul":
		x, _, _ := p.split(n)
		return x != ""
	}
	return false
}

// dataIn is the input of such a node that is no constant.
func (p *planner) dataIn(n *node) string {
	if n.op == "BatchNormalization" {
		return n.inputs[0]
	}
	x, _, _ := p.split(n)
	return x
}
