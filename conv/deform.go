package conv

import "fmt"

// Border says what a deformable convolution samples at the image's edge.
type Border uint8

const (
	// BorderFade is torchvision's: each of the four neighbours of a position counts
	// only if it lies inside, so that samples fade to 0 over the pixel outside the
	// image; they are 0 where y ≤ −1, y ≥ H, x ≤ −1 or x ≥ W.
	BorderFade Border = iota
	// BorderCut is that of Dai et al.'s original code and of OpenVINO's
	// bilinear_interpolation_pad=false: samples are 0 outside [0, H) × [0, W), and
	// positions beyond the last row or column take its value.
	BorderCut
)

func (b Border) String() string {
	switch b {
	case BorderFade:
		return "fade"
	case BorderCut:
		return "cut"
	}
	return fmt.Sprintf("Border(%d)", uint8(b))
}

// DeformProblem is [Params.Problem] for a deformable convolution.
//
// Source: torchvision.ops.deform_conv2d; v1 is Dai et al. 2017, v2 with the
// mask Zhu et al. 2018. A sample lies between four pixels and each counts only
// where it is inside the image, so padding is always with zeros: another
// padding mode is refused with [ErrUnsupported].
func (p Params) DeformProblem(d Deform, x, weight Shape, bias bool) (Problem, error) {
	q, err := p.Problem(x, weight, bias)
	if err != nil {
		return Problem{}, err
	}
	if q.Mode != Zeros {
		return Problem{}, refuse(ErrUnsupported, "padding mode is %v, a deformable convolution pads with zeros only", q.Mode)
	}
	if d.OffsetGroups < 0 {
		return Problem{}, refuse(ErrParams, "offset groups are %d, must be at least 1", d.OffsetGroups)
	}
	if d.Border > BorderCut {
		return Problem{}, refuse(ErrParams, "border is %d, must be BorderFade or BorderCut", d.Border)
	}
	q.OffsetGroups, q.Mask, q.Border = max(d.OffsetGroups, 1), d.Mask, d.Border
	if q.C%q.OffsetGroups != 0 {
		return Problem{}, refuse(ErrShape, "input has %d channels, not divisible by %d offset groups", q.C, q.OffsetGroups)
	}
	if err := q.Offset().Check("offset"); err != nil {
		return Problem{}, err
	}
	return q, nil
}

// CheckOffset reports whether an offset tensor, and with q.Mask a mask, have
// the shapes that the problem reads: offset N×(2·OffsetGroups·R·S)×Ho×Wo, pairs
// (Δy, Δx) in pixels of the input (of offset group g and tap k, channel
// 2(g·R·S+k) is Δy and the next Δx); mask N×(OffsetGroups·R·S)×Ho×Wo. The error
// matches [ErrShape].
func (q Problem) CheckOffset(offset, mask Shape) error {
	if want := q.Offset(); offset != want {
		return refuse(ErrShape, "offset is %v, must be %v (images, 2 × %d offset groups × %d taps, output rows, output columns)",
			offset, want, q.OffsetGroups, q.Taps())
	}
	if want := q.MaskShape(); q.Mask && mask != want {
		return refuse(ErrShape, "mask is %v, must be %v (images, %d offset groups × %d taps, output rows, output columns)",
			mask, want, q.OffsetGroups, q.Taps())
	}
	return nil
}

// OffsetGroupsOf infers the number of offset groups from the channels of an
// offset tensor and the number of kernel points, as torchvision does.
func OffsetGroupsOf(offset Shape, taps int) (int, error) {
	if taps < 1 || offset[1] < 2*taps || offset[1]%(2*taps) != 0 {
		return 0, refuse(ErrShape, "offset has %d channels, must be a multiple of %d (2 × %d taps)", offset[1], 2*taps, taps)
	}
	return offset[1] / (2 * taps), nil
}

// Deformable reports whether the problem is a deformable convolution.
func (q Problem) Deformable() bool { return q.OffsetGroups > 0 }

// Offset returns the offset tensor's shape, N×(2·OffsetGroups·R·S)×Ho×Wo.
func (q Problem) Offset() Shape {
	return Shape{q.N, 2 * q.OffsetGroups * q.Taps(), q.Ho, q.Wo}
}

// MaskShape returns the mask tensor's shape, N×(OffsetGroups·R·S)×Ho×Wo.
func (q Problem) MaskShape() Shape {
	return Shape{q.N, q.OffsetGroups * q.Taps(), q.Ho, q.Wo}
}
