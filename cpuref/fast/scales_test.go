package fast_test

import (
	"context"
	"errors"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref/fast"
)

func TestScales(t *testing.T) {
	pool := fast.NewPool(2)
	defer pool.Close()
	ctx := context.Background()
	convtest.Scales(t, convtest.Cases(300), func(c convtest.ScaleCase, y, dx, x, dy []float32) error {
		if c.Pool != nil {
			return errors.Join(fast.NewGlobalPool(pool, *c.Pool).Run(ctx, y, x, fast.Strides{}),
				fast.NewGlobalPoolBackward(pool, *c.Pool).Run(ctx, dx, dy, fast.Strides{}))
		}
		return errors.Join(fast.NewResize(pool, *c.Resize).Run(ctx, y, x, fast.Strides{}),
			fast.NewResizeBackward(pool, *c.Resize).Run(ctx, dx, dy, fast.Strides{}))
	})
	r, err := conv.NewResize(conv.Shape{2, 3, 4, 5}, 2, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range []fast.Strides{{Y: 11}, {X: 59}, {X: 61}} {
		if err := fast.NewResize(pool, r).Run(ctx, make([]float32, 24), make([]float32, 120), st); !errors.Is(err, conv.ErrShape) {
			t.Errorf("%+v: %v", st, err)
		}
	}
}
