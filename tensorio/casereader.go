package tensorio

import (
	"fmt"
	"math"
	"slices"

	"vkconv/conv"
)

// caseReader keeps the first error, so that reading is a list of what is read.
type caseReader struct {
	archive *Archive
	x       conv.Shape // the input's
	seen    []string   // arrays asked for: the others mean nothing
	err     error
}

// fail keeps the first error, naming the file.
func (r *caseReader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("%s: %w", r.archive.path, err)
	}
}

// array reads an array that may be missing; ok says whether it was there.
func (r *caseReader) array(name string) (a Array, ok bool) {
	r.seen = append(r.seen, name)
	if r.err != nil || !r.archive.Has(name) {
		return Array{}, false
	}
	a, r.err = r.archive.Array(name)
	return a, r.err == nil
}

// tensor reads a tensor of four extents.
func (r *caseReader) tensor(name string, needed bool) ([]float32, conv.Shape) {
	if r.err == nil && needed && !r.archive.Has(name) {
		_, r.err = r.archive.Array(name)
	}
	a, ok := r.array(name)
	if !ok {
		return nil, conv.Shape{}
	}
	if len(a.Shape) != 4 {
		r.fail(refuse(conv.ErrShape, "array %q has shape %v, must have four extents", name, a.Shape))
		return nil, conv.Shape{}
	}
	data, err := a.Float32()
	if err != nil {
		r.fail(fmt.Errorf("array %q %w", name, err))
	}
	return data, conv.Shape(a.Shape)
}

// exact reads numbers that float32 must hold; shape nil means one extent of any length.
func (r *caseReader) exact(name string, shape []int) []float32 {
	a, ok := r.array(name)
	if !ok || !r.fits(name, a, shape) {
		return nil
	}
	data, err := a.Float32()
	if err != nil {
		r.fail(fmt.Errorf("array %q %w", name, err))
	}
	return data
}

// expected reads expected values.
func (r *caseReader) expected(name string, shape []int) []float64 {
	a, ok := r.array(name)
	if !ok || !r.fits(name, a, shape) {
		return nil
	}
	data, err := a.Float64()
	if err != nil {
		r.fail(fmt.Errorf("array %q %w", name, err))
	}
	return data
}

func (r *caseReader) fits(name string, a Array, shape []int) bool {
	switch {
	case shape == nil && len(a.Shape) != 1:
		r.fail(refuse(conv.ErrShape, "array %q has shape %v, must have one extent", name, a.Shape))
	case shape != nil && !slices.Equal(a.Shape, shape):
		r.fail(refuse(conv.ErrShape, "array %q has shape %v, must be %v", name, a.Shape, shape))
	default:
		return true
	}
	return false
}

// integers reads between one and most integers; nil where the array is missing.
func (r *caseReader) integers(name string, counts ...int) []int {
	a, ok := r.array(name)
	if !ok {
		return nil
	}
	values, err := a.Ints()
	if err != nil {
		r.fail(fmt.Errorf("array %q %w", name, err))
		return nil
	}
	if len(a.Shape) > 1 || !slices.Contains(counts, len(values)) {
		r.fail(refuse(conv.ErrParams, "array %q has shape %v, must hold %s", name, a.Shape, choices(counts)))
		return nil
	}
	return values
}

// choices writes 1, 2, 4 as "1, 2 or 4 numbers".
func choices(counts []int) string {
	text := fmt.Sprint(counts[0])
	for i, n := range counts[1:] {
		if i == len(counts)-2 {
			text += fmt.Sprintf(" or %d", n)
		} else {
			text += fmt.Sprintf(", %d", n)
		}
	}
	if len(counts) == 1 && counts[0] == 1 {
		return text + " number"
	}
	return text + " numbers"
}

// pair reads rows and columns, each at least least.
func (r *caseReader) pair(name string, missing, least int) [2]int {
	v := r.integers(name, 1, 2)
	switch len(v) {
	case 0:
		return [2]int{missing, missing}
	case 1:
		v = append(v, v[0])
	}
	for i, direction := range []string{"rows", "columns"} {
		if v[i] < least {
			r.fail(refuse(conv.ErrParams, "%s (%s) is %d, must be at least %d", name, direction, v[i], least))
		}
	}
	return [2]int{v[0], v[1]}
}

func (r *caseReader) padding() conv.Padding {
	switch v := r.integers("padding", 1, 2, 4); len(v) {
	case 1:
		return conv.Pad(v[0])
	case 2:
		return conv.Padding{Top: v[0], Left: v[1], Bottom: v[0], Right: v[1]}
	case 4:
		return conv.Padding{Top: v[0], Left: v[1], Bottom: v[2], Right: v[3]}
	}
	return conv.Padding{}
}

func (r *caseReader) groups() int {
	v := r.integers("groups", 1)
	if v == nil {
		return 1
	}
	if v[0] < 1 {
		r.fail(refuse(conv.ErrParams, "groups is %d, must be at least 1", v[0]))
	}
	return v[0]
}

func (r *caseReader) mode() conv.PaddingMode {
	mode, err := conv.ParsePaddingMode(r.text("padding_mode"))
	r.fail(err)
	return mode
}

// text reads text, "" where the array is missing.
func (r *caseReader) text(name string) string {
	a, ok := r.array(name)
	if !ok {
		return ""
	}
	text, err := a.Text()
	if err != nil {
		r.fail(fmt.Errorf("array %q %w", name, err))
	}
	return text
}

func (r *caseReader) tolerance() float64 {
	a, ok := r.array("atol")
	if !ok {
		return 0
	}
	v, err := a.Float64()
	if err != nil {
		r.fail(fmt.Errorf("array \"atol\" %w", err))
		return 0
	}
	if len(v) != 1 || !(v[0] >= 0) || math.IsInf(v[0], 0) {
		r.fail(refuse(ErrFormat, "array \"atol\" is %v, must be one number of at least 0", v))
		return 0
	}
	return v[0]
}
