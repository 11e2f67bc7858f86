package conv

import (
	"fmt"
	"math/bits"
)

// MaxExtent bounds every single extent, stride, padding and dilation, so that
// sums and products of two of them cannot overflow an int: 2³¹ − 1, and where
// an int has 32 bits 2¹⁵ − 1.
const MaxExtent = 1<<(bits.UintSize/2-1) - 1

// maxElements bounds a tensor's elements, so that their float32 bytes still
// count in an int: 2⁶¹, or 2²⁹.
const (
	maxElementBits = bits.UintSize - 3
	maxElements    = 1 << maxElementBits
)

// Shape is the extent of a tensor: images × channels × rows × columns, or for
// a weight outputs × inputs per group × kernel rows × kernel columns.
type Shape [4]int

// Len returns the number of elements; shapes that [Shape.Check] accepts do not overflow.
func (s Shape) Len() int { return s[0] * s[1] * s[2] * s[3] }

func (s Shape) String() string { return fmt.Sprintf("%d×%d×%d×%d", s[0], s[1], s[2], s[3]) }

// Check refuses negative extents, those beyond [MaxExtent], and more elements
// than an int counts the bytes of (2⁶¹ elements, or 2²⁹), naming the tensor; the error matches [ErrShape].
func (s Shape) Check(name string) error {
	n := 1
	for _, d := range s {
		if d < 0 || d > MaxExtent {
			return refuse(ErrShape, "%s is %v, every extent must be between 0 and %d", name, s, MaxExtent)
		}
		if d > 0 && n > maxElements/d {
			return refuse(ErrShape, "%s is %v, more than 2^%d elements", name, s, maxElementBits)
		}
		if d > 0 {
			n *= d
		}
	}
	return nil
}

// OutputSize returns the number of outputs along one axis,
//
//	⌊(in + padBefore + padAfter − dilation·(kernel−1) − 1) / stride⌋ + 1
//
// (PyTorch, Conv2d), or 0 where the dilated kernel is larger than the padded axis.
func OutputSize(in, padBefore, padAfter, kernel, stride, dilation int) int {
	room := in + padBefore + padAfter - Reach(kernel, dilation)
	if room < 0 {
		return 0
	}
	return room/stride + 1
}

// Reach is the extent of a dilated kernel: dilation·(kernel−1) + 1 pixels.
func Reach(kernel, dilation int) int { return dilation*(kernel-1) + 1 }

// MapPad returns the place from which a padded axis of n pixels takes its
// value at i, where i may lie outside [0, n): the padding mode in one function.
// It returns −1 where the value is a zero. Reflect needs i in (−n, 2n−1),
// Circular i in [−n, 2n), as [Params.Problem] ensures.
func MapPad(mode PaddingMode, i, n int) int {
	if 0 <= i && i < n {
		return i
	}
	switch mode {
	case Reflect: // … 2 1 | 0 1 2 … n−1 | n−2 …
		if i < 0 {
			return -i
		}
		return 2*(n-1) - i
	case Replicate:
		return min(max(i, 0), n-1)
	case Circular:
		if i < 0 {
			return i + n
		}
		return i - n
	}
	return -1
}
