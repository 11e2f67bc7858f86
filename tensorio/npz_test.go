package tensorio

import (
	"archive/zip"
	"bytes"
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

	"codeberg.org/sbinet/npyio/npz"

	"vkconv/convtest"
)

// everything has an array of each element type, empty ones and a scalar.
func everything() map[string]Array {
	return map[string]Array{
		"f32":    {[]int{2, 3}, []float32{0, -1, math.MaxFloat32, 1e-45, float32(math.Inf(-1)), 6}},
		"f64":    {[]int{2}, []float64{math.Pi, math.Copysign(0, -1)}},
		"i8":     {[]int{2}, []int8{-128, 127}},
		"i16":    {[]int{2}, []int16{math.MinInt16, math.MaxInt16}},
		"i32":    {[]int{2}, []int32{math.MinInt32, math.MaxInt32}},
		"i64":    {[]int{1, 2}, []int64{math.MinInt64, math.MaxInt64}},
		"u8":     {[]int{2}, []uint8("ab")},
		"u16":    {[]int{1}, []uint16{math.MaxUint16}},
		"u32":    {[]int{1}, []uint32{math.MaxUint32}},
		"u64":    {[]int{1}, []uint64{math.MaxUint64}},
		"bool":   {[]int{2}, []bool{true, false}},
		"empty":  {[]int{0, 3, 5}, []float32{}},
		"none":   {[]int{0}, []int64{}},
		"scalar": {nil, []int64{42}},
		"five":   {[]int{1, 2, 1, 2, 1}, []float32{1, 2, 3, 4}},
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	want := everything()
	if err := WriteNPZ(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range want {
		g := got[name]
		if !slices.Equal(g.Shape, w.Shape) || !reflect.DeepEqual(g.Data, w.Data) {
			t.Errorf("%s: wrote %v, read %v", name, w, g)
		}
	}
	if len(got) != len(want) {
		t.Errorf("read %d arrays, wrote %d", len(got), len(want))
	}
	again := filepath.Join(t.TempDir(), "b.npz")
	if err := WriteNPZ(again, want); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	b, _ := os.ReadFile(again)
	if !bytes.Equal(a, b) {
		t.Error("the same arrays gave two different files")
	}
}

// What we write, the library reads without our help.
func TestWriteForOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	if err := WriteNPZ(path, everything()); err != nil {
		t.Fatal(err)
	}
	r, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if h := r.Header("five.npy"); h == nil || !slices.Equal(h.Descr.Shape, []int{1, 2, 1, 2, 1}) {
		t.Errorf("the library reads the header as %v", h)
	}
	var f []float32
	if err := r.Read("five.npy", &f); err != nil || !slices.Equal(f, []float32{1, 2, 3, 4}) {
		t.Errorf("the library reads %v, %v", f, err)
	}
}

// file makes an .npz of raw .npy entries.
func file(t testing.TB, method uint16, entries map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(entries[name]))
	}
	z.Close()
	path := filepath.Join(t.TempDir(), "case.npz")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// raw makes a .npy file with this dictionary.
func raw(dictionary, data string) string {
	return "\x93NUMPY\x01\x00" + string([]byte{byte(len(dictionary) + 1), byte((len(dictionary) + 1) >> 8)}) + dictionary + "\n" + data
}

func TestForeignSpellings(t *testing.T) {
	for name, c := range map[string]struct {
		npy  string
		want Array
	}{
		"numpy":      {raw("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }      ", "\x00\x00\x80\x3f\x00\x00\x00\x40"), Array{[]int{2}, []float32{1, 2}}},
		"tight":      {raw(`{"shape":(2,),"fortran_order":False,"descr":"<f4"}`, "\x00\x00\x80\x3f\x00\x00\x00\x40"), Array{[]int{2}, []float32{1, 2}}},
		"big endian": {raw("{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "\x3f\x80\x00\x00\x40\x00\x00\x00"), Array{[]int{2}, []float32{1, 2}}},
		"fortran":    {raw("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2), }", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"), Array{[]int{2, 3, 2}, []uint8{0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11}}},
		"half":       {raw("{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }", "\x00\x3c\x01\x00\x00\xfc\xff\x7b\x00\x80"), Array{[]int{5}, []float32{1, 0x1p-24, float32(math.Inf(-1)), 65504, float32(math.Copysign(0, -1))}}},
		"text":       {raw("{'descr': '<U2', 'fortran_order': False, 'shape': (), }", "a\x00\x00\x00b\x00\x00\x00"), Array{[]int{2}, []uint32{'a', 'b'}}},
		"bytes":      {raw("{'descr': '|S2', 'fortran_order': False, 'shape': (), }", "ab"), Array{[]int{2}, []uint8("ab")}},
	} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			got, err := ReadNPZ(file(t, method, map[string]string{"a": c.npy}))
			if err != nil || !slices.Equal(got["a"].Shape, c.want.Shape) || !reflect.DeepEqual(got["a"].Data, c.want.Data) {
				t.Errorf("%s: read %v, %v, want %v", name, got["a"], err, c.want)
			}
		}
	}
}

func TestDamagedArrays(t *testing.T) {
	const f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': "
	for name, c := range map[string]struct{ npy, want string }{
		"empty file":    {"", `array "x" ends inside the .npy header: the file is cut short`},
		"cut magic":     {"\x93NUM", `cut short`},
		"text":          {"hello, world, this is text", `is not a NumPy array: it begins with "hello,"`},
		"version":       {"\x93NUMPY\x09\x00\x00\x00", "format version 9, must be 1, 2 or 3"},
		"long header":   {"\x93NUMPY\x02\x00\xff\xff\xff\xff", "claims a .npy header of 4294967295 bytes"},
		"huge shape":    {raw(f4+"(1000000, 1000000, 1000000), }", "abcd"), "claims the shape (1000000, 1000000, 1000000), more than can be read"},
		"overflow":      {raw(f4+"(4294967296, 4294967296, 16), }", "abcd"), "more than can be read"},
		"huge number":   {raw(f4+"(99999999999999999999999999), }", "abcd"), "more than can be read"},
		"16 GiB":        {raw(f4+"(65536, 65536), }", "abcd"), "more than the 8589934592 bytes that are read"},
		"1 GiB claimed": {raw(f4+"(16384, 16384), }", "abcd"), "claims shape [16384 16384] of <f4, 1073741824 bytes, but holds 4 bytes"},
		"too much data": {raw(f4+"(1,), }", "abcdefgh"), "4 bytes, but holds 8 bytes"},
		"objects":       {raw("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "abcd"), `has elements of type "|O", must be`},
		"complex":       {raw("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "abcdefgh"), `has elements of type "<c8", must be`},
		"no shape":      {raw("{'descr': '<f4', 'fortran_order': False}", "abcd"), "has a header that is not one of a plain array"},
		"negative":      {raw(f4+"(-1,), }", "abcd"), "not one of a plain array"},
		"record":        {raw("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "abcd"), "not one of a plain array"},
	} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			path := file(t, method, map[string]string{"x": c.npy})
			_, err := ReadNPZ(path)
			if err == nil || !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+`: array "x" `) {
				t.Errorf("%s: %v, want … %s", name, err, c.want)
			}
		}
	}
}

// An archive cut anywhere, or with any byte changed, gives a sentence or the
// same arrays, never a panic.
func TestCutAndCorruptArchives(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.npz")
	arrays := map[string]Array{"x": {[]int{2, 2}, []float32{1, 2, 3, 4}}, "y": {[]int{1}, []int64{7}}}
	if err := WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	for n := range whole {
		os.WriteFile(path, whole[:n], 0o666)
		if got, err := ReadNPZ(path); err == nil {
			t.Errorf("cut to %d of %d bytes: read %v", n, len(whole), got)
		} else if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(whole), err)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 0x41
		os.WriteFile(path, changed, 0o666)
		if got, err := ReadNPZ(path); err == nil {
			for name, a := range got {
				if want, ok := arrays[name]; ok && !reflect.DeepEqual(a.Data, want.Data) {
					t.Errorf("byte %d changed: %s read as %v without an error", n, name, a)
				}
			}
		}
	}
}

func TestArchiveErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenNPZ(filepath.Join(dir, "none.npz")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := OpenNPZ(dir); !errors.Is(err, ErrFormat) {
		t.Errorf("directory: %v", err)
	}
	a, err := OpenNPZ(file(t, zip.Store, map[string]string{"b": "", "c": ""}))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Array("a"); !errors.Is(err, ErrMissing) || !strings.HasSuffix(err.Error(), `array "a" is missing, the archive has b, c`) {
		t.Errorf("missing array: %v", err)
	}
}

func TestWriteFailuresLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.npz")
	os.WriteFile(path, []byte("before"), 0o666)
	for name, bad := range map[string]Array{
		"shape": {[]int{3}, []float32{1}},
		"type":  {[]int{1}, []string{"a"}},
	} {
		if err := WriteNPZ(path, map[string]Array{"a": bad}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, _ := os.ReadFile(path); string(b) != "before" {
		t.Errorf("a failed write changed the file to %q", b)
	}
	if err := WriteNPZ(filepath.Join(dir, "none", "a.npz"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	os.Mkdir(filepath.Join(dir, "taken.npz"), 0o777)
	if err := WriteNPZ(filepath.Join(dir, "taken.npz"), nil); err == nil {
		t.Error("wrote over a directory")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func FuzzReadNPY(f *testing.F) {
	f.Add([]byte(raw("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", "\x00\x00\x80\x3f\x00\x00\x00\x40")))
	f.Add([]byte(raw("{'descr': '|S0', 'fortran_order': False, 'shape': (3,), }", "")))
	f.Add([]byte(raw("{'descr': '<f2', 'fortran_order': False, 'shape': (0, 5), }", "")))
	f.Add([]byte(raw("{'descr': '|i8', 'fortran_order': False, 'shape': (), }", "12345678")))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a Array
		var err error
		convtest.Bounded(t, data, 16, 1<<20, func() { a, err = readNPY(bytes.NewReader(data), int64(len(data))) })
		if err != nil {
			return
		}
		n := 1
		for _, d := range a.Shape {
			n *= d
		}
		if got := reflect.ValueOf(a.Data).Len(); got != n {
			t.Errorf("%d elements for shape %v", got, a.Shape)
		}
	})
}

// Entries that share bytes, repeat a name or claim more than deflate makes of
// them are refused before anything is read.
func TestZipBombs(t *testing.T) {
	npy := raw("{'descr': '|u1', 'fortran_order': False, 'shape': (60000,), }", strings.Repeat("\x00", 60000))
	path := file(t, zip.Deflate, map[string]string{"a": npy, "b": npy})
	whole, _ := os.ReadFile(path)
	directory := bytes.Index(whole, []byte("PK\x01\x02"))
	try := func(what, want string, change func(entry []byte)) {
		t.Helper()
		data := bytes.Clone(whole)
		second := directory + 46 + bytes.Index(data[directory+46:], []byte("PK\x01\x02"))
		change(data[second:])
		if _, err := NewArchive("f", bytes.NewReader(data), int64(len(data))); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want … %s", what, err, want)
		}
	}
	try("name", `two entries are called "a.npy"`, func(e []byte) { e[46] = 'a' })
	try("claim", `entry "b.npy" claims 1073741824 bytes`, func(e []byte) { copy(e[24:], "\x00\x00\x00\x40") })
	try("share", `the entries up to "b.npy" claim more bytes than the file's`, func(e []byte) { copy(e[20:], []byte{byte(len(whole) - 50), byte((len(whole) - 50) >> 8)}) })
}
