package conv

// Transposed is a transposed convolution: the linear map that takes the outputs
// of a convolution back to its inputs, PyTorch's ConvTranspose2d. It is
// computed as the input gradient of Of.
type Transposed struct {
	// Of is the convolution that goes the other way: its output is this one's
	// input and its input this one's output.
	Of         Problem
	Bias       bool // one value added per output channel
	Activation Activation
}

// Input returns the input's shape, N×C×H×W.
func (t Transposed) Input() Shape { return t.Of.Output() }

// Output returns the output's shape, N×K×Ho×Wo.
func (t Transposed) Output() Shape { return t.Of.Input() }

// Weight returns the weight's shape, C×(K/groups)×R×S.
func (t Transposed) Weight() Shape { return t.Of.Weight() }

// TransposedProblem checks a transposed convolution of an input x (N×C×H×W)
// with a weight C×(K/groups)×R×S and works out its output,
//
//	Ho = (H−1)·stride − top − bottom + dilation·(R−1) + outputPadding + 1
//
// rows and likewise columns. Output padding adds rows and columns at the end
// and must be smaller than the stride or the dilation. Errors match
// [ErrParams], [ErrShape] or, for a padding mode, [ErrUnsupported].
//
// Source: PyTorch, torch.nn.ConvTranspose2d; ONNX, ConvTranspose.
func (p Params) TransposedProblem(x, weight Shape, outputPadding [2]int, bias bool) (Transposed, error) {
	if err := p.Validate(); err != nil {
		return Transposed{}, err
	}
	p = p.withDefaults()
	if p.Mode != Zeros {
		return Transposed{}, refuse(ErrUnsupported, "padding mode is %v, a transposed convolution pads with zeros only", p.Mode)
	}
	if err := x.Check("input"); err != nil {
		return Transposed{}, err
	}
	if err := weight.Check("weight"); err != nil {
		return Transposed{}, err
	}
	if x[1] < 1 || x[2] < 1 || x[3] < 1 {
		return Transposed{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	if weight[0] != x[1] {
		return Transposed{}, refuse(ErrShape, "weight is %v and takes %d channels, but input %v has %d", weight, weight[0], x, x[1])
	}
	y := Shape{x[0], weight[1] * p.Groups, 0, 0}
	for axis, name := range []string{"rows", "columns"} {
		extra, limit := outputPadding[axis], max(p.Stride[axis], p.Dilation[axis])
		if extra < 0 || extra >= limit {
			return Transposed{}, refuse(ErrParams, "output padding (%s) is %d, must be at least 0 and less than the stride or the dilation, %d", name, extra, limit)
		}
		pads := []int{p.Padding.Top + p.Padding.Bottom, p.Padding.Left + p.Padding.Right}[axis]
		y[2+axis] = (x[2+axis]-1)*p.Stride[axis] - pads + Reach(weight[2+axis], p.Dilation[axis]) + extra
		if y[2+axis] < 1 {
			return Transposed{}, refuse(ErrShape, "output would have %d %s, padding takes more than the convolution gives", y[2+axis], name)
		}
	}
	activation := p.Activation
	p.Activation = Activation{}
	of, err := p.Problem(y, weight, false)
	if err != nil {
		return Transposed{}, err
	}
	// With an output padding beyond the stride the other way would see more
	// pixels than there are: the extra rows of y belong to no pixel of x.
	of.Ho, of.Wo = x[2], x[3]
	return Transposed{Of: of, Bias: bias, Activation: activation}, nil
}
