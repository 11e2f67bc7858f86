package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"vkconv/conv"
)

// Offsets says how the offsets of deformable layers are distributed. How far
// samples scatter, and how many of them miss the image, decides about caches and
// branches, so that it belongs to a measurement like a layer's size.
type Offsets struct {
	Sigma   float64 // standard deviation of Δy and Δx in pixels of the input; 0 puts every sample on its tap
	Outside float64 // share of samples, 0 to 1, that are moved to where the whole sample is outside the image
}

// DefaultOffsets are those of the built-in set.
var DefaultOffsets = Offsets{Sigma: 2}

// ParseOffsets reads "zero" or a standard deviation in pixels.
func ParseOffsets(s string) (Offsets, error) {
	if s == "zero" {
		return Offsets{}, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= 1e6) {
		return Offsets{}, fmt.Errorf("%w: offsets are %q, must be zero or a standard deviation in pixels, up to 1e6", conv.ErrParams, s)
	}
	return Offsets{Sigma: v}, nil
}

// Validate reports what is wrong with the distribution; the error matches [conv.ErrParams].
func (o Offsets) Validate() error {
	if !(o.Sigma >= 0) || !(o.Outside >= 0 && o.Outside <= 1) {
		return fmt.Errorf("%w: offsets have standard deviation %g and a share %g outside, must be at least 0 and between 0 and 1", conv.ErrParams, o.Sigma, o.Outside)
	}
	return nil
}

func (o Offsets) String() string {
	s := "zero"
	if o.Sigma > 0 {
		s = fmt.Sprintf("normal, σ %g px", o.Sigma)
	}
	if o.Outside > 0 {
		s += fmt.Sprintf(", %g%% moved outside", 100*o.Outside)
	}
	return s
}

// draw draws the offsets of a problem; nil draws the default's.
func (o *Offsets) draw(r *rand.Rand, p conv.Problem) []float32 {
	if o == nil {
		o = &DefaultOffsets
	}
	plane := p.Ho * p.Wo
	v := normal(r, p.Offset().Len(), o.Sigma)
	if o.Outside == 0 {
		return v
	}
	for i := range len(v) / 2 {
		if r.Float64() >= o.Outside {
			continue
		}
		pair, out := i/plane, i%plane
		y, x := place(p, pair, out)
		dy, dx := 2*pair*plane+out, (2*pair+1)*plane+out
		beyond := float32(1 + 4*r.Float64()) // pixels past the border, far enough that nothing of the image counts
		switch r.IntN(4) {
		case 0:
			v[dy] = float32(-y) - beyond
		case 1:
			v[dy] = float32(p.H-1-y) + beyond
		case 2:
			v[dx] = float32(-x) - beyond
		default:
			v[dx] = float32(p.W-1-x) + beyond
		}
	}
	return v
}

// place is where a tap of an output pixel reads without an offset; pair counts
// images, offset groups and taps.
func place(p conv.Problem, pair, out int) (y, x int) {
	tap := pair % p.Taps()
	return out/p.Wo*p.StrideY - p.Pad.Top + tap/p.S*p.DilationY, out%p.Wo*p.StrideX - p.Pad.Left + tap%p.S*p.DilationX
}

// outside is the share of samples of which no pixel of the image counts.
func outside(p conv.Problem, offset []float32) float64 {
	plane, missed := p.Ho*p.Wo, 0
	for i := range len(offset) / 2 {
		pair, out := i/plane, i%plane
		y, x := place(p, pair, out)
		fy, fx := float64(y)+float64(offset[2*pair*plane+out]), float64(x)+float64(offset[(2*pair+1)*plane+out])
		if fy <= -1 || fx <= -1 || fy >= float64(p.H) || fx >= float64(p.W) {
			missed++
		}
	}
	return float64(missed) / float64(max(len(offset)/2, 1))
}
