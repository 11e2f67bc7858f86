package learn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image/gif"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
	"vkconv/vis"
)

func engine(t *testing.T) *vkconv.Engine {
	t.Helper()
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// An interrupted run that goes on gives what it gives without, to the bit.
func TestInterrupted(t *testing.T) {
	e, ctx := engine(t), context.Background()
	o := Options{Data: Drawn{3}, Name: "test", Steps: 24, Seeds: 1, Kinds: []string{"dilated", "deformable"}}
	want, err := Run(ctx, e, o)
	if err != nil {
		t.Fatal(err)
	}
	o.State = filepath.Join(t.TempDir(), "state.npz")
	stops := 0
	var got []Curve
	for {
		made := 0
		o.Stop = func(step int) bool { made++; return made > 9 }
		if got, err = Run(ctx, e, o); !errors.Is(err, context.Canceled) {
			break
		}
		stops++
	}
	if err != nil || stops < 4 {
		t.Fatalf("stopped %d times, %v", stops, err)
	}
	for i := range want {
		for j, pair := range [][2][]float64{{want[i].Loss, got[i].Loss}, {want[i].Accuracy, got[i].Accuracy}, {want[i].Distances, got[i].Distances}} {
			if len(pair[0]) != len(pair[1]) {
				t.Fatalf("curve %d.%d has %d points, want %d", i, j, len(pair[1]), len(pair[0]))
			}
			for k := range pair[0] {
				if pair[0][k] != pair[1][k] {
					t.Fatalf("curve %d.%d differs at %d: %g, want %g", i, j, k, pair[1][k], pair[0][k])
				}
			}
		}
		if want[i].Test != got[i].Test {
			t.Errorf("tested %v, want %v", got[i].Test, want[i].Test)
		}
	}
	o.Steps++
	if _, err := Run(ctx, e, o); !errors.Is(err, conv.ErrParams) {
		t.Errorf("the state of another run: %v", err)
	}
	var b bytes.Buffer
	if err := Animate(&b, o.Data, got[1]); err != nil {
		t.Fatal(err)
	}
	if m, err := gif.DecodeAll(&b); err != nil || len(m.Image) != Looks+1 {
		t.Errorf("%v, an animation of %d frames, want %d", err, len(m.Image), Looks+1)
	}
}

// What a net's file gives of a picture's file is what was measured while it learned,
// to the bit.
func TestSeen(t *testing.T) {
	e, ctx := engine(t), context.Background()
	o := Options{Data: Drawn{5}, Steps: 90, Seeds: 1, Kinds: []string{"deformable"}, Weights: filepath.Join(t.TempDir(), "w.safetensors")}
	curves, err := Run(ctx, e, o)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Load(e, o.Weights)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if strings.Join(n.Names, " ") != "red green blue" {
		t.Errorf("the classes are %v", n.Names)
	}
	last, moved := curves[0].frames[Looks], 0
	for i := range Shown {
		path := filepath.Join(t.TempDir(), "m.png")
		if err := tensorio.WriteImage(path, Picture(o.Data, i)); err != nil {
			t.Fatal(err)
		}
		m, err := tensorio.ReadImage(path)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := n.See(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		want := points(last, i)
		for q, s := range vis.Trace([]vis.Level{seen.Level}, 0, 0) {
			if s.Y != s.GridY || s.X != s.GridX {
				moved++
			}
			y, x := s.Y*seen.Cells.Step[0]+seen.Cells.First[0]+0.5, s.X*seen.Cells.Step[1]+seen.Cells.First[1]+0.5
			if math.Abs(y-want[q].Y) > 1e-9 || math.Abs(x-want[q].X) > 1e-9 {
				t.Errorf("picture %d, point %d is at %g, %g, was at %v", i, q, x, y, want[q])
			}
		}
		sum := 0.0
		for _, s := range seen.Shares {
			sum += s
		}
		if math.Abs(sum-1) > 1e-12 || len(seen.Shares) != 3 {
			t.Errorf("shares %v", seen.Shares)
		}
	}
	if moved < 9 {
		t.Errorf("%d points moved", moved)
	}
	big, err := n.See(ctx, tensorio.Image{Shape: conv.Shape{1, 1, 52, 104}, Pix: make([]float32, 52*104)})
	if want := (vis.Cells{Step: [2]float64{8, 16}, First: [2]float64{8.5, 17.5}}); err != nil || big.Cells != want {
		t.Errorf("cells of 52×104 pixels are %v, want %v (%v)", big.Cells, want, err)
	}
	if _, err := n.See(ctx, tensorio.Image{Shape: conv.Shape{1, 3, 1, 9}, Pix: make([]float32, 27)}); !errors.Is(err, conv.ErrShape) {
		t.Errorf("a picture of one row: %v", err)
	}
	plain, err := New(e, "plain", 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := save(ctx, plain, o.Weights, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(e, o.Weights); !errors.Is(err, conv.ErrShape) {
		t.Errorf("a plain net: %v", err)
	}
}

// Distances that can be worked out by hand.
func TestDistances(t *testing.T) {
	mask := make([]bool, Size*Size)
	mask[3*Size+4] = true
	d := distances(mask)
	if d[3*Size+4] != 0 || d[7*Size+7] != 5 || d[0] != 5 {
		t.Errorf("%g %g %g", d[3*Size+4], d[7*Size+7], d[0])
	}
	var p [grid * grid]Point
	for i := range p {
		p[i] = Point{4.5, 3.5}
	}
	if got := far(d, p); got != 0 {
		t.Errorf("on the object the distance is %g", got)
	}
	p[0] = Point{-2, 0.5} // 2 outside, then 5
	if got, want := far(d, p), (2+5.0)/9; math.Abs(got-want) > 1e-12 {
		t.Errorf("%g, want %g", got, want)
	}
	regular := points(nil, 0)
	if regular[0] != (Point{4.5, 4.5}) || regular[8] != (Point{20.5, 20.5}) {
		t.Errorf("the grid goes from %v to %v", regular[0], regular[8])
	}
	o := make([]float32, 36)
	o[18+2] = 1 // of picture 1, point 1, a cell down
	if got := points(o, 1)[1]; got != (Point{12.5, 8.5}) {
		t.Errorf("moved to %v", got)
	}
}

func TestReadSet(t *testing.T) {
	dir := t.TempDir()
	idx := func(name string, shape []uint32, at func(i int) byte) string {
		b := []byte{0, 0, 8, byte(len(shape))}
		n := 1
		for _, d := range shape {
			b = binary.BigEndian.AppendUint32(b, d)
			n *= int(d)
		}
		for i := range n {
			b = append(b, at(i))
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// A bright square in the upper left or lower right half tells the class.
	images := idx("x", []uint32{100, 8, 8}, func(i int) byte {
		n, y, x := i/64, i/8%8, i%8
		if first := 1 + 3*(n%2); y >= first && y < first+3 && x >= first && x < first+3 {
			return 200
		}
		return 10
	})
	labels := idx("y", []uint32{100}, func(i int) byte { return byte(i % 2) })
	s, err := ReadSet(images, labels, 1)
	if err != nil {
		t.Fatal(err)
	}
	picture, mask := make([]float32, 3*Size*Size), make([]bool, Size*Size)
	for i := range 100 {
		class := s.Sample(Training, i, picture, mask)
		at := map[int]int{0: 8*Size + 8, 1: 18*Size + 18}[class]
		if !mask[at] || picture[at] != 200./255 || mask[0] {
			t.Fatalf("picture %d of class %d: object %v, value %g", i, class, mask[at], picture[at])
		}
	}
	for _, c := range []struct{ images, labels, says string }{
		{labels, labels, "must be N×H×W"}, {idx("few", []uint32{20, 8, 8}, func(int) byte { return 0 }), idx("z", []uint32{20}, func(int) byte { return 0 }), "at least 80"},
		{"none.npz", "", "none.npz"}, {"/dev/zero", labels, "/dev/zero"}, {t.TempDir(), labels, "regular file"}, {"learn_test.go", labels, "no IDX file"},
	} {
		if _, err := ReadSet(c.images, c.labels, 1); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

// A short training on the spot, where the points have begun to move: they come
// nearer to the object.
func TestPointsSetOut(t *testing.T) {
	curves, err := Run(context.Background(), engine(t), Options{Data: Drawn{1}, Name: "test", Steps: 250, Seeds: 1, Kinds: []string{"deformable"}})
	if err != nil {
		t.Fatal(err)
	}
	d := curves[0].Distances
	t.Logf("%.1f %% told right, points at %.3f of the grid's distance", 100*curves[0].Test.Accuracy, d[len(d)-1])
	if d[0] != 1 || d[len(d)-1] > 0.95 {
		t.Errorf("the points were at %.3f of the grid's distance and are at %.3f", d[0], d[len(d)-1])
	}
}
