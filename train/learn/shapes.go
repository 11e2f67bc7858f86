// Package learn shows a deformable layer learn: it trains a small network on
// objects that the program draws, or on given ones, and watches where the layer's
// sampling points go.
package learn

import (
	"math"
	"math/rand/v2"
)

// Size is the side of a picture in pixels.
const Size = 26

// Data gives pictures with their classes, number i of a split always the same.
type Data interface {
	// Sample fills picture, 3×Size×Size from 0 to 1, and mask, true where the object
	// is, and returns the object's class.
	Sample(split uint64, i int, picture []float32, mask []bool) int
	// Names are the classes.
	Names() []string
}

// Colours are the classes of drawn objects.
var Colours = []string{"red", "green", "blue"}

// Drawn are strokes — bars, corners, tees and crosses of any rotation, sizes that
// differ by two, near the middle — among dots of random colours in strong noise.
// The class is the stroke's colour. The dots have the same colours, so what tells
// right from wrong is shape: one has to look along the stroke, and nowhere else.
type Drawn struct{ Seed uint64 }

// The splits of the data. Choices, such as the settings of this package, are made by
// what Validation says; Test is asked once a net, when it has been trained.
const (
	Training = iota
	Validation
	Test
)

// Names are the classes.
func (Drawn) Names() []string { return Colours }

// arms are the directions of an object's strokes, in quarter turns.
var arms = [][]float64{{0, 2}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}}

// What makes it hard.
const (
	stroke = 0.125        // how much brighter than the mean, of values from 0 to 1
	noise  = 1.0 * stroke // standard deviation
	dots   = 3
	jitter = 7.0 // pixels off the middle, at most
	long   = 4.0 // arms in pixels, at least; twice as long at most
	thin   = 1.4 // half the width of a stroke, at least
)

// Sample draws picture i of a split, 3×Size×Size, and its object's mask, always the
// same, and returns its class.
func (d Drawn) Sample(split uint64, i int, picture []float32, mask []bool) int {
	r := rand.New(rand.NewPCG(d.Seed, split<<48|uint64(i)))
	class, strokes := r.IntN(len(Colours)), arms[r.IntN(len(arms))]
	angle, length, thick := 2*math.Pi*r.Float64(), long*(1+r.Float64()), thin+0.6*r.Float64()
	cy, cx := Size/2+jitter*(2*r.Float64()-1), Size/2+jitter*(2*r.Float64()-1)
	near := make([]float64, Size*Size) // distances to the object
	for at := range near {
		dy, dx := float64(at/Size)+0.5-cy, float64(at%Size)+0.5-cx
		near[at] = math.Inf(1)
		for _, quarter := range strokes {
			sin, cos := math.Sincos(angle + quarter*math.Pi/2)
			along := min(max(dx*cos+dy*sin, 0), length)
			near[at] = min(near[at], math.Hypot(dx-along*cos, dy-along*sin)-thick)
		}
		mask[at] = near[at] <= 0
	}
	for j := range picture {
		picture[j] = float32(0.5 + noise*r.NormFloat64())
	}
	paint := func(colour, at int, cover float64) {
		if cover > 0 {
			picture[colour*Size*Size+at] += float32(stroke * min(cover, 1))
		}
	}
	for at, n := range near {
		paint(class, at, 0.5-n) // the edge is one pixel wide
	}
	for range dots {
		y, x, colour := r.Float64()*Size, r.Float64()*Size, r.IntN(len(Colours))
		if near[int(y)*Size+int(x)] < 3 {
			continue
		}
		for at := range near {
			paint(colour, at, 2-math.Hypot(float64(at/Size)+0.5-y, float64(at%Size)+0.5-x))
		}
	}
	for j, v := range picture { // as a file of 8 bits a channel holds it
		picture[j] = float32(math.Round(255*float64(min(max(v, 0), 1)))) / 255
	}
	return class
}
