package onnx

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"vkconv/onnx/internal/pb"
)

// Model is a model that has been read and is made of what is here.
type Model struct {
	path     string
	inputs   []Value
	outputs  []Value
	nodes    []*node // each behind those whose outputs it reads
	known    map[string]*constant
	needed   map[string]bool // inputs whose values a plan takes in
	producer string
	opset    int64
}

// Value is an input or an output of a model.
type Value struct {
	Name  string
	Shape []int // −1 where an extent is left open; nil where the model doesn't say
	// Planned says that a plan takes the input's value in: weights, sizes, limits.
	Planned bool

	typ pb.TensorProto_DataType
}

// String writes "x, 1×3×?×?".
func (v Value) String() string {
	if v.Shape == nil {
		return v.Name
	}
	return v.Name + ", " + Extents(v.Shape)
}

// maxOpset is the newest version of ai.onnx whose operators were read about.
const maxOpset = 28

// maxModelBytes is protobuf's own limit.
const maxModelBytes = 1<<31 - 1

// Open reads a model, and its external data where it has some.
func Open(path string) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, damaged("%s: is not a regular file", path)
	case info.Size() > maxModelBytes:
		return nil, damaged("%s: has %d bytes, a model has at most %d beside its external data", path, info.Size(), maxModelBytes)
	}
	data := make([]byte, info.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, err)
	}
	files, err := newExternals(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer files.close()
	return decode(path, data, files)
}

// Decode is [Open] for a model in memory, which has no external data; path is what
// its errors call it.
func Decode(path string, data []byte) (*Model, error) { return decode(path, data, nil) }

func decode(path string, data []byte, files *externals) (*Model, error) {
	var p pb.ModelProto
	err := unmarshal(data, &p)
	if err == nil && p.Graph == nil {
		err = damaged("not an ONNX model: it has no graph")
	}
	m := &Model{path: path, known: map[string]*constant{}, needed: map[string]bool{}, producer: p.GetProducerName()}
	if err == nil {
		err = m.read(&p, files)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// unmarshal decodes a message; groups nested deeper than any model's are refused.
func unmarshal(data []byte, m proto.Message) error {
	if err := (proto.UnmarshalOptions{RecursionLimit: 64, DiscardUnknown: true}).Unmarshal(data, m); err != nil {
		return damaged("not an ONNX file, or damaged: %v", err)
	}
	return nil
}

// Inputs lists what the model is fed, those with a value of their own left out.
func (m *Model) Inputs() []Value { return slices.Clone(m.inputs) }

// Outputs lists what it gives.
func (m *Model) Outputs() []Value { return slices.Clone(m.outputs) }

// Opset returns the version of ONNX's operators that the model was made for.
func (m *Model) Opset() int { return int(m.opset) }

// Producer names the program that wrote the model.
func (m *Model) Producer() string { return m.producer }

// Nodes returns how many nodes the graph has.
func (m *Model) Nodes() int { return len(m.nodes) }

func (m *Model) read(p *pb.ModelProto, files *externals) error {
	for _, set := range p.GetOpsetImport() {
		if d := set.GetDomain(); d == "" || d == "ai.onnx" {
			m.opset = set.GetVersion()
		}
	}
	if m.opset < 1 {
		return damaged("does not say which version of ai.onnx it was made for")
	}
	var missing missing
	if m.opset > maxOpset {
		missing.add(fmt.Sprintf("opset %d, newer than %d", m.opset, maxOpset), "ai.onnx")
	}
	g := p.GetGraph()
	if len(g.GetSparseInitializer()) > 0 {
		missing.add("sparse initializers", g.GetSparseInitializer()[0].GetValues().GetName())
	}
	made := map[string]bool{} // names that have a value
	for _, t := range g.GetInitializer() {
		name := t.GetName()
		if name == "" || made[name] {
			return damaged("two initializers are called %q, or one has no name", name)
		}
		c, err := decodeTensor(t, files)
		if err != nil {
			return fmt.Errorf("initializer %.80q: %w", name, err)
		}
		made[name], m.known[name] = true, &c
	}
	if err := m.readInputs(g, made, &missing); err != nil {
		return err
	}
	for _, n := range g.GetNode() {
		read, err := newNode(n, m.opset, &missing, files)
		if err != nil {
			return err
		}
		m.nodes = append(m.nodes, read)
	}
	if err := missing.err(); err != nil {
		return err
	}
	if err := m.sort(made); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, v := range g.GetOutput() {
		name := v.GetName()
		if !made[name] || seen[name] {
			return damaged("output %.80q is made by no node, or listed twice", name)
		}
		seen[name] = true
		m.outputs = append(m.outputs, Value{Name: name, Shape: shapeOf(v)})
	}
	if len(m.outputs) == 0 {
		return damaged("has no outputs")
	}
	m.markNeeded()
	for _, v := range m.inputs { // nothing is computed in another type
		if !v.Planned && v.typ != pb.TensorProto_FLOAT {
			missing.add(fmt.Sprintf("computing with inputs of type %v", v.typ), fmt.Sprintf("%.60q", v.Name))
		}
	}
	return missing.err()
}

// readInputs reads the inputs, and notes types that aren't here.
func (m *Model) readInputs(g *pb.GraphProto, made map[string]bool, missing *missing) error {
	seen := map[string]bool{}
	for _, v := range g.GetInput() {
		name := v.GetName()
		if name == "" || seen[name] {
			return damaged("two inputs are called %.80q, or one has no name", name)
		}
		seen[name] = true
		if made[name] { // an initializer that may be replaced, as models of the first versions list them
			continue
		}
		made[name] = true
		tensor := v.GetType().GetTensorType()
		if tensor == nil {
			missing.add("an input that is no tensor", fmt.Sprintf("%.60q", name))
			continue
		}
		if typ := pb.TensorProto_DataType(tensor.GetElemType()); typeBytes[typ] == 0 {
			missing.add(fmt.Sprintf("inputs of type %v", typ), fmt.Sprintf("%.60q", name))
		}
		m.inputs = append(m.inputs, Value{Name: name, Shape: shapeOf(v), typ: pb.TensorProto_DataType(tensor.GetElemType())})
	}
	return nil
}

// shapeOf is what a model says of a value's extents.
func shapeOf(v *pb.ValueInfoProto) []int {
	s := v.GetType().GetTensorType().GetShape()
	if s == nil || len(s.GetDim()) > maxRank {
		return nil
	}
	shape := []int{}
	for _, d := range s.GetDim() {
		if _, fixed := d.GetValue().(*pb.TensorShapeProto_Dimension_DimValue); fixed && d.GetDimValue() >= 0 {
			shape = append(shape, clampInt(d.GetDimValue()))
		} else {
			shape = append(shape, -1)
		}
	}
	return shape
}

// sort puts the nodes in an order in which each comes behind what it reads, and
// refuses circles, values made twice and values made by nobody.
func (m *Model) sort(made map[string]bool) error {
	maker := map[string]*node{}
	for _, n := range m.nodes {
		for _, out := range n.outputs {
			if out == "" {
				continue
			}
			if made[out] || maker[out] != nil {
				return damaged("the value %.80q is made twice", out)
			}
			maker[out] = n
		}
	}
	waits, readers := map[*node]int{}, map[string][]*node{}
	var ready, sorted []*node
	for _, n := range m.nodes {
		for _, in := range n.inputs {
			switch {
			case in == "" || made[in]:
			case maker[in] == nil:
				return damaged("%v reads %.80q, which nothing makes", n, in)
			default:
				waits[n]++
				readers[in] = append(readers[in], n)
			}
		}
		if waits[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		n := ready[0]
		ready, sorted = ready[1:], append(sorted, n)
		for _, out := range n.outputs {
			made[out] = true
			for _, r := range readers[out] {
				if waits[r]--; waits[r] == 0 {
					ready = append(ready, r)
				}
			}
		}
	}
	if len(sorted) < len(m.nodes) {
		i := slices.IndexFunc(m.nodes, func(n *node) bool { return waits[n] > 0 })
		return damaged("the graph runs in a circle: %v waits for itself", m.nodes[i])
	}
	if inOrder(m.nodes, maker) {
		return nil // as the file has them
	}
	m.nodes = sorted
	return nil
}

// inOrder reports whether every node comes behind what it reads already.
func inOrder(nodes []*node, maker map[string]*node) bool {
	at := map[*node]int{}
	for i, n := range nodes {
		at[n] = i
	}
	for i, n := range nodes {
		for _, in := range n.inputs {
			if by := maker[in]; by != nil && at[by] >= i {
				return false
			}
		}
	}
	return true
}

// markNeeded finds the inputs whose values a plan takes in: what operators need
// known, through operators that only give it another shape.
func (m *Model) markNeeded() {
	for _, n := range slices.Backward(m.nodes) {
		o := operators[n.op]
		for i, in := range n.inputs {
			if in != "" && (slices.Contains(o.constants, i) || o.sameData && i == 0 && m.needed[n.outputs[0]]) {
				m.needed[in] = true
			}
		}
	}
	for i := range m.inputs {
		m.inputs[i].Planned = m.needed[m.inputs[i].Name]
	}
}
