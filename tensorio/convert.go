package tensorio

import (
	"fmt"
	"math"
	"strings"
)

// Ints returns integers of any type.
func (a Array) Ints() ([]int, error) {
	switch d := a.Data.(type) {
	case []int8:
		return ints(d)
	case []int16:
		return ints(d)
	case []int32:
		return ints(d)
	case []int64:
		return ints(d)
	case []uint8:
		return ints(d)
	case []uint16:
		return ints(d)
	case []uint32:
		return ints(d)
	case []uint64:
		return ints(d)
	}
	return nil, refuse(ErrFormat, "holds %s, must hold integers", a.elements())
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func ints[T integer](d []T) ([]int, error) {
	out := make([]int, len(d))
	for i, v := range d {
		out[i] = int(v)
		if T(out[i]) != v || (v < 0) != (out[i] < 0) {
			return nil, refuse(ErrFormat, "holds %d, more than can be used", v)
		}
	}
	return out, nil
}

// Text returns text stored as ASCII bytes or as a NumPy string.
func (a Array) Text() (string, error) {
	var text []byte
	switch d := a.Data.(type) {
	case []uint8:
		text = d
	case []uint32:
		for _, r := range d {
			text = append(text, string(rune(r))...)
		}
	default:
		return "", refuse(ErrFormat, "holds %s, must hold text as ASCII bytes (uint8)", a.elements())
	}
	return strings.TrimRight(string(text), "\x00"), nil
}

// elements names the elements' type as NumPy does.
func (a Array) elements() string { return strings.TrimPrefix(fmt.Sprintf("%T", a.Data), "[]") }

type number interface{ integer | float32 | float64 }

// Float32 returns the elements in float32, refusing any that it does not hold
// exactly (NaN stays NaN).
func (a Array) Float32() ([]float32, error) {
	if d, ok := a.Data.([]float32); ok {
		return d, nil
	}
	wide, err := a.Float64()
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(wide))
	for i, v := range wide {
		out[i] = float32(v)
		if float64(out[i]) != v && !math.IsNaN(v) {
			return nil, refuse(ErrFormat, "holds %s, and element %d, %v, is not a float32: convert it with .astype(numpy.float32)", a.elements(), i, v)
		}
	}
	return out, nil
}

// Float64 returns the elements in float64, refusing any that it does not hold exactly.
func (a Array) Float64() ([]float64, error) {
	switch d := a.Data.(type) {
	case []float64:
		return d, nil
	case []float32:
		return floats(d)
	case []int8:
		return floats(d)
	case []int16:
		return floats(d)
	case []int32:
		return floats(d)
	case []int64:
		return floats(d)
	case []uint8:
		return floats(d)
	case []uint16:
		return floats(d)
	case []uint32:
		return floats(d)
	case []uint64:
		return floats(d)
	case []bool:
		out := make([]float64, len(d))
		for i, v := range d {
			if v {
				out[i] = 1
			}
		}
		return out, nil
	}
	return nil, refuse(ErrFormat, "holds %s, must hold numbers", a.elements())
}

func floats[T number](d []T) ([]float64, error) {
	out := make([]float64, len(d))
	for i, v := range d {
		out[i] = float64(v)
		if back := T(out[i]); back != v && v == v {
			return nil, refuse(ErrFormat, "holds %v, which float64 does not hold exactly", v)
		}
	}
	return out, nil
}
