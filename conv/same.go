package conv

// SamePadding returns the padding before and after one axis with which the
// output has ⌈in/stride⌉ pixels: PyTorch's padding="same" (stride 1) and ONNX's
// SAME_UPPER. Of an odd total the extra pixel goes after the image, or with
// lower before it, as ONNX's SAME_LOWER has it.
func SamePadding(in, kernel, stride, dilation int, lower bool) (before, after int) {
	out := (in + stride - 1) / stride
	total := max((out-1)*stride+Reach(kernel, dilation)-in, 0)
	before, after = total/2, total-total/2
	if lower {
		before, after = after, before
	}
	return before, after
}

// WithSamePadding returns p with the padding that makes an input of shape x
// under a kernel of rows × columns ⌈extent/stride⌉ pixels large, see [SamePadding].
func (p Params) WithSamePadding(x Shape, rows, columns int, lower bool) Params {
	q := p.withDefaults()
	p.Padding.Top, p.Padding.Bottom = SamePadding(x[2], rows, q.Stride[0], q.Dilation[0], lower)
	p.Padding.Left, p.Padding.Right = SamePadding(x[3], columns, q.Stride[1], q.Dilation[1], lower)
	return p
}
