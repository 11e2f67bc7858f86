package vis

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"
)

// hues tell series apart, for the colour-blind too (Okabe and Ito 2008).
var hues = []color.NRGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255}}

// Bar is a row of [Bars].
type Bar struct {
	Group, Label string
	Value        float64
	Low, High    float64 // where the value was seen, both 0 for nowhere else
	Text         string  // the value in words
}

// Bars draws values as bars from left to right.
type Bars struct {
	Title, Note, Unit string
	Rows              []Bar
	Log               bool
	Mark              float64 // a line at this value, where bars of a logarithmic scale begin; 0 for none
}

const (
	barsWide = 760
	rowHigh  = 21
)

// axis maps values from least to most to 0 … 1.
type axis struct {
	least, most float64
	log         bool
}

func (a axis) at(v float64) float64 {
	if a.log {
		return math.Log(max(v, a.least)/a.least) / math.Log(a.most/a.least)
	}
	return (v - a.least) / (a.most - a.least)
}

// ticks returns places for marks, at most about n.
func (a axis) ticks(n int) (at []float64) {
	if !a.log {
		step := niceStep(a.most-a.least, n)
		for k := math.Ceil(a.least/step - 1e-9); k*step <= a.most*(1+1e-9); k++ {
			at = append(at, k*step+0) // −0 + 0 is 0
		}
		return at
	}
	decades := math.Log10(a.most / a.least)
	steps := []float64{1}
	if decades < float64(n)/3 {
		steps = []float64{1, 2, 5}
	}
	for e := math.Floor(math.Log10(a.least)); e <= math.Log10(a.most); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= a.least*(1-1e-9) && v <= a.most*(1+1e-9) {
				at = append(at, v)
			}
		}
	}
	return at
}

// span fits an axis around values, those of a logarithmic one above 0.
func span(values []float64, log bool) axis {
	a := axis{math.Inf(1), math.Inf(-1), log}
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0) {
			a.least, a.most = min(a.least, v), max(a.most, v)
		}
	}
	if a.least > a.most {
		a.least, a.most = 1, 1
	}
	if log {
		a.least, a.most = a.least/1.15, a.most*1.15
	} else {
		a.least = min(a.least, 0)
		if a.most *= 1.04; a.most <= a.least {
			a.most = a.least + 1
		}
	}
	return a
}

// tick writes a number as short as it can be.
func tick(v float64) string {
	if a := math.Abs(v); a >= 1e4 || a > 0 && a < 1e-3 {
		return fmt.Sprintf("%.0e", v)
	}
	return strings.Replace(fmt.Sprintf("%.4g", v), "-", "−", 1)
}

// Write writes the plot as SVG.
func (b Bars) Write(w io.Writer) error {
	var values []float64
	label := 0.0
	small := TextStyle{Size: 12}
	for _, r := range b.Rows {
		values = append(values, r.Value, r.Low, r.High)
		label = max(label, TextWidth(r.Label, small))
	}
	if b.Mark != 0 {
		values = append(values, b.Mark)
	}
	a := span(values, b.Log)
	text := 0.0
	for _, r := range b.Rows {
		text = max(text, TextWidth(r.Text, small))
	}
	left, right := margin+12+label+10, barsWide-margin-text-8
	x := func(v float64) float64 { return left + a.at(v)*(right-left) }
	v := NewVector()
	y, group := float64(titleHigh+margin), ""
	top := y
	height := top + axisHigh + 24
	for i, r := range b.Rows {
		if r.Group != group || i == 0 && r.Group != "" {
			height += rowHigh + 4
			group = r.Group
		}
		height += rowHigh
	}
	v.Rect(0, 0, barsWide, height, Paper, "")
	v.Text(margin, margin+15, b.Title, titleStyle)
	v.Text(margin, margin+36, b.Note, noteStyle)
	bottom := height - axisHigh - 20
	for _, t := range a.ticks(6) {
		v.Line([]Point{{x(t), top - 4}, {x(t), bottom}}, Hair, 1)
		v.Text(x(t), bottom+16, tick(t), TextStyle{Size: 11, Color: Faint, Anchor: 0.5})
	}
	v.Text(right, bottom+32, b.Unit, TextStyle{Size: 11, Color: Faint, Anchor: 1})
	begin := a.least
	if !b.Log {
		begin = 0
	} else if b.Mark != 0 {
		begin = b.Mark
	}
	hue := -1
	group = ""
	for i, r := range b.Rows {
		if r.Group != group || i == 0 {
			hue, group = hue+1, r.Group
			if group != "" {
				v.Text(margin, y+15, group, TextStyle{Size: 12, Bold: true})
				y += rowHigh + 4
			}
		}
		from, to := x(begin), x(r.Value)
		c := hues[max(hue, 0)%len(hues)]
		v.Text(left-10, y+14, r.Label, TextStyle{Size: 12, Anchor: 1})
		v.Rect(min(from, to), y+3, max(math.Abs(to-from), 1), rowHigh-7, c, r.Label+": "+r.Text)
		if r.High > r.Low {
			v.Line([]Point{{x(r.Low), y + rowHigh/2 - 0.5}, {x(r.High), y + rowHigh/2 - 0.5}}, Ink, 1.2)
		}
		v.Text(barsWide-margin, y+14, r.Text, TextStyle{Size: 12, Anchor: 1, Color: Faint})
		y += rowHigh
	}
	if b.Mark != 0 {
		v.Line([]Point{{x(b.Mark), top - 4}, {x(b.Mark), bottom}}, Ink, 1.4)
	}
	return v.Write(w, barsWide, height, b.Title)
}

// Series is a line of [Lines], or dots without one.
type Series struct {
	Name   string
	Points []Point
	Low    []float64 // where each point's Y was seen; may be nil
	High   []float64
	Tips   []string // of each point; may be nil
	Dots   bool     // without a line
	Bare   bool     // without dots, and dashed in the colour of words
}

// Lines draws series over a common pair of axes.
type Lines struct {
	Title, Note, X, Y string
	LogX, LogY        bool
	XTicks            []float64 // nil for what fits
	Series            []Series
}

// Write writes the plot as SVG.
func (l Lines) Write(w io.Writer) error {
	const width, height, left, right = 760.0, 420.0, margin + 62.0, 760.0 - margin - 8
	top, bottom := float64(margin+titleHigh+26), height-54.0
	var xs, ys []float64
	for _, s := range l.Series {
		for i, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
			if s.Low != nil {
				ys = append(ys, s.Low[i], s.High[i])
			}
		}
	}
	ax, ay := span(xs, l.LogX), span(ys, l.LogY)
	if !l.LogX && len(xs) > 0 {
		ax.most /= 1.04
	}
	at := func(p Point) Point { return Point{left + ax.at(p.X)*(right-left), bottom - ay.at(p.Y)*(bottom-top)} }
	v := NewVector()
	v.Rect(0, 0, width, height, Paper, "")
	v.Text(margin, margin+15, l.Title, titleStyle)
	v.Text(margin, margin+36, l.Note, noteStyle)
	for _, t := range ay.ticks(6) {
		y := at(Point{ax.least, t}).Y
		v.Line([]Point{{left, y}, {right, y}}, Hair, 1)
		v.Text(left-8, y+4, tick(t), TextStyle{Size: 11, Color: Faint, Anchor: 1})
	}
	ticks := l.XTicks
	if ticks == nil {
		ticks = ax.ticks(8)
	}
	for _, t := range ticks {
		x := at(Point{t, ay.least}).X
		v.Line([]Point{{x, bottom}, {x, bottom + 4}}, Faint, 1)
		v.Text(x, bottom+18, tick(t), TextStyle{Size: 11, Color: Faint, Anchor: 0.5})
	}
	v.Line([]Point{{left, bottom}, {right, bottom}}, Faint, 1)
	v.Text(right, bottom+36, l.X, TextStyle{Size: 12, Color: Faint, Anchor: 1})
	v.Text(margin+8, (top+bottom)/2, l.Y, TextStyle{Size: 12, Color: Faint, Anchor: 0.5, Turned: true})
	legend := left
	for k, s := range l.Series {
		c := hues[k%len(hues)]
		points := make([]Point, len(s.Points))
		for i, p := range s.Points {
			points[i] = at(p)
		}
		if s.Bare {
			c = Faint
		}
		if !s.Dots && len(points) > 1 {
			v.Line(points, c, 2)
		}
		for i, p := range points {
			if s.Bare {
				break
			}
			if s.Low != nil && s.High[i] > s.Low[i] {
				v.Line([]Point{at(Point{s.Points[i].X, s.Low[i]}), at(Point{s.Points[i].X, s.High[i]})}, Fade(c, 0.6), 1.5)
			}
			tip := fmt.Sprintf("%s: %s, %.4g", s.Name, tick(s.Points[i].X), s.Points[i].Y)
			if s.Tips != nil {
				tip = s.Tips[i]
			}
			v.Circle(p.X, p.Y, 4, c, Paper, 1.2, tip)
		}
		if s.Name != "" {
			v.Circle(legend+5, top-18, 4.5, c, nobody, 0, "")
			v.Text(legend+15, top-14, s.Name, TextStyle{Size: 12})
			legend += 15 + TextWidth(s.Name, TextStyle{Size: 12}) + 22
		}
	}
	return v.Write(w, width, height, l.Title)
}
