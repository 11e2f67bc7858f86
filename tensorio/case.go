package tensorio

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"vkconv/conv"
)

// Case is a convolution made by another program: inputs, parameters, and what
// came out there. Slices are nil where the archive has no such array.
type Case struct {
	Name    string // the file's name without directory and .npz
	Path    string
	Problem conv.Problem
	Params  conv.Params
	Deform  conv.Deform // meaningful where Problem.Deformable()

	X, Weight, Bias, Offset, Mask []float32
	Y                             []float64 // expected output, N×K×Ho×Wo

	DY                                 []float32 // gradient of the output, as Y
	DX, DWeight, DBias, DOffset, DMask []float64 // expected gradients, each as what it is the gradient of

	// Tolerance is added to the error bound of every expected value: what the
	// printed digits of a published answer leave open. Usually 0.
	Tolerance float64

	Ignored []string // arrays in the archive that mean nothing here
}

// HasBackward reports whether the case asks for gradients.
func (c Case) HasBackward() bool { return c.DY != nil }

// caseArrays are the names that mean something.
var caseArrays = []string{
	"x", "weight", "bias", "offset", "mask", "stride", "padding", "dilation", "groups", "padding_mode", "y",
	"dy", "dx", "dweight", "dbias", "doffset", "dmask", "op", "atol",
}

// ReadCase reads an outside case from an .npz archive:
//
//	x        N×C×H×W                  weight  K×(C/groups)×R×S
//	bias     K, optional              offset  N×(2·og·R·S)×Ho×Wo makes the case deformable,
//	mask     N×(og·R·S)×Ho×Wo                 og is inferred from its channels
//	stride   rows, columns            dilation  rows, columns       (default 1)
//	padding  top, left, bottom, right (default 0)
//	groups   one integer (default 1)  padding_mode  text (default zeros)
//	y        the expected output; dy with dx, dweight, dbias, doffset, dmask likewise
//	atol     one number, an absolute tolerance besides the error bound (default 0)
//	op       text; a file whose op is not conv holds another operator and is
//	         refused with [conv.ErrUnsupported]
//
// Inputs may be stored in any numeric type and order as long as float32 holds
// every value exactly; expected values are taken as float64. stride, dilation
// and groups of any integer type may be one number for both directions, padding
// one or two (rows, columns). Nothing is assumed where a value is given: an
// explicit 0 for a stride is refused.
func ReadCase(path string) (Case, error) {
	a, err := OpenNPZ(path)
	if err != nil {
		return Case{}, err
	}
	defer a.Close()
	return a.Case()
}

// Case reads the archive as [ReadCase] does.
func (a *Archive) Case() (Case, error) {
	r := caseReader{archive: a}
	c := r.read()
	if r.err != nil {
		return Case{}, r.err
	}
	c.Path = a.path
	c.Name = strings.TrimSuffix(filepath.Base(a.path), ".npz")
	return c, nil
}

// caseReader keeps the first error, so that reading is a list of what is read.
type caseReader struct {
	archive *Archive
	err     error
}

// fail keeps the first error, naming the file.
func (r *caseReader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("%s: %w", r.archive.path, err)
	}
}

func (r *caseReader) read() (c Case) {
	if op := r.text("op"); r.err == nil && op != "" && op != "conv" {
		r.fail(refuse(conv.ErrUnsupported, "op is %q, only cases of conv are read", op))
	}
	c.Tolerance = r.tolerance()
	var xs, ws, os, ms conv.Shape
	c.X, xs = r.tensor("x", true)
	c.Weight, ws = r.tensor("weight", true)
	c.Offset, os = r.tensor("offset", false)
	c.Mask, ms = r.tensor("mask", false)
	c.Params.Stride = r.pair("stride", 1)
	c.Params.Dilation = r.pair("dilation", 1)
	c.Params.Padding = r.padding()
	c.Params.Groups = r.groups()
	c.Params.Mode = r.mode()
	if c.Bias = r.exact("bias", nil); r.err != nil {
		return
	}

	var err error
	if c.Offset == nil {
		if c.Mask != nil {
			r.fail(refuse(conv.ErrShape, "array \"mask\" is there without \"offset\", a mask belongs to a deformable convolution"))
			return
		}
		c.Problem, err = c.Params.Problem(xs, ws, c.Bias != nil)
	} else {
		// The ordinary problem first: its sentences come before those about offsets.
		if _, err = c.Params.Problem(xs, ws, c.Bias != nil); err == nil {
			c.Deform.Mask = c.Mask != nil
			c.Deform.OffsetGroups, err = conv.OffsetGroupsOf(os, ws[2]*ws[3])
		}
		if err == nil {
			c.Problem, err = c.Params.DeformProblem(c.Deform, xs, ws, c.Bias != nil)
		}
		if err == nil {
			err = c.Problem.CheckOffset(os, ms)
		}
	}
	if err != nil {
		r.fail(err)
		return
	}
	p := c.Problem
	if len(c.Bias) != p.K && c.Bias != nil {
		r.fail(refuse(conv.ErrShape, "bias has %d elements, must have %d, one per output channel", len(c.Bias), p.K))
	}
	c.Y = r.expected("y", dims(p.Output()))
	c.DY = r.exact("dy", dims(p.Output()))
	c.DX = r.expected("dx", dims(p.Input()))
	c.DWeight = r.expected("dweight", dims(p.Weight()))
	c.DBias = r.expected("dbias", []int{p.K})
	if p.Deformable() {
		c.DOffset = r.expected("doffset", dims(p.Offset()))
	}
	if p.Mask {
		c.DMask = r.expected("dmask", dims(p.MaskShape()))
	}
	for _, name := range r.archive.Names() {
		if !slices.Contains(caseArrays, name) {
			c.Ignored = append(c.Ignored, name)
		}
	}
	return c
}

func dims(s conv.Shape) []int { return s[:] }

// array reads an array that may be missing; ok says whether it was there.
func (r *caseReader) array(name string) (a Array, ok bool) {
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

// pair reads rows and columns, each at least 1.
func (r *caseReader) pair(name string, missing int) [2]int {
	v := r.integers(name, 1, 2)
	switch len(v) {
	case 0:
		return [2]int{missing, missing}
	case 1:
		v = append(v, v[0])
	}
	for i, direction := range []string{"rows", "columns"} {
		if v[i] < 1 {
			r.fail(refuse(conv.ErrParams, "%s (%s) is %d, must be at least 1", name, direction, v[i]))
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
