// Package conv holds the words of 2-D convolution: parameters, shapes, output
// sizes, cost, receptive field, and the bound within which a float32 result is
// right. It computes no convolution and imports nothing of ours; every other
// room speaks in its terms.
//
// The operators are PyTorch's Conv2d and torchvision's deform_conv2d:
// cross-correlation (the kernel is not flipped), tensors in NCHW order.
//
// A [Params] says how to slide the kernel and its zero value means what people
// expect: stride 1, no padding, dilation 1, one group. Together with the shapes
// of an input and a weight it makes a [Problem], in which every number is known
// and checked, and which all implementations take.
package conv
