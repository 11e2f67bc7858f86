package vis

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"strings"
)

// Canvas is what a picture is drawn on, in pixels from the upper left corner:
// a [Vector] or a [Raster], which look the same.
type Canvas interface {
	// Rect fills a rectangle; a tip shows where the pointer rests, if it can.
	Rect(x, y, w, h float64, fill color.NRGBA, tip string)
	// Circle draws a disc with a rim of a width; either colour may be clear.
	Circle(x, y, r float64, fill, rim color.NRGBA, width float64, tip string)
	// Line draws a line through points, with round ends and corners.
	Line(points []Point, c color.NRGBA, width float64)
	// Polygon fills the surface within points.
	Polygon(points []Point, fill color.NRGBA)
	// Text writes one line, its base line at y.
	Text(x, y float64, text string, o TextStyle)
	// Image draws a picture into a rectangle, its pixels as squares or blended.
	Image(x, y, w, h float64, m image.Image, blend bool)
	// Within shifts what f draws, and names it for readers of the file.
	Within(x, y float64, name string, f func(Canvas))
}

// Point is a place on a canvas.
type Point struct{ X, Y float64 }

// TextStyle is how text looks; its zero value is 13 pixels high, dark, to the
// right of its place.
type TextStyle struct {
	Size   float64
	Color  color.NRGBA
	Bold   bool
	Anchor float64 // which part of the text lies left of its place: 0, 0.5 or 1
	Turned bool    // reads from below to above
}

func (o TextStyle) filled() TextStyle {
	if o.Size == 0 {
		o.Size = 13
	}
	if o.Color == (color.NRGBA{}) {
		o.Color = Ink
	}
	return o
}

// The colours of words and frames.
var (
	Ink    = color.NRGBA{28, 32, 38, 255}
	Faint  = color.NRGBA{104, 112, 122, 255}
	Hair   = color.NRGBA{222, 226, 230, 255}
	Paper  = color.NRGBA{255, 255, 255, 255}
	Night  = color.NRGBA{23, 25, 31, 255} // behind pictures in a window
	nobody = color.NRGBA{}
)

// Fade returns a colour of which only this share covers what is below it.
func Fade(c color.NRGBA, share float64) color.NRGBA {
	c.A = uint8(math.Round(float64(c.A) * min(max(share, 0), 1)))
	return c
}

// Vector is a canvas that becomes an SVG.
type Vector struct {
	b      *bytes.Buffer
	shared *int // numbers what is shared
}

// NewVector makes an empty canvas.
func NewVector() *Vector { return &Vector{&bytes.Buffer{}, new(int)} }

// fonts that look like Go's own, which the raster has.
const svgFonts = `Go, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif`

// WriteTo writes the SVG, w×h pixels large, with a title for those who do not
// see it. It is whole by itself and may stand in an HTML page.
func (v *Vector) Write(w io.Writer, width, height float64, title string) error {
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%s\" height=\"%s\" viewBox=\"0 0 %s %s\" font-family='%s' role=\"img\">\n<title>%s</title>\n%s</svg>\n",
		short(width), short(height), short(width), short(height), svgFonts, html.EscapeString(title), v.b)
	return err
}

// short writes a coordinate to a hundredth of a pixel.
func short(v float64) string {
	s := strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}

func hex(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

// paint is a colour as an attribute, with its opacity where it has one.
func paint(attribute string, c color.NRGBA) string {
	switch c.A {
	case 0:
		return fmt.Sprintf(" %s=\"none\"", attribute)
	case 255:
		return fmt.Sprintf(" %s=\"%s\"", attribute, hex(c))
	}
	return fmt.Sprintf(" %s=\"%s\" %s-opacity=\"%s\"", attribute, hex(c), attribute, short(float64(c.A)/255))
}

func (v *Vector) element(name, attributes, inside string) {
	if inside == "" {
		fmt.Fprintf(v.b, "<%s%s/>\n", name, attributes)
		return
	}
	fmt.Fprintf(v.b, "<%s%s>%s</%s>\n", name, attributes, inside, name)
}

func tooltip(tip string) string {
	if tip == "" {
		return ""
	}
	return "<title>" + html.EscapeString(tip) + "</title>"
}

// Rect implements [Canvas].
func (v *Vector) Rect(x, y, w, h float64, fill color.NRGBA, tip string) {
	v.element("rect", fmt.Sprintf(" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"%s", short(x), short(y), short(w), short(h), paint("fill", fill)), tooltip(tip))
}

// Circle implements [Canvas].
func (v *Vector) Circle(x, y, r float64, fill, rim color.NRGBA, width float64, tip string) {
	attributes := fmt.Sprintf(" cx=\"%s\" cy=\"%s\" r=\"%s\"%s", short(x), short(y), short(r), paint("fill", fill))
	if rim.A > 0 && width > 0 {
		attributes += paint("stroke", rim) + fmt.Sprintf(" stroke-width=\"%s\"", short(width))
	}
	v.element("circle", attributes, tooltip(tip))
}

func list(points []Point) string {
	var b strings.Builder
	for i, p := range points {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(short(p.X) + "," + short(p.Y))
	}
	return b.String()
}

// Line implements [Canvas].
func (v *Vector) Line(points []Point, c color.NRGBA, width float64) {
	v.element("polyline", fmt.Sprintf(" points=\"%s\" fill=\"none\"%s stroke-width=\"%s\" stroke-linecap=\"round\" stroke-linejoin=\"round\"", list(points), paint("stroke", c), short(width)), "")
}

// Polygon implements [Canvas].
func (v *Vector) Polygon(points []Point, fill color.NRGBA) {
	v.element("polygon", fmt.Sprintf(" points=\"%s\"%s", list(points), paint("fill", fill)), "")
}

// Text implements [Canvas].
func (v *Vector) Text(x, y float64, text string, o TextStyle) {
	o = o.filled()
	attributes := fmt.Sprintf(" x=\"%s\" y=\"%s\" font-size=\"%s\"%s", short(x), short(y), short(o.Size), paint("fill", o.Color))
	if o.Bold {
		attributes += " font-weight=\"bold\""
	}
	switch {
	case o.Anchor > 0.75:
		attributes += " text-anchor=\"end\""
	case o.Anchor > 0.25:
		attributes += " text-anchor=\"middle\""
	}
	if o.Turned {
		attributes += fmt.Sprintf(" transform=\"rotate(-90 %s %s)\"", short(x), short(y))
	}
	v.element("text", attributes, html.EscapeString(text))
}

// Image implements [Canvas].
func (v *Vector) Image(x, y, w, h float64, m image.Image, blend bool) {
	var picture bytes.Buffer
	style, kind := "", "jpeg" // photographs are blended, and small enough only as JPEG
	err := error(nil)
	if blend {
		err = jpeg.Encode(&picture, m, &jpeg.Options{Quality: 90})
	} else {
		style, kind = " style=\"image-rendering:pixelated\"", "png"
		err = png.Encode(&picture, m)
	}
	if err != nil { // of a picture without pixels alone
		return
	}
	v.element("image", fmt.Sprintf(" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" preserveAspectRatio=\"none\"%s href=\"data:image/%s;base64,%s\"",
		short(x), short(y), short(w), short(h), style, kind, base64.StdEncoding.EncodeToString(picture.Bytes())), "")
}

// Within implements [Canvas].
func (v *Vector) Within(x, y float64, name string, f func(Canvas)) {
	fmt.Fprintf(v.b, "<g transform=\"translate(%s %s)\" aria-label=\"%s\">\n", short(x), short(y), html.EscapeString(name))
	f(v)
	v.b.WriteString("</g>\n")
}
