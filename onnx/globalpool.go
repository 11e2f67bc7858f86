package onnx

import (
	"vkconv/conv"
	"vkconv/cpuref"
)

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
