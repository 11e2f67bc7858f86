package vis

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"io"
	"slices"
	"strings"
	"testing"

	"vkconv/conv"
)

// points samples a grey picture of 40×30 by a 3×3 kernel whose taps an offset
// of (4, −6) displaces, masked by 0, 1/8, 2/8, … 1.
func points(t *testing.T, offset bool) Points {
	t.Helper()
	p, err := conv.Params{Padding: conv.Pad(1)}.DeformProblem(conv.Deform{Mask: true}, conv.Shape{1, 1, 30, 40}, conv.Shape{1, 1, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	var moves, mask []float32
	if offset {
		moves, mask = make([]float32, p.Offset().Len()), make([]float32, p.MaskShape().Len())
		for i := range moves {
			moves[i] = []float32{4, -6}[i/(30*40)%2]
		}
		for i := range mask {
			mask[i] = float32(i/(30*40)) / 8
		}
	}
	photo := image.NewGray(image.Rect(0, 0, 40, 30))
	for i := range photo.Pix {
		photo.Pix[i] = 128
	}
	return Points{Title: "a <title>", Note: "a note", Picture: photo, Levels: []Level{LevelOf(p, moves, mask, 0)}, Outputs: [][2]int{{15, 20}}, Arrows: true}
}

// Each sample has its mask's colour, at the place where the offset leads.
func TestPointsImage(t *testing.T) {
	p := points(t, true)
	m, err := p.Image()
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.frame()
	if err != nil {
		t.Fatal(err)
	}
	at := func(row, column float64) (x, y int) {
		return int(f.left + (column+0.5)*f.scale), int(f.top + (row+0.5)*f.scale)
	}
	for tap := range 9 {
		x, y := at(15+4+float64(tap/3-1), 20-6+float64(tap%3-1))
		if got, want := pixel(m, x, y), along(magma, float64(tap)/8); got != want {
			t.Errorf("tap %d is %v at %d, %d, want %v", tap, got, x, y, want)
		}
	}
	x, y := at(25, 35)
	if got := pixel(m, x, y); got.R > 100 || got.R < 50 {
		t.Errorf("the photograph is %v", got)
	}
	// A part of the picture only.
	p.Crop = image.Pt(8, 8)
	if f, err = p.frame(); err != nil || f.part != image.Rect(12, 7, 29, 24) {
		t.Errorf("%v, %v", f.part, err)
	}
	if m, err = p.Image(); err != nil {
		t.Fatal(err)
	}
	x, y = int(f.left+(14-12+0.5)*f.scale), int(f.top+(19-7+0.5)*f.scale)
	if got, want := pixel(m, x, y), along(magma, 0.5); got != want {
		t.Errorf("the middle tap is %v in the part, want %v", got, want)
	}
}

func TestPointsSVG(t *testing.T) {
	for _, c := range []struct {
		offset, arrows bool
		circles, lines int
	}{
		// 9 samples, 9 of the regular grid, 2 rings of the output; 3 in the legend.
		{true, true, 9 + 9 + 2 + 3, 9}, {true, false, 9 + 2 + 2, 0}, {false, true, 9 + 2 + 2, 0},
	} {
		p := points(t, c.offset)
		p.Arrows = c.arrows
		var b bytes.Buffer
		if err := p.SVG(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "a &lt;title&gt;") || !strings.Contains(b.String(), "data:image/") {
			t.Error("no title or photograph")
		}
		count := map[string]int{}
		for d := xml.NewDecoder(&b); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := token.(xml.StartElement); ok {
				count[s.Name.Local]++
			}
		}
		if count["circle"] != c.circles || count["polyline"] != c.lines {
			t.Errorf("%+v: %v", c, count)
		}
	}
}

// Where nothing is displaced, ways to one place are counted: 1, 2, 3, 2, 1 along
// each axis of two 3×3.
func TestPointsCountsPaths(t *testing.T) {
	p := points(t, false)
	p.Levels = append(p.Levels, p.Levels[0])
	spots := p.Spots([2]int{15, 20})
	var counts []int
	for _, s := range spots {
		counts = append(counts, s.Paths)
	}
	slices.Sort(counts)
	if !slices.Equal(counts, []int{1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 6, 6, 6, 6, 9}) {
		t.Error(counts)
	}
	p.Outputs = nil
	if _, err := p.Image(); err == nil {
		t.Error("nothing to be drawn was drawn")
	}
}

// A tap moves about its own kernel's middle: spread by 1 makes dilation twice
// as large, turned by 90° the first row the last column.
func TestTapFields(t *testing.T) {
	p, err := conv.Params{Dilation: [2]int{2, 3}}.DeformProblem(conv.Deform{OffsetGroups: 2}, conv.Shape{1, 2, 9, 12}, conv.Shape{1, 2, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		amplitude float64
		first     [2]float32 // of the tap at −2, −3
	}{{"spread", 1, [2]float32{-2, -3}}, {"spread", -1, [2]float32{2, 3}}, {"turn", 90, [2]float32{-3 + 2, 2 + 3}}} {
		f, err := NewField(c.name, c.amplitude, 0)
		if err != nil {
			t.Fatal(err)
		}
		out := f.Offsets(p)
		one := p.Ho * p.Wo
		for _, group := range []int{0, 1} {
			for _, at := range []int{0, one - 1} {
				dy, dx := out[group*18*one+at], out[group*18*one+one+at]
				if d := dy - c.first[0]; d*d > 1e-9 {
					t.Errorf("%s: the first tap moves by %v, %v, want %v", c.name, dy, dx, c.first)
				}
				if d := dx - c.first[1]; d*d > 1e-9 {
					t.Errorf("%s: the first tap moves by %v, %v, want %v", c.name, dy, dx, c.first)
				}
				if y, x := out[group*18*one+8*one+at], out[group*18*one+9*one+at]; y*y+x*x > 1e-9 {
					t.Errorf("%s: the middle tap moves by %v, %v", c.name, y, x)
				}
			}
		}
	}
}
