package conv

// Problem is a convolution with every number known. Make one by
// [Params.Problem] or [Params.DeformProblem]; those two are the only checks,
// and everything downstream trusts a Problem.
type Problem struct {
	N, C, H, W           int // input N×C×H×W
	K, R, S              int // weight K×(C/Groups)×R×S
	Ho, Wo               int // output N×K×Ho×Wo
	StrideY, StrideX     int
	DilationY, DilationX int
	Pad                  Padding
	Groups               int
	Mode                 PaddingMode
	Bias                 bool       // one value added per output channel
	Activation           Activation // applied behind the bias
	OffsetGroups         int        // 0 for an ordinary convolution, else deformable
	Mask                 bool       // deformable v2
	Border               Border     // of deformable samples
}

// Problem checks that an input x (N×C×H×W), a weight (K×C/groups×R×S) and the
// parameters fit together and works out the output's size. A batch of 0 is
// fine, every other extent is at least 1. Errors match [ErrParams] or [ErrShape].
//
// Source: PyTorch, torch.nn.Conv2d; the limits of Reflect (padding < extent)
// and Circular (padding ≤ extent) are those of torch.nn.functional.pad.
func (p Params) Problem(x, weight Shape, bias bool) (Problem, error) {
	if err := p.Validate(); err != nil {
		return Problem{}, err
	}
	p = p.withDefaults()
	if err := x.Check("input"); err != nil {
		return Problem{}, err
	}
	if err := weight.Check("weight"); err != nil {
		return Problem{}, err
	}
	q := Problem{
		N: x[0], C: x[1], H: x[2], W: x[3], K: weight[0], R: weight[2], S: weight[3],
		StrideY: p.Stride[0], StrideX: p.Stride[1], DilationY: p.Dilation[0], DilationX: p.Dilation[1],
		Pad: p.Padding, Groups: p.Groups, Mode: p.Mode, Bias: bias, Activation: p.Activation,
	}
	if q.C < 1 || q.H < 1 || q.W < 1 {
		return Problem{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	if q.K < 1 || q.R < 1 || q.S < 1 || weight[1] < 1 {
		return Problem{}, refuse(ErrShape, "weight is %v, every extent must be at least 1", weight)
	}
	if q.C%q.Groups != 0 {
		return Problem{}, refuse(ErrShape, "input has %d channels, not divisible by %d groups", q.C, q.Groups)
	}
	if q.K%q.Groups != 0 {
		return Problem{}, refuse(ErrShape, "weight has %d output channels, not divisible by %d groups", q.K, q.Groups)
	}
	if weight[1] != q.C/q.Groups {
		return Problem{}, refuse(ErrShape, "weight is %v and takes %d channels a group, but input %v in %d groups has %d",
			weight, weight[1], x, q.Groups, q.C/q.Groups)
	}
	if err := q.checkModes(); err != nil {
		return Problem{}, err
	}
	q.Ho = OutputSize(q.H, q.Pad.Top, q.Pad.Bottom, q.R, q.StrideY, q.DilationY)
	q.Wo = OutputSize(q.W, q.Pad.Left, q.Pad.Right, q.S, q.StrideX, q.DilationX)
	if q.Ho == 0 || q.Wo == 0 {
		return Problem{}, refuse(ErrShape, "kernel %d×%d at dilation %d×%d reaches over %d×%d pixels, more than the padded image of %d×%d",
			q.R, q.S, q.DilationY, q.DilationX, Reach(q.R, q.DilationY), Reach(q.S, q.DilationX),
			q.H+q.Pad.Top+q.Pad.Bottom, q.W+q.Pad.Left+q.Pad.Right)
	}
	if err := q.Output().Check("output"); err != nil {
		return Problem{}, err
	}
	return q, nil
}

// checkModes applies the padding modes' limits.
func (q Problem) checkModes() error {
	slack := 0 // how far beyond the extent the padding may go
	switch q.Mode {
	case Reflect:
		slack = -1
	case Circular:
	default:
		return nil
	}
	for _, side := range []struct {
		name        string
		pad, extent int
	}{
		{"top", q.Pad.Top, q.H}, {"bottom", q.Pad.Bottom, q.H},
		{"left", q.Pad.Left, q.W}, {"right", q.Pad.Right, q.W},
	} {
		if side.pad > side.extent+slack {
			return refuse(ErrShape, "%v padding %s is %d, must be at most %d for an image of %d×%d",
				q.Mode, side.name, side.pad, side.extent+slack, q.H, q.W)
		}
	}
	return nil
}

// Input returns the input's shape, N×C×H×W.
func (q Problem) Input() Shape { return Shape{q.N, q.C, q.H, q.W} }

// Weight returns the weight's shape, K×C/Groups×R×S.
func (q Problem) Weight() Shape { return Shape{q.K, q.C / q.Groups, q.R, q.S} }

// Output returns the output's shape, N×K×Ho×Wo.
func (q Problem) Output() Shape { return Shape{q.N, q.K, q.Ho, q.Wo} }

// Taps returns the number of kernel points, R·S.
func (q Problem) Taps() int { return q.R * q.S }
