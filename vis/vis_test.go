package vis

import (
	"math"
	"slices"
	"strings"
	"testing"

	"vkconv/conv"
)

func TestKnownKernels(t *testing.T) {
	for name, want := range map[string][]float32{
		"identity":  {0, 0, 0, 0, 1, 0, 0, 0, 0},
		"gaussian":  {1. / 16, 2. / 16, 1. / 16, 2. / 16, 4. / 16, 2. / 16, 1. / 16, 2. / 16, 1. / 16},
		"sobel-x":   {-.25, 0, .25, -.5, 0, .5, -.25, 0, .25},
		"sobel-y":   {-.25, -.5, -.25, 0, 0, 0, .25, .5, .25},
		"laplacian": {0, .25, 0, .25, -1, .25, 0, .25, 0},
		"sharpen":   {0, -.5, 0, -.5, 3, -.5, 0, -.5, 0},
		"emboss":    {-1, -1, 0, -1, 1, 1, 0, 1, 1},
	} {
		k, err := NewKernel(name, 3)
		if err != nil || !slices.Equal(k.Weight, want) {
			t.Errorf("%s is %v, %v, want %v", name, k.Weight, err, want)
		}
	}
}

func TestKernelSums(t *testing.T) {
	for _, name := range Kernels() {
		for size := 1; size <= MaxKernel; size += 2 {
			k, err := NewKernel(name, size)
			if err != nil {
				if size == 1 && strings.Contains(err.Error(), "must be odd and between 3") {
					continue
				}
				t.Fatal(err)
			}
			sum, plus := 0.0, 0.0
			for _, w := range k.Weight {
				sum += float64(w)
				plus += max(0, float64(w))
			}
			want := 1.0
			if k.Signed {
				want = 0
				if math.Abs(plus-1) > 1e-5 {
					t.Errorf("%s %d: positive weights add up to %g", name, size, plus)
				}
			}
			if math.Abs(sum-want) > 1e-5 || len(k.Weight) != size*size {
				t.Errorf("%s %d: %d weights add up to %g, want %g", name, size, len(k.Weight), sum, want)
			}
		}
	}
	for size, want := range map[int]string{4: "size of kernel box is 4, must be odd", -1: "is -1", 65: "is 65"} {
		if _, err := NewKernel("box", size); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if _, err := NewKernel("blur", 3); err == nil || !strings.Contains(err.Error(), `"blur", must be one of box, emboss`) {
		t.Error(err)
	}
}

func TestFields(t *testing.T) {
	p, err := conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}.DeformProblem(conv.Deform{}, conv.Shape{1, 1, 9, 9}, conv.Shape{1, 1, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewField("rotate", 90, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(o []float32, channel, y, x int) float64 { return float64(o[(channel*9+y)*9+x]) }
	o := f.Offsets(p)
	for tap := range 9 {
		// The pixel right of the middle takes what lies below it.
		if dy, dx := at(o, 2*tap, 4, 5), at(o, 2*tap+1, 4, 5); math.Abs(dy-1) > 1e-6 || math.Abs(dx+1) > 1e-6 {
			t.Errorf("tap %d right of the middle moves by %g, %g", tap, dy, dx)
		}
		if dy, dx := at(o, 2*tap, 4, 4), at(o, 2*tap+1, 4, 4); dy != 0 || dx != 0 {
			t.Errorf("tap %d in the middle moves by %g, %g", tap, dy, dx)
		}
	}
	for _, name := range Fields() {
		f, err := NewField(name, math.NaN(), 1)
		if err != nil {
			t.Fatal(err)
		}
		moved := 0.0
		for _, v := range f.Offsets(p) {
			moved = max(moved, math.Abs(float64(v)))
		}
		if !(moved > 0.1 && moved < 20) {
			t.Errorf("%s moves by up to %g pixels", name, moved)
		}
	}
	if _, err := NewField("twist", 1, 0); err == nil || !strings.Contains(err.Error(), "must be one of lens, random") {
		t.Error(err)
	}
	if _, err := NewField("wave", math.Inf(1), 0); err == nil {
		t.Error("an infinite amplitude is accepted")
	}
}

func TestShow(t *testing.T) {
	nan := float32(math.NaN())
	for mode, want := range map[string][]float32{
		"clip": {0, 0.5, 1, 0.25}, "abs": {1, 0.25, 1, 0.125}, "centre": {0, 0.625, 1, 0.5625}, "stretch": {0, 0.625, 1, 0.5625},
	} {
		v := []float32{-2, 0.5, 2, 0.25}
		if err := Show(v, mode); err != nil || !slices.Equal(v, want) {
			t.Errorf("%s: %v, %v, want %v", mode, v, err, want)
		}
		for _, awkward := range [][]float32{{}, {0, 0}, {nan, 1}, {float32(math.Inf(1)), 0, 1}} {
			if err := Show(awkward, mode); err != nil {
				t.Error(err)
			}
			for _, x := range awkward {
				if x < 0 || x > 1 {
					t.Errorf("%s: %v", mode, awkward)
				}
			}
		}
	}
	if err := Show(nil, "loud"); err == nil || !strings.Contains(err.Error(), "must be one of abs, centre, clip, stretch") {
		t.Error(err)
	}
}

func TestGrid(t *testing.T) {
	pix, h, w := Grid([]float32{1, 2, 3, 4, 5, 6}, 3, 1, 2)
	if h != 3 || w != 5 || !slices.Equal(pix, []float32{1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0}) {
		t.Errorf("%d×%d %v", h, w, pix)
	}
}
