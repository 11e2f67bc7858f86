package shaders

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"vkconv/shaders/spirv"
)

// TestBlobsAreFresh fails when a blob is older than its source, when a variant
// has no blob or a blob no variant, and when the manifest disagrees with what
// the blob says.
func TestBlobsAreFresh(t *testing.T) {
	var want []string
	sources, err := filepath.Glob("*.comp")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources", err)
	}
	for _, s := range sources {
		blobs, err := spirv.Variants(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			want = append(want, b.Name)
			m, err := Get(b.Name)
			if err != nil {
				t.Errorf("%v: run go generate ./shaders", err)
				continue
			}
			if m.Source != b.Source || !reflect.DeepEqual(m.Defines, b.Defines) || !slices.Equal(m.Needs, b.Needs) {
				t.Errorf("%s: manifest has %s %v, source %s %v: run go generate ./shaders", b.Name, m.Source, m.Defines, b.Source, b.Defines)
			}
			hash, err := spirv.Hash(".", m.Blob, m.Recipe())
			if err != nil {
				t.Fatal(err)
			}
			if hash != m.Hash {
				t.Errorf("%s: the blob is not made from today's %s: run go generate ./shaders", b.Name, b.Source)
			}
			if m.Compiler == "" {
				t.Errorf("%s: the manifest names no compiler", b.Name)
			}
			r, err := spirv.Reflect(m.Code)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r, m.Reflection) {
				t.Errorf("%s: the blob says\n%+v\nthe manifest\n%+v", b.Name, r, m.Reflection)
			}
		}
	}
	slices.Sort(want)
	have, err := Names()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(want, have) {
		t.Errorf("sources make %v, the manifest has %v", want, have)
	}
	files, err := filepath.Glob("spv/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(have) {
		t.Errorf("%d files in spv, %d modules", len(files), len(have))
	}
}

// TestHashSeesIncludes: a change of an include or a define changes the hash.
func TestHashSeesIncludes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hash := func(b spirv.Blob) string {
		h, err := spirv.Hash(dir, b, "recipe")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	b := spirv.Blob{Source: "a.comp", Defines: map[string]int{"TM": 8}}
	write("a.comp", "#include \"b.glsl\"\nvoid main() {}\n")
	write("b.glsl", "#include \"c.glsl\"\n")
	write("c.glsl", "float a;\n")
	before := hash(b)
	if hash(b) != before {
		t.Error("two hashes of the same differ")
	}
	b.Defines["TM"] = 9
	if hash(b) == before {
		t.Error("a define makes no difference")
	}
	b.Defines["TM"] = 8
	write("c.glsl", "float b;\n")
	if hash(b) == before {
		t.Error("an include of an include makes no difference")
	}
}

// TestReflection checks one module against what its source says.
func TestReflection(t *testing.T) {
	m, err := Get("deform_m8n2")
	if err != nil {
		t.Fatal(err)
	}
	want := []spirv.Binding{{Set: 0, Number: 0, Name: "InputBuffer", Access: "read"}, {Set: 0, Number: 1, Name: "WeightBuffer", Access: "read"},
		{Set: 0, Number: 2, Name: "OutputBuffer", Access: "write"}, {Set: 0, Number: 3, Name: "OffsetBuffer", Access: "read"},
		{Set: 0, Number: 4, Name: "MaskBuffer", Access: "read"}}
	if !slices.Equal(m.Bindings, want) {
		t.Errorf("bindings are %+v", m.Bindings)
	}
	if m.LocalSizeID != [3]int{0, -1, -1} || m.LocalSize[1] != 1 || m.LocalSize[2] != 1 {
		t.Errorf("workgroup is %v with constants %v", m.LocalSize, m.LocalSizeID)
	}
	if id, err := m.ConstantID("localSizeX"); err != nil || id != 0 {
		t.Errorf("localSizeX is constant %d, %v", id, err)
	}
	if m.PushBytes != 4*len(m.Push) || m.Push[0] != (spirv.Member{Name: "tiles", Offset: 0}) {
		t.Errorf("push constants are %d bytes, %+v", m.PushBytes, m.Push)
	}
}

func TestPackPush(t *testing.T) {
	m, err := Get("conv2d_m8n4")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]int{}
	for i, member := range m.Push {
		values[member.Name] = i
	}
	b, err := m.PackPush(values)
	if err != nil {
		t.Fatal(err)
	}
	for i, member := range m.Push {
		if !bytes.Equal(b[member.Offset:member.Offset+4], []byte{byte(i), 0, 0, 0}) {
			t.Errorf("%s is %v", member.Name, b[member.Offset:][:4])
		}
	}
	values["unheard"] = 1
	if _, err := m.PackPush(values); err == nil {
		t.Error("an unknown member was accepted")
	}
	delete(values, "unheard")
	delete(values, "tiles")
	if _, err := m.PackPush(values); err == nil {
		t.Error("a missing member was accepted")
	}
}

// TestReflectRefuses what is no module, without a panic.
func TestReflectRefuses(t *testing.T) {
	m, err := Get("conv2d_m8n4")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, []byte("text"), m.Code[:len(m.Code)-3], append(bytes.Clone(m.Code[:20]), 0, 0, 0, 0)} {
		if _, err := spirv.Reflect(bad); err == nil {
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
}
