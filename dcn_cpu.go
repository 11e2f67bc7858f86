package vkconv

import (
	"context"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

func (c *cpu) dcn(d conv.DCN) (samplingOp, error) { return cpuDCN{DCN: fast.NewDCN(c.pool, d)}, nil }
func (c *cpu) roiPool(q conv.RoIPool) (samplingOp, error) {
	return cpuRoIPool{RoIPool: fast.NewRoIPool(c.pool, q)}, nil
}

// slicesOf returns the tensors' memory, nil where there is none.
func slicesOf(tensors []storage) [][]float32 {
	data := make([][]float32, len(tensors))
	for i, t := range tensors {
		if t != nil {
			data[i] = t.(*hostTensor).data
		}
	}
	return data
}

// cpuSampling is what these plans of the CPU path have in common.
type cpuSampling struct{}

func (cpuSampling) describe() string { return "plain Go, float32" }
func (cpuSampling) workspace() int64 { return 0 }
func (cpuSampling) close()           {}

type cpuDCN struct {
	cpuSampling
	*fast.DCN
}

func (p cpuDCN) forward(ctx context.Context, out, in []storage) error {
	y, x := slicesOf(out), slicesOf(in)
	return p.Run(ctx, y[0], x[0], x[1], x[2])
}

func (p cpuDCN) backward(ctx context.Context, out, in []storage) error {
	g, x := slicesOf(out), slicesOf(in)
	return p.Backward(ctx, g[0], g[1], g[2], x[0], x[1], x[2], x[3])
}

type cpuRoIPool struct {
	cpuSampling
	*fast.RoIPool
}

func (p cpuRoIPool) forward(ctx context.Context, out, in []storage) error {
	y, x := slicesOf(out), slicesOf(in)
	return p.Run(ctx, y[0], x[0], x[1], x[2], x[3])
}

func (p cpuRoIPool) backward(ctx context.Context, out, in []storage) error {
	g, x := slicesOf(out), slicesOf(in)
	return p.Backward(ctx, g[0], g[1], g[2], x[0], x[1], x[2], x[3], x[4])
}
