package onnx

import (
	"context"
	"fmt"
	"slices"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// planner makes a plan: it works all shapes out, then where each value lives, then
// makes the layers.
type planner struct {
	m       *Model
	e       *vkconv.Engine
	options Options
	values  map[string]*value
	planned []*planned
	free    map[conv.Shape][]*buffer
	taken   int64 // bytes of tensors
	plan    *Plan
}

// planned is a node whose shapes are known.
type planned struct {
	n    *node
	in   []*value // on the device
	out  *value
	dims []int // of the output

	known    *constant // the output, where it is known
	same     *value    // or the value whose data it is
	concat   bool      // or the values of in, one after the other in its channels
	slice    bool      // or channels of in from first on
	first    int
	whole    uint // bit i: input i cannot be channels of a wider tensor
	outWhole bool // nor can the output
	make     func() (layer, error)
	// oracle gives the output given what goes in, and the roundings made in a term; of
	// a large layer one element in every, where 0 means 1.
	oracle func(in [][]float32) ([]conv.Sum, int)
	every  int
}

// layer is one of the door's.
type layer struct {
	run func(ctx context.Context, y *vkconv.Tensor, in []*vkconv.Tensor) error
	doorLayer
}

type doorLayer interface {
	Close()
	Describe() string
	Workspace() int64
}

// single makes a layer of one of the door's that has one input.
func single[L interface {
	doorLayer
	Run(ctx context.Context, y, x *vkconv.Tensor) error
}](l L, err error) (layer, error) {
	if err != nil {
		return layer{}, err
	}
	return layer{func(ctx context.Context, y *vkconv.Tensor, in []*vkconv.Tensor) error { return l.Run(ctx, y, in[0]) }, l}, nil
}

// knownOf returns a value's elements, nil where they aren't known.
func (p *planner) knownOf(name string) *constant {
	if v := p.values[name]; v != nil {
		return v.known
	}
	return nil
}

// constant returns an input that must be known.
func (p *planner) constant(n *node, i int) (*constant, error) {
	if c := p.knownOf(n.inputs[i]); c != nil {
		return c, nil
	}
	return nil, unsupported("%v needs the value of %q when it is planned, but it is computed", n, n.inputs[i])
}

// device returns an input as a value on the device; a known one is uploaded.
func (p *planner) device(n *node, i int) (*value, error) {
	v := p.values[n.inputs[i]]
	if v.known == nil {
		return v, nil
	}
	if _, err := v.known.float32s(); err != nil {
		return nil, n.in(i, err)
	}
	name := v.name + "\x00on the device" // no value of the model is called that
	if p.values[name] == nil {
		u := &value{name: v.name, dims: v.dims, keep: true}
		p.values[name] = u
		p.plan.uploads = append(p.plan.uploads, upload{u, v.known})
	}
	return p.values[name], nil
}

// images returns the first input, which must be one- or two-dimensional images.
func (p *planner) images(n *node) (*value, conv.Shape, error) {
	x, err := p.device(n, 0)
	if err != nil {
		return nil, conv.Shape{}, err
	}
	s, err := n.image(x)
	return x, s, err
}

// Options say how a model is planned; the zero value is a good choice.
type Options struct {
	// NoFusion plans every node as a layer of its own.
	NoFusion bool
	// MemoryBudget is the most bytes that the plan's tensors may take, weights and
	// layers' workspaces left out; 0 means 8 GiB. A small file can ask for very
	// large tensors, and such a plan is refused before anything is allocated.
	MemoryBudget int64
}

func (o Options) budget() int64 {
	if o.MemoryBudget > 0 {
		return o.MemoryBudget
	}
	return 8 << 30
}

// affordable refuses a value that alone takes more than the budget.
func (p *planner) affordable(n *node, dims []int) error {
	if _, count, err := extents(int64s(dims), 4); err != nil || int64(count) > p.options.budget()/4 {
		return misfit("%v makes a tensor of %s, more than the plan's budget of %d bytes", n, Extents(dims), p.options.budget())
	}
	return nil
}

// Plan plans the model on an engine. feed has an array for every input: its shape
// is what the plan is made for, and of inputs that are [Value.Planned] it takes the
// values in. Errors match [conv.ErrShape], [conv.ErrParams] or
// [conv.ErrUnsupported] where the model or the feed are at fault. A driver may take
// seconds to compile a layer, so ctx is looked at between them.
func (m *Model) Plan(ctx context.Context, e *vkconv.Engine, feed map[string]tensorio.Array, options Options) (*Plan, error) {
	p := &planner{m: m, e: e, options: options, values: map[string]*value{}, free: map[conv.Shape][]*buffer{}, plan: &Plan{m: m, e: e}}
	if err := p.make(ctx, feed); err != nil {
		p.plan.Close()
		return nil, fmt.Errorf("%s: %w", m.path, err)
	}
	return p.plan, nil
}

func (p *planner) make(ctx context.Context, feed map[string]tensorio.Array) error {
	if err := p.shapes(feed); err != nil {
		return err
	}
	p.placeParts()
	p.countUses()
	return p.build(ctx)
}

// shapes works every value's extents out.
func (p *planner) shapes(feed map[string]tensorio.Array) error {
	for name, c := range p.m.known {
		p.values[name] = &value{name: name, dims: c.Shape, known: c}
	}
	if err := p.feed(feed); err != nil {
		return err
	}
	nodes := p.swish(p.m.nodes)
	if !p.options.NoFusion {
		// Constants first: what is folded must be known.
		for _, n := range nodes {
			if n.op == "Constant" {
				p.values[n.outputs[0]] = &value{name: n.outputs[0], dims: n.tensor.Shape, known: n.tensor}
			}
		}
		nodes = p.fuse(nodes, p.m.outputs)
	}
	for _, n := range nodes {
		if err := p.infer(n); err != nil {
			return err
		}
	}
	for _, v := range p.m.outputs {
		out := p.values[v.Name]
		if !fits(out.dims, v.Shape) {
			return misfit("output %q is %s, the model says %s", v.Name, Extents(out.dims), Extents(v.Shape))
		}
		p.plan.outputs = append(p.plan.outputs, out)
		out.data().keep = true
	}
	return nil
}

// feed makes values of the inputs.
func (p *planner) feed(feed map[string]tensorio.Array) error {
	for _, in := range p.m.inputs {
		a, ok := feed[in.Name]
		if !ok {
			return misfit("input %q (%s) is not fed", in.Name, in)
		}
		if !fits(a.Shape, in.Shape) {
			return misfit("input %q is %s, the model says %s", in.Name, Extents(a.Shape), Extents(in.Shape))
		}
		typ, err := typeOf(a)
		if err == nil {
			_, _, err = extents(int64s(a.Shape), 8)
		}
		if err != nil {
			return fmt.Errorf("input %q has %w", in.Name, err)
		}
		v := &value{name: in.Name, dims: a.Shape}
		p.values[in.Name] = v
		if in.Planned {
			v.known = &constant{typ, a}
			continue
		}
		if _, ok := a.Data.([]float32); !ok {
			return unsupported("input %q has elements of type %v, must be float32", in.Name, typ)
		}
		v.keep = true
		p.plan.inputs = append(p.plan.inputs, v)
	}
	for name := range feed {
		if !slices.ContainsFunc(p.m.inputs, func(v Value) bool { return v.Name == name }) {
			return misfit("%q is fed, but the model has no such input (%s)", name, namesOf(p.m.inputs))
		}
	}
	return nil
}

func int64s(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

func namesOf(values []Value) string {
	text := ""
	for i, v := range values {
		if i > 0 {
			text += "; "
		}
		text += v.String()
	}
	return text
}

// fits compares extents with what a model says of them.
func fits(dims, want []int) bool {
	if want == nil {
		return true
	}
	return slices.EqualFunc(dims, want, func(d, w int) bool { return w < 0 || d == w })
}

// infer works a node's output out.
func (p *planner) infer(n *node) error {
	q, err := operators[n.op].infer(p, n)
	if err != nil {
		return err
	}
	if err := p.affordable(n, q.dims); err != nil {
		return err
	}
	q.n = n
	q.out = &value{name: n.outputs[0], dims: q.dims, known: q.known, same: q.same}
	p.values[q.out.name] = q.out
	for _, extra := range n.outputs[1:] { // of Dropout, which check has refused
		p.values[extra] = q.out
	}
	if q.known == nil {
		p.planned = append(p.planned, q)
	}
	return nil
}
