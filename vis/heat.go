package vis

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// MaxHeat is the most cells that a heat map has each way.
const MaxHeat = 4096

// HeatMap draws how often each cell of a grid is read, or how much something
// else there is of it: nothing is grey, and from the least to the most it goes
// from violet over green to yellow.
type HeatMap struct {
	Title, Note   string
	Rows, Columns int
	At            func(row, column int) float64 // at least 0
	Unit, Nothing string                        // what a count is of, "times", and what 0 means, "never read"
	Linear        bool                          // never a logarithmic scale

	low, high float64 // the counts between which colours lie, 0 before measure
	log       bool
}

// The colours of viridis (Smith and van der Walt 2015), which keep their order
// in grey and for the colour-blind, at equal distances.
var viridis = []color.NRGBA{
	{68, 1, 84, 255}, {72, 40, 120, 255}, {62, 74, 137, 255}, {49, 104, 142, 255}, {38, 130, 142, 255},
	{31, 158, 137, 255}, {53, 183, 121, 255}, {109, 205, 89, 255}, {180, 222, 44, 255}, {253, 231, 37, 255},
}

var never = color.NRGBA{224, 224, 224, 255}

// logarithmic is the ratio of counts above which a linear scale would show the
// rarer half of a field as one colour.
const logarithmic = 50

// measure finds the scale.
func (h *HeatMap) measure() error {
	if h.Rows < 1 || h.Columns < 1 || h.Rows > MaxHeat || h.Columns > MaxHeat {
		return fmt.Errorf("a picture of %d×%d cells is too large to be drawn, at most %d each way are", h.Rows, h.Columns, MaxHeat)
	}
	h.low, h.high = math.Inf(1), 0
	for r := range h.Rows {
		for c := range h.Columns {
			if n := h.At(r, c); n > 0 {
				h.low, h.high = min(h.low, n), max(h.high, n)
			}
		}
	}
	h.log = h.high > logarithmic*h.low && !h.Linear
	if h.Unit == "" {
		h.Unit = "times"
	}
	if h.Nothing == "" {
		h.Nothing = "never read"
	}
	return nil
}

// color returns the colour of a count.
func (h *HeatMap) color(n float64) color.NRGBA {
	if n <= 0 {
		return never
	}
	t := 1.0
	switch {
	case h.high <= h.low:
	case h.log:
		t = math.Log(n/h.low) / math.Log(h.high/h.low)
	default:
		t = (n - h.low) / (h.high - h.low)
	}
	return ramp(t)
}

// ramp returns the colour at t from 0 to 1.
func ramp(t float64) color.NRGBA {
	at := min(max(t, 0), 1) * float64(len(viridis)-1)
	i := min(int(at), len(viridis)-2)
	f := at - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + f*(float64(b)-float64(a)))) }
	a, b := viridis[i], viridis[i+1]
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// The layout, in pixels: title and note above the map, the scale below it.
const (
	margin   = 12
	textLine = 18
	barLong  = 160
	barHigh  = 12
	smallest = 420 // of the picture's width, so that the words fit
)

type layout struct {
	cell, left, top, width, height int // of the map's cells and corner, and of all
	bar                            int // the scale's top
}

func (h *HeatMap) layout() layout {
	l := layout{cell: min(max(640/max(h.Rows, h.Columns), 1), 48), top: margin + 2*textLine + 4}
	words := 7*max(len([]rune(h.Title)), len([]rune(h.Note))) + 2*margin
	l.width = max(l.cell*h.Columns+2*margin, smallest, words)
	l.left = (l.width - l.cell*h.Columns) / 2
	l.bar = l.top + l.cell*h.Rows + margin
	l.height = l.bar + barHigh + textLine + margin
	return l
}

// times writes a count.
func times(n float64) string {
	if n < 1e6 && n == math.Trunc(n) {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.2g", n)
}

// legend are the words below the scale and where they stand.
func (h *HeatMap) legend(l layout) map[string]image.Point {
	y := l.bar + barHigh + 14
	words := map[string]image.Point{
		h.Nothing: {margin + barHigh + 6, l.bar + 11},
	}
	if h.high == 0 {
		return words
	}
	most := times(h.high) + " " + h.Unit
	if h.log {
		most = "logarithmic, up to " + most
	}
	words[most] = image.Point{l.width - margin - 7*len(most), y}
	if h.high > h.low {
		words[times(h.low)] = image.Point{l.width - margin - barLong - 7*len(times(h.low)) - 6, l.bar + 11}
	}
	return words
}

// Image draws the map.
func (h HeatMap) Image() (*image.NRGBA, error) {
	if err := h.measure(); err != nil {
		return nil, err
	}
	l := h.layout()
	m := image.NewNRGBA(image.Rect(0, 0, l.width, l.height))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(l.left, l.top, l.left+l.cell*h.Columns, l.top+l.cell*h.Rows), h.cells(l.cell), image.Point{}, draw.Src)
	for x := range barLong {
		fill(m, image.Rect(l.width-margin-barLong+x, l.bar, l.width-margin-barLong+x+1, l.bar+barHigh), ramp(float64(x)/(barLong-1)))
	}
	fill(m, image.Rect(margin, l.bar, margin+barHigh, l.bar+barHigh), never)
	words := h.legend(l)
	write(m, h.Title, image.Point{margin, margin + 12})
	write(m, h.Note, image.Point{margin, margin + textLine + 12})
	for text, at := range words {
		write(m, text, at)
	}
	return m, nil
}

// BesideImage draws maps from left to right.
func BesideImage(maps ...HeatMap) (*image.NRGBA, error) {
	var parts []*image.NRGBA
	var size image.Point
	for _, h := range maps {
		m, err := h.Image()
		if err != nil {
			return nil, err
		}
		parts = append(parts, m)
		size = image.Point{size.X + m.Rect.Dx(), max(size.Y, m.Rect.Dy())}
	}
	all := image.NewNRGBA(image.Rectangle{Max: size})
	draw.Draw(all, all.Bounds(), image.White, image.Point{}, draw.Src)
	x := 0
	for _, m := range parts {
		draw.Draw(all, m.Rect.Add(image.Point{X: x}), m, image.Point{}, draw.Src)
		x += m.Rect.Dx()
	}
	return all, nil
}

// BesideSVG writes maps from left to right as one vector graphic.
func BesideSVG(w io.Writer, maps ...HeatMap) error {
	var b bytes.Buffer
	x, y := 0, 0
	for _, h := range maps {
		if err := h.measure(); err != nil {
			return err
		}
		l := h.layout()
		fmt.Fprintf(&b, "<svg x=\"%d\" width=\"%d\" height=\"%d\">\n", x, l.width, l.height)
		if err := h.SVG(&b); err != nil {
			return err
		}
		b.WriteString("</svg>\n")
		x, y = x+l.width, max(y, l.height)
	}
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s</svg>\n", x, y, x, y, &b)
	return err
}

// cells draws the map alone, with lines between cells that are large enough.
func (h *HeatMap) cells(cell int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, cell*h.Columns, cell*h.Rows))
	gap := 0
	if cell >= 6 {
		gap = 1
		draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	}
	for r := range h.Rows {
		for c := range h.Columns {
			fill(m, image.Rect(c*cell, r*cell, (c+1)*cell-gap, (r+1)*cell-gap), h.color(h.At(r, c)))
		}
	}
	return m
}

func fill(m *image.NRGBA, r image.Rectangle, c color.NRGBA) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			m.SetNRGBA(x, y, c)
		}
	}
}

// write puts text on a picture, its base line at a point. The font knows ASCII.
func write(m draw.Image, text string, at image.Point) {
	d := font.Drawer{Dst: m, Src: image.Black, Face: basicfont.Face7x13, Dot: fixed.P(at.X, at.Y)}
	d.DrawString(strings.NewReplacer("×", "x", "–", "-", "…", "...").Replace(text))
}

// drawn is up to how many cells an SVG has a rectangle for each, with its
// count as a tooltip; a larger map is a picture inside.
const drawn = 5000

// SVG writes the map as a vector graphic.
func (h HeatMap) SVG(w io.Writer) error {
	if err := h.measure(); err != nil {
		return err
	}
	l := h.layout()
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"monospace\" font-size=\"12\">\n", l.width, l.height, l.width, l.height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", html.EscapeString(h.Title))
	text := func(s string, at image.Point) {
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\">%s</text>\n", at.X, at.Y, html.EscapeString(s))
	}
	text(h.Title, image.Point{margin, margin + 12})
	text(h.Note, image.Point{margin, margin + textLine + 12})
	if h.Rows*h.Columns <= drawn {
		gap := 0
		if l.cell >= 6 {
			gap = 1
		}
		for r := range h.Rows {
			for c := range h.Columns {
				n := h.At(r, c)
				fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"><title>%s</title></rect>\n",
					l.left+c*l.cell, l.top+r*l.cell, l.cell-gap, l.cell-gap, hex(h.color(n)), times(n))
			}
		}
	} else {
		var picture bytes.Buffer
		if err := png.Encode(&picture, h.cells(1)); err != nil {
			return err
		}
		fmt.Fprintf(&b, "<image x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" style=\"image-rendering:pixelated\" href=\"data:image/png;base64,%s\"/>\n",
			l.left, l.top, l.cell*h.Columns, l.cell*h.Rows, base64.StdEncoding.EncodeToString(picture.Bytes()))
	}
	fmt.Fprintf(&b, "<defs><linearGradient id=\"scale\">")
	for i, c := range viridis {
		fmt.Fprintf(&b, "<stop offset=\"%.4f\" stop-color=\"%s\"/>", float64(i)/float64(len(viridis)-1), hex(c))
	}
	fmt.Fprintf(&b, "</linearGradient></defs>\n<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"url(#scale)\"/>\n", l.width-margin-barLong, l.bar, barLong, barHigh)
	fmt.Fprintf(&b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", margin, l.bar, barHigh, barHigh, hex(never))
	words := h.legend(l)
	for _, s := range slices.Sorted(maps.Keys(words)) {
		text(s, words[s])
	}
	b.WriteString("</svg>\n")
	_, err := w.Write(b.Bytes())
	return err
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }
