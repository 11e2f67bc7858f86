//go:build cgo

package gpu_test

//go:generate sh testdata/generate.sh

import (
	"context"
	"embed"
	"encoding/binary"
	"math"
	"testing"

	"vkconv/gpu"
)

//go:embed testdata/*.spv
var testdata embed.FS

func module(t testing.TB, name string) *gpu.Module {
	t.Helper()
	code, err := testdata.ReadFile("testdata/" + name + ".spv")
	if err != nil {
		t.Fatal(err)
	}
	m := &gpu.Module{Name: name, Code: code, Bindings: 2}
	switch name {
	case "scale":
		m.PushBytes = 12
	case "add":
		m.PushBytes = 4
	case "spin":
		m.PushBytes, m.Bindings = 4, 1
	case "half":
		m.Bindings = 1
	}
	return m
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func words(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func unwords(b []byte) []uint32 {
	v := make([]uint32, len(b)/4)
	for k := range v {
		v[k] = binary.LittleEndian.Uint32(b[4*k:])
	}
	return v
}

func bits(f float32) uint32 { return math.Float32bits(f) }

// buffer makes a buffer with the given words.
func buffer(t testing.TB, d *gpu.Device, v ...uint32) *gpu.Buffer {
	t.Helper()
	b := must[*gpu.Buffer](t)(d.NewBuffer(int64(4 * len(v))))
	check(t, d.Upload(b, 0, words(v...)))
	return b
}

func contents(t testing.TB, d *gpu.Device, b *gpu.Buffer) []uint32 {
	t.Helper()
	out := make([]byte, b.Size())
	for k := range out {
		out[k] = 0xa5 // what a download that does nothing would leave
	}
	check(t, d.Download(out, b, 0))
	return unwords(out)
}

func groups(n, size int) [3]uint32 { return [3]uint32{uint32((n + size - 1) / size), 1, 1} }

// add records x += y for n words from word offsets xo and yo on.
func add(t testing.TB, s *gpu.Stream, p *gpu.Pipeline, x, y *gpu.Buffer, xo, yo, n int) {
	t.Helper()
	check(t, s.Dispatch(p, groups(n, 64), words(uint32(n)), []gpu.Binding{
		{Buffer: x, Offset: int64(4 * xo), Size: int64(4 * n), Access: gpu.ReadWrite},
		{Buffer: y, Offset: int64(4 * yo), Size: int64(4 * n), Access: gpu.Read},
	}))
}

func finish(t testing.TB, s *gpu.Stream) *gpu.Submission {
	t.Helper()
	u := must[*gpu.Submission](t)(s.Submit())
	check(t, u.Wait(context.Background()))
	return u
}
