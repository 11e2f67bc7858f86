package onnx

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/onnx/internal/pb"
	"vkconv/tensorio"
)

// outside moves the first weight of the sound model into a file.
func outside(entries ...string) net {
	return with(plain(), func(t *pb.TensorProto) {
		t.FloatData, t.DataLocation = nil, pb.TensorProto_EXTERNAL.Enum()
		for i := 0; i < len(entries); i += 2 {
			t.ExternalData = append(t.ExternalData, &pb.StringStringEntryProto{Key: proto.String(entries[i]), Value: proto.String(entries[i+1])})
		}
	})
}

func TestExternalData(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "models")
	os.MkdirAll(filepath.Join(inside, "sub"), 0o777)
	os.WriteFile(filepath.Join(dir, "secret"), make([]byte, 216), 0o666)
	os.WriteFile(filepath.Join(inside, "sub", "w.bin"), make([]byte, 220), 0o666)
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(inside, "link")); err != nil {
		t.Logf("no links here: %v", err)
	}
	model := filepath.Join(inside, "m.onnx")
	open := func(n net) error {
		os.WriteFile(model, n.bytes(), 0o666)
		_, err := Open(model)
		return err
	}
	for _, sound := range []net{outside("location", "sub/w.bin"), outside("location", "sub/w.bin", "offset", "4", "length", "216", "checksum", "?")} {
		if err := open(sound); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		net  net
		want string
	}{
		"parent":      {outside("location", "../secret"), "must be a path inside the model's folder"},
		"absolute":    {outside("location", filepath.Join(dir, "secret")), "must be a path inside the model's folder"},
		"backslashes": {outside("location", `..\secret`), "must be a path inside the model's folder"},
		"none":        {outside(), "must be a path inside the model's folder"},
		"link":        {outside("location", "link"), "link"},
		"folder":      {outside("location", "sub"), "is no regular file"},
		"missing":     {outside("location", "other"), "other"},
		"short":       {outside("location", "sub/w.bin", "offset", "8"), "external data is 216 bytes at 8 of sub/w.bin, which has 220"},
		"length":      {outside("location", "sub/w.bin", "length", "100"), "the tensor takes 216"},
		"wraps":       {outside("location", "sub/w.bin", "offset", "9223372036854775807"), "external data is 216 bytes at 9223372036854775807"},
		"2^63":        {outside("location", "sub/w.bin", "offset", "9223372036854775808"), "must be a whole number"},
		"negative":    {outside("location", "sub/w.bin", "offset", "-4"), "external data is 216 bytes at -4"},
		"huge": {with(outside("location", "sub/w.bin"), func(t *pb.TensorProto) { t.Dims = []int64{1 << 20, 1 << 20} }),
			"external data is 4398046511104 bytes at 0"},
	} {
		if err := open(c.net); !errors.Is(err, tensorio.ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want … %s", name, err, c.want)
		}
	}
	// Ranges that overlap make more of a file than there is; the same range is one tensor.
	n := outside("location", "sub/w.bin")
	second := proto.Clone(n.Initializer[0]).(*pb.TensorProto)
	second.Name = proto.String("w2")
	n.Initializer = append(n.Initializer, second)
	if err := open(n); err != nil {
		t.Error(err)
	}
	second.ExternalData = append(second.ExternalData, &pb.StringStringEntryProto{Key: proto.String("offset"), Value: proto.String("4")})
	if err := open(n); !errors.Is(err, tensorio.ErrFormat) || !strings.Contains(err.Error(), "overlaps") {
		t.Error(err)
	}
	if _, err := Open(dir); !errors.Is(err, tensorio.ErrFormat) {
		t.Errorf("a folder: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/networks/*/model.onnx", "testdata/node/test_resize_*/model.onnx", "testdata/node/test_conv*/model.onnx"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add(plain().bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *Model
		var err error
		convtest.Bounded(t, data, 1000, 1<<20, func() { m, err = Decode("fuzz", data) })
		if err != nil {
			if !errors.Is(err, tensorio.ErrFormat) && !errors.Is(err, conv.ErrUnsupported) {
				t.Errorf("%v is of no kind", err)
			}
			return
		}
		inferOnly(t, m)
	})
}

// inferOnly works the model's shapes out for small inputs, and makes no layer.
func inferOnly(t *testing.T, m *Model) {
	feed := map[string]tensorio.Array{}
	total := 1
	for _, v := range m.inputs {
		shape := []int{}
		for _, d := range v.Shape {
			if d < 0 {
				d = 2
			}
			shape = append(shape, min(d, 64))
			total *= min(max(d, 1), 64)
		}
		if total > 1<<20 {
			return
		}
		feed[v.Name] = tensorio.Array{Shape: shape, Data: make([]float32, elements(shape))}
	}
	p := &planner{m: m, values: map[string]*value{}, free: map[conv.Shape][]*buffer{}, plan: &Plan{m: m}}
	if err := p.shapes(feed); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("%q is more than a line", err)
	}
}

func FuzzTensor(f *testing.F) {
	files, _ := filepath.Glob("testdata/node/test_clip*/test_data_set_0/input_*.pb")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a tensorio.Array
		var err error
		convtest.Bounded(t, data, 200, 1<<20, func() { _, a, err = DecodeTensor(data) })
		if err == nil {
			if v, err := a.Float64(); err == nil && len(v) != elements(a.Shape) {
				t.Errorf("%d elements for %v", len(v), a.Shape)
			}
		}
	})
}
