//go:build cgo && window

package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Every mark is in exactly the tiles that its pixels lie in, in order, or in a
// neighbour of those.
func TestTiles(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	const width, height = 150, 90
	var marks []mark
	for range 200 {
		x, y := r.Float32()*200-20, r.Float32()*120-20
		marks = append(marks, mark{X0: x, Y0: y, X1: x + r.Float32()*30, Y1: y - r.Float32()*30, Radius: r.Float32()*8 - 2, Rim: r.Float32() * 3})
	}
	sorted := tiles(marks, width, height)
	across, down := 10, 6
	for ty := range down {
		for tx := range across {
			tile := ty*across + tx
			list := sorted[sorted[tile]:sorted[tile+1]]
			if !slices.IsSorted(list) {
				t.Fatal("not in order")
			}
			for i, m := range marks {
				touches := false
				for y := ty * 16; y < min(ty*16+16, height); y++ {
					for x := tx * 16; x < min(tx*16+16, width); x++ {
						touches = touches || within2(m, float32(x)+0.5, float32(y)+0.5)
					}
				}
				if touches && !slices.Contains(list, int32(i)) {
					t.Fatalf("tile %d, %d lacks mark %+v", tx, ty, m)
				}
			}
		}
	}
	if n := len(sorted); n > 61+200*12 {
		t.Errorf("%d numbers: tiles have marks that do not touch them", n)
	}
}

// within2 tells whether a mark covers anything of a pixel, as the shader does.
func within2(m mark, x, y float32) bool {
	room := m.Radius
	if room < 0 {
		room = -room
		d := max(max(x-m.X0, m.X0-x), max(y-m.Y0, m.Y0-y))
		return d < room+m.Rim/2+0.5
	}
	ax, ay := m.X1-m.X0, m.Y1-m.Y0
	t := float32(0)
	if long := ax*ax + ay*ay; long > 0 {
		t = min(max(((x-m.X0)*ax+(y-m.Y0)*ay)/long, 0), 1)
	}
	dx, dy := x-m.X0-t*ax, y-m.Y0-t*ay
	room += m.Rim/2 + 0.5
	return dx*dx+dy*dy < room*room
}
