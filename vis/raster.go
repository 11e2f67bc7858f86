package vis

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"sync"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/f64"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// Raster is a canvas of pixels. Scale is how many of them a pixel of the
// drawing's own has each way.
type Raster struct {
	Pix    *image.RGBA
	scale  float64
	dx, dy float64
}

// NewRaster makes a canvas of w×h of the drawing's pixels, white.
func NewRaster(width, height, scale float64) *Raster {
	r := &Raster{Pix: image.NewRGBA(image.Rect(0, 0, int(math.Ceil(width*scale)), int(math.Ceil(height*scale)))), scale: scale}
	draw.Draw(r.Pix, r.Pix.Rect, image.White, image.Point{}, draw.Src)
	return r
}

func (r *Raster) at(p Point) Point { return Point{(p.X + r.dx) * r.scale, (p.Y + r.dy) * r.scale} }

// surface is covered by outlines, each given by its corners; where they overlap
// it is covered once, as long as all turn the same way.
func (r *Raster) surface(outlines [][]Point, c color.NRGBA) {
	low, high := Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
	for _, o := range outlines {
		for _, p := range o {
			low, high = Point{min(low.X, p.X), min(low.Y, p.Y)}, Point{max(high.X, p.X), max(high.Y, p.Y)}
		}
	}
	// NaN and places far outside end here.
	if !(low.X < float64(r.Pix.Rect.Max.X) && low.Y < float64(r.Pix.Rect.Max.Y) && high.X > 0 && high.Y > 0 && high.X-low.X < 1<<16 && high.Y-low.Y < 1<<16) || c.A == 0 {
		return
	}
	box := image.Rect(int(math.Floor(low.X)), int(math.Floor(low.Y)), int(math.Ceil(high.X))+1, int(math.Ceil(high.Y))+1).Intersect(r.Pix.Rect)
	z := vector.NewRasterizer(box.Dx(), box.Dy())
	for _, o := range outlines {
		for i, p := range o {
			x, y := float32(p.X-float64(box.Min.X)), float32(p.Y-float64(box.Min.Y))
			if i == 0 {
				z.MoveTo(x, y)
			} else {
				z.LineTo(x, y)
			}
		}
		z.ClosePath()
	}
	z.Draw(r.Pix, box, image.NewUniform(c), image.Point{})
}

// Rect implements [Canvas].
func (r *Raster) Rect(x, y, w, h float64, fill color.NRGBA, _ string) {
	a, b := r.at(Point{x, y}), r.at(Point{x + w, y + h})
	r.surface([][]Point{{a, {b.X, a.Y}, b, {a.X, b.Y}}}, fill)
}

// ring returns a circle's outline, in pixels.
func ring(x, y, radius float64) []Point {
	n := int(math.Ceil(6*math.Sqrt(radius))) + 8 // off by less than a fiftieth of a pixel
	points := make([]Point, n)
	for i := range points {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(n))
		points[i] = Point{x + radius*cos, y + radius*sin}
	}
	return points
}

func reversed(points []Point) []Point {
	out := make([]Point, len(points))
	for i, p := range points {
		out[len(points)-1-i] = p
	}
	return out
}

// Circle implements [Canvas].
func (r *Raster) Circle(x, y, radius float64, fill, rim color.NRGBA, width float64, _ string) {
	p := r.at(Point{x, y})
	radius, width = radius*r.scale, width*r.scale
	r.surface([][]Point{ring(p.X, p.Y, radius)}, fill)
	if rim.A > 0 && width > 0 {
		outlines := [][]Point{ring(p.X, p.Y, radius+width/2)}
		if inner := radius - width/2; inner > 0 {
			outlines = append(outlines, reversed(ring(p.X, p.Y, inner)))
		}
		r.surface(outlines, rim)
	}
}

// Line implements [Canvas].
func (r *Raster) Line(points []Point, c color.NRGBA, width float64) {
	half := width * r.scale / 2
	var outlines [][]Point
	for i, p := range points {
		b := r.at(p)
		outlines = append(outlines, ring(b.X, b.Y, half))
		if i == 0 {
			continue
		}
		a := r.at(points[i-1])
		long := math.Hypot(b.X-a.X, b.Y-a.Y)
		if long == 0 {
			continue
		}
		nx, ny := -(b.Y-a.Y)/long*half, (b.X-a.X)/long*half
		// The same way round as ring.
		outlines = append(outlines, []Point{{a.X - nx, a.Y - ny}, {b.X - nx, b.Y - ny}, {b.X + nx, b.Y + ny}, {a.X + nx, a.Y + ny}})
	}
	r.surface(outlines, c)
}

// Polygon implements [Canvas].
func (r *Raster) Polygon(points []Point, fill color.NRGBA) {
	outline := make([]Point, len(points))
	for i, p := range points {
		outline[i] = r.at(p)
	}
	r.surface([][]Point{outline}, fill)
}

// Image implements [Canvas].
func (r *Raster) Image(x, y, w, h float64, m image.Image, blend bool) {
	a, b := r.at(Point{x, y}), r.at(Point{x + w, y + h})
	size := m.Bounds()
	if size.Empty() {
		return
	}
	var by xdraw.Transformer = xdraw.NearestNeighbor
	sx, sy := (b.X-a.X)/float64(size.Dx()), (b.Y-a.Y)/float64(size.Dy())
	if blend {
		by = xdraw.BiLinear
		if sx < 1 || sy < 1 {
			// Where it shrinks, the scalers average.
			xdraw.CatmullRom.Scale(r.Pix, image.Rect(int(math.Round(a.X)), int(math.Round(a.Y)), int(math.Round(b.X)), int(math.Round(b.Y))), m, size, xdraw.Over, nil)
			return
		}
	}
	by.Transform(r.Pix, f64.Aff3{sx, 0, a.X - sx*float64(size.Min.X), 0, sy, a.Y - sy*float64(size.Min.Y)}, m, size, xdraw.Over, nil)
}

// Within implements [Canvas].
func (r *Raster) Within(x, y float64, _ string, f func(Canvas)) {
	inner := *r
	inner.dx, inner.dy = r.dx+x, r.dy+y
	f(&inner)
}

// typeface is one of the fonts at one size; faces are kept, for they are slow to make.
type typeface struct {
	bold bool
	size float64
}

var faces = struct {
	sync.Mutex
	made map[typeface]font.Face
}{made: map[typeface]font.Face{}}

// withFace lends a face, which only one at a time may use.
func withFace(t typeface, f func(font.Face)) {
	faces.Lock()
	defer faces.Unlock()
	face, ok := faces.made[t]
	if !ok {
		data := goregular.TTF
		if t.bold {
			data = gobold.TTF
		}
		parsed, err := opentype.Parse(data)
		if err == nil {
			face, err = opentype.NewFace(parsed, &opentype.FaceOptions{Size: t.size, DPI: 72, Hinting: font.HintingNone})
		}
		if err != nil {
			panic("vis: the font that is built in: " + err.Error())
		}
		faces.made[t] = face
	}
	f(face)
}

// TextWidth returns how wide a text is, in pixels.
func TextWidth(text string, o TextStyle) (width float64) {
	o = o.filled()
	withFace(typeface{o.Bold, o.Size}, func(f font.Face) { width = float64(font.MeasureString(f, text)) / 64 })
	return width
}

// Text implements [Canvas].
func (r *Raster) Text(x, y float64, text string, o TextStyle) {
	o = o.filled()
	p := r.at(Point{x, y})
	withFace(typeface{o.Bold, o.Size * r.scale}, func(face font.Face) {
		wide := float64(font.MeasureString(face, text)) / 64
		if !o.Turned {
			d := font.Drawer{Dst: r.Pix, Src: image.NewUniform(o.Color), Face: face,
				Dot: fixed.Point26_6{X: fixed.Int26_6(64 * (p.X - wide*o.Anchor)), Y: fixed.Int26_6(64 * p.Y)}}
			d.DrawString(text)
			return
		}
		// Drawn lying, then turned a quarter to the left.
		high := int(math.Ceil(2 * o.Size * r.scale))
		lying := image.NewAlpha(image.Rect(0, 0, int(math.Ceil(wide))+2, high))
		d := font.Drawer{Dst: lying, Src: image.Opaque, Face: face, Dot: fixed.P(0, high*3/4)}
		d.DrawString(text)
		turned := image.NewAlpha(image.Rect(0, 0, high, lying.Rect.Dx()))
		for ly := range high {
			for lx := range lying.Rect.Dx() {
				turned.SetAlpha(ly, lying.Rect.Dx()-1-lx, lying.AlphaAt(lx, ly))
			}
		}
		at := image.Pt(int(math.Round(p.X))-high*3/4, int(math.Round(p.Y+wide*o.Anchor))-lying.Rect.Dx())
		draw.DrawMask(r.Pix, turned.Rect.Add(at), image.NewUniform(o.Color), image.Point{}, turned, image.Point{}, draw.Over)
	})
}
