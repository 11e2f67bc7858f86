package onnx

import (
	"context"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

func inferGlobalAverage(p *planner, n *node) (*planned, error) {
	x, err := p.device(n, 0)
	if err != nil {
		return nil, err
	}
	s, err := n.image(x)
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
			if err != nil {
				return layer{}, err
			}
			return layer{func(ctx context.Context, y *vkconv.Tensor, in []*vkconv.Tensor) error { return l.Run(ctx, y, in[0]) }, l}, nil
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.GlobalPool(g, in[0]), conv.PoolRoundings }}, nil
}
