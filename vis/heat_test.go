package vis

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"image/color"
	"io"
	"strings"
	"testing"
)

// A field with a hole: the hole is grey, the middle yellow, the corner violet.
func heat(rows, columns int) HeatMap {
	return HeatMap{Title: "a <title> & more", Note: "3×3", Rows: rows, Columns: columns, At: func(r, c int) float64 {
		switch {
		case r == 0 && c == 1:
			return 0
		case r == rows/2 && c == columns/2:
			return 9
		}
		return 1
	}}
}

func pixel(m image.Image, x, y int) color.NRGBA {
	return color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
}

func TestHeatMapImage(t *testing.T) {
	h := heat(5, 7)
	m, err := h.Image()
	if err != nil {
		t.Fatal(err)
	}
	l := h.layout()
	at := func(r, c int) color.NRGBA { return pixel(m, l.left+c*l.cell+l.cell/2, l.top+r*l.cell+l.cell/2) }
	if at(0, 0) != viridis[0] || at(0, 1) != never || at(2, 3) != viridis[len(viridis)-1] {
		t.Errorf("corner %v, hole %v, middle %v", at(0, 0), at(0, 1), at(2, 3))
	}
	inked := func(r image.Rectangle) (n int) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				if c := pixel(m, x, y); c.R < 190 && c.G < 190 && c.B < 190 {
					n++
				}
			}
		}
		return n
	}
	if inked(image.Rect(0, 0, l.width, l.top)) < 100 || inked(image.Rect(0, l.bar+barHigh, l.width, l.height)) < 30 {
		t.Error("title or legend is missing")
	}
}

// The outline runs between what is more and what is not.
func TestHeatMapOutline(t *testing.T) {
	h := heat(5, 7)
	h.Outline = 5 // the middle alone
	m, err := h.Image()
	if err != nil {
		t.Fatal(err)
	}
	l := h.layout()
	x, y := l.left+3*l.cell, l.top+2*l.cell
	for _, p := range []image.Point{{x, y + l.cell/2}, {x + l.cell, y + l.cell/2}, {x + l.cell/2, y}, {x + l.cell/2, y + l.cell}} {
		if c := pixel(m, p.X, p.Y); c.R < 200 || c.G > 120 {
			t.Errorf("at %v it is %v, not the outline's red", p, c)
		}
	}
	if c := pixel(m, x+2*l.cell, y+l.cell/2); c.R > 200 && c.G < 120 {
		t.Error("the outline goes on")
	}
}

func TestHeatMapScale(t *testing.T) {
	h := HeatMap{Rows: 1, Columns: 3, At: func(_, c int) float64 { return []float64{1, 1000, 1e6}[c] }}
	if err := h.measure(); err != nil || !h.log || h.color(1000) != ramp(0.5) {
		t.Errorf("%v, a thousand of a million is %v, want the middle %v", err, h.color(1000), ramp(0.5))
	}
	h = HeatMap{Rows: 1, Columns: 3, At: func(_, c int) float64 { return float64(1 + 2*c) }}
	if err := h.measure(); err != nil || h.log || h.color(3) != ramp(0.5) {
		t.Errorf("%v, 3 of 1 to 5 is %v, want the middle", err, h.color(3))
	}
	h = HeatMap{Rows: 1, Columns: 1, At: func(_, _ int) float64 { return 4 }}
	if err := h.measure(); err != nil || h.color(4) != ramp(1) {
		t.Errorf("%v, one count alone is %v", err, h.color(4))
	}
	if _, err := (HeatMap{Rows: 2, Columns: MaxHeat + 1}).Image(); err == nil || !strings.Contains(err.Error(), "too large to be drawn") {
		t.Errorf("%v", err)
	}
}

func TestBeside(t *testing.T) {
	a, b := heat(5, 7), heat(9, 3)
	b.Unit, b.Nothing, b.Linear = "of the strongest", "nothing", true
	m, err := BesideImage(a, b)
	if err != nil {
		t.Fatal(err)
	}
	left, err := a.Image()
	if err != nil {
		t.Fatal(err)
	}
	right, err := b.Image()
	if err != nil {
		t.Fatal(err)
	}
	x := left.Bounds().Dx()
	if m.Bounds().Dx() != x+right.Bounds().Dx() || pixel(m, x/2, 90) != pixel(left, x/2, 90) || pixel(m, x+200, 300) != pixel(right, 200, 300) {
		t.Errorf("%v beside %v is %v", left.Bounds(), right.Bounds(), m.Bounds())
	}
	var text bytes.Buffer
	if err := BesideSVG(&text, a, b); err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(text.Bytes(), new(struct{})); err != nil || !strings.Contains(text.String(), "of the strongest") {
		t.Errorf("%v in %s", err, &text)
	}
}

// Small maps have a rectangle a cell, large ones a picture; both are XML.
func TestHeatMapSVG(t *testing.T) {
	for _, c := range []struct {
		rows, columns, rects int
	}{{5, 7, 35 + 2}, {80, 90, 2}} {
		var b bytes.Buffer
		if err := heat(c.rows, c.columns).SVG(&b); err != nil {
			t.Fatal(err)
		}
		rects := 0
		for d := xml.NewDecoder(&b); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := token.(xml.StartElement); ok && s.Name.Local == "rect" {
				rects++
			}
		}
		if rects != c.rects {
			t.Errorf("%d×%d: %d rectangles, want %d", c.rows, c.columns, rects, c.rects)
		}
	}
}
