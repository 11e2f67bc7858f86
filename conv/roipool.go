package conv

import "math"

// RoIPoolParams says how deformable RoI pooling reads regions of interest.
//
// Source: Dai et al. 2017, section 2.2, in the form of mmcv's deform_roi_pool;
// the mask Zhu et al. 2018, section 4.2, mmcv's ModulatedDeformRoIPoolPack.
type RoIPoolParams struct {
	Bins          [2]int  // rows, columns of bins that each region is cut into
	SpatialScale  float32 // pixels of the input for one unit of a region's coordinates; 0 means 1
	SamplingRatio int     // samples along each axis of a bin; 0 means as many as it has pixels
	Gamma         float32 // factor on the offsets, which are in extents of the region; 0 means 0.1
	Offset        bool    // bins are displaced
	Mask          bool    // bins are multiplied by a value of their own
}

// PSRoIPoolParams says how deformable position-sensitive RoI pooling reads
// regions of interest: each bin pools a channel of its own.
//
// Source: Dai et al. 2017, section 2.2, in the form of the authors'
// DeformablePSROIPooling operator; the mask Zhu et al. 2018, section 4.2.
type PSRoIPoolParams struct {
	OutputChannels int     // channels of the output
	GroupSize      int     // the score maps' k: the input has OutputChannels·k² channels; 0 means PooledSize
	PooledSize     int     // rows and columns of bins
	PartSize       int     // rows and columns of the offset tensor; 0 means PooledSize
	SamplePerPart  int     // samples along each axis of a bin; 0 means 4
	SpatialScale   float32 // pixels of the input for one unit of a region's coordinates; 0 means 1
	TransStd       float32 // factor on the offsets, which are in extents of the region; 0 means 0.1
	Classes        int     // groups of output channels with offsets of their own; 0 means 1
	Offset         bool    // bins are displaced; the operator's no_trans = false
	Mask           bool    // bins are multiplied by a value of their own
}

// RoIPool is a deformable RoI pooling with every number known. Make one by
// [RoIPoolParams.Problem] or [PSRoIPoolParams.Problem].
type RoIPool struct {
	N, C, H, W          int // input N×C×H×W
	RoIs                int // regions
	K, Ho, Wo           int // output RoIs×K×Ho×Wo
	PositionSensitive   bool
	Group               int // bins share a channel of the Group×Group maps; 1 without PositionSensitive
	Classes             int
	PartY, PartX        int // rows and columns of offset and mask
	Samples             int // along each axis of a bin; 0 as many as pixels
	SpatialScale, Gamma float32
	Offset, Mask        bool
}

// Problem checks a deformable RoI pooling of rois regions of an input x,
// N×C×H×W. Errors match [ErrParams] or [ErrShape].
func (p RoIPoolParams) Problem(x Shape, rois int) (RoIPool, error) {
	q := RoIPool{RoIs: rois, K: x[1], Ho: p.Bins[0], Wo: p.Bins[1], Group: 1, Classes: 1, PartY: p.Bins[0], PartX: p.Bins[1],
		Samples: p.SamplingRatio, SpatialScale: p.SpatialScale, Gamma: p.Gamma, Offset: p.Offset, Mask: p.Mask}
	for _, v := range []bound{{"bins (rows)", p.Bins[0], 1, 4095}, {"bins (columns)", p.Bins[1], 1, 4095}, {"sampling ratio", p.SamplingRatio, 0, 4095}} {
		if err := v.check(); err != nil {
			return RoIPool{}, err
		}
	}
	return q.complete(x)
}

// Problem checks a deformable position-sensitive RoI pooling of rois regions of
// an input x, N×(OutputChannels·GroupSize²)×H×W. Errors match [ErrParams] or
// [ErrShape].
func (p PSRoIPoolParams) Problem(x Shape, rois int) (RoIPool, error) {
	zero := func(v *int, means int) {
		if *v == 0 {
			*v = means
		}
	}
	zero(&p.GroupSize, p.PooledSize)
	zero(&p.PartSize, p.PooledSize)
	zero(&p.SamplePerPart, 4)
	zero(&p.Classes, 1)
	for _, v := range []bound{{"output channels", p.OutputChannels, 1, MaxExtent}, {"group size", p.GroupSize, 1, 4095}, {"pooled size", p.PooledSize, 1, 4095},
		{"part size", p.PartSize, 1, 4095}, {"samples per part", p.SamplePerPart, 1, 4095}, {"classes", p.Classes, 1, MaxExtent}} {
		if err := v.check(); err != nil {
			return RoIPool{}, err
		}
	}
	if p.OutputChannels%p.Classes != 0 {
		return RoIPool{}, refuse(ErrParams, "output channels are %d, not divisible by %d classes", p.OutputChannels, p.Classes)
	}
	if want := p.OutputChannels * p.GroupSize * p.GroupSize; x[1] != want {
		return RoIPool{}, refuse(ErrShape, "input is %v, must have %d channels (%d output channels × group size %d²)", x, want, p.OutputChannels, p.GroupSize)
	}
	q := RoIPool{RoIs: rois, K: p.OutputChannels, Ho: p.PooledSize, Wo: p.PooledSize, PositionSensitive: true, Group: p.GroupSize,
		Classes: p.Classes, PartY: p.PartSize, PartX: p.PartSize, Samples: p.SamplePerPart,
		SpatialScale: p.SpatialScale, Gamma: p.TransStd, Offset: p.Offset, Mask: p.Mask}
	return q.complete(x)
}

// bound is a number with the name of its parameter and what it may be.
type bound struct {
	name     string
	got      int
	min, max int
}

func (b bound) check() error {
	if b.got < b.min || b.got > b.max {
		return refuse(ErrParams, "%s is %d, must be between %d and %d", b.name, b.got, b.min, b.max)
	}
	return nil
}

// complete is what both problems check alike.
func (q RoIPool) complete(x Shape) (RoIPool, error) {
	if err := x.Check("input"); err != nil {
		return RoIPool{}, err
	}
	q.N, q.C, q.H, q.W = x[0], x[1], x[2], x[3]
	if q.C < 1 || q.H < 1 || q.W < 1 {
		return RoIPool{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	// Positions are float32 numbers, as in the published code: beyond 2²³ they are whole.
	if q.H > 1<<23 || q.W > 1<<23 {
		return RoIPool{}, refuse(ErrUnsupported, "input is %v, RoI pooling takes at most 2^23 rows and columns", x)
	}
	if q.RoIs < 0 || q.RoIs > MaxExtent {
		return RoIPool{}, refuse(ErrShape, "there are %d regions, must be between 0 and %d", q.RoIs, MaxExtent)
	}
	if q.SpatialScale == 0 {
		q.SpatialScale = 1
	}
	if q.Gamma == 0 {
		q.Gamma = 0.1
	}
	for _, v := range []float32{q.SpatialScale, q.Gamma} {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return RoIPool{}, refuse(ErrParams, "spatial scale is %v and the offsets' factor %v, both must be finite", q.SpatialScale, q.Gamma)
		}
	}
	if err := q.Output().Check("output"); err != nil {
		return RoIPool{}, err
	}
	return q, q.OffsetShape().Check("offset")
}

// Input returns the input's shape, N×C×H×W.
func (q RoIPool) Input() Shape { return Shape{q.N, q.C, q.H, q.W} }

// RoIShape returns the shape of the regions' tensor, RoIs×5×1×1: image, x1, y1, x2, y2.
func (q RoIPool) RoIShape() Shape { return Shape{q.RoIs, 5, 1, 1} }

// OffsetShape returns the offset tensor's shape, RoIs×(2·Classes)×PartY×PartX:
// of each class a channel of Δx, then one of Δy, in extents of the region.
func (q RoIPool) OffsetShape() Shape { return Shape{q.RoIs, 2 * q.Classes, q.PartY, q.PartX} }

// MaskShape returns the mask tensor's shape, RoIs×Classes×PartY×PartX.
func (q RoIPool) MaskShape() Shape { return Shape{q.RoIs, q.Classes, q.PartY, q.PartX} }

// Output returns the output's shape, RoIs×K×Ho×Wo.
func (q RoIPool) Output() Shape { return Shape{q.RoIs, q.K, q.Ho, q.Wo} }

// Channel returns the input channel that bin (by, bx) of output channel k pools.
func (q RoIPool) Channel(k, by, bx int) int {
	return (k*q.Group+by*q.Group/q.Ho)*q.Group + bx*q.Group/q.Wo
}

// Part returns where in offset and mask bin (by, bx) of output channel k reads:
// its class, row and column. The published code works these out in float32, in
// which three sizes below 32 (22, 23, 29) come out one lower at one bin or two.
func (q RoIPool) Part(k, by, bx int) (class, py, px int) {
	return k / (q.K / q.Classes), by * q.PartY / q.Ho, bx * q.PartX / q.Wo
}

// MaxSamples bounds the samples along an axis of a bin where their number
// follows the region's size: a bin of a region inside the image never has as
// many. The published code has no bound and would not come back from a region
// of 10³⁰ pixels.
func (q RoIPool) MaxSamples() int { return min(max(q.H, q.W)+1, 4095) }

// RoIPoolRoundings: those of a sample; the division by the count (2.5 units in
// the last place, 5 roundings), times mask, times gradient, times the extent and
// the factor of the offsets.
const RoIPoolRoundings = SampleRoundings + 9
