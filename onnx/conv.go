package onnx

import (
	"context"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// filter is a weight with what was folded into it, in float64, and as the layer has it.
type filter struct {
	shape         conv.Shape
	exact, bias   []float64 // bias is nil where there is none
	weight32, b32 []float32
	roundings     int // made in a term by rounding the weight once it was folded
	act           conv.Activation
	outputs       int
	transposed    bool
	groups        int
	folded        bool
}

// filter reads a node's weight and bias and folds what fuse put behind it.
func (p *planner) filter(n *node, rank int, biasAt int, transposed bool) (*filter, error) {
	c, err := p.constant(n, 1)
	if err != nil {
		return nil, err
	}
	if len(c.Shape) != rank {
		return nil, misfit("%v has a weight of shape %s, its input has %d extents", n, Extents(c.Shape), rank)
	}
	w32, err := c.float32s()
	if err != nil {
		return nil, n.in(1, err)
	}
	f := &filter{shape: shape4(c.Shape), weight32: w32, transposed: transposed, groups: n.int("group", 1)}
	if f.groups < 1 {
		return nil, misfit("%v has group %d, must be at least 1", n, f.groups)
	}
	f.outputs = f.shape[0]
	if transposed {
		f.outputs = f.shape[1] * f.groups
	}
	if n.has(biasAt) {
		b, err := p.constant(n, biasAt)
		if err != nil {
			return nil, err
		}
		if f.b32, err = b.float32s(); err != nil {
			return nil, n.in(biasAt, err)
		}
		if len(f.b32) != f.outputs || len(b.Shape) != 1 {
			return nil, misfit("%v has a bias of shape %s, must have %d elements, one an output channel", n, Extents(b.Shape), f.outputs)
		}
	}
	return f, p.fold(n, f, rank)
}

// fold multiplies what comes out by channel into the weight, in float64, and rounds once.
func (p *planner) fold(n *node, f *filter, rank int) (err error) {
	f.exact = wide(f.weight32)
	if f.b32 != nil {
		f.bias = wide(f.b32)
	}
	for _, a := range n.affine {
		scale, shift, err := p.affine(a, f.outputs, rank)
		if err != nil {
			return err
		}
		if f.bias == nil {
			f.bias = make([]float64, f.outputs)
		}
		taps := f.shape[2] * f.shape[3]
		for i := range f.exact {
			f.exact[i] *= scale[f.output(i/taps)]
		}
		for k := range f.bias {
			f.bias[k] = f.bias[k]*scale[k] + shift[k]
		}
		f.folded = true
	}
	if f.folded {
		f.weight32, f.b32, f.roundings = narrow(f.exact), narrow(f.bias), 1
	}
	f.act, err = p.activation(n.act)
	return err
}

// output is the output channel of kernel i, counting the weight's first two extents.
func (f *filter) output(i int) int {
	if !f.transposed {
		return i / f.shape[1]
	}
	c, j := i/f.shape[1], i%f.shape[1]
	return c/max(f.shape[0]/f.groups, 1)*f.shape[1] + j
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func inferConv(p *planner, n *node) (*planned, error) {
	if len(p.values[n.inputs[0]].dims) == volumes {
		return inferVolume(p, n, false)
	}
	x, s, err := p.images(n)
	if err != nil {
		return nil, err
	}
	f, err := p.filter(n, len(x.dims), 2, false)
	if err != nil {
		return nil, err
	}
	params, err := n.window(s, len(x.dims), [2]int{f.shape[2], f.shape[3]})
	if err != nil {
		return nil, err
	}
	params.Activation = f.act
	problem, err := params.Problem(s, f.shape, f.bias != nil)
	if err != nil {
		return nil, n.wrap(err)
	}
	every := cpuref.Every(problem)
	return &planned{in: []*value{x}, dims: from4(problem.Output(), len(x.dims)), every: every,
		make: func() (layer, error) {
			l, err := p.e.NewConv2D(s, f.weight32, f.b32, f.shape, params)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.Conv2DEvery(problem, wide(in[0]), f.exact, f.bias, every), conv.ProductRoundings + f.roundings
		}}, nil
}

func inferDeformConv(p *planner, n *node) (*planned, error) {
	x, err := p.device(n, 0)
	if err != nil {
		return nil, err
	}
	offset, err := p.device(n, 2)
	if err != nil {
		return nil, err
	}
	if len(x.dims) != 4 || len(offset.dims) != 4 {
		return nil, unsupported("%v works on %s with offsets %s; images × channels × rows × columns are here", n, Extents(x.dims), Extents(offset.dims))
	}
	s := shape4(x.dims)
	f, err := p.filter(n, 4, 3, false)
	if err != nil {
		return nil, err
	}
	params, err := n.window(s, 4, [2]int{f.shape[2], f.shape[3]})
	if err != nil {
		return nil, err
	}
	params.Activation = f.act
	q := &planned{in: []*value{x, offset}, whole: 1 << 1}
	d := conv.Deform{OffsetGroups: n.int("offset_group", 1), Mask: n.has(4)}
	if d.OffsetGroups < 1 {
		return nil, misfit("%v has offset_group %d, must be at least 1", n, d.OffsetGroups)
	}
	maskShape := conv.Shape{}
	if d.Mask {
		mask, err := p.device(n, 4)
		if err != nil {
			return nil, err
		}
		q.in, q.whole, maskShape = append(q.in, mask), 1<<1|1<<2, shape4(mask.dims)
	}
	problem, err := params.DeformProblem(d, s, f.shape, f.bias != nil)
	if err == nil {
		err = problem.CheckOffset(shape4(offset.dims), maskShape)
	}
	if err != nil {
		return nil, n.wrap(err)
	}
	q.dims, q.every = from4(problem.Output(), 4), cpuref.Every(problem)
	q.make = func() (layer, error) {
		l, err := p.e.NewDeformConv2D(s, f.weight32, f.b32, f.shape, params, d)
		if err != nil {
			return layer{}, err
		}
		return layer{func(ctx context.Context, y *vkconv.Tensor, in []*vkconv.Tensor) error {
			if d.Mask {
				return l.Run(ctx, y, in[0], in[1], in[2])
			}
			return l.Run(ctx, y, in[0], in[1], nil)
		}, l}, nil
	}
	q.oracle = func(in [][]float32) ([]conv.Sum, int) {
		var mask []float64
		if d.Mask {
			mask = wide(in[2])
		}
		return cpuref.DeformConv2DEvery(problem, wide(in[0]), wide(in[1]), mask, f.exact, f.bias, q.every), conv.SampleRoundings + f.roundings
	}
	return q, nil
}
