package onnx

import (
	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/onnx/internal/pb"
)

func inferConvTranspose(p *planner, n *node) (*planned, error) {
	if len(p.values[n.inputs[0]].dims) == volumes {
		return inferVolume(p, n, true)
	}
	x, s, err := p.images(n)
	if err != nil {
		return nil, err
	}
	rank := len(x.dims)
	f, err := p.filter(n, rank, 2, true)
	if err != nil {
		return nil, err
	}
	params, extra, err := n.transposedWindow(s, rank, [2]int{f.shape[2], f.shape[3]})
	if err != nil {
		return nil, err
	}
	params.Activation = f.act
	t, err := params.TransposedProblem(s, f.shape, extra, f.bias != nil)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, whole: 1, outWhole: true, dims: from4(t.Output(), rank),
		make: func() (layer, error) {
			l, err := p.e.NewConvTranspose2D(s, f.weight32, f.b32, f.shape, params, extra)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.ConvTranspose2D(t, wide(in[0]), f.exact, f.bias), conv.ProductRoundings + f.roundings
		}}, nil
}

// transposedWindow reads a ConvTranspose's window and output padding. Where the output's
// size is given, ONNX works the padding out,
//
//	total = stride·(in − 1) + output_padding + dilation·(k − 1) + 1 − output_shape
//
// half of it before the image and half behind; of an odd total the larger half goes
// behind with SAME_UPPER and before the image otherwise. SAME without a size
// makes the output in·stride pixels large.
func (n *node) transposedWindow(x conv.Shape, rank int, kernel [2]int) (conv.Params, [2]int, error) {
	mode := n.text("auto_pad", "NOTSET")
	plain := *n // without what window would work out for a convolution
	plain.attrs = map[string]*pb.AttributeProto{}
	for name, a := range n.attrs {
		if name != "auto_pad" && (name != "pads" || mode == "NOTSET") {
			plain.attrs[name] = a
		}
	}
	p, err := plain.window(x, rank, kernel)
	if err != nil {
		return p, [2]int{}, err
	}
	extra, ok := spatial(n.ints("output_padding"), rank, 0)
	if !ok {
		return p, extra, misfit("%v has output_padding %v, must have one for each of %d axes", n, n.ints("output_padding"), rank-2)
	}
	want, ok := spatial(n.ints("output_shape"), rank, x[2])
	if !ok && len(n.ints("output_shape")) == rank { // all extents, as some exporters write it
		want, ok = spatial(n.ints("output_shape")[2:], rank, x[2])
	}
	if !ok {
		return p, extra, misfit("%v has output_shape %v, must have one for each of %d axes", n, n.ints("output_shape"), rank-2)
	}
	given := n.ints("output_shape") != nil
	if !given && mode != "SAME_UPPER" && mode != "SAME_LOWER" {
		return p, extra, nil
	}
	if err := p.Validate(); err != nil {
		return p, extra, n.wrap(err)
	}
	for axis := range 2 {
		if rank == 3 && axis == 0 {
			continue
		}
		if !given {
			want[axis] = x[2+axis] * p.Stride[axis]
		}
		total := p.Stride[axis]*(x[2+axis]-1) + extra[axis] + conv.Reach(kernel[axis], p.Dilation[axis]) - want[axis]
		if total < 0 { // more than the kernel reaches: pixels behind that only the bias is in
			extra[axis], total = extra[axis]-total, 0
		}
		before, behind := total-total/2, total/2
		if mode == "SAME_UPPER" {
			before, behind = behind, before
		}
		if axis == 0 {
			p.Padding.Top, p.Padding.Bottom = before, behind
		} else {
			p.Padding.Left, p.Padding.Right = before, behind
		}
	}
	return p, extra, nil
}
