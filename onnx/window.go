package onnx

import (
	"vkconv/conv"
)

// window reads strides, dilations and pads of an operator that slides a kernel over
// rows and columns of x, the input as the device holds it.
func (n *node) window(x conv.Shape, rank int, kernel [2]int) (conv.Params, error) {
	p := conv.Params{Groups: n.int("group", 1)}
	if p.Groups < 1 {
		return p, misfit("%v has group %d, must be at least 1", n, p.Groups)
	}
	var ok [2]bool
	p.Stride, ok[0] = spatial(n.ints("strides"), rank, 1)
	p.Dilation, ok[1] = spatial(n.ints("dilations"), rank, 1)
	if !ok[0] || !ok[1] {
		return p, misfit("%v has strides %v and dilations %v, must have one for each of %d axes", n, n.ints("strides"), n.ints("dilations"), rank-2)
	}
	if shape := n.ints("kernel_shape"); shape != nil {
		if k, ok := spatial(shape, rank, 1); !ok || k != kernel {
			return p, misfit("%v has kernel_shape %v, its kernel is %d×%d", n, shape, kernel[0], kernel[1])
		}
	}
	for axis := range 2 {
		if p.Stride[axis] < 1 || p.Dilation[axis] < 1 {
			return p, misfit("%v has strides %v and dilations %v, each must be at least 1", n, p.Stride, p.Dilation)
		}
	}
	switch mode := n.text("auto_pad", "NOTSET"); mode {
	case "SAME_UPPER", "SAME_LOWER":
		if err := p.Validate(); err != nil {
			return p, err
		}
		p = p.WithSamePadding(x, kernel[0], kernel[1], mode == "SAME_LOWER")
	case "NOTSET":
		pads := n.ints("pads")
		switch {
		case pads == nil:
		case rank == 3 && len(pads) == 2:
			p.Padding.Left, p.Padding.Right = pads[0], pads[1]
		case rank == 4 && len(pads) == 4:
			p.Padding = conv.Padding{Top: pads[0], Left: pads[1], Bottom: pads[2], Right: pads[3]}
		default:
			return p, misfit("%v has pads %v, must have two for each of %d axes", n, pads, rank-2)
		}
	}
	return p, nil
}

// image checks that a value is one- or two-dimensional images.
func (n *node) image(v *value) (conv.Shape, error) {
	switch len(v.dims) {
	case 3, 4:
		return shape4(v.dims), nil
	case 5:
		return conv.Shape{}, unsupported("%v works on volumes, %s; images are here", n, Extents(v.dims))
	}
	return conv.Shape{}, misfit("%v reads %q, which is %s, must be images × channels × pixels", n, v.name, Extents(v.dims))
}
