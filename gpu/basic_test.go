//go:build cgo

package gpu

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"testing"
)

func TestBasic(t *testing.T) {
	infos, err := Devices(Options{})
	if err != nil {
		t.Fatal(err)
	}
	code, _ := os.ReadFile("testdata/scale.spv")
	for _, i := range infos {
		t.Log(i, i.Limits, i.Features, i.Unusable)
		d, err := Open(Options{Device: i.Name, CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(d.Chosen())
		x, err := d.NewBuffer(4000)
		if err != nil {
			t.Fatal(err)
		}
		y, _ := d.NewBuffer(4000)
		src := make([]byte, 4000)
		for k := range 1000 {
			binary.LittleEndian.PutUint32(src[4*k:], math.Float32bits(float32(k)))
		}
		if err := d.Upload(x, 0, src); err != nil {
			t.Fatal(err)
		}
		p, err := d.Pipeline(&Module{"scale", code, 2, 12}, []Constant{{0, 32}, {1, 2}})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := d.NewStream()
		push := make([]byte, 12)
		binary.LittleEndian.PutUint32(push, 1000)
		binary.LittleEndian.PutUint32(push[4:], math.Float32bits(2))
		binary.LittleEndian.PutUint32(push[8:], math.Float32bits(1))
		for range 10 {
			if err := s.Dispatch(p, [3]uint32{16, 1, 1}, push, []Binding{{Buffer: x, Access: Read}, {Buffer: y, Access: Write}}); err != nil {
				t.Fatal(err)
			}
			x, y = y, x
		}
		sub, err := s.Submit()
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := d.Download(src, x, 0); err != nil {
			t.Fatal(err)
		}
		for k := range 1000 {
			want := float32(1024*k + 1023)
			if got := math.Float32frombits(binary.LittleEndian.Uint32(src[4*k:])); got != want {
				t.Fatal(k, got, want)
			}
		}
		t.Log(d.MemoryUse(), d.LiveObjects())
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		t.Log(d.LiveObjects(), d.Messages())
	}
}
