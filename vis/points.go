package vis

import (
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"slices"
)

// Points is a photograph with the places that some outputs of a stack sample.
type Points struct {
	Title, Note string
	Picture     image.Image
	Levels      []Level
	Cells       Cells       // where in the picture the first level's input lies
	Outputs     [][2]int    // rows and columns of the last level's output
	Arrows      bool        // from the regular grid to where the offsets lead
	Crop        image.Point // half the size of a part about the outputs, in pixels; zero shows the whole picture
}

// Cells says where the cells of a map lie in a picture, in pixels: rows, columns.
type Cells struct {
	Step  [2]float64 // between neighbours; zeros mean that every pixel is a cell
	First [2]float64 // where the middle of cell 0 lies, 0 being the middle of pixel 0
}

// Every is a map with a cell for jump×jump pixels, in their middle.
func Every(jump int) Cells {
	j, first := float64(jump), float64(jump-1)/2
	return Cells{[2]float64{j, j}, [2]float64{first, first}}
}

func (c Cells) at(y, x float64) (Y, X float64) {
	if c == (Cells{}) {
		return y, x
	}
	return y*c.Step[0] + c.First[0], x*c.Step[1] + c.First[1]
}

// The colours of magma (Smith and van der Walt 2015) from where they show on a
// darkened photograph, at equal distances.
var magma = []color.NRGBA{
	{114, 31, 129, 255}, {158, 47, 127, 255}, {205, 64, 113, 255}, {241, 96, 93, 255}, {253, 149, 103, 255}, {254, 201, 141, 255}, {252, 253, 191, 255},
}

var (
	outputColor = color.NRGBA{74, 222, 128, 255}
	gridColor   = color.NRGBA{226, 232, 240, 255}
	shade       = color.NRGBA{8, 10, 20, 105}
)

// Spot is a place that one or more samples share.
type Spot struct {
	X, Y, FromX, FromY float64 // in pixels of the picture; From is where it lies on the regular grid
	Paths              int
	Mask               float64 // the mean
}

// Spots returns what an output samples, with what lies at one place, as far as
// can be seen, together.
func (p Points) Spots(output [2]int) []Spot {
	type key [4]int64
	seen := map[key]int{}
	var out []Spot
	for _, s := range Trace(p.Levels, output[0], output[1]) {
		one := Spot{Paths: 1, Mask: s.Mask}
		one.Y, one.X = p.Cells.at(s.Y, s.X)
		one.FromY, one.FromX = p.Cells.at(s.GridY, s.GridX)
		fine := func(v float64) int64 { return int64(math.Round(v * 64)) }
		k := key{fine(one.X), fine(one.Y), fine(one.FromX), fine(one.FromY)}
		if !p.displaced() { // then the way does not matter
			k[2], k[3] = 0, 0
		}
		if i, ok := seen[k]; ok {
			o := &out[i]
			o.Mask = (o.Mask*float64(o.Paths) + s.Mask) / float64(o.Paths+1)
			o.Paths++
			continue
		}
		seen[k] = len(out)
		out = append(out, one)
	}
	return out
}

func (p Points) displaced() bool {
	return slices.ContainsFunc(p.Levels, func(l Level) bool { return l.Offset != nil })
}

func (p Points) masked() bool {
	return slices.ContainsFunc(p.Levels, func(l Level) bool { return l.Mask != nil })
}

// Glow returns the colour at t from 0 to 1 of the scale that samples are drawn in.
func Glow(t float64) color.NRGBA { return along(magma, t) }

// Heat returns the colour at t from 0 to 1 of the scale that heat maps are drawn in.
func Heat(t float64) color.NRGBA { return along(viridis, t) }

// The picture is drawn about so long, in pixels of the drawing.
const longSide = 1040

// frame is which part of the picture is drawn, and where.
type frame struct {
	part          image.Rectangle // of the picture
	scale         float64
	left, top     float64
	width, height float64 // of the picture as it is drawn
	spots         [][]Spot
	least, most   float64 // of what the colours show
}

func (p Points) frame() (frame, error) {
	bounds := p.Picture.Bounds()
	if bounds.Empty() || len(p.Outputs) == 0 {
		return frame{}, fmt.Errorf("there is no picture or no output to be drawn")
	}
	if _, err := Samples(p.Levels); err != nil {
		return frame{}, err
	}
	f := frame{part: bounds, left: margin, top: margin + titleHigh, most: 1}
	if p.Crop != (image.Point{}) {
		var about image.Rectangle
		for _, o := range p.Outputs {
			x, y := p.middle(o)
			at := image.Pt(int(x), int(y)).Add(bounds.Min)
			about = about.Union(image.Rectangle{at.Sub(p.Crop), at.Add(p.Crop).Add(image.Pt(1, 1))})
		}
		f.part = about.Intersect(bounds)
	}
	f.scale = longSide / float64(max(f.part.Dx(), f.part.Dy()))
	if f.scale > 2 {
		f.scale = min(math.Floor(f.scale), 64)
	}
	f.width, f.height = f.scale*float64(f.part.Dx()), f.scale*float64(f.part.Dy())
	for _, o := range p.Outputs {
		spots := p.Spots(o)
		f.spots = append(f.spots, spots)
		for _, s := range spots {
			if p.masked() {
				f.most = max(f.most, s.Mask)
				f.least = min(f.least, s.Mask)
			} else if f.least = 1; !p.displaced() {
				f.most = max(f.most, float64(s.Paths))
			}
		}
	}
	return f, nil
}

// middle is where, in pixels of the picture, an output's field has its middle
// while nothing is displaced.
func (p Points) middle(o [2]int) (x, y float64) {
	at := [2]float64{float64(o[0]), float64(o[1])}
	for i := len(p.Levels) - 1; i >= 0; i-- {
		l := p.Levels[i]
		for axis := range 2 {
			at[axis] = at[axis]*float64(l.Stride[axis]) - float64(l.Padding[axis]) + float64(l.Dilation[axis]*(l.Kernel[axis]-1))/2
		}
	}
	y, x = p.Cells.at(at[0], at[1])
	return x, y
}

const pointsBelow = 62

// size returns how large the drawing is.
func (p Points) size(f frame) (width, height float64) {
	words := max(TextWidth(p.Title, titleStyle), TextWidth(p.Note, noteStyle), 560)
	return max(f.width, words) + 2*margin, f.top + f.height + pointsBelow
}

// draw draws everything.
func (p Points) draw(c Canvas, f frame) {
	width, height := p.size(f)
	c.Rect(0, 0, width, height, Paper, "")
	c.Text(margin, margin+15, p.Title, titleStyle)
	c.Text(margin, margin+36, p.Note, noteStyle)
	part := image.NewRGBA(image.Rectangle{Max: f.part.Size()})
	for y := range f.part.Dy() {
		for x := range f.part.Dx() {
			part.Set(x, y, p.Picture.At(f.part.Min.X+x, f.part.Min.Y+y))
		}
	}
	c.Image(f.left, f.top, f.width, f.height, part, f.scale < 4)
	c.Rect(f.left, f.top, f.width, f.height, shade, "")

	origin := f.part.Min.Sub(p.Picture.Bounds().Min)
	at := func(x, y float64) Point {
		return Point{f.left + (x+0.5-float64(origin.X))*f.scale, f.top + (y+0.5-float64(origin.Y))*f.scale}
	}
	inside := func(q Point) bool {
		return q.X >= f.left && q.Y >= f.top && q.X <= f.left+f.width && q.Y <= f.top+f.height
	}
	many := 0
	for _, spots := range f.spots {
		many = max(many, len(spots))
	}
	radius := min(max(f.scale*0.3, 3.2), 9)
	if many > 200 {
		radius = min(radius, 3)
	}
	for _, spots := range f.spots {
		// What is read most lies on top.
		slices.SortStableFunc(spots, func(a, b Spot) int {
			va, vb := p.value(a), p.value(b)
			switch {
			case va < vb:
				return -1
			case va > vb:
				return 1
			}
			return 0
		})
		if p.displaced() && p.Arrows {
			for _, s := range spots {
				from, to := at(s.FromX, s.FromY), at(s.X, s.Y)
				if from, to, ok := within(from, to, f); ok {
					p.arrow(c, from, to, f.color(p.value(s)), radius, many > 200)
				}
			}
			for _, s := range spots {
				if from := at(s.FromX, s.FromY); inside(from) {
					c.Circle(from.X, from.Y, radius*0.38, Fade(gridColor, 0.75), nobody, 0, "")
				}
			}
		}
		for _, s := range spots {
			if to := at(s.X, s.Y); inside(to) {
				c.Circle(to.X, to.Y, radius, f.color(p.value(s)), Fade(Paper, 0.9), max(radius/5, 0.7), p.tip(s))
			}
		}
	}
	for _, o := range p.Outputs {
		x, y := p.middle(o)
		if q := at(x, y); inside(q) {
			c.Circle(q.X, q.Y, radius+4.5, nobody, color.NRGBA{0, 0, 0, 160}, 5, "")
			c.Circle(q.X, q.Y, radius+4.5, nobody, outputColor, 2.6, fmt.Sprintf("output at row %d, column %d", o[0], o[1]))
		}
	}
	p.legend(c, f)
}

func (p Points) value(s Spot) float64 {
	if p.masked() {
		return s.Mask
	}
	return float64(s.Paths)
}

func (p Points) tip(s Spot) string {
	tip := fmt.Sprintf("row %.2f, column %.2f", s.Y, s.X)
	if p.masked() {
		tip += fmt.Sprintf("; mask %.3f", s.Mask)
	}
	if s.Paths > 1 {
		tip += fmt.Sprintf("; %d paths", s.Paths)
	}
	return tip
}

// color is the colour of a mask, or of a number of paths.
func (f frame) color(v float64) color.NRGBA {
	t := 0.55 // where there is nothing to tell apart
	if f.most > f.least {
		t = (v - f.least) / (f.most - f.least)
	}
	return along(magma, t)
}

// arrow draws a line with a head, unless the crowd is too thick for heads.
func (p Points) arrow(c Canvas, from, to Point, hue color.NRGBA, radius float64, crowd bool) {
	long := math.Hypot(to.X-from.X, to.Y-from.Y)
	if long < radius {
		return
	}
	if crowd {
		c.Line([]Point{from, to}, Fade(hue, 0.4), 1)
		return
	}
	ux, uy := (to.X-from.X)/long, (to.Y-from.Y)/long
	head := min(radius*1.6, long/2)
	tip := Point{to.X - ux*radius, to.Y - uy*radius}
	base := Point{tip.X - ux*head, tip.Y - uy*head}
	c.Line([]Point{from, base}, Fade(hue, 0.85), max(radius/3.5, 1.2))
	c.Polygon([]Point{tip, {base.X - uy*head*0.45, base.Y + ux*head*0.45}, {base.X + uy*head*0.45, base.Y - ux*head*0.45}}, hue)
}

// within cuts a line to the picture (Liang and Barsky 1984); ok is false for
// one that does not touch it.
func within(a, b Point, f frame) (Point, Point, bool) {
	t0, t1 := 0.0, 1.0
	dx, dy := b.X-a.X, b.Y-a.Y
	for _, e := range [][2]float64{{-dx, a.X - f.left}, {dx, f.left + f.width - a.X}, {-dy, a.Y - f.top}, {dy, f.top + f.height - a.Y}} {
		switch {
		case e[0] == 0 && e[1] < 0:
			return a, b, false
		case e[0] < 0:
			t0 = max(t0, e[1]/e[0])
		case e[0] > 0:
			t1 = min(t1, e[1]/e[0])
		}
	}
	return Point{a.X + t0*dx, a.Y + t0*dy}, Point{a.X + t1*dx, a.Y + t1*dy}, t0 <= t1
}

// legend says below the picture what the signs mean.
func (p Points) legend(c Canvas, f frame) {
	y := f.top + f.height + 22
	x := f.left + 7
	word := func(text string) {
		c.Text(x+14, y+4, text, tickStyle)
		x += 14 + TextWidth(text, tickStyle) + 26
	}
	c.Circle(x, y, 5.5, nobody, outputColor, 2.6, "")
	word("the output")
	if p.displaced() && p.Arrows {
		c.Circle(x, y, 2.5, Fade(Faint, 0.6), nobody, 0, "")
		word("regular grid")
	}
	c.Circle(x, y, 4.5, along(magma, 0.6), Faint, 0.7, "")
	word("what it samples")
	scale := image.NewNRGBA(image.Rect(0, 0, barLong, 1))
	for i := range barLong {
		scale.SetNRGBA(i, 0, along(magma, float64(i)/(barLong-1)))
	}
	width, _ := p.size(f)
	right := max(f.left+f.width, min(width-margin, x+barLong))
	what := "mask"
	low, high := fmt.Sprintf("%.2g", f.least), fmt.Sprintf("%.2g", f.most)
	if !p.masked() {
		what, low, high = "paths through the taps", times(f.least), times(f.most)
	}
	if f.most <= f.least {
		return
	}
	c.Image(right-barLong, y-5, barLong, barHigh, scale, false)
	c.Text(right-barLong, y+20, low, tickStyle)
	c.Text(right-barLong/2, y+20, what, TextStyle{Size: 11, Color: Faint, Anchor: 0.5})
	c.Text(right, y+20, high, TextStyle{Size: 11, Color: Faint, Anchor: 1})
}

// Image draws the picture as pixels.
func (p Points) Image() (image.Image, error) {
	f, err := p.frame()
	if err != nil {
		return nil, err
	}
	width, height := p.size(f)
	r := NewRaster(width, height, 1)
	p.draw(r, f)
	return r.Pix, nil
}

// SVG writes the picture as a vector graphic with the photograph inside.
func (p Points) SVG(w io.Writer) error {
	f, err := p.frame()
	if err != nil {
		return err
	}
	width, height := p.size(f)
	v := NewVector()
	p.draw(v, f)
	return v.Write(w, width, height, p.Title)
}
