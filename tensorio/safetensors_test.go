package tensorio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vkconv/convtest"
)

// outside is what testdata/make.py put into its files.
func outside() map[string]Array {
	var f32 []float32
	var f64 []float64
	for i := -4; i < 8; i++ {
		f32, f64 = append(f32, float32(i)/2), append(f64, float64(i)/2)
	}
	shape, six := []int{2, 3, 2}, []int{6}
	return map[string]Array{
		"layer1.0.conv1.weight": {shape, f32}, "layer1.0.bn1.running_mean": {shape, f64}, "f16": {shape, f32},
		"i8": {six, []int8{-2, -1, 0, 1, 2, 3}}, "i16": {six, []int16{-2, -1, 0, 1, 2, 3}}, "i32": {six, []int32{-2, -1, 0, 1, 2, 3}},
		"layer1.0.bn1.num_batches_tracked": {nil, []int64{7}},
		"u8":                               {six, []uint8{250, 251, 252, 253, 254, 255}}, "u16": {six, []uint16{65530, 65531, 65532, 65533, 65534, 65535}},
		"u32": {six, []uint32{0, 1, 2, 3, 4, 5}}, "u64": {six, []uint64{0, 1, 2, 3, 4, 5}}, "bool": {[]int{3}, []bool{true, false, true}},
		"empty": {[]int{0, 3}, []float32{}},
	}
}

func same(t *testing.T, got, want map[string]Array) {
	t.Helper()
	for name, w := range want {
		if g := got[name]; !slices.Equal(g.Shape, w.Shape) || !reflect.DeepEqual(g.Data, w.Data) {
			t.Errorf("%s is %v, want %v", name, got[name], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d arrays, want %d", len(got), len(want))
	}
}

// What the formats' own libraries wrote.
func TestOutsideFiles(t *testing.T) {
	npz, err := ReadNPZ("testdata/types.npz")
	if err != nil {
		t.Fatal(err)
	}
	same(t, npz, outside())
	want := outside()
	want["bf16"] = want["f16"]
	safe, err := ReadSafetensors("testdata/types.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	same(t, safe, want)
	s, err := OpenSafetensors("testdata/types.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(s.Metadata(), map[string]string{"format": "np"}) || !s.Has("bf16") || s.Has("x") {
		t.Errorf("metadata %v", s.Metadata())
	}
	if b, err := s.Bytes("u8"); err != nil || string(b) != "\xfa\xfb\xfc\xfd\xfe\xff" {
		t.Errorf("the bytes of u8 are %q, %v", b, err)
	}
	if _, err := s.Array("x"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), `array "x" is missing, the file has`) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Array("u8"); !errors.Is(err, ErrFormat) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSafetensorsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	arrays := everything()
	halves := []float32{1, 1.0009765625, 1e30, -1e-30, 3.14159274}
	arrays["half"] = Array{[]int{5}, ToFloat16(halves)}
	arrays["brain"] = Array{[]int{5}, ToBFloat16(halves)}
	arrays[`quotes " and \ and π`] = Array{[]int{1}, []float32{1}}
	path := filepath.Join(dir, "a.safetensors")
	if err := WriteSafetensors(path, arrays, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(arrays)
	want["half"] = Array{[]int{5}, []float32{1, 1.0009765625, float32(math.Inf(1)), float32(math.Copysign(0, -1)), 3.140625}}
	want["brain"] = Array{[]int{5}, []float32{1, 1, 0x1.94p+99, -0x1.44p-100, 3.140625}}
	same(t, got, want)

	for name, bad := range map[string]map[string]Array{
		"shape": {"a": {[]int{3}, []float32{1}}}, "type": {"a": {[]int{1}, []string{"a"}}}, "name": {"__metadata__": {[]int{1}, []float32{1}}},
	} {
		if err := WriteSafetensors(filepath.Join(dir, "bad"), bad, nil); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// safe makes a file of a header and data.
func safe(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

func TestSafetensorsRefusals(t *testing.T) {
	one := func(entry string) []byte { return safe(`{"a":`+entry+`}`, "abcd") }
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":        {nil, "it has 0 bytes"},
		"length":       {[]byte("\xff\xff\xff\xff\xff\xff\xff\x7f{}"), "claims a header of 9223372036854775807 bytes and has 2"},
		"huge length":  {[]byte("\x00\x00\x00\x00\x00\x00\x00\x80{}"), "claims a header of 9223372036854775808 bytes"},
		"zip":          {append(binary.LittleEndian.AppendUint64(nil, 4), "PK\x03\x04"...), "must be a JSON object"},
		"not JSON":     {safe(`{"a":`, ""), "it ends too early"},
		"array":        {safe(`{"a":[]}`, ""), `tensor "a": json: cannot unmarshal array`},
		"trailing":     {safe(`{} x`, ""), "follows it"},
		"twice":        {safe(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, ""), `two tensors are called "a"`},
		"type":         {one(`{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}`), `elements of type "F8_E4M3", must be F16`},
		"no offsets":   {one(`{"dtype":"F32","shape":[1]}`), "has data_offsets []"},
		"past the end": {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`), "must be begin and end within the 4 bytes"},
		"backwards":    {one(`{"dtype":"F32","shape":[1],"data_offsets":[4,0]}`), "has data_offsets [4 0]"},
		"negative":     {one(`{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}`), "has data_offsets [-4 0]"},
		"2^63 bytes":   {one(`{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775808]}`), "cannot unmarshal number"},
		"2^62 extents": {one(`{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}`), "claims shape [4611686018427387904 4] in a file"},
		"wraps to 1":   {one(`{"dtype":"F32","shape":[4294967296,4294967296,4294967297],"data_offsets":[0,4]}`), "claims shape"},
		"minus":        {one(`{"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]}`), "every extent must be between 0"},
		"short":        {one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), "claims shape [2] of F32, 8 bytes, but has 4"},
		"gap":          {safe(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "ab"), "must begin at"},
		"overlap": {safe(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "abc"),
			`tensor "b" begins at byte`},
		"left over": {safe(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "ab"), "its tensors end at"},
	} {
		if _, err := NewSafetensors("f", c.file); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f: ") {
			t.Errorf("%s: %v, want … %s", name, err, c.want)
		}
	}
	if _, err := OpenSafetensors(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := OpenSafetensors(t.TempDir()); err == nil {
		t.Error("opened a directory")
	}
}

// A file cut anywhere is refused.
func TestSafetensorsCut(t *testing.T) {
	whole, err := os.ReadFile("testdata/types.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := NewSafetensors("f", whole[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	whole, err := os.ReadFile("testdata/types.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(safe(`{"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"__metadata__":{"format":"pt"}}  `, "abcd"))
	f.Add(safe(`{}`, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s *Safetensors
		var err error
		convtest.Bounded(t, data, 500, 1<<20, func() { s, err = NewSafetensors("fuzz", data) })
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Error(err)
			}
			return
		}
		total := 8
		for _, info := range s.Tensors() {
			a, err := s.Array(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			n := 1
			for _, d := range a.Shape {
				n *= d
			}
			if got := reflect.ValueOf(a.Data).Len(); got != n {
				t.Errorf("%d elements for shape %v", got, a.Shape)
			}
			total += int(info.Bytes())
		}
		if total > len(data) {
			t.Errorf("%d bytes of tensors in %d", total, len(data))
		}
	})
}

func TestNPYFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npy")
	for name, a := range everything() {
		if err := WriteNPY(path, a); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadNPY(path); err != nil || !slices.Equal(got.Shape, a.Shape) || !reflect.DeepEqual(got.Data, a.Data) {
			t.Errorf("%s: wrote %v, read %v, %v", name, a, got, err)
		}
	}
	half := Array{[]int{2}, ToFloat16([]float32{1, -65504})}
	if err := WriteNPY(path, half); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadNPY(path); err != nil || !reflect.DeepEqual(got.Data, []float32{1, -65504}) {
		t.Errorf("float16 read as %v, %v", got, err)
	}
	if err := WriteNPY(path, Array{[]int{1}, ToBFloat16([]float32{1})}); !errors.Is(err, ErrFormat) {
		t.Errorf("bfloat16: %v", err)
	}
	whole, _ := os.ReadFile(path)
	os.WriteFile(path, whole[:len(whole)-1], 0o666)
	if _, err := ReadNPY(path); !errors.Is(err, ErrFormat) || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("cut short: %v", err)
	}
	if _, err := ReadNPY(t.TempDir()); !errors.Is(err, ErrFormat) {
		t.Errorf("directory: %v", err)
	}
}

// Compressed archives read as plain ones; what is small and claims to be large does not.
func TestCompressed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	arrays := everything()
	arrays["zeros"] = Array{[]int{1000, 100}, make([]float32, 100000)}
	if err := WriteNPZCompressed(path, arrays); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, arrays)
	whole, _ := os.ReadFile(path)
	if len(whole) > 10000 {
		t.Errorf("%d bytes for 400,000 of zeros", len(whole))
	}
}

func FuzzReadNPZ(f *testing.F) {
	for _, name := range []string{"testdata/types.npz", "../convtest/testdata/cases/conv_1x1.npz"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := NewArchive("fuzz", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		total := 0
		convtest.Bounded(t, data, 16*1032, 1<<20, func() {
			for _, name := range a.Names() {
				if array, err := a.Array(name); err == nil {
					total += binary.Size(array.Data)
				}
			}
		})
		if total > 2*1032*len(data) { // float16 reads as float32
			t.Errorf("%d bytes of arrays from %d", total, len(data))
		}
		if c, err := a.Case(); err == nil && len(c.X) != c.Input().Len() {
			t.Errorf("%d elements of x for %v", len(c.X), c.Input())
		}
	})
}
