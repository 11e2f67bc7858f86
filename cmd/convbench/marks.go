//go:build cgo && window

package main

import (
	"fmt"
	"math"

	"vkconv/vis"
)

// mark is what the shader draws: a line with round ends, from one place of the
// window to another, a disc where they are one, or a square of negative radius.
type mark struct {
	X0, Y0, X1, Y1, Radius, Rim float32
	Fill, Edge                  uint32 // 0xAABBGGRR
}

// tileSide is that of the tiles, in pixels, that a frame's marks are sorted into.
const tileSide = 16

// tiles sorts marks into the tiles of a frame: for each tile, row by row, where
// its marks begin in the same slice, then where the last one's end, then all
// their numbers.
func tiles(marks []mark, width, height int) []int32 {
	across, down := (width+tileSide-1)/tileSide, (height+tileSide-1)/tileSide
	touched := make([][]int32, across*down)
	total := 0
	for i, m := range marks {
		room := math.Abs(float64(m.Radius)) + float64(m.Rim)/2 + 1
		first := func(a, b float32) int { return int(math.Floor(max(min(float64(a), float64(b))-room, 0) / tileSide)) }
		last := func(a, b float32, n int) int {
			return int(min(math.Floor((max(float64(a), float64(b))+room)/tileSide), float64(n-1)))
		}
		for y := first(m.Y0, m.Y1); y <= last(m.Y0, m.Y1, down); y++ {
			for x := first(m.X0, m.X1); x <= last(m.X0, m.X1, across); x++ {
				touched[y*across+x] = append(touched[y*across+x], int32(i))
				total++
			}
		}
	}
	out := make([]int32, len(touched)+1, len(touched)+1+total)
	for i, t := range touched {
		out[i] = int32(len(out))
		out = append(out, t...)
	}
	out[len(touched)] = int32(len(out))
	return out
}

// abgr packs a colour.
func abgr(c [3]uint8, alpha float64) uint32 {
	return uint32(math.Round(alpha*255))<<24 | uint32(c[2])<<16 | uint32(c[1])<<8 | uint32(c[0])
}

// place is where the pictures lie in a window, and how large their pixels are.
type place struct {
	scale            float64
	top, left, right float64
	wordsTop         int
}

// arrange puts photograph and response side by side above rows of words.
func (s *scene) arrange(width, height, words int) place {
	const gap = 12
	rows, columns := float64(s.photo.Shape[2]), float64(s.photo.Shape[3])
	p := place{wordsTop: max(height-words, 0)}
	p.scale = max(min((float64(width)-3*gap)/(2*columns), (float64(p.wordsTop)-2*gap)/rows), 0.05)
	p.left = math.Floor((float64(width) - 2*columns*p.scale - gap) / 2)
	p.right = p.left + math.Ceil(columns*p.scale) + gap
	p.top = math.Floor((float64(p.wordsTop) - rows*p.scale) / 2)
	return p
}

// marks are the field, arrows, samples and the output, from below to above.
func (s *scene) marks(p place) (all []mark) {
	at := func(x, y float64) (float32, float32) {
		return float32(p.left + (x+0.5)*p.scale), float32(p.top + (y+0.5)*p.scale)
	}
	dot := func(x, y, radius, rim float64, fill, edge uint32) {
		px, py := at(x, y)
		all = append(all, mark{px, py, px, py, float32(radius), float32(rim), fill, edge})
	}
	rgb := func(t float64, of func(float64) (r, g, b uint8)) [3]uint8 { r, g, b := of(t); return [3]uint8{r, g, b} }
	heat := func(t float64) (uint8, uint8, uint8) { c := vis.Heat(t); return c.R, c.G, c.B }
	glow := func(t float64) (uint8, uint8, uint8) { c := vis.Glow(t); return c.R, c.G, c.B }

	rest, moved := s.at[0].Spots(s.output), s.at[1].Spots(s.output)
	most := 1
	for _, o := range rest {
		most = max(most, o.Paths)
	}
	for _, o := range rest {
		t := math.Log(float64(o.Paths)) / math.Log(float64(max(most, 2)))
		dot(o.X, o.Y, -max(p.scale/2, 0.75), 0, abgr(rgb(t, heat), 0.55), 0)
	}
	radius := min(max(p.scale*0.45, 1.5), 5)
	if len(moved) > 300 {
		radius = min(radius, 2)
	}
	if s.deform > 0 {
		every := len(moved)/243 + 1 // more arrows than of two layers only hide what is below them
		for i := 0; i < len(moved); i += every {
			o := moved[i]
			x0, y0 := at(o.FromX, o.FromY)
			x1, y1 := at(o.X, o.Y)
			all = append(all, mark{x0, y0, x1, y1, 0.6, 0, abgr(rgb(0.55, glow), min(max(60/float64(len(moved)), 0.08), 0.7)), 0})
		}
	}
	mostMoved := 1
	for _, o := range moved {
		mostMoved = max(mostMoved, o.Paths)
	}
	for _, o := range moved {
		t := 0.6
		if mostMoved > 1 {
			t = 0.25 + 0.75*math.Log(float64(o.Paths))/math.Log(float64(mostMoved))
		}
		dot(o.X, o.Y, radius, 0.8, abgr(rgb(t, glow), 1), abgr([3]uint8{255, 255, 255}, 0.6))
	}
	green := [3]uint8{74, 222, 128}
	ring := func(shift float64) {
		x, y := at(float64(s.output[1]), float64(s.output[0]))
		x += float32(shift)
		all = append(all, mark{x, y, x, y, float32(radius) + 3, 4, 0, abgr([3]uint8{}, 0.6)}, mark{x, y, x, y, float32(radius) + 3, 2, 0, abgr(green, 1)})
	}
	ring(0)
	ring(p.right - p.left)
	return all
}

// words are what stands below the pictures.
func (s *scene) words(frame, response float64, device string) [2]string {
	layers := fmt.Sprintf("%d × ", s.layers)
	if s.layers == 1 {
		layers = ""
	}
	first := fmt.Sprintf("%s%s %d×%d   rate %d", layers, s.kernels[s.kernel], s.size, s.size, s.rate)
	if s.deform > 0 {
		first += fmt.Sprintf("   %s × %.2f", s.deforms[s.deform], s.strength)
	}
	if s.raw == nil {
		return [2]string{first, "computing the first response"}
	}
	plane := s.photo.Shape[2] * s.photo.Shape[3]
	i := s.output[0]*s.photo.Shape[3] + s.output[1]
	first += fmt.Sprintf("   at %d, %d: %.3f %.3f %.3f", s.output[1], s.output[0], s.raw[i], s.raw[plane+i], s.raw[2*plane+i])
	second := fmt.Sprintf("frame %.1f ms   response %.1f ms   %s", frame, response, device)
	return [2]string{first, second}
}
