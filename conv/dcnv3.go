package conv

import "math"

// DCNParams says how DCNv3 and DCNv4 sample. In its zero value the kernel is
// 3×3, stride, dilation, groups and the offsets' scale are 1, nothing is padded.
//
// Source: DCNv3 Wang et al. 2022 (InternImage), DCNv4 Xiong et al. 2024. What
// the published layers put around the operator (projections, the depthwise
// convolution that predicts offsets, the center feature scale) is not in it.
type DCNParams struct {
	Kernel       [2]int  // rows, columns of sampling points; {0, 0} means {3, 3}
	Stride       [2]int  // rows, columns between neighbouring outputs; {0, 0} means {1, 1}
	Dilation     [2]int  // rows, columns between neighbouring points; {0, 0} means {1, 1}
	Padding      Padding // with zeros, in pixels of the input
	Groups       int     // groups of channels with offsets and masks of their own; 0 means 1
	OffsetScale  float32 // factor on the points' distances and on the offsets; 0 means 1
	RemoveCenter bool    // leave out the middle point; needs a square kernel of odd size
	// Softmax says that masks come raw and the operator takes the softmax over the
	// points of each group and output pixel. Without it they are used as they are:
	// the published DCNv3 layer takes the softmax before the operator, DCNv4 none.
	Softmax bool
}

// DCN is a DCNv3 or DCNv4 operator with every number known. Make one by
// [DCNParams.V3] or [DCNParams.V4].
//
// Point t of an output pixel (oy, ox) samples at
//
//	(oy·strideY − top + cy, ox·strideX − left + cx) + scale·(r·dilationY − cy + Δy, s·dilationX − cx + Δx)
//
// with cy = ⌊dilationY·(R−1)/2⌋, cx likewise: the scale stretches the kernel
// about its middle. [DCN.Point] tells a point's row r and column s.
type DCN struct {
	N, C, H, W           int // input N×C×H×W, output N×C×Ho×Wo
	R, S                 int // points in a column, in a row
	Ho, Wo               int
	StrideY, StrideX     int
	DilationY, DilationX int
	Pad                  Padding
	Groups               int
	Scale                float32
	RemoveCenter         bool
	Softmax              bool
	Packed               bool // DCNv4: offsets and masks in one tensor
}

// V3 checks a DCNv3 of an input x, N×C×H×W, and works out the output's size, as
// for a convolution. Errors match [ErrParams], [ErrShape] or [ErrUnsupported].
//
// Tensors are NCHW. The published operator is NHWC; its tensors permuted by
// (0, 3, 1, 2) are these, channel for channel: offset N×(Groups·P·2)×Ho×Wo,
// mask N×(Groups·P)×Ho×Wo with P points a group, see [DCN.OffsetChannel].
func (p DCNParams) V3(x Shape) (DCN, error) {
	kernel, scale := p.Kernel, p.OffsetScale
	if kernel == [2]int{} {
		kernel = [2]int{3, 3}
	}
	if scale == 0 {
		scale = 1
	}
	if scale := float64(scale); math.IsNaN(scale) || math.IsInf(scale, 0) {
		return DCN{}, refuse(ErrParams, "offset scale is %v, must be finite", p.OffsetScale)
	}
	if p.RemoveCenter && (kernel[0] != kernel[1] || kernel[0]%2 == 0 || kernel[0] < 3) {
		return DCN{}, refuse(ErrParams, "kernel is %d×%d, must be square and of odd size 3 or more to remove the center", kernel[0], kernel[1])
	}
	if g := max(p.Groups, 1); x[1]%g != 0 {
		return DCN{}, refuse(ErrShape, "input has %d channels, not divisible by %d groups", x[1], g)
	}
	as := Params{Stride: p.Stride, Padding: p.Padding, Dilation: p.Dilation, Groups: p.Groups}
	q, err := as.Problem(x, Shape{x[1], x[1] / max(p.Groups, 1), kernel[0], kernel[1]}, false)
	if err != nil {
		return DCN{}, err
	}
	d := DCN{N: q.N, C: q.C, H: q.H, W: q.W, R: q.R, S: q.S, Ho: q.Ho, Wo: q.Wo,
		StrideY: q.StrideY, StrideX: q.StrideX, DilationY: q.DilationY, DilationX: q.DilationX, Pad: q.Pad,
		Groups: q.Groups, Scale: scale, RemoveCenter: p.RemoveCenter, Softmax: p.Softmax}
	// (k + Δ)·scale is a float32 product, in which k must be exact.
	if reach := max(Reach(d.R, d.DilationY), Reach(d.S, d.DilationX)); d.Scale != 1 && reach > 1<<24 {
		return DCN{}, refuse(ErrUnsupported, "the kernel reaches over %d pixels, with an offset scale other than 1 it may reach over %d", reach, 1<<24)
	}
	if err := d.Offset().Check("offset"); err != nil {
		return DCN{}, err
	}
	return d, nil
}

// Input returns the input's shape, N×C×H×W.
func (d DCN) Input() Shape { return Shape{d.N, d.C, d.H, d.W} }

// Output returns the output's shape, N×C×Ho×Wo.
func (d DCN) Output() Shape { return Shape{d.N, d.C, d.Ho, d.Wo} }

// Points returns how many points a group samples for each output pixel.
func (d DCN) Points() int {
	if d.RemoveCenter {
		return d.R*d.S - 1
	}
	return d.R * d.S
}

// Point returns the row and column in the kernel of the t-th point. Points run
// x-major: down the first column, then down the next.
func (d DCN) Point(t int) (r, s int) {
	if d.RemoveCenter && t >= d.R*d.S/2 {
		t++
	}
	return t % d.R, t / d.R
}

// Offset returns the shape of the offset tensor, N×(Groups·P·2)×Ho×Wo; of the
// packed tensor where there is one.
func (d DCN) Offset() Shape {
	if d.Packed {
		return Shape{d.N, (3*d.Groups*d.Points() + 7) / 8 * 8, d.Ho, d.Wo}
	}
	return Shape{d.N, 2 * d.Groups * d.Points(), d.Ho, d.Wo}
}

// MaskShape returns the shape of the mask tensor, N×(Groups·P)×Ho×Wo; the zero
// Shape where masks are packed with the offsets.
func (d DCN) MaskShape() Shape {
	if d.Packed {
		return Shape{}
	}
	return Shape{d.N, d.Groups * d.Points(), d.Ho, d.Wo}
}

// OffsetChannel returns the channel that holds Δx of point t of a group, in
// pixels before the scale. Δy is in the next one: the order is (x, y), other
// than in [Deform].
func (d DCN) OffsetChannel(group, t int) int {
	if d.Packed {
		return 3*group*d.Points() + 2*t
	}
	return 2 * (group*d.Points() + t)
}

// MaskChannel returns the channel that holds the mask of point t of a group, in
// the mask tensor or in the packed one.
func (d DCN) MaskChannel(group, t int) int {
	if d.Packed {
		return (3*group+2)*d.Points() + t
	}
	return group*d.Points() + t
}

// Base returns the whole pixel from which point (r, s) of an output pixel is
// displaced, and the point's own distance from it, which the scale multiplies
// together with the offset.
func (d DCN) Base(oy, ox, r, s int) (y, x, ky, kx int) {
	cy, cx := d.DilationY*(d.R-1)/2, d.DilationX*(d.S-1)/2
	return oy*d.StrideY - d.Pad.Top + cy, ox*d.StrideX - d.Pad.Left + cx, r*d.DilationY - cy, s*d.DilationX - cx
}

// Cost returns what the operator costs: a multiply-add by the mask and four of
// sampling for every channel and point. It has no learned numbers of its own.
func (d DCN) Cost() Cost {
	samples := int64(d.C) * int64(d.Points()) * int64(d.N) * int64(d.Ho) * int64(d.Wo)
	words := int64(d.Input().Len()) + int64(d.Output().Len()) + int64(d.Offset().Len()) + int64(d.MaskShape().Len())
	return Cost{MACs: samples, SampleMACs: 4 * samples, Bytes: 4 * words}
}

// Roundings of DCNv3 and DCNv4, for [Sum.Bound].
const (
	// DCNRoundings: those of a sample, of which a product with a weight falls away
	// and one with the mask's gradient may come; times scale; and the softmax's
	// last product and difference.
	DCNRoundings = SampleRoundings + 4
)

// SoftmaxError returns, in units of u, the relative error that a float32
// softmax over raw values may have at each of its elements:
//
//	m_j = e_j / Σ e_i,  e_i = exp(z_i − max z)
//
// The difference a_i = z_i − max z is rounded, which exp turns into a relative
// u·|a_i|; exp itself is allowed 3 + 2|a_i| units in the last place of 2u (the
// Vulkan specification's precision of exp), together (6 + 5|a_i|)·u for e_i. The
// sum of P positive terms has their errors' weighted mean and P − 1 roundings;
// the quotient 2.5 units in the last place, 5u. One more covers the products of
// these errors.
func SoftmaxError(raw, softmax []float64) []float64 {
	top := math.Inf(-1)
	for _, z := range raw {
		top = max(top, z)
	}
	own := func(j int) float64 {
		if softmax[j] == 0 {
			return 0
		}
		return 6 + 5*(top-raw[j])
	}
	sum := 0.0
	for j, m := range softmax {
		sum += m * own(j)
	}
	e := make([]float64, len(raw))
	for j := range e {
		e[j] = 1.01 * (own(j) + sum + float64(len(raw)) + 5)
	}
	return e
}
