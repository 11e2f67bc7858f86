package vis

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Modes are the ways of [Show], each with what it does.
var Modes = map[string]string{
	"clip":    "as they are, cut to 0 … 1",
	"abs":     "absolute values, the largest white",
	"centre":  "0 as middle grey, the largest white or black",
	"stretch": "the smallest black, the largest white",
}

// ModeNames lists the modes.
func ModeNames() []string { return []string{"abs", "centre", "clip", "stretch"} }

// outliers is the share of values that may end up beyond white or black, so
// that one bright pixel does not make a picture dark.
const outliers = 0.001

// Show maps values to brightness 0 … 1, in place.
func Show(v []float32, mode string) error {
	if _, ok := Modes[mode]; !ok {
		return fmt.Errorf("way to show is %q, must be one of %s", mode, strings.Join(ModeNames(), ", "))
	}
	scale, shift := 1.0, 0.0
	switch mode {
	case "abs":
		for i := range v {
			v[i] = float32(math.Abs(float64(v[i])))
		}
		if _, high := extent(v); high > 0 {
			scale = 1 / high
		}
	case "centre":
		low, high := extent(v)
		if most := max(high, -low); most > 0 {
			scale = 0.5 / most
		}
		shift = 0.5
	case "stretch":
		if low, high := extent(v); high > low {
			scale = 1 / (high - low)
			shift = -low * scale
		}
	}
	for i, x := range v {
		v[i] = float32(min(max(float64(x)*scale+shift, 0), 1))
	}
	return nil
}

// extent returns the values between which all but the outliers of the finite ones lie.
func extent(v []float32) (low, high float64) {
	var finite []float32
	for _, x := range v {
		if d := float64(x); !math.IsNaN(d) && !math.IsInf(d, 0) {
			finite = append(finite, x)
		}
	}
	if len(finite) == 0 {
		return 0, 0
	}
	slices.Sort(finite)
	cut := int(outliers / 2 * float64(len(finite)))
	return float64(finite[cut]), float64(finite[len(finite)-1-cut])
}

// Grid lays k maps of h×w side by side, as square as it gets, with a line of
// one pixel at brightness 0 between them.
func Grid(maps []float32, k, h, w int) (pix []float32, height, width int) {
	columns := int(math.Ceil(math.Sqrt(float64(k))))
	rows := (k + columns - 1) / columns
	height, width = rows*(h+1)-1, columns*(w+1)-1
	pix = make([]float32, height*width)
	for i := range k {
		top, left := i/columns*(h+1), i%columns*(w+1)
		for y := range h {
			copy(pix[(top+y)*width+left:][:w], maps[(i*h+y)*w:][:w])
		}
	}
	return pix, height, width
}
