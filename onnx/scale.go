package onnx

import (
	"context"
	"math"
	"slices"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// affine returns what a node multiplies each channel by and adds to it: of a batch
// normalization
//
//	scale = weight / √(var + ε)        shift = bias − mean·scale
//
// worked out in float64, and of an addition or multiplication of a constant.
func (p *planner) affine(n *node, channels, rank int) (scale, shift []float64, err error) {
	scale, shift = make([]float64, channels), make([]float64, channels)
	if n.op != "BatchNormalization" {
		_, c, _ := p.split(n)
		v, err := n.perChannel(c, channels, rank)
		for k := range scale {
			scale[k] = 1
			if err != nil {
				break
			}
			if n.op == "Add" {
				shift[k] = v[k]
			} else {
				scale[k] = v[k]
			}
		}
		return scale, shift, err
	}
	var moments [4][]float32
	for i := range moments {
		c, err := p.constant(n, 1+i)
		if err != nil {
			return nil, nil, err
		}
		if moments[i], err = c.float32s(); err != nil {
			return nil, nil, n.in(1+i, err)
		}
		if len(moments[i]) != channels || len(c.Shape) != 1 {
			return nil, nil, misfit("%v has %q of shape %s, must have %d elements, one a channel", n, n.inputs[1+i], Extents(c.Shape), channels)
		}
	}
	epsilon := float64(n.float("epsilon", 1e-5))
	for k := range scale {
		scale[k] = float64(moments[0][k]) / math.Sqrt(float64(moments[3][k])+epsilon)
		shift[k] = float64(moments[1][k]) - float64(moments[2][k])*scale[k]
	}
	return scale, shift, nil
}

// split tells the constant operand of an addition or multiplication from the other;
// c is nil where none or both are constants.
func (p *planner) split(n *node) (x string, c *constant, at int) {
	a, b := p.knownOf(n.inputs[0]), p.knownOf(n.inputs[1])
	switch {
	case a == nil && b != nil:
		return n.inputs[0], b, 1
	case a != nil && b == nil:
		return n.inputs[1], a, 0
	}
	return "", nil, 0
}

// perChannel spreads a constant over the channels of a tensor of so many extents:
// one element, or extents of 1 but for the channels (NumPy's broadcasting).
func (n *node) perChannel(c *constant, channels, rank int) ([]float64, error) {
	v, err := c.float32s()
	if err != nil {
		return nil, n.in(1, err)
	}
	out := make([]float64, channels)
	at := len(c.Shape) - (rank - 1) // where the channels stand
	if len(c.Shape) > rank || len(v) != 1 && (at < 0 || len(v) != c.Shape[at] || len(v) != channels) {
		return nil, unsupported("%v takes a constant of shape %s to %d channels; one element or one a channel is here", n, Extents(c.Shape), channels)
	}
	for k := range out {
		out[k] = float64(v[k%len(v)])
	}
	return out, nil
}

// activation reads the node fused behind a layer; nil is none.
func (p *planner) activation(n *node) (a conv.Activation, err error) {
	if n == nil {
		return a, nil
	}
	switch n.op {
	case "Relu":
		a.Kind = conv.ReLU
	case "Sigmoid":
		a.Kind = conv.Sigmoid
	case "Gelu":
		a.Kind = conv.GELU
	case "Swish":
		a.Kind = conv.SiLU
	case "LeakyRelu":
		a.Kind, a.Slope = conv.LeakyReLU, n.float("alpha", 0.01)
	case "Clip":
		a.Kind = conv.Clamp
		a.Min, err = p.limit(n, 1, "min", float32(math.Inf(-1)))
		if err == nil {
			a.Max, err = p.limit(n, 2, "max", float32(math.Inf(1)))
		}
		if a.Min > a.Max { // ONNX: min(max(x, min), max), so max wins
			a.Min = a.Max
		}
	}
	if err == nil {
		err = a.Validate()
	}
	if err != nil {
		err = n.wrap(err)
	}
	return a, err
}

// limit reads a Clip's limit: an attribute up to opset 10, then an input.
func (p *planner) limit(n *node, i int, name string, missing float32) (float32, error) {
	if n.opset < 11 {
		return n.float(name, missing), nil
	}
	if !n.has(i) {
		return missing, nil
	}
	c, err := p.constant(n, i)
	if err != nil {
		return 0, err
	}
	v, err := c.float32s()
	if err != nil {
		return 0, n.in(i, err)
	}
	if len(v) != 1 {
		return 0, misfit("%v has %s of shape %s, must be one number", n, name, Extents(c.Shape))
	}
	return v[0], nil
}

// isActivation and isAffine tell what fuse may put behind a layer.
func isActivation(op string) bool {
	switch op {
	case "Relu", "Sigmoid", "Gelu", "LeakyRelu", "Swish", "Clip":
		return true
	}
	return false
}

// inferScale plans what is done to each element by itself: an activation, or constants
// times and plus it, a depthwise convolution with one tap.
func inferScale(p *planner, n *node) (*planned, error) {
	at := 0
	if n.op == "Add" || n.op == "Mul" {
		_, _, constantAt := p.split(n)
		at = 1 - constantAt
	}
	x, err := p.device(n, at)
	if err != nil {
		return nil, err
	}
	if isActivation(n.op) {
		return p.activate(n, x)
	}
	own := *n
	own.affine = append([]*node{n}, n.affine...)
	return p.scale(&own, x)
}

// scale plans n's affine nodes and its activation on x.
func (p *planner) scale(n *node, x *value) (*planned, error) {
	s := shape4(x.dims)
	f := &filter{shape: conv.Shape{s[1], 1, 1, 1}, weight32: make([]float32, s[1]), groups: s[1], outputs: s[1]}
	for i := range f.weight32 {
		f.weight32[i] = 1
	}
	if err := p.fold(n, f, len(x.dims)); err != nil {
		return nil, err
	}
	params := conv.Params{Groups: s[1], Activation: f.act}
	problem, err := params.Problem(s, f.shape, f.bias != nil)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, dims: x.dims,
		make: func() (layer, error) {
			l, err := p.e.NewConv2D(s, f.weight32, f.b32, f.shape, params)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.Conv2D(problem, wide(in[0]), f.exact, f.bias), conv.ProductRoundings + f.roundings
		}}, nil
}

func inferMul(p *planner, n *node) (*planned, error) {
	if _, c, _ := p.split(n); c == nil {
		return nil, unsupported("%v multiplies two tensors; a constant of one element or one a channel is here", n)
	}
	return inferScale(p, n)
}

func inferAdd(p *planner, n *node) (*planned, error) {
	if _, c, _ := p.split(n); c != nil {
		return inferScale(p, n)
	}
	a, err := p.device(n, 0)
	if err != nil {
		return nil, err
	}
	b, err := p.device(n, 1)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(a.dims, b.dims) {
		return nil, unsupported("%v adds %s and %s; equal extents, or a constant of one element or one a channel, are here", n, Extents(a.dims), Extents(b.dims))
	}
	s := shape4(a.dims)
	return &planned{in: []*value{a, b}, whole: 1<<0 | 1<<1, outWhole: true, dims: a.dims,
		make: func() (layer, error) {
			l, err := p.e.NewAdd(s)
			if err != nil {
				return layer{}, err
			}
			return layer{func(ctx context.Context, y *vkconv.Tensor, in []*vkconv.Tensor) error {
				return l.Run(ctx, y, in[0], in[1])
			}, l}, nil
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.Add(in[0], in[1]), 0 }}, nil
}

// activate plans an activation by itself.
func (p *planner) activate(n *node, x *value) (*planned, error) {
	a, err := p.activation(n)
	if err != nil {
		return nil, err
	}
	s := shape4(x.dims)
	return &planned{in: []*value{x}, dims: x.dims,
		make: func() (layer, error) {
			l, err := p.e.NewActivation(s, a)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.Activation(a, in[0]), 0 }}, nil
}
