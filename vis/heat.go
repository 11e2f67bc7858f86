package vis

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"math"
	"strings"
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
	Outline       float64                       // a line around the cells with more than this; 0 for none

	low, high float64 // the counts between which colours lie, 0 before measure
	log       bool
}

// The colours of viridis (Smith and van der Walt 2015), which keep their order
// in grey and for the colour-blind, at equal distances.
var viridis = []color.NRGBA{
	{68, 1, 84, 255}, {72, 40, 120, 255}, {62, 74, 137, 255}, {49, 104, 142, 255}, {38, 130, 142, 255},
	{31, 158, 137, 255}, {53, 183, 121, 255}, {109, 205, 89, 255}, {180, 222, 44, 255}, {253, 231, 37, 255},
}

var never = color.NRGBA{229, 231, 235, 255}

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
func ramp(t float64) color.NRGBA { return along(viridis, t) }

// along returns the colour at t from 0 to 1 of colours at equal distances.
func along(colors []color.NRGBA, t float64) color.NRGBA {
	if math.IsNaN(t) {
		t = 0
	}
	at := min(max(t, 0), 1) * float64(len(colors)-1)
	i := min(int(at), len(colors)-2)
	f := at - float64(i)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + f*(float64(b)-float64(a)))) }
	a, b := colors[i], colors[i+1]
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// The layout, in pixels: title and note above the map, axes at its left and
// below, the scale at the bottom.
const (
	margin    = 22
	titleHigh = 52
	axisHigh  = 24
	axisWide  = 30
	barLong   = 180
	barHigh   = 10
	barRoom   = 46
)

var (
	titleStyle = TextStyle{Size: 17, Bold: true}
	noteStyle  = TextStyle{Size: 13, Color: Faint}
	tickStyle  = TextStyle{Size: 11, Color: Faint}
)

type layout struct {
	cell, left, top, width, height int // of the map's cells and corner, and of all
	bar                            int // the scale's top
}

func (h *HeatMap) layout() layout {
	l := layout{cell: min(max(640/max(h.Rows, h.Columns), 1), 48), top: margin + titleHigh}
	words := max(TextWidth(h.Title, titleStyle), TextWidth(h.Note, noteStyle),
		barHigh+8+TextWidth(h.Nothing, tickStyle)+24+barLong)
	l.width = max(l.cell*h.Columns+axisWide, int(math.Ceil(words))) + 2*margin
	l.left = margin + axisWide + (l.width-2*margin-axisWide-l.cell*h.Columns)/2
	l.bar = l.top + l.cell*h.Rows + axisHigh + 16
	l.height = l.bar + barRoom
	return l
}

// times writes a count.
func times(n float64) string {
	if n < 1e6 && n == math.Trunc(n) {
		return fmt.Sprintf("%.0f", n)
	}
	return strings.Replace(fmt.Sprintf("%.2g", n), "e+", "e", 1)
}

// Size returns the picture's width and height.
func (h HeatMap) Size() (width, height int, err error) {
	if err := h.measure(); err != nil {
		return 0, 0, err
	}
	l := h.layout()
	return l.width, l.height, nil
}

// Draw draws the map.
func (h HeatMap) Draw(c Canvas) error {
	if err := h.measure(); err != nil {
		return err
	}
	l := h.layout()
	wide, high := float64(l.cell*h.Columns), float64(l.cell*h.Rows)
	left, top, right := float64(l.left), float64(l.top), float64(l.width-margin)
	c.Rect(0, 0, float64(l.width), float64(l.height), Paper, "")
	c.Text(margin, margin+15, h.Title, titleStyle)
	c.Text(margin, margin+36, h.Note, noteStyle)
	h.cells(c, l)
	h.outline(c, l)
	h.axis(h.Columns, func(at float64, label string) {
		c.Line([]Point{{left + at*float64(l.cell), top + high + 2}, {left + at*float64(l.cell), top + high + 6}}, Faint, 1)
		c.Text(left+at*float64(l.cell), top+high+19, label, TextStyle{Size: 11, Color: Faint, Anchor: 0.5})
	})
	h.axis(h.Rows, func(at float64, label string) {
		c.Line([]Point{{left - 6, top + at*float64(l.cell)}, {left - 2, top + at*float64(l.cell)}}, Faint, 1)
		c.Text(left-9, top+at*float64(l.cell)+4, label, TextStyle{Size: 11, Color: Faint, Anchor: 1})
	})
	bar := float64(l.bar)
	c.Rect(left, bar, barHigh, barHigh, never, "")
	c.Text(left+barHigh+7, bar+barHigh-1, h.Nothing, tickStyle)
	if h.high > 0 {
		right = min(right, max(left+wide, left+barLong+barHigh+30+TextWidth(h.Nothing, tickStyle)))
		scale := image.NewNRGBA(image.Rect(0, 0, barLong, 1))
		for x := range barLong {
			scale.SetNRGBA(x, 0, ramp(float64(x)/(barLong-1)))
		}
		c.Image(right-barLong, bar, barLong, barHigh, scale, false)
		most := times(h.high) + " " + h.Unit
		if h.high > h.low {
			c.Text(right-barLong, bar+barHigh+15, times(h.low), tickStyle)
		}
		if h.log {
			most = "logarithmic, up to " + most
		}
		c.Text(right, bar+barHigh+15, most, TextStyle{Size: 11, Color: Faint, Anchor: 1})
	}
	return nil
}

var outlineColor = color.NRGBA{255, 64, 64, 255}

// outline draws the line between cells that have more than Outline and those
// that have not.
func (h *HeatMap) outline(c Canvas, l layout) {
	if h.Outline <= 0 {
		return
	}
	inside := func(row, column int) bool {
		return row >= 0 && column >= 0 && row < h.Rows && column < h.Columns && h.At(row, column) > h.Outline
	}
	at := func(row, column int) Point {
		return Point{float64(l.left + column*l.cell), float64(l.top + row*l.cell)}
	}
	width := min(max(float64(l.cell)/12, 1), 3)
	for row := range h.Rows + 1 {
		for column := range h.Columns + 1 {
			if inside(row, column) != inside(row-1, column) {
				c.Line([]Point{at(row, column), at(row, column+1)}, outlineColor, width)
			}
			if inside(row, column) != inside(row, column-1) {
				c.Line([]Point{at(row, column), at(row+1, column)}, outlineColor, width)
			}
		}
	}
}

// axis calls mark at a few places of n cells, with how many pixels each lies
// from the middle.
func (h *HeatMap) axis(n int, mark func(at float64, label string)) {
	if n == 1 {
		return
	}
	step := niceStep(float64(n-1)/2, 4)
	step = max(1, math.Round(step))
	middle := (n - 1) / 2
	for k := -math.Floor(float64(middle) / step); float64(middle)+k*step <= float64(n-1); k++ {
		label := fmt.Sprintf("%+.0f", k*step)
		switch {
		case k == 0:
			label = "0"
		case k < 0:
			label = fmt.Sprintf("−%.0f", -k*step)
		}
		mark(float64(middle)+k*step+0.5, label)
	}
}

// niceStep divides a length into at most n steps of 1, 2 or 5 times a power of ten.
func niceStep(length float64, n int) float64 {
	if !(length > 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(length/float64(n))))
	for _, f := range []float64{1, 2, 5} {
		if length/(f*power) <= float64(n) {
			return f * power
		}
	}
	return 10 * power
}

// drawn is up to how many cells there is a rectangle for each, with its count
// as a tip; a larger map is a picture.
const drawn = 5000

// cells draws the map alone, with lines between cells that are large enough.
func (h *HeatMap) cells(c Canvas, l layout) {
	if h.Rows*h.Columns > drawn {
		m := image.NewNRGBA(image.Rect(0, 0, h.Columns, h.Rows))
		for row := range h.Rows {
			for column := range h.Columns {
				m.SetNRGBA(column, row, h.color(h.At(row, column)))
			}
		}
		c.Image(float64(l.left), float64(l.top), float64(l.cell*h.Columns), float64(l.cell*h.Rows), m, false)
		return
	}
	gap := 0
	if l.cell >= 6 {
		gap = 1
	}
	for row := range h.Rows {
		for column := range h.Columns {
			n := h.At(row, column)
			c.Rect(float64(l.left+column*l.cell), float64(l.top+row*l.cell), float64(l.cell-gap), float64(l.cell-gap), h.color(n), times(n))
		}
	}
}

// beside draws maps from left to right on a canvas of the size that it returns.
func beside(c Canvas, maps []HeatMap) error {
	x := 0
	for _, h := range maps {
		width, _, err := h.Size()
		if err != nil {
			return err
		}
		c.Within(float64(x), 0, h.Title, func(c Canvas) { err = h.Draw(c) })
		if err != nil {
			return err
		}
		x += width
	}
	return nil
}

func sizeBeside(maps []HeatMap) (width, height int, err error) {
	for _, h := range maps {
		w, high, err := h.Size()
		if err != nil {
			return 0, 0, err
		}
		width, height = width+w, max(height, high)
	}
	return width, height, nil
}

// Image draws the map as pixels.
func (h HeatMap) Image() (image.Image, error) { return BesideImage(h) }

// BesideImage draws maps from left to right.
func BesideImage(maps ...HeatMap) (image.Image, error) {
	width, height, err := sizeBeside(maps)
	if err != nil {
		return nil, err
	}
	r := NewRaster(float64(width), float64(height), 1)
	draw.Draw(r.Pix, r.Pix.Rect, image.White, image.Point{}, draw.Src)
	return r.Pix, beside(r, maps)
}

// SVG writes the map as a vector graphic, with a cell's count as its tip.
func (h HeatMap) SVG(w io.Writer) error { return BesideSVG(w, h) }

// BesideSVG writes maps from left to right as one vector graphic.
func BesideSVG(w io.Writer, maps ...HeatMap) error {
	width, height, err := sizeBeside(maps)
	if err != nil {
		return err
	}
	v := NewVector()
	if err := beside(v, maps); err != nil {
		return err
	}
	title := ""
	for i, h := range maps {
		if i > 0 {
			title += "; "
		}
		title += h.Title
	}
	return v.Write(w, float64(width), float64(height), title)
}
