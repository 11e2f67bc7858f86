package conv

import "fmt"

// Padding counts the rows and columns added around an image.
type Padding struct{ Top, Left, Bottom, Right int }

// Pad pads all four sides by n.
func Pad(n int) Padding { return Padding{n, n, n, n} }

// PaddingMode says what the added rows and columns hold.
type PaddingMode uint8

const (
	Zeros     PaddingMode = iota // zeros
	Reflect                      // the image mirrored about its edge pixel, the edge not repeated
	Replicate                    // the edge pixel again and again
	Circular                     // the image from its other side
)

var paddingModeNames = [...]string{"zeros", "reflect", "replicate", "circular"}

// String returns PyTorch's name of the mode.
func (m PaddingMode) String() string {
	if int(m) < len(paddingModeNames) {
		return paddingModeNames[m]
	}
	return fmt.Sprintf("PaddingMode(%d)", uint8(m))
}

// ParsePaddingMode is the inverse of [PaddingMode.String]; the empty string means zeros.
func ParsePaddingMode(s string) (PaddingMode, error) {
	if s == "" {
		return Zeros, nil
	}
	for i, name := range paddingModeNames {
		if s == name {
			return PaddingMode(i), nil
		}
	}
	return 0, refuse(ErrParams, "padding mode is %q, must be one of zeros, reflect, replicate, circular", s)
}

// Params says how a kernel slides over an image. In its zero value stride and
// dilation are 1, nothing is padded and there is one group.
type Params struct {
	Stride   [2]int  // rows, columns between neighbouring outputs; {0, 0} means {1, 1}
	Padding  Padding // rows and columns added, in pixels of the input
	Dilation [2]int  // rows, columns between neighbouring taps; {0, 0} means {1, 1}
	Groups   int     // groups of channels that do not see each other; 0 means 1
	Mode     PaddingMode
	// Activation is applied to the output behind the bias, at no cost in memory
	// traffic. Gradients are not taken through it.
	Activation Activation
}

// Deform says how a deformable convolution reads its offsets
// (v1: Dai et al. 2017; with Mask v2: Zhu et al. 2018).
type Deform struct {
	// OffsetGroups is the number of channel groups that have offsets of their
	// own, independent of Params.Groups; 0 means 1. Input channel c follows
	// offset group c/(C/OffsetGroups).
	OffsetGroups int
	// Mask says that every sample is multiplied by a value of its own.
	Mask bool
	// Border says what is sampled at the image's edge; the zero value is torchvision's.
	Border Border
}

// withDefaults replaces what was left zero by what zero means.
func (p Params) withDefaults() Params {
	if p.Stride == [2]int{} {
		p.Stride = [2]int{1, 1}
	}
	if p.Dilation == [2]int{} {
		p.Dilation = [2]int{1, 1}
	}
	if p.Groups == 0 {
		p.Groups = 1
	}
	return p
}

// Validate reports the first thing wrong with the parameters by themselves,
// whatever the shapes; the error matches [ErrParams].
func (p Params) Validate() error {
	p = p.withDefaults()
	for _, v := range []struct {
		name     string
		got, min int
	}{
		{"stride (rows)", p.Stride[0], 1}, {"stride (columns)", p.Stride[1], 1},
		{"dilation (rows)", p.Dilation[0], 1}, {"dilation (columns)", p.Dilation[1], 1},
		{"padding top", p.Padding.Top, 0}, {"padding left", p.Padding.Left, 0},
		{"padding bottom", p.Padding.Bottom, 0}, {"padding right", p.Padding.Right, 0},
		{"groups", p.Groups, 1},
	} {
		if v.got < v.min {
			return refuse(ErrParams, "%s is %d, must be at least %d", v.name, v.got, v.min)
		}
		if v.got > MaxExtent {
			return refuse(ErrParams, "%s is %d, must be at most %d", v.name, v.got, MaxExtent)
		}
	}
	if int(p.Mode) >= len(paddingModeNames) {
		return refuse(ErrParams, "padding mode is %d, must be one of zeros, reflect, replicate, circular", p.Mode)
	}
	return p.Activation.Validate()
}
