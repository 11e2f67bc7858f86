package learn

import (
	"errors"
	"testing"

	"vkconv/conv"
)

func FuzzIDX(f *testing.F) {
	f.Add([]byte{0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3}, "labels")
	f.Add([]byte{0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3, 4}, "one too many")
	f.Add([]byte{0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4}, "images")
	f.Add([]byte{0, 0, 8, 2, 0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}, "images")
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, "images.gz")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		a, err := parseIDX(name, raw)
		if err != nil {
			return
		}
		n := 1
		for _, d := range a.Shape {
			n *= d
		}
		if data := a.Data.([]byte); len(data) != n || len(data) > 1032*len(raw) { // the most that deflate expands
			t.Errorf("%d bytes of %d for %v", len(data), len(raw), a.Shape)
		}
		if len(a.Shape) != 3 || a.Shape[0] > 5*Batch+9 || len(raw) > 1<<16 {
			return
		}
		values, err := a.Float64()
		if err != nil {
			t.Fatal(err)
		}
		a.Shape = append(a.Shape, 1)
		if a.Shape[1] < 2 || a.Shape[2] < 2 {
			return
		}
		if _, err := newSet(values, a.Shape, 255, make([]int, a.Shape[0]), 1); err != nil && !errors.Is(err, conv.ErrShape) {
			t.Error(err)
		}
	})
}
