package onnx

import (
	"vkconv/conv"
	"vkconv/cpuref"
)

// inferGemm plans y = alpha·x·B + beta·C, x M×K and B K×N: a convolution of M images
// of one pixel.
func inferGemm(p *planner, n *node) (*planned, error) {
	x, err := p.device(n, 0)
	if err != nil {
		return nil, err
	}
	b, err := p.constant(n, 1)
	if err != nil {
		return nil, err
	}
	w, err := b.float32s()
	if err != nil {
		return nil, n.in(1, err)
	}
	if len(x.dims) != 2 || len(b.Shape) != 2 {
		return nil, misfit("%v multiplies %s by %s, must be two matrices", n, Extents(x.dims), Extents(b.Shape))
	}
	inner, outputs, turned := b.Shape[0], b.Shape[1], n.int("transB", 0) != 0
	if turned {
		inner, outputs = outputs, inner
	}
	s := shape4(x.dims)
	f := &filter{shape: conv.Shape{outputs, inner, 1, 1}, groups: 1, outputs: outputs, exact: make([]float64, len(w))}
	alpha, beta := n.float("alpha", 1), n.float("beta", 1)
	for k := range outputs {
		for c := range inner {
			at := c*outputs + k
			if turned {
				at = k*inner + c
			}
			f.exact[k*inner+c] = float64(alpha) * float64(w[at])
		}
	}
	if n.has(2) {
		c, err := p.constant(n, 2)
		if err != nil {
			return nil, err
		}
		if f.bias, err = n.perChannel(c, outputs, 2); err != nil {
			return nil, err
		}
		for k := range f.bias {
			f.bias[k] *= float64(beta)
		}
		f.b32 = narrow(f.bias)
	}
	if f.weight32 = narrow(f.exact); alpha != 1 || beta != 1 {
		f.roundings = 1
	}
	if f.act, err = p.activation(n.act); err != nil {
		return nil, err
	}
	params := conv.Params{Activation: f.act}
	problem, err := params.Problem(s, f.shape, f.bias != nil)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, dims: []int{s[0], outputs},
		make: func() (layer, error) {
			l, err := p.e.NewConv2D(s, f.weight32, f.b32, f.shape, params)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.Conv2D(problem, wide(in[0]), f.exact, f.bias), conv.ProductRoundings + f.roundings
		}}, nil
}
