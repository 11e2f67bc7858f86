package tensorio

import (
	"path/filepath"
	"slices"
	"strings"

	"vkconv/conv"
)

// Operator is what an outside case is a case of.
type Operator string

const (
	Conv          Operator = "conv"           // ordinary or, with an offset, deformable
	ConvTranspose Operator = "conv_transpose" // PyTorch's ConvTranspose2d
	DeformPack    Operator = "deform_pack"    // deformable, with offsets predicted from the input (mmcv)
)

var operators = []Operator{Conv, ConvTranspose, DeformPack}

// Case is a convolution made by another program: inputs, parameters, and what
// came out there. Slices are nil where the archive has no such array.
type Case struct {
	Name    string // the file's name without directory and .npz
	Path    string
	Op      Operator
	Problem conv.Problem // of ConvTranspose the convolution that goes the other way
	Params  conv.Params
	Deform  conv.Deform // meaningful where Problem.Deformable()

	Transposed    conv.Transposed // meaningful for ConvTranspose
	OutputPadding [2]int

	X, Weight, Bias, Offset, Mask []float32
	Y                             []float64 // expected output, N×K×Ho×Wo

	// DeformPack's predictor: (2 or 3)·og·R·S × C × R × S, and as many biases.
	OffsetWeight, OffsetBias []float32

	DY                                 []float32 // gradient of the output, as Y
	DX, DWeight, DBias, DOffset, DMask []float64 // expected gradients, each as what it is the gradient of
	DOffsetWeight, DOffsetBias         []float64

	// Tolerance is added to the error bound of every expected value: what the
	// printed digits of a published answer leave open. Usually 0.
	Tolerance float64

	Ignored []string // arrays in the archive that mean nothing here
}

// HasBackward reports whether the case asks for gradients.
func (c Case) HasBackward() bool { return c.DY != nil }

// Input returns the shape of x.
func (c Case) Input() conv.Shape {
	if c.Op == ConvTranspose {
		return c.Transposed.Input()
	}
	return c.Problem.Input()
}

// Output returns the shape of y.
func (c Case) Output() conv.Shape {
	if c.Op == ConvTranspose {
		return c.Transposed.Output()
	}
	return c.Problem.Output()
}

// caseArrays are the names that mean something in every case, operatorArrays
// those that do in some.
var (
	caseArrays = []string{
		"x", "weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode", "y",
		"dy", "dx", "dweight", "dbias", "op", "atol",
	}
	operatorArrays = map[Operator][]string{
		Conv:          {"offset", "mask", "doffset", "dmask"},
		ConvTranspose: {"output_padding"},
		DeformPack:    {"offset_weight", "offset_bias", "modulated", "doffset_weight", "doffset_bias"},
	}
)

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
//	op       text: the [Operator], conv by default; another operator is refused
//	         with [conv.ErrUnsupported]
//
// Other operators differ in:
//
//	conv_transpose  weight C×(K/groups)×R×S; output_padding, rows and columns (default 0)
//	deform_pack     offset_weight (2·og·R·S or 3·og·R·S)×C×R×S and offset_bias predict
//	                the offset and, with modulated 1, behind a sigmoid the mask; gradients
//	                doffset_weight, doffset_bias in place of doffset, dmask
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

func (r *caseReader) read() (c Case) {
	c.Op = Operator(r.text("op"))
	if c.Op == "" {
		c.Op = Conv
	}
	if r.err == nil && !slices.Contains(operators, c.Op) {
		r.fail(refuse(conv.ErrUnsupported, "op is %q, only cases of conv, conv_transpose and deform_pack are read", c.Op))
	}
	c.Tolerance = r.tolerance()
	var x, w conv.Shape
	c.X, x = r.tensor("x", true)
	c.Weight, w = r.tensor("weight", true)
	c.Params.Stride = r.pair("stride", 1, 1)
	c.Params.Dilation = r.pair("dilation", 1, 1)
	c.Params.Padding = r.padding()
	c.Params.Groups = r.groups()
	c.Params.Mode = r.mode()
	if c.Bias = r.exact("bias", nil); r.err != nil {
		return
	}
	switch c.Op {
	case Conv:
		r.conv(&c, x, w)
	case ConvTranspose:
		r.transposed(&c, x, w)
	case DeformPack:
		r.pack(&c, x, w)
	}
	if r.err != nil {
		return
	}
	outputs := c.Output()[1]
	if len(c.Bias) != outputs && c.Bias != nil {
		r.fail(refuse(conv.ErrShape, "bias has %d elements, must have %d, one per output channel", len(c.Bias), outputs))
	}
	c.Y = r.expected("y", dims(c.Output()))
	c.DY = r.exact("dy", dims(c.Output()))
	c.DX = r.expected("dx", dims(x))
	c.DWeight = r.expected("dweight", dims(w))
	c.DBias = r.expected("dbias", []int{outputs})
	for _, name := range r.archive.Names() {
		if !slices.Contains(caseArrays, name) && !slices.Contains(operatorArrays[c.Op], name) {
			c.Ignored = append(c.Ignored, name)
		}
	}
	return c
}

// conv reads what an ordinary or deformable convolution has besides.
func (r *caseReader) conv(c *Case, x, w conv.Shape) {
	var offset, mask conv.Shape
	c.Offset, offset = r.tensor("offset", false)
	c.Mask, mask = r.tensor("mask", false)
	if r.err != nil {
		return
	}
	var err error
	// The ordinary problem first: its sentences come before those about offsets.
	if c.Problem, err = c.Params.Problem(x, w, c.Bias != nil); err != nil {
		r.fail(err)
		return
	}
	if c.Offset == nil {
		if c.Mask != nil {
			r.fail(refuse(conv.ErrShape, "array \"mask\" is there without \"offset\", a mask belongs to a deformable convolution"))
		}
		return
	}
	c.Deform.Mask = c.Mask != nil
	c.Deform.OffsetGroups, err = conv.OffsetGroupsOf(offset, w[2]*w[3])
	if err == nil {
		c.Problem, err = c.Params.DeformProblem(c.Deform, x, w, c.Bias != nil)
	}
	if err == nil {
		err = c.Problem.CheckOffset(offset, mask)
	}
	if err != nil {
		r.fail(err)
		return
	}
	c.DOffset = r.expected("doffset", dims(c.Problem.Offset()))
	if c.Problem.Mask {
		c.DMask = r.expected("dmask", dims(c.Problem.MaskShape()))
	}
}

// transposed reads what a transposed convolution has besides.
func (r *caseReader) transposed(c *Case, x, w conv.Shape) {
	c.OutputPadding = r.pair("output_padding", 0, 0)
	if r.err != nil {
		return
	}
	var err error
	c.Transposed, err = c.Params.TransposedProblem(x, w, c.OutputPadding, c.Bias != nil)
	c.Problem = c.Transposed.Of
	r.fail(err)
}

// pack reads what a layer that predicts its own offsets has besides.
func (r *caseReader) pack(c *Case, x, w conv.Shape) {
	predictor, channels := conv.Shape{}, 2
	c.OffsetWeight, predictor = r.tensor("offset_weight", true)
	switch v := r.integers("modulated", 1); {
	case v == nil:
	case v[0] == 1:
		c.Deform.Mask, channels = true, 3
	case v[0] != 0:
		r.fail(refuse(conv.ErrParams, "modulated is %d, must be 0 or 1", v[0]))
	}
	if r.err != nil {
		return
	}
	taps := channels * w[2] * w[3]
	if taps == 0 || predictor[0] < taps || predictor[0]%taps != 0 || [3]int(predictor[1:]) != [3]int{x[1], w[2], w[3]} {
		r.fail(refuse(conv.ErrShape, "offset_weight is %v, must be a multiple of %d (%d × %d×%d taps) × %d×%d×%d", predictor, taps, channels, w[2], w[3], x[1], w[2], w[3]))
		return
	}
	c.Deform.OffsetGroups = predictor[0] / taps
	c.OffsetBias = r.exact("offset_bias", predictor[:1])
	if r.err == nil && c.OffsetBias == nil {
		r.fail(refuse(ErrMissing, "array \"offset_bias\" is missing, a deform_pack has one"))
	}
	var err error
	c.Problem, err = c.Params.DeformProblem(c.Deform, x, w, c.Bias != nil)
	r.fail(err)
	c.DOffsetWeight = r.expected("doffset_weight", dims(predictor))
	c.DOffsetBias = r.expected("doffset_bias", predictor[:1])
}

func dims(s conv.Shape) []int { return s[:] }
