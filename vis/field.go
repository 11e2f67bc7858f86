package vis

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"vkconv/conv"
)

// Field displaces sampling positions: by how many pixels for a kernel whose
// middle lies at (y, x) of an h×w picture.
type Field struct {
	Name      string
	Amplitude float64
	Unit      string // of the amplitude
	at        func(amplitude, y, x, h, w float64) (dy, dx float64)
	tap       func(amplitude, y, x float64) (dy, dx float64) // of a tap that lies y, x from the kernel's middle, instead of at
	seed      uint64                                         // for a field that is random by tap, where both are nil
}

var fields = map[string]Field{
	// About the middle, by the amplitude there and by nothing at the nearest edge.
	"swirl": {Amplitude: 120, Unit: "degrees", at: func(a, y, x, h, w float64) (float64, float64) {
		cy, cx := (h-1)/2, (w-1)/2
		near := max(0, 1-math.Hypot(y-cy, x-cx)/(min(h, w)/2))
		return turn(a*near*near, y-cy, x-cx)
	}},
	"rotate": {Amplitude: 15, Unit: "degrees", at: func(a, y, x, h, w float64) (float64, float64) {
		return turn(a, y-(h-1)/2, x-(w-1)/2)
	}},
	// Four waves across the shorter side.
	"wave": {Amplitude: 6, Unit: "pixels", at: func(a, y, x, h, w float64) (float64, float64) {
		length := max(8, min(h, w)/4)
		return a * math.Sin(2*math.Pi*x/length), a * math.Sin(2*math.Pi*y/length)
	}},
	// A magnifying glass over the middle: amplitude 0.5 shows it twice as large.
	"lens": {Amplitude: 0.5, Unit: "of the distance", at: func(a, y, x, h, w float64) (float64, float64) {
		y, x = y-(h-1)/2, x-(w-1)/2
		near := max(0, 1-math.Hypot(y, x)/(min(h, w)/2))
		return -a * near * y, -a * near * x
	}},
	"random": {Amplitude: 2, Unit: "pixels of standard deviation"},
	// Every kernel by itself, about its own middle: what Dai et al. 2017 draw in
	// figure 1 as special cases that deformable convolution holds.
	"spread": {Amplitude: 1, Unit: "of the kernel's size", tap: func(a, y, x float64) (float64, float64) { return a * y, a * x }},
	"turn":   {Amplitude: 30, Unit: "degrees", tap: func(a, y, x float64) (float64, float64) { return turn(a, y, x) }},
}

// turn returns the way to (y, x) turned about the origin by so many degrees.
func turn(degrees, y, x float64) (dy, dx float64) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return cos*y + sin*x - y, cos*x - sin*y - x
}

// Fields lists the names of the fields.
func Fields() []string { return slices.Sorted(maps.Keys(fields)) }

// NewField makes a field by name. Without an amplitude (NaN) it takes the
// field's own; seed matters to "random" alone.
func NewField(name string, amplitude float64, seed uint64) (Field, error) {
	f, ok := fields[name]
	if !ok {
		return Field{}, fmt.Errorf("deformation is %q, must be one of %s", name, strings.Join(Fields(), ", "))
	}
	f.Name, f.seed = name, seed
	if !math.IsNaN(amplitude) {
		f.Amplitude = amplitude
	}
	if math.IsInf(f.Amplitude, 0) {
		return Field{}, fmt.Errorf("amplitude of %s is %v, must be finite", name, amplitude)
	}
	return f, nil
}

// Offsets evaluates the field for a deformable problem, in the shape of
// [conv.Problem.Offset]. All taps of a kernel move together, so that a filter
// sees the displaced picture; only "random", "spread" and "turn" move each tap
// by itself.
func (f Field) Offsets(p conv.Problem) []float32 {
	out := make([]float32, p.Offset().Len())
	if f.tap != nil {
		for pair := range len(out) / (2 * p.Ho * p.Wo) {
			y := float64(p.DilationY) * (float64(pair%p.Taps()/p.S) - float64(p.R-1)/2)
			x := float64(p.DilationX) * (float64(pair%p.S) - float64(p.S-1)/2)
			dy, dx := f.tap(f.Amplitude, y, x)
			for i := range p.Ho * p.Wo {
				out[2*pair*p.Ho*p.Wo+i], out[(2*pair+1)*p.Ho*p.Wo+i] = float32(dy), float32(dx)
			}
		}
		return out
	}
	if f.at == nil {
		r := rand.New(rand.NewPCG(f.seed, 0))
		for i := range out {
			out[i] = float32(r.NormFloat64() * f.Amplitude)
		}
		return out
	}
	pixels := p.Ho * p.Wo
	for oy := range p.Ho {
		for ox := range p.Wo {
			y := float64(oy*p.StrideY-p.Pad.Top) + float64(p.DilationY*(p.R-1))/2
			x := float64(ox*p.StrideX-p.Pad.Left) + float64(p.DilationX*(p.S-1))/2
			dy, dx := f.at(f.Amplitude, y, x, float64(p.H), float64(p.W))
			for pair := 0; pair < len(out)/pixels; pair += 2 {
				out[pair*pixels+oy*p.Wo+ox] = float32(dy)
				out[(pair+1)*pixels+oy*p.Wo+ox] = float32(dx)
			}
		}
	}
	return out
}
