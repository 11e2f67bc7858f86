package learn

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"io"
	"slices"

	"vkconv/conv"
	"vkconv/tensorio"
	"vkconv/vis"
)

// Shown is how many held-out pictures the animation has.
const Shown = 4

// Picture is picture i of the animation, from the left.
func Picture(d Data, i int) tensorio.Image {
	m := tensorio.Image{Shape: conv.Shape{1, 3, Size, Size}, Pix: make([]float32, 3*Size*Size)}
	d.Sample(Validation, i, m.Pix, make([]bool, Size*Size))
	return m
}

const (
	zoom   = 6 // screen pixels a pixel of a picture
	margin = 4
)

// Animate writes a GIF of some held-out pictures with the deformable layer's points,
// rings where the regular grid has them and dots where they went, a frame a look.
func Animate(w io.Writer, d Data, c Curve) error {
	if len(c.frames) == 0 {
		return fmt.Errorf("the curve of a %s net has no points to show", c.Kind)
	}
	b := newBatch()
	b.draw(d, Validation, 0)
	out := &gif.GIF{}
	var before []uint8
	for i, offsets := range c.frames {
		m := frame(b, offsets)
		whole := slices.Clone(m.Pix)
		for at, v := range before { // what stays is not told again
			if m.Pix[at] == v {
				m.Pix[at] = unchanged
			}
		}
		before = whole
		delay := 12
		if i == 0 || i == len(c.frames)-1 {
			delay = 150
		}
		out.Image, out.Delay = append(out.Image, m), append(out.Delay, delay)
	}
	buffered := bufio.NewWriter(w)
	if err := gif.EncodeAll(buffered, out); err != nil {
		return err
	}
	return buffered.Flush()
}

// colours are the screen's, and behind them one that lets the frame before through.
var colours = append(slices.Clone(palette.WebSafe), color.Transparent)

const unchanged = 216

func frame(b *batch, offsets []float32) *image.Paletted {
	side := Size * zoom
	m := image.NewPaletted(image.Rect(0, 0, Shown*(side+margin)+margin, side+2*margin), colours)
	fill(m, m.Bounds(), color.White)
	for i := range Shown {
		left := margin + i*(side+margin)
		picture, mask := b.pictures[i*3*Size*Size:][:3*Size*Size], b.masks[i]
		// The noise would hide the object, which the net does not see either at a
		// glance: what is around it is dimmed, and it has its mean colour.
		var mean [3]float64
		inside := 0.0
		for at, in := range mask {
			if in {
				inside++
				for j := range mean {
					mean[j] += float64(picture[j*Size*Size+at])
				}
			}
		}
		for at := range Size * Size {
			var c [3]uint8
			for j := range c { // in steps of the palette
				if c[j] = uint8(51 * int(min(max(8*float64(picture[j*Size*Size+at])-3, 0), 2))); mask[at] {
					c[j] = uint8(51 * int(min(max(25.6*mean[j]/inside-10.8, 0), 5)))
				}
			}
			x, y := left+at%Size*zoom, margin+at/Size*zoom
			fill(m, image.Rect(x, y, x+zoom, y+zoom), color.RGBA{c[0], c[1], c[2], 255})
		}
		border := image.Rect(left, margin, left+side, margin+side)
		regular, learned := points(nil, i), points(offsets, i)
		screen := func(p Point) image.Point { return image.Pt(left+int(p.X*zoom), margin+int(p.Y*zoom)) }
		for q := range regular {
			from, to := screen(regular[q]), screen(learned[q])
			line(m, border, from, to, color.White)
			disc(m, border, from, 3, color.White)
			disc(m, border, from, 2, color.Black)
		}
		for q := range learned {
			to := screen(learned[q])
			disc(m, border, to, 5, color.Black)
			disc(m, border, to, 4, color.RGBA{255, 255, 0, 255})
		}
	}
	return m
}

func fill(m *image.Paletted, r image.Rectangle, c color.Color) {
	index := uint8(m.Palette.Index(c))
	r = r.Intersect(m.Bounds())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := m.Pix[m.PixOffset(r.Min.X, y):][:r.Dx()]
		for i := range row {
			row[i] = index
		}
	}
}

func disc(m *image.Paletted, inside image.Rectangle, at image.Point, radius int, c color.Color) {
	index := uint8(m.Palette.Index(c))
	for y := -radius; y <= radius; y++ {
		for x := -radius; x <= radius; x++ {
			if p := at.Add(image.Pt(x, y)); x*x+y*y <= radius*radius && p.In(inside) {
				m.SetColorIndex(p.X, p.Y, index)
			}
		}
	}
}

func line(m *image.Paletted, inside image.Rectangle, a, b image.Point, c color.Color) {
	index := uint8(m.Palette.Index(c))
	d := b.Sub(a)
	n := max(d.X, -d.X, d.Y, -d.Y, 1)
	for i := range n + 1 {
		if p := a.Add(image.Pt(d.X*i/n, d.Y*i/n)); p.In(inside) {
			m.SetColorIndex(p.X, p.Y, index)
		}
	}
}

// PlotMistakes writes an SVG of the share of held-out pictures that the nets told
// wrong while they learned: of each kind the mean over its seeds, and where they were.
func PlotMistakes(w io.Writer, curves []Curve, kinds []string, steps int) error {
	const none = 0.5 / (looked * Batch) // a place for it on a logarithmic scale
	plot := vis.Lines{Title: "Held-out pictures told wrong", X: "step", Y: "share wrong", LogY: true,
		Note: fmt.Sprintf("Mean of the seeds, bars from best to worst; of %d pictures, none wrong drawn as half a one.", looked*Batch)}
	for _, k := range kinds {
		var own []Curve
		for _, c := range curves {
			if c.Kind == k {
				own = append(own, c)
			}
		}
		if len(own) == 0 {
			continue
		}
		s := vis.Series{Name: k}
		for i := range own[0].Accuracy {
			mean, least, most := 0.0, 1.0, 0.0
			for _, c := range own {
				wrong := max(1-c.Accuracy[i], none)
				mean, least, most = mean+wrong/float64(len(own)), min(least, wrong), max(most, wrong)
			}
			s.Points = append(s.Points, vis.Point{X: float64(i * steps / Looks), Y: mean})
			s.Low, s.High = append(s.Low, least), append(s.High, most)
		}
		plot.Series = append(plot.Series, s)
	}
	return plot.Write(w)
}

// PlotLoss writes an SVG of the losses of the nets' batches, the mean over the seeds
// and over some steps each.
func PlotLoss(w io.Writer, curves []Curve, kinds []string, steps int) error {
	plot := vis.Lines{Title: "Loss while training", X: "step", Y: "cross-entropy", LogY: true}
	window := max(1, steps/Looks)
	for _, k := range kinds {
		s := vis.Series{Name: k}
		for first := 0; first+window <= steps; first += window {
			mean, n := 0.0, 0.0
			for _, c := range curves {
				if c.Kind != k || len(c.Loss) < first+window {
					continue
				}
				for _, l := range c.Loss[first : first+window] {
					mean, n = mean+l, n+1
				}
			}
			if n > 0 {
				s.Points = append(s.Points, vis.Point{X: float64(first + window/2), Y: max(mean/n, 1e-9)})
			}
		}
		if len(s.Points) > 0 {
			plot.Series = append(plot.Series, s)
		}
	}
	return plot.Write(w)
}
