package conv

// PoolParams says how a pooling's window slides over an image, as in PyTorch's
// max_pool2d and avg_pool2d.
type PoolParams struct {
	Kernel   [2]int  // rows, columns of the window
	Stride   [2]int  // {0, 0} means the kernel's extents
	Padding  Padding // holds −∞ for a maximum, zeros for a mean; less than the window's reach
	Dilation [2]int  // of a maximum; {0, 0} means {1, 1}
	// Ceil rounds the output's size up where windows do not come out even; no
	// window starts in the padding behind the image (PyTorch's ceil_mode).
	Ceil bool
	// ExcludePadding divides a mean by the number of pixels in the window, not
	// counting padding (PyTorch's count_include_pad=False).
	ExcludePadding bool
}

// Pool is a pooling over windows with every number known: the maximum, or the
// mean. Make one by [PoolParams.Max] or [PoolParams.Average].
type Pool struct {
	Maximum              bool
	N, C, H, W           int
	R, S                 int // window
	Ho, Wo               int
	StrideY, StrideX     int
	DilationY, DilationX int
	Pad                  Padding
	ExcludePadding       bool
}

// QuotientRoundings are those of a quotient that is off by 2.5 units in the last
// place at most, which is what Vulkan allows.
const QuotientRoundings = 5

// Max checks a maximum pooling of an input x (N×C×H×W),
//
//	y[n,c,i,j] = max x[n, c, i·sy + r·dy − top, j·sx + s·dx − left]
//
// Padding is never the maximum; a window with a NaN gives NaN. The gradient goes
// to the first of equal maxima, rows first, and of several NaN to the last.
// Errors match [ErrParams] or [ErrShape].
//
// Source: torch.nn.MaxPool2d, which allows padding of up to half the window only
// and the same on opposite sides.
func (p PoolParams) Max(x Shape) (Pool, error) {
	if p.ExcludePadding {
		return Pool{}, refuse(ErrParams, "padding is excluded, but a maximum never counts it")
	}
	q, err := p.pool(x)
	q.Maximum = true
	return q, err
}

// Average checks a mean pooling of an input x (N×C×H×W): the sum over each window
// divided by the pixels in it, those of the padding included (but not what Ceil
// adds behind it) unless they are excluded. Errors match [ErrParams] or [ErrShape].
//
// Source: torch.nn.AvgPool2d.
func (p PoolParams) Average(x Shape) (Pool, error) {
	if p.Dilation != [2]int{} && p.Dilation != [2]int{1, 1} {
		return Pool{}, refuse(ErrParams, "dilation is %d×%d, a mean pooling has none", p.Dilation[0], p.Dilation[1])
	}
	return p.pool(x)
}

func (p PoolParams) pool(x Shape) (Pool, error) {
	if p.Stride == [2]int{} {
		p.Stride = p.Kernel
	}
	if p.Kernel[0] < 1 || p.Kernel[1] < 1 || p.Kernel[0] > MaxExtent || p.Kernel[1] > MaxExtent {
		return Pool{}, refuse(ErrParams, "kernel is %d×%d, rows and columns must be between 1 and %d", p.Kernel[0], p.Kernel[1], MaxExtent)
	}
	slide := Params{Stride: p.Stride, Padding: p.Padding, Dilation: p.Dilation}
	if err := slide.Validate(); err != nil {
		return Pool{}, err
	}
	slide = slide.withDefaults()
	if err := x.Check("input"); err != nil {
		return Pool{}, err
	}
	if x[1] < 1 || x[2] < 1 || x[3] < 1 {
		return Pool{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	q := Pool{N: x[0], C: x[1], H: x[2], W: x[3], R: p.Kernel[0], S: p.Kernel[1], StrideY: slide.Stride[0], StrideX: slide.Stride[1],
		DilationY: slide.Dilation[0], DilationX: slide.Dilation[1], Pad: p.Padding, ExcludePadding: p.ExcludePadding}
	reachY, reachX := Reach(q.R, q.DilationY), Reach(q.S, q.DilationX)
	for _, side := range []struct {
		name       string
		pad, reach int
	}{{"top", q.Pad.Top, reachY}, {"bottom", q.Pad.Bottom, reachY}, {"left", q.Pad.Left, reachX}, {"right", q.Pad.Right, reachX}} {
		if side.pad >= side.reach {
			return Pool{}, refuse(ErrParams, "padding %s is %d, must be less than the window's reach of %d", side.name, side.pad, side.reach)
		}
	}
	q.Ho = pooledSize(q.H, q.Pad.Top, q.Pad.Bottom, q.R, q.StrideY, q.DilationY, p.Ceil)
	q.Wo = pooledSize(q.W, q.Pad.Left, q.Pad.Right, q.S, q.StrideX, q.DilationX, p.Ceil)
	if q.Ho < 1 || q.Wo < 1 {
		return Pool{}, refuse(ErrShape, "window of %d×%d pixels is larger than the padded image of %d×%d", reachY, reachX,
			q.H+q.Pad.Top+q.Pad.Bottom, q.W+q.Pad.Left+q.Pad.Right)
	}
	return q, q.Output().Check("output")
}

// pooledSize is [OutputSize], with ceil rounded up but for windows that would
// start in the padding behind.
func pooledSize(in, before, behind, kernel, stride, dilation int, ceil bool) int {
	n := OutputSize(in, before, behind, kernel, stride, dilation)
	if !ceil {
		return n
	}
	room := in + before + behind - Reach(kernel, dilation)
	if room < 0 {
		// PyTorch rounds the quotient up to 0 where the window overhangs by less
		// than a stride.
		if room+stride-1 < 0 {
			return 0
		}
		return 1
	}
	n = (room+stride-1)/stride + 1
	if (n-1)*stride >= in+before {
		n--
	}
	return n
}

// Input returns the input's shape, N×C×H×W.
func (q Pool) Input() Shape { return Shape{q.N, q.C, q.H, q.W} }

// Output returns the output's shape, N×C×Ho×Wo.
func (q Pool) Output() Shape { return Shape{q.N, q.C, q.Ho, q.Wo} }

// Divisor returns what the mean of the output in row i and column j divides by.
func (q Pool) Divisor(i, j int) int {
	return q.counted(i*q.StrideY-q.Pad.Top, q.R, q.H, q.Pad.Bottom) * q.counted(j*q.StrideX-q.Pad.Left, q.S, q.W, q.Pad.Right)
}

// counted is how many pixels of a window along one axis count.
func (q Pool) counted(first, kernel, n, behind int) int {
	end := min(first+kernel, n+behind)
	if q.ExcludePadding {
		first, end = max(first, 0), min(end, n)
	}
	return end - first
}
