package vis

import (
	"fmt"
	"math"

	"vkconv/conv"
)

// Level is one layer of a stack, as far as its sampling goes. Pairs are rows,
// columns. A pooling samples like a convolution.
type Level struct {
	Kernel, Stride, Dilation, Padding [2]int
	Input, Output                     [2]int
	Offset                            []float32 // 2K×Output of one offset group, pairs (Δy, Δx); nil for a regular grid
	Mask                              []float32 // K×Output; nil for ones
}

// LevelOf makes a level of a convolution's first image and one of its offset
// groups; offset and mask are nil where it has none.
func LevelOf(p conv.Problem, offset, mask []float32, group int) Level {
	l := Level{Kernel: [2]int{p.R, p.S}, Stride: [2]int{p.StrideY, p.StrideX}, Dilation: [2]int{p.DilationY, p.DilationX},
		Padding: [2]int{p.Pad.Top, p.Pad.Left}, Input: [2]int{p.H, p.W}, Output: [2]int{p.Ho, p.Wo}}
	one := p.Taps() * p.Ho * p.Wo
	if offset != nil {
		l.Offset = offset[group*2*one:][:2*one]
	}
	if mask != nil {
		l.Mask = mask[group*one:][:one]
	}
	return l
}

// Taps is how many points of its input an output samples.
func (l Level) Taps() int { return l.Kernel[0] * l.Kernel[1] }

// Sample is a place of a stack's input that an output samples, through one tap
// of each level.
type Sample struct {
	Y, X         float64
	GridY, GridX float64 // where it would lie if no level displaced anything
	Mask         float64 // the product of the levels' masks
}

// MostSamples is how many places of one output are followed.
const MostSamples = 1 << 17

// Samples returns how many places an output has, through every tap of every
// level: 9³ = 729 for three 3×3.
func Samples(levels []Level) (int, error) {
	n := 1
	for _, l := range levels {
		if n *= l.Taps(); n > MostSamples {
			return 0, fmt.Errorf("an output samples more than %d places through these layers, too many to be drawn", MostSamples)
		}
	}
	return n, nil
}

// Trace follows an output of the last level to the places of the first level's
// input that it samples (Dai et al. 2017, figure 6). A place between the
// outputs of a level is blended of its four neighbours: its offsets and masks
// are, too. What lies in the padding reads nothing: of an upper level it ends
// there, of the first it is left out.
func Trace(levels []Level, y, x int) []Sample {
	now := []Sample{{float64(y), float64(x), float64(y), float64(x), 1}}
	for i := len(levels) - 1; i >= 0; i-- {
		l := levels[i]
		next := make([]Sample, 0, len(now)*l.Taps())
		for _, s := range now {
			w := l.blend(s.Y, s.X)
			for tap := range l.Taps() {
				dy, dx := l.place(tap)
				to := Sample{GridY: s.GridY*float64(l.Stride[0]) + dy, GridX: s.GridX*float64(l.Stride[1]) + dx, Mask: s.Mask}
				to.Y, to.X = s.Y*float64(l.Stride[0])+dy, s.X*float64(l.Stride[1])+dx
				if l.Offset != nil {
					to.Y += w.of(l, l.Offset, 2*tap)
					to.X += w.of(l, l.Offset, 2*tap+1)
				}
				if l.Mask != nil {
					to.Mask *= w.of(l, l.Mask, tap)
				}
				if to.Y > -1 && to.X > -1 && to.Y < float64(l.Input[0]) && to.X < float64(l.Input[1]) { // a NaN is nowhere
					next = append(next, to)
				}
			}
		}
		now = next
	}
	return now
}

// place is where a tap lies from the output's place times the stride.
func (l Level) place(tap int) (dy, dx float64) {
	return float64(tap/l.Kernel[1]*l.Dilation[0] - l.Padding[0]), float64(tap%l.Kernel[1]*l.Dilation[1] - l.Padding[1])
}

// blended are the outputs around a place, at the edge the nearest.
type blended struct {
	at    [4]int
	share [4]float64
}

func (l Level) blend(y, x float64) (b blended) {
	axis := func(v float64, n int) (low, high int, f float64) {
		v = min(max(v, 0), float64(n-1))
		low = int(math.Floor(v))
		return low, min(low+1, n-1), v - math.Floor(v)
	}
	y0, y1, fy := axis(y, l.Output[0])
	x0, x1, fx := axis(x, l.Output[1])
	w := l.Output[1]
	return blended{[4]int{y0*w + x0, y0*w + x1, y1*w + x0, y1*w + x1}, [4]float64{(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx}}
}

// of blends one plane of values.
func (b blended) of(l Level, values []float32, plane int) (sum float64) {
	values = values[plane*l.Output[0]*l.Output[1]:]
	for k, at := range b.at {
		if b.share[k] > 0 {
			sum += b.share[k] * float64(values[at])
		}
	}
	return sum
}

// Nearest returns the output whose field lies, without offsets, closest about a
// place of the first level's input.
func Nearest(levels []Level, y, x float64) (row, column int) {
	at := [2]float64{y, x}
	var out [2]int
	for axis := range 2 {
		middle, jump := 0.0, 1.0 // of output 0's field, and between neighbours
		for _, l := range levels {
			middle += jump * (float64(l.Dilation[axis]*(l.Kernel[axis]-1))/2 - float64(l.Padding[axis]))
			jump *= float64(l.Stride[axis])
		}
		last := levels[len(levels)-1].Output[axis] - 1
		out[axis] = int(math.Round(min(max((at[axis]-middle)/jump, 0), float64(last))))
	}
	return out[0], out[1]
}
