package main

import (
	"context"
	"math/rand/v2"
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
