package onnx

import (
	"vkconv/conv"
	"vkconv/cpuref"
)

// inferPool plans MaxPool and AveragePool.
func inferPool(p *planner, n *node) (*planned, error) {
	x, s, err := p.images(n)
	if err != nil {
		return nil, err
	}
	rank := len(x.dims)
	kernel, ok := spatial(n.ints("kernel_shape"), rank, 1)
	if n.ints("kernel_shape") == nil || !ok || kernel[0] < 1 || kernel[1] < 1 {
		return nil, misfit("%v has kernel_shape %v, must have one of at least 1 for each of %d axes", n, n.ints("kernel_shape"), rank-2)
	}
	slide, err := n.window(s, rank, kernel)
	if err != nil {
		return nil, err
	}
	params := conv.PoolParams{Kernel: kernel, Stride: slide.Stride, Padding: slide.Padding, Dilation: slide.Dilation, Ceil: n.int("ceil_mode", 0) != 0}
	params.ExcludePadding = n.op == "AveragePool" && n.int("count_include_pad", 0) == 0
	return p.pool(n, x, s, params, n.op == "MaxPool")
}

func inferGlobalMax(p *planner, n *node) (*planned, error) {
	x, s, err := p.images(n)
	if err != nil {
		return nil, err
	}
	return p.pool(n, x, s, conv.PoolParams{Kernel: [2]int{s[2], s[3]}}, true)
}

func (p *planner) pool(n *node, x *value, s conv.Shape, params conv.PoolParams, maximum bool) (*planned, error) {
	check, roundings := params.Average, conv.QuotientRoundings
	if maximum {
		check, roundings = params.Max, 0
	}
	problem, err := check(s)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, dims: from4(problem.Output(), len(x.dims)),
		make: func() (layer, error) {
			if maximum {
				l, err := p.e.NewMaxPool(s, params)
				return single(l, err)
			}
			l, err := p.e.NewAvgPool(s, params)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.Pool(problem, in[0]), roundings }}, nil
}

func inferGlobalAverage(p *planner, n *node) (*planned, error) {
	x, s, err := p.images(n)
	if err != nil {
		return nil, err
	}
	g, err := conv.NewGlobalPool(s)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, dims: from4(g.Output(), len(x.dims)),
		make: func() (layer, error) {
			l, err := p.e.NewGlobalPool(s)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.GlobalPool(g, in[0]), conv.PoolRoundings }}, nil
}

// inferMean plans a ReduceMean over all rows and columns, as PyTorch exports global
// pooling.
func inferMean(p *planner, n *node) (*planned, error) {
	x, _, err := p.images(n)
	if err != nil {
		return nil, err
	}
	axes, err := p.integers(n, 1, "axes", 18)
	if err != nil {
		return nil, err
	}
	rank := len(x.dims)
	at, err := n.axesOf(axes, rank)
	if err != nil {
		return nil, err
	}
	if len(at) != rank-2 || at[0] || at[1] {
		return nil, unsupported("%v takes the mean over axes %v of %s; over all pixels is here", n, axes, Extents(x.dims))
	}
	q, err := inferGlobalAverage(p, n)
	if err == nil && n.int("keepdims", 1) == 0 {
		q.dims = q.dims[:2]
	}
	return q, err
}
