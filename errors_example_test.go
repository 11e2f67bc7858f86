package vkconv_test

import (
	"errors"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

// Errors say which argument was wrong, and errors.Is tells their kinds apart:
// conv.ErrParams, conv.ErrShape and conv.ErrUnsupported for arguments,
// vkconv.ErrClosed for what was closed, and those of package gpu for devices.
func Example_errors() {
	e := device()
	x, w := conv.Shape{1, 3, 8, 8}, conv.Shape{4, 3, 3, 3}
	_, err := e.NewConv2D(x, make([]float32, w.Len()), nil, w, conv.Params{Stride: [2]int{0, 1}})
	fmt.Println(errors.Is(err, conv.ErrParams), err)
	_, err = e.NewConv2D(x, make([]float32, w.Len()), nil, w, conv.Params{Dilation: [2]int{4, 4}})
	fmt.Println(errors.Is(err, conv.ErrShape), err)
	_ = e.Close()
	_, err = e.NewTensor(x)
	fmt.Println(errors.Is(err, vkconv.ErrClosed))
	// Output:
	// true stride (rows) is 0, must be at least 1
	// true kernel 3×3 at dilation 4×4 reaches over 9×9 pixels, more than the padded image of 8×8
	// true
}
