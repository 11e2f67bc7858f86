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

	DCNv3           Operator = "dcnv3"             // InternImage's core operator
	DCNv4           Operator = "dcnv4"             // the same with a packed tensor
	DeformRoIPool   Operator = "deform_roi_pool"   // mmcv's
	DeformPSRoIPool Operator = "deform_psroi_pool" // Dai et al.'s, position-sensitive
	Resize          Operator = "resize"            // PyTorch's interpolate, bilinear
	GlobalPool      Operator = "pool"              // PyTorch's adaptive_avg_pool2d to one pixel
	Pyramid         Operator = "pyramid"           // Burt and Adelson's REDUCE, level after level
	ASPP            Operator = "aspp"              // DeepLab v3's block

	Activation Operator = "activation"
	WindowPool Operator = "window_pool" // PyTorch's max_pool2d and avg_pool2d
	BatchNorm  Operator = "batch_norm"  // training, and with given moments
)

// readers read what a case of each operator has.
var readers = map[Operator]func(*caseReader, *Case){
	Conv: (*caseReader).conv, ConvTranspose: (*caseReader).transposed, DeformPack: (*caseReader).pack,
	DCNv3: (*caseReader).dcn, DCNv4: (*caseReader).dcn, DeformRoIPool: (*caseReader).roiPool, DeformPSRoIPool: (*caseReader).psRoIPool,
	Resize: (*caseReader).resize, GlobalPool: (*caseReader).globalPool, Pyramid: (*caseReader).pyramid, ASPP: (*caseReader).aspp,
	Activation: (*caseReader).activation, WindowPool: (*caseReader).windowPool, BatchNorm: (*caseReader).batchNorm,
}

// Case is an operator's run made by another program: inputs, parameters, and
// what came out there. Slices are nil where the archive has no such array.
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

	DCN     conv.DCN // meaningful for DCNv3 and DCNv4, whose packed tensor is Offset
	RoIPool conv.RoIPool
	RoIs    []float32
	Resize  conv.Resize
	Pool    conv.GlobalPool

	Pyramid conv.Pyramid
	Levels  [][]float64 // expected outputs of a Pyramid, in place of Y
	DLevels [][]float32 // gradients of them, in place of DY

	ASPP    conv.ASPP
	Filters []Filter // of an ASPP's layers, in the order of conv.ASPP.Layers

	Activation       conv.Activation
	WindowPool       conv.Pool
	WindowPoolParams conv.PoolParams
	BatchNorm        conv.BatchNorm // weight and bias are Weight and Bias
	// RunningMean and RunningVar are a BatchNorm's before the training pass, NewMean
	// and NewVar what it shall move them to, Given its output with the former.
	RunningMean, RunningVar []float32
	NewMean, NewVar, Given  []float64

	// DeformPack's predictor: (2 or 3)·og·R·S × C × R × S, and as many biases.
	OffsetWeight, OffsetBias []float32

	DY                                 []float32 // gradient of the output, as Y
	DX, DWeight, DBias, DOffset, DMask []float64 // expected gradients, each as what it is the gradient of
	DOffsetWeight, DOffsetBias         []float64

	// Tolerance is added to the error bound of every expected value: what the
	// printed digits of a published answer leave open. Usually 0.
	Tolerance float64

	shape   conv.Shape // of x
	Ignored []string   // arrays in the archive that mean nothing here
}

// Filter is the weight and the bias of one layer of a block, and the gradients
// expected by them.
type Filter struct {
	Name           string // as in the archive's array Name_weight
	Weight, Bias   []float32
	DWeight, DBias []float64
}

// HasBackward reports whether the case asks for gradients.
func (c Case) HasBackward() bool { return c.DY != nil || c.DLevels != nil }

// Input returns the shape of x.
func (c Case) Input() conv.Shape {
	switch c.Op {
	case ConvTranspose:
		return c.Transposed.Input()
	case DCNv3, DCNv4:
		return c.DCN.Input()
	case DeformRoIPool, DeformPSRoIPool:
		return c.RoIPool.Input()
	case Resize:
		return c.Resize.Input()
	case GlobalPool:
		return c.Pool.Input()
	case Pyramid:
		return c.Pyramid.Input()
	case ASPP:
		return c.ASPP.Input()
	case Activation:
		return c.shape
	case WindowPool:
		return c.WindowPool.Input()
	case BatchNorm:
		return c.BatchNorm.Input()
	}
	return c.Problem.Input()
}

// Output returns the shape of y; of a Pyramid that of its topmost level.
func (c Case) Output() conv.Shape {
	switch c.Op {
	case ConvTranspose:
		return c.Transposed.Output()
	case DCNv3, DCNv4:
		return c.DCN.Output()
	case DeformRoIPool, DeformPSRoIPool:
		return c.RoIPool.Output()
	case Resize:
		return c.Resize.Output()
	case GlobalPool:
		return c.Pool.Output()
	case Pyramid:
		shapes := c.Pyramid.Shapes()
		return shapes[len(shapes)-1]
	case ASPP:
		return c.ASPP.Output()
	case Activation:
		return c.shape
	case WindowPool:
		return c.WindowPool.Output()
	case BatchNorm:
		return c.BatchNorm.Input()
	}
	return c.Problem.Output()
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
//	op       text: the [Operator], conv by default; one that is not known is
//	         refused with [conv.ErrUnsupported]
//
// Other operators differ in:
//
//	conv_transpose  weight C×(K/groups)×R×S; output_padding, rows and columns (default 0)
//	deform_pack     offset_weight (2·og·R·S or 3·og·R·S)×C×R×S and offset_bias predict
//	                the offset and, with modulated 1, behind a sigmoid the mask; gradients
//	                doffset_weight, doffset_bias in place of doffset, dmask
//	dcnv3           offset N×(2·G·P)×Ho×Wo, mask N×(G·P)×Ho×Wo; kernel, stride, dilation,
//	                padding, groups; offset_scale, remove_center, softmax (default 1, 0, 0);
//	                no weight; doffset, dmask
//	dcnv4           the same without mask; offset is the packed tensor
//	deform_roi_pool rois n×5; offset n×2×bins and mask n×1×bins, optional; bins (default
//	                those of y), spatial_scale, gamma, sampling_ratio
//	deform_psroi_pool  rois; offset n×(2·classes)×part×part and mask, optional; sizes: output
//	                channels, group size, pooled size, part size, samples, classes;
//	                spatial_scale, trans_std
//	resize          align_corners; the size is that of y or dy
//	pool            nothing
//	pyramid         level1, level2, …, expected, in place of y; dlevel1, … in place of dy
//	aspp            rates; activation (text, default identity); point_, dilated0_, …, pool_
//	                and project_ weight and bias; dpoint_weight, … expected
//	activation      activation, text; slope; min, max
//	window_pool     kernel; stride (default the kernel), padding, dilation; maximum, ceil,
//	                exclude (padding is not counted in a mean), each 0 or 1
//	batch_norm      weight, bias, running_mean, running_var (C each); eps, momentum (default
//	                PyTorch's); y of training, new_mean, new_var, given (y with the running
//	                moments), dx, dweight, dbias of training, expected
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
	read := readers[c.Op]
	if r.err == nil && read == nil {
		r.fail(refuse(conv.ErrUnsupported, "op is %q, only cases of %s are read", c.Op, operatorNames()))
	}
	c.Tolerance = r.tolerance()
	var x conv.Shape
	if c.X, x = r.tensor("x", true); r.err != nil {
		return
	}
	r.x, c.shape = x, x
	if read(r, &c); r.err != nil {
		return
	}
	if c.Op != Pyramid {
		c.Y = r.expected("y", dims(c.Output()))
		c.DY = r.exact("dy", dims(c.Output()))
	}
	c.DX = r.expected("dx", dims(x))
	for _, name := range r.archive.Names() {
		if !slices.Contains(r.seen, name) {
			c.Ignored = append(c.Ignored, name)
		}
	}
	return c
}

// operatorNames lists the operators as a sentence does.
func operatorNames() string {
	var names []string
	for op := range readers {
		names = append(names, string(op))
	}
	slices.Sort(names)
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func dims(s conv.Shape) []int { return s[:] }
