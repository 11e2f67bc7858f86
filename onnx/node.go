package onnx

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"vkconv/onnx/internal/pb"
)

// node is one node of the graph.
type node struct {
	op      string
	name    string // its own or its first output's
	inputs  []string
	outputs []string
	attrs   map[string]*pb.AttributeProto
	tensor  *constant // Constant's value
	opset   int64

	// What fuse put behind it:
	affine []*node  // constants times and plus what comes out
	act    *node    // an activation
	with   []string // the operators of both
}

// String names the node.
func (n *node) String() string { return fmt.Sprintf("%s %q", n.op, n.name) }

// title is the node with what was fused into it.
func (n *node) title() string {
	return strings.Join(append([]string{n.op}, n.with...), "+") + " " + strconv.Quote(n.name)
}

// wrap says of an error which node it is about.
func (n *node) wrap(err error) error { return fmt.Errorf("%v: %w", n, err) }

// in says of an error which input of the node it is about.
func (n *node) in(i int, err error) error { return fmt.Errorf("%v has %q of %w", n, n.inputs[i], err) }

// has reports whether the input is given: optional ones are left out or empty.
func (n *node) has(i int) bool { return i < len(n.inputs) && n.inputs[i] != "" }

// ints returns an attribute of integers, nil where it is missing.
func (n *node) ints(name string) []int {
	a := n.attrs[name]
	if a == nil {
		return nil
	}
	out := make([]int, len(a.GetInts()))
	for i, v := range a.GetInts() {
		out[i] = clampInt(v)
	}
	return out
}

// clampInt keeps what no extent can be from wrapping; it stays out of every range.
func clampInt(v int64) int {
	const most = min(math.MaxInt, 1<<40)
	return int(min(max(v, -most), most))
}

func (n *node) int(name string, missing int) int {
	if a := n.attrs[name]; a != nil {
		return clampInt(a.GetI())
	}
	return missing
}

func (n *node) float(name string, missing float32) float32 {
	if a := n.attrs[name]; a != nil {
		return a.GetF()
	}
	return missing
}

func (n *node) text(name, missing string) string {
	if a := n.attrs[name]; a != nil {
		return string(a.GetS())
	}
	return missing
}

// kinds of attributes, as far as they are used here.
var (
	asInt    = pb.AttributeProto_INT
	asInts   = pb.AttributeProto_INTS
	asFloat  = pb.AttributeProto_FLOAT
	asFloats = pb.AttributeProto_FLOATS
	asText   = pb.AttributeProto_STRING
	asTensor = pb.AttributeProto_TENSOR
)

// newNode checks what a node has against its operator, and adds what isn't here to missing.
func newNode(p *pb.NodeProto, opset int64, missing *missing, files *externals) (*node, error) {
	n := &node{op: p.GetOpType(), name: p.GetName(), inputs: p.GetInput(), outputs: p.GetOutput(), attrs: map[string]*pb.AttributeProto{}, opset: opset}
	if n.name == "" && len(n.outputs) > 0 {
		n.name = n.outputs[0]
	}
	if d := p.GetDomain(); d != "" && d != "ai.onnx" {
		missing.operator(fmt.Sprintf("%s of domain %.40s", n.op, d), n)
		return n, nil
	}
	o, ok := operators[n.op]
	if !ok {
		missing.operator(fmt.Sprintf("%.40s", n.op), n)
		return n, nil
	}
	for _, a := range p.GetAttribute() {
		name := a.GetName()
		if n.attrs[name] != nil {
			return nil, damaged("%v has two attributes %q", n, name)
		}
		kind, known := o.attributes[name]
		switch {
		case !known:
			missing.of(n, "attribute %.40s", name)
			continue
		case a.GetRefAttrName() != "":
			missing.of(n, "attribute %s given by a function", name)
			continue
		case a.GetType() != kind && a.GetType() != pb.AttributeProto_UNDEFINED:
			return nil, damaged("%v has attribute %s of type %v, must be %v", n, name, a.GetType(), kind)
		}
		n.attrs[name] = a
	}
	if least, most := o.inputs[0], o.inputs[1]; len(n.inputs) < least || len(n.inputs) > most {
		return nil, damaged("%v has %d inputs, must have %d to %d", n, len(n.inputs), least, most)
	}
	for i := range o.inputs[0] {
		if n.inputs[i] == "" {
			return nil, damaged("%v lacks its input %d", n, i)
		}
	}
	if len(n.outputs) < 1 || n.outputs[0] == "" {
		return nil, damaged("%v has no output", n)
	}
	if i := slices.IndexFunc(n.outputs[1:], func(s string) bool { return s != "" }); i >= 0 && n.op != "Dropout" {
		missing.of(n, "a second output")
	}
	if o.check != nil {
		for _, what := range o.check(n) {
			missing.of(n, "%s", what)
		}
	}
	if n.op == "Constant" {
		c, err := n.constant(files)
		if err != nil {
			return nil, fmt.Errorf("%v %w", n, err)
		}
		n.tensor = c
	}
	return n, nil
}
