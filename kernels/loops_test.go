//go:build cgo

package kernels

import (
	"errors"
	"testing"

	"vkconv/conv"
	"vkconv/gpu"
)

// A driver that ends loops early would lose the rest of a sum. On llvmpipe the
// ones below came out wrong by half of their size and more, forward ones within
// their bound, which is that wide for so many terms.
func TestLoopsBeyondTheDriver(t *testing.T) {
	cut := big
	cut.Software, cut.Subgroup, cut.Loops = true, 8, llvmpipeLoops
	for _, c := range []struct {
		name    string
		x, w    conv.Shape
		padding int
		large   bool
	}{
		{"usual", conv.Shape{1, 512, 7, 7}, conv.Shape{512, 512, 3, 3}, 1, false},
		{"large, but not too large", conv.Shape{1, 4096, 7, 7}, conv.Shape{40, 4096, 5, 5}, 2, false},
		{"channels", conv.Shape{1, 8192, 7, 7}, conv.Shape{1, 8192, 7, 7}, 3, true},
		{"taps", conv.Shape{1, 1, 20, 20}, conv.Shape{1, 1, 301, 301}, 150, true},
	} {
		p := problem(t, conv.Params{Padding: conv.Pad(c.padding)}, c.x, c.w)
		if _, err := choose(p, cut); errors.Is(err, gpu.ErrTooLarge) != c.large {
			t.Errorf("%s: error is %v", c.name, err)
		}
		if _, err := choose(p, big); err != nil {
			t.Errorf("%s, on another device: %v", c.name, err)
		}
	}
	deformable := conv.Params{Padding: conv.Pad(2)}
	for channels, large := range map[int]bool{1024: false, 3000: true} {
		p, err := deformable.DeformProblem(conv.Deform{OffsetGroups: 1, Mask: true}, conv.Shape{1, channels, 5, 5}, conv.Shape{2, channels, 5, 5}, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := choose(p, cut); errors.Is(err, gpu.ErrTooLarge) != large {
			t.Errorf("deformable, %d channels: error is %v", channels, err)
		}
	}
}

func TestGradientLoopsBeyondTheDriver(t *testing.T) {
	cut := big
	cut.Loops = llvmpipeLoops
	for _, c := range []struct {
		name    string
		outputs int
		kernel  int
		stride  int
		mode    conv.PaddingMode
		padding conv.Padding
		large   bool
	}{
		{"usual", 512, 3, 1, conv.Replicate, conv.Pad(1), false},
		{"reflect", 512, 3, 1, conv.Reflect, conv.Pad(1), false},
		{"much padding", 2, 3, 1, conv.Replicate, conv.Pad(20), false},
		{"too much padding", 2, 3, 1, conv.Replicate, conv.Padding{Top: 50, Left: 40, Bottom: 3, Right: 2}, true},
		{"padding and channels", 64, 3, 1, conv.Replicate, conv.Pad(9), true},
		{"beyond counting", 1, 3, 1, conv.Replicate, conv.Pad(1 << 20), true},
		{"strided", 2048, 5, 2, conv.Zeros, conv.Pad(1), false},
		{"strided channels", 5000, 7, 2, conv.Zeros, conv.Pad(3), true},
	} {
		p := problem(t, conv.Params{Mode: c.mode, Padding: c.padding, Stride: [2]int{c.stride, c.stride}},
			conv.Shape{1, 2, 8, 8}, conv.Shape{c.outputs, 2, c.kernel, c.kernel})
		if err := checkLoops(cut, inputLoops(p)); errors.Is(err, gpu.ErrTooLarge) != c.large {
			t.Errorf("%s: error is %v", c.name, err)
		}
	}
}

// What adds up over pixels is cut into as many parts as it takes.
func TestSplitWithinTheLoops(t *testing.T) {
	cut := big
	cut.Software, cut.Loops = true, llvmpipeLoops
	for _, c := range [][3]int{{8 * 112, 36, 114}, {1 << 20, 1, 3}, {1, 1, 60000}, {0, 1, 9}} {
		parts, share := split(cut, c[0], c[1], 64*576, c[2])
		if share*c[2] > llvmpipeLoops || parts*share < c[0] {
			t.Errorf("%d items of %d rounds are cut into %d parts of %d", c[0], c[2], parts, share)
		}
	}
}
