package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// grey is a random picture of one channel.
func grey(rows, columns int) tensorio.Image {
	m := tensorio.Image{Shape: conv.Shape{1, 1, rows, columns}, Pix: make([]float32, rows*columns)}
	r := rand.New(rand.NewPCG(1, 0))
	for i := range m.Pix {
		m.Pix[i] = r.Float32()
	}
	return m
}

// The response is the stack's: here of two layers, by the oracle.
func TestSceneResponds(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := newScene(grey(20, 30), 100)
	s.layers = 2
	if s.kernel, err = find("", "gaussian", s.kernels); err != nil {
		t.Fatal(err)
	}
	if s.deform, err = find("", "wave", s.deforms); err != nil {
		t.Fatal(err)
	}
	if err := s.sample(); err != nil {
		t.Fatal(err)
	}
	if err := s.respond(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	x := s.op.x
	for range 2 {
		var y []float32
		for _, sum := range cpuref.DeformConv2D(s.op.p, x, s.op.offset, nil, s.op.weight, nil) {
			y = append(y, float32(sum.Value))
		}
		x = y
	}
	for i := range x {
		if d := x[i] - s.raw[i]; d*d > 1e-10 {
			t.Fatalf("element %d is %g, must be %g", i, s.raw[i], x[i])
		}
	}
	// The samples of an output add up to the same with the kernel's weights: of an
	// inner output all 81 ways are there.
	if n := len(s.at[1].Spots([2]int{10, 15})); n == 0 || n > 81 {
		t.Errorf("%d places", n)
	}
}

func TestSceneKeys(t *testing.T) {
	s := newScene(grey(20, 30), 15)
	if s.photo.Shape != (conv.Shape{1, 3, 10, 15}) {
		t.Errorf("made smaller it is %v", s.photo.Shape)
	}
	for _, c := range []struct {
		key     string
		changed bool
		want    func() bool
	}{
		{keyUp, true, func() bool { return s.rate == 5 }}, {keyDown, true, func() bool { return s.rate == 4 }},
		{keyRight, true, func() bool { return s.strength == 1.05 }}, {keyLeft, true, func() bool { return s.strength == 1 }},
		{"2", true, func() bool { return s.layers == 2 }}, {"2", false, func() bool { return s.layers == 2 }},
		{"k", true, func() bool { return s.kernel == 1 }}, {"s", true, func() bool { return s.size == 5 }},
		{"d", true, func() bool { return s.deform == 1 }}, {"x", false, func() bool { return true }},
		{keySpace, false, func() bool { return s.held && !s.point(2, 2) }}, {keySpace, false, func() bool { return s.point(2.7, 3.2) && s.output == [2]int{2, 3} }},
	} {
		if got := s.press(c.key); got != c.changed || !c.want() {
			t.Errorf("%q: changed %v, %+v", c.key, got, s)
		}
	}
	for range 100 {
		s.press(keyDown)
		s.press(keyLeft)
	}
	if s.rate != 1 || s.strength != 0 || s.point(-1, 3) || s.point(3, 15) {
		t.Errorf("rate %d, strength %g", s.rate, s.strength)
	}
}

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
