package fast_test

import (
	"context"
	"errors"
	"testing"

	"vkconv/convtest"
	"vkconv/cpuref/fast"
)

func TestLayers(t *testing.T) {
	pool := fast.NewPool(2)
	defer pool.Close()
	ctx := context.Background()
	convtest.Layers(t, convtest.Cases(400), func(c convtest.LayerCase, out, in [][]float32) error {
		switch {
		case c.Add:
			return fast.NewAdd(pool, c.Shape.Len()).Run(ctx, out[0], in[0], in[1])
		case c.Activation != nil:
			p := fast.NewActivation(pool, c.Shape, *c.Activation)
			return errors.Join(p.Run(ctx, out[0], in[0], fast.Strides{}), p.Backward(ctx, out[1], in[0], in[1]))
		case c.Pool != nil:
			p := fast.NewWindow(pool, *c.Pool)
			return errors.Join(p.Run(ctx, out[0], in[0], fast.Strides{}), p.Backward(ctx, out[1], in[0], in[1], fast.Strides{}))
		}
		if c.Norm == nil {
			for i := range out { // in place
				copy(out[i], in[min(i+1, len(in)-1)])
			}
		}
		switch {
		case c.Entropy != nil:
			return errors.Join(fast.NewCrossEntropy(pool, *c.Entropy).Run(ctx, out[0], nil, in[0], in[1]),
				fast.NewCrossEntropy(pool, *c.Entropy).Run(ctx, out[0], out[1], in[0], in[1]))
		case c.SGD != nil:
			return fast.NewSGD(pool, c.Shape.Len(), *c.SGD).Run(ctx, out[0], out[1], in[0], c.Rate)
		case c.Adam != nil:
			return fast.NewAdam(pool, c.Shape.Len(), *c.Adam).Run(ctx, out[0], out[1], out[2], in[0], c.Rate, c.Step)
		}
		p := fast.NewBatchNorm(pool, *c.Norm)
		copy(out[4], in[4])
		copy(out[5], in[5])
		return errors.Join(p.Run(ctx, out[0], in[0], in[2], in[3], in[4], in[5]),
			p.Train(ctx, out[1], out[2], out[3], out[4], out[5], in[0], in[2], in[3]),
			p.Backward(ctx, out[6], out[7], out[8], in[0], in[1], in[2], in[6], in[7]))
	})
}
