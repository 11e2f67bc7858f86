package onnx

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/onnx/internal/pb"
	"vkconv/tensorio"
)

var ctx = context.Background()

// onEach runs f on every device there is, and asks the validation layer at the end.
func onEach(t *testing.T, f func(t *testing.T, e *vkconv.Engine)) {
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			e, err := vkconv.Open(vkconv.Options{Device: name, CacheDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			f(t, e)
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			for _, m := range e.Messages() {
				t.Errorf("validation: %s", m)
			}
		})
	}
}

// The ONNX project's own tests, and networks that its reference evaluator computed.
func TestCases(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for kind, least := range map[string]int{"node": 84, "pytorch": 48, "networks": 9} {
			dirs, _ := filepath.Glob(filepath.Join("testdata", kind, "*"))
			passed, before := 0, e.Memory().InUse
			if e.OnGPU() && convtest.Cases(60) < 1000 { // of the rest, other tests build the same shaders
				dirs = slices.DeleteFunc(dirs, func(dir string) bool {
					return kind != "networks" && !strings.Contains(strings.ToLower(dir), "conv")
				})
				least = len(dirs)
			}
			for _, dir := range dirs {
				r, err := RunCase(ctx, e, dir)
				switch {
				case err == nil:
					passed++
				case kind != "networks" && errors.Is(err, conv.ErrUnsupported) && !strings.Contains(strings.ToLower(dir), "conv"):
					t.Logf("not here: %v", err)
				default:
					t.Errorf("%v (%+v)", err, r)
				}
			}
			if passed < least {
				t.Errorf("only %d of %s", passed, kind)
			}
			if now := e.Memory().InUse; now != before {
				t.Errorf("%s: %d bytes are left in use", kind, now-before)
			}
			t.Logf("%s: %d passed of %d", kind, passed, len(dirs))
		}
	})
}

// net builds models by hand.
type net struct{ *pb.GraphProto }

func newNet() net { return net{&pb.GraphProto{}} }

func (n net) input(name string, dims ...int64) net {
	shape := &pb.TensorShapeProto{}
	for _, d := range dims {
		v := &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: d}}
		if d < 0 {
			v = &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimParam{DimParam: "n"}}
		}
		shape.Dim = append(shape.Dim, v)
	}
	n.Input = append(n.Input, &pb.ValueInfoProto{Name: proto.String(name), Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: shape}}}})
	return n
}

func (n net) output(names ...string) net {
	for _, name := range names {
		n.Output = append(n.Output, &pb.ValueInfoProto{Name: proto.String(name)})
	}
	return n
}

func floats(name string, data []float32, dims ...int64) *pb.TensorProto {
	return &pb.TensorProto{Name: proto.String(name), Dims: dims, DataType: proto.Int32(1), FloatData: data}
}

// sizes adds an initializer of whole numbers.
func (n net) sizes(name string, v ...int64) net {
	n.Initializer = append(n.Initializer, &pb.TensorProto{Name: proto.String(name), Dims: []int64{int64(len(v))}, DataType: proto.Int32(7), Int64Data: v})
	return n
}

// weight adds an initializer of small numbers.
func (n net) weight(name string, dims ...int64) net {
	data := make([]float32, 0)
	count := int64(1)
	for _, d := range dims {
		count *= d
	}
	for i := range count {
		data = append(data, float32(i%5)-2)
	}
	n.Initializer = append(n.Initializer, floats(name, data, dims...))
	return n
}

func (n net) node(op, inputs, outputs string, attributes ...*pb.AttributeProto) net {
	n.Node = append(n.Node, &pb.NodeProto{OpType: proto.String(op), Input: strings.Fields(inputs), Output: strings.Fields(outputs), Attribute: attributes})
	return n
}

func intsAttr(name string, v ...int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INTS.Enum(), Ints: v}
}

func intAttr(name string, v int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INT.Enum(), I: &v}
}

func textAttr(name, v string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func (n net) bytes() []byte {
	b, err := proto.Marshal(&pb.ModelProto{Graph: n.GraphProto, IrVersion: proto.Int64(9),
		OpsetImport: []*pb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(19)}}})
	if err != nil {
		panic(err)
	}
	return b
}

// plain is a sound model that the tests below change.
func plain() net {
	return newNet().input("x", 1, 2, 5, 5).weight("w", 3, 2, 3, 3).weight("b", 3).node("Conv", "x w b", "c", intsAttr("pads", 1, 1, 1, 1)).
		node("Relu", "c", "y").output("y")
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		net  net
		kind error
		want string
	}{
		"operators": {newNet().input("x", 1, 2, 5, 5).node("LSTM", "x", "a").node("Softmax", "a", "b").node("LSTM", "b", "c").node("Relu", "c", "y", intAttr("new", 1)).output("y"),
			conv.ErrUnsupported, `uses what is not here: operator LSTM ("a" and 1 more); operator Softmax ("b"); Relu with attribute new ("y")`},
		"cubic": {newNet().input("x", 1, 2, 5, 5).node("Resize", "x", "y", textAttr("mode", "cubic"), intAttr("antialias", 1)).output("y"),
			conv.ErrUnsupported, `Resize with mode "cubic" ("y"); Resize with antialias ("y")`},
		"circle": {newNet().input("x", 1).node("Add", "x b", "a").node("Relu", "a", "b").output("b"),
			tensorio.ErrFormat, `the graph runs in a circle: Add "a" waits for itself`},
		"itself":      {newNet().input("x", 1).node("Relu", "a", "a").output("a"), tensorio.ErrFormat, "runs in a circle"},
		"twice":       {plain().node("Relu", "c", "y"), tensorio.ErrFormat, `the value "y" is made twice`},
		"over input":  {plain().node("Relu", "c", "x"), tensorio.ErrFormat, `the value "x" is made twice`},
		"nobody":      {plain().node("Relu", "z", "q"), tensorio.ErrFormat, `Relu "q" reads "z", which nothing makes`},
		"no output":   {plain().output("q"), tensorio.ErrFormat, `output "q" is made by no node`},
		"no outputs":  {newNet().input("x", 1), tensorio.ErrFormat, "has no outputs"},
		"initializer": {plain().weight("w", 1), tensorio.ErrFormat, `two initializers are called "w"`},
		"inputs":      {plain().input("x", 1), tensorio.ErrFormat, `two inputs are called "x"`},
		"arity":       {newNet().input("x", 1).node("Conv", "x", "y").output("y"), tensorio.ErrFormat, `Conv "y" has 1 inputs, must have 2 to 3`},
		"attributes":  {newNet().input("x", 1, 1, 2, 2).node("Flatten", "x", "y", intAttr("axis", 1), intAttr("axis", 2)).output("y"), tensorio.ErrFormat, `two attributes "axis"`},
		"kind":        {newNet().input("x", 1, 1, 2, 2).node("Flatten", "x", "y", textAttr("axis", "1")).output("y"), tensorio.ErrFormat, "attribute axis of type STRING, must be INT"},
		"dims":        {with(plain(), func(t *pb.TensorProto) { t.Dims = []int64{1 << 62, 1 << 62, 4} }), tensorio.ErrFormat, "every extent must be between 0 and"},
		"overflow":    {with(plain(), func(t *pb.TensorProto) { t.Dims = []int64{1 << 30, 1 << 30, 1 << 30} }), tensorio.ErrFormat, "more elements than memory can hold"},
		"claim":       {with(plain(), func(t *pb.TensorProto) { t.Dims = []int64{3, 2, 3, 4} }), tensorio.ErrFormat, "claims shape [3 2 3 4], 72 elements of FLOAT, but has 54"},
		"raw":         {with(plain(), func(t *pb.TensorProto) { t.RawData = []byte("abc") }), tensorio.ErrFormat, "claims shape [3 2 3 3] of FLOAT, 216 bytes, but has 3"},
		"half": {func() net {
			n := plain()
			n.Input[0].Type.GetTensorType().ElemType = proto.Int32(10)
			return n
		}(), conv.ErrUnsupported, `computing with inputs of type FLOAT16 ("x")`},
		"type": {with(plain(), func(t *pb.TensorProto) { t.DataType = proto.Int32(8) }), conv.ErrUnsupported, `initializer "w": elements of type STRING`},
		"external": {with(plain(), func(t *pb.TensorProto) { t.DataLocation = pb.TensorProto_EXTERNAL.Enum() }), conv.ErrUnsupported,
			"external data without a folder"},
	} {
		_, err := Decode("m.onnx", c.net.bytes())
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "m.onnx: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want … %s", name, err, c.want)
		}
	}
	whole := plain().bytes()
	if _, err := Decode("m", whole); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := Decode("m", whole[:n]); err != nil && !errors.Is(err, tensorio.ErrFormat) && !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for name, data := range map[string]string{"text": "hello, this is no model", "zip": "PK\x03\x04", "empty": ""} {
		if _, err := Decode("m", []byte(data)); !errors.Is(err, tensorio.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// with changes the first weight.
func with(n net, change func(*pb.TensorProto)) net {
	change(n.Initializer[0])
	return n
}

func TestPlanRefusals(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	image := func(dims ...int) tensorio.Array {
		return tensorio.Array{Shape: dims, Data: make([]float32, elements(dims))}
	}
	x := map[string]tensorio.Array{"x": image(1, 2, 5, 5)}
	for name, c := range map[string]struct {
		net  net
		feed map[string]tensorio.Array
		kind error
		want string
	}{
		"not fed":   {plain(), nil, conv.ErrShape, `input "x" (x, 1×2×5×5) is not fed`},
		"extents":   {plain(), map[string]tensorio.Array{"x": image(1, 2, 5, 6)}, conv.ErrShape, `input "x" is 1×2×5×6, the model says 1×2×5×5`},
		"too much":  {plain(), map[string]tensorio.Array{"x": image(1, 2, 5, 5), "z": image(1)}, conv.ErrShape, `"z" is fed, but the model has no such input`},
		"type":      {plain(), map[string]tensorio.Array{"x": {Shape: []int{1, 2, 5, 5}, Data: make([]int64, 50)}}, conv.ErrUnsupported, "elements of type INT64"},
		"channels":  {newNet().input("x", 1, 2, 5, 5).weight("w", 3, 4, 3, 3).node("Conv", "x w", "y").output("y"), x, conv.ErrShape, `Conv "y"`},
		"strides":   {newNet().input("x", 1, 2, 5, 5).weight("w", 3, 2, 3, 3).node("Conv", "x w", "y", intsAttr("strides", 0, 1)).output("y"), x, conv.ErrShape, "each must be at least 1"},
		"2^62 pads": {newNet().input("x", 1, 2, 5, 5).weight("w", 3, 2, 3, 3).node("Conv", "x w", "y", intsAttr("pads", 1<<62, 0, 0, 0)).output("y"), x, conv.ErrParams, "padding top is"},
		"pads":      {newNet().input("x", 1, 2, 5, 5).weight("w", 3, 2, 3, 3).node("Conv", "x w", "y", intsAttr("pads", 1)).output("y"), x, conv.ErrShape, "must have two for each of 2 axes"},
		"kernel":    {newNet().input("x", 1, 2, 5, 5).weight("w", 3, 2, 3, 3).node("Conv", "x w", "y", intsAttr("kernel_shape", 5, 5)).output("y"), x, conv.ErrShape, "its kernel is 3×3"},
		"volumes":   {newNet().input("x", 1, 2, 5, 5, 5).node("MaxPool", "x", "y", intsAttr("kernel_shape", 2, 2, 2)).output("y"), map[string]tensorio.Array{"x": image(1, 2, 5, 5, 5)}, conv.ErrUnsupported, "works on volumes"},
		"computed":  {newNet().input("x", 1, 2, 5, 5).node("Relu", "x", "w").node("Conv", "x w", "y").output("y"), x, conv.ErrUnsupported, `needs the value of "w" when it is planned`},
		"huge": {newNet().input("x", 1, 2, 5, 5).weight("w", 2, 2, 3, 3).node("ConvTranspose", "x w", "y", intsAttr("strides", 1<<20, 1<<20)).output("y"), x, conv.ErrShape,
			`ConvTranspose "y" makes a tensor of 1×2×4194307×4194307, more than the plan's budget of 8589934592 bytes`},
		"huge resize": {newNet().input("x", 1, 2, 5, 5).weight("r", 0).sizes("s", 1, 2, 1<<30, 1<<30).node("Resize", "x r r s", "y").output("y"), x, conv.ErrShape, "more than the plan's budget"},
		"wrong says":  {func() net { n := plain(); n.Output[0].Type = n.Input[0].Type; return n }(), x, conv.ErrShape, `output "y" is 1×3×5×5, the model says 1×2×5×5`},
	} {
		m, err := Decode("m.onnx", c.net.bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := e.Memory().InUse
		if _, err := m.Plan(ctx, e, c.feed, Options{}); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want … %s", name, err, c.want)
		}
		if now := e.Memory().InUse; now != before {
			t.Errorf("%s: a failed plan keeps %d bytes", name, now-before)
		}
	}
}

// What is folded is counted, and gone from the layers; without fusion nothing is.
func TestFusion(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		n := newNet().input("x", -1, 2, 6, 7).weight("w", 4, 1, 3, 3).weight("s", 4).weight("m", 4).weight("k", 1, 4, 1, 1).weight("l", 4, 1, 1)
		n.Initializer = append(n.Initializer, floats("v", []float32{1, 2, 3, 4}, 4))
		n.node("ConvTranspose", "x w", "c", intAttr("group", 2), intsAttr("strides", 2, 1)).node("BatchNormalization", "c s m s v", "d").
			node("Add", "k d", "e").node("Mul", "e l", "f").node("Sigmoid", "f", "g").node("Relu", "g", "y").output("y", "g")
		n.Initializer[0].Dims = []int64{2, 2, 3, 3}
		m, err := Decode("m", n.bytes())
		if err != nil {
			t.Fatal(err)
		}
		x := tensorio.Array{Shape: []int{3, 2, 6, 7}, Data: make([]float32, 3*2*6*7)}
		for i := range x.Data.([]float32) {
			x.Data.([]float32)[i] = float32(i%11)/4 - 1
		}
		feed := map[string]tensorio.Array{"x": x}
		var results [2]map[string]tensorio.Array
		for i, layers := range []int{2, 6} {
			p, err := m.Plan(ctx, e, feed, Options{NoFusion: i == 1})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Layers(); len(got) != layers {
				t.Errorf("%d layers, want %d: %v", len(got), layers, got)
			}
			if i == 0 && !strings.HasPrefix(p.Layers()[0], `ConvTranspose+BatchNormalization+Add+Mul+Sigmoid "c" → 3×4×13×9`) {
				t.Errorf("the first layer is %s", p.Layers()[0])
			}
			if _, err := p.Verify(ctx, feed); err != nil {
				t.Error(err)
			}
			if results[i], err = p.Run(ctx, feed); err != nil {
				t.Fatal(err)
			}
			again, err := p.Run(ctx, feed)
			if err != nil || !slices.Equal(again["y"].Data.([]float32), results[i]["y"].Data.([]float32)) {
				t.Errorf("another answer the second time, %v", err)
			}
			p.Close()
			if _, err := p.Run(ctx, feed); !errors.Is(err, vkconv.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		for _, name := range []string{"y", "g"} {
			a, b := results[0][name].Data.([]float32), results[1][name].Data.([]float32)
			for i := range a {
				if d := a[i] - b[i]; d > 1e-5 || d < -1e-5 { // a sigmoid of sums of a few tens
					t.Fatalf("%s[%d] is %g fused and %g not", name, i, a[i], b[i])
				}
			}
		}
	})
}

// A chain of layers takes two tensors in turns, besides input and output.
func TestMemoryIsReused(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	n := newNet().input("x0", 1, 2, 8, 8).weight("w", 2, 2, 3, 3)
	names := strings.Fields("x0 x1 x2 x3 x4 x5 x6 x7 x8")
	for i := range 8 {
		n.node("Conv", names[i]+" w", names[i+1], intsAttr("pads", 1, 1, 1, 1))
	}
	m, err := Decode("m", n.output("x8").bytes())
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Plan(ctx, e, map[string]tensorio.Array{"x0": {Shape: []int{1, 2, 8, 8}, Data: make([]float32, 128)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if tensors, _ := p.Memory(); tensors != 4*4*128 {
		t.Errorf("%d bytes of tensors, want those of 4", tensors)
	}
	small := Options{MemoryBudget: 4*4*128 - 1}
	if _, err := m.Plan(ctx, e, map[string]tensorio.Array{"x0": {Shape: []int{1, 2, 8, 8}, Data: make([]float32, 128)}}, small); !errors.Is(err, conv.ErrShape) ||
		!strings.Contains(err.Error(), "take 2048 bytes, more than the plan's budget of 2047") {
		t.Errorf("beyond the budget: %v", err)
	}
}
