//go:build cgo

package kernels_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/kernels"
)

// Every 16-bit pattern widens, and awkward float32 ones narrow, to the same bits as in Go.
func TestCast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var narrow []uint32
	for range 20_001 { // odd, so that the last word is half filled
		narrow = append(narrow, r.Uint32())
	}
	for e := uint32(0x33000000); e < 0x48000000; e += 0x00080000 { // around float16's range, ties and their neighbours
		for _, low := range []uint32{0, 1, 0xfff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001} {
			narrow = append(narrow, e|low, e|low|0x80000000)
		}
	}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, typ := range []conv.Type{conv.Float16, conv.BFloat16} {
			in := make([]byte, 4*len(narrow))
			for i, b := range narrow {
				binary.LittleEndian.PutUint32(in[4*i:], b)
			}
			out := cast(t, d, typ, len(narrow), true, in)
			for i, b := range narrow {
				v := math.Float32frombits(b)
				if got, want := binary.LittleEndian.Uint16(out[2*i:]), typ.Encode(v); got != want {
					t.Fatalf("%v of %g (%#08x) is %#04x, want %#04x", typ, v, b, got, want)
				}
			}
			all := make([]byte, 2<<16)
			for i := range 1 << 16 {
				binary.LittleEndian.PutUint16(all[2*i:], uint16(i))
			}
			wide := cast(t, d, typ, 1<<16, false, all)
			for i := range 1 << 16 {
				if got, want := binary.LittleEndian.Uint32(wide[4*i:]), math.Float32bits(typ.Decode(uint16(i))); got != want {
					t.Fatalf("%v %#04x is %#08x, want %#08x", typ, i, got, want)
				}
			}
		}
		if _, err := kernels.NewCast(d, conv.Float32, 1, true); err == nil {
			t.Error("a cast to float32 from float32 is planned")
		}
	})
}

func cast(t *testing.T, d *gpu.Device, typ conv.Type, n int, narrow bool, in []byte) []byte {
	t.Helper()
	c, err := kernels.NewCast(d, typ, n, narrow)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(4 * n)
	if narrow {
		size = int64(2*n+3) / 4 * 4
	}
	from, err := d.NewBuffer(int64(len(in)+3) / 4 * 4)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Free()
	to, err := d.NewBuffer(size)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Free()
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, size)
	for _, step := range []func() error{
		func() error { return d.Upload(from, 0, in) },
		func() error { return c.Record(s, kernels.Tensor{Buf: to}, kernels.Tensor{Buf: from}) },
		func() error { _, err := s.Submit(); return err },
		func() error { return d.Download(out, to, 0) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
