package fast

import (
	"context"
	"testing"

	"vkconv/convtest"
)

func TestDCN(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	ctx := context.Background()
	for name, random := range map[string]func(uint64, int) convtest.DCNCase{"v3": convtest.RandomDCNv3, "v4": convtest.RandomDCNv4} {
		t.Run(name, func(t *testing.T) {
			convtest.DCNForward(t, convtest.Cases(300), random, func(c convtest.DCNCase, y []float32) error {
				plan, err := NewDCN(pool, c.D)
				if err != nil {
					return err
				}
				return plan.Run(ctx, y, c.X, c.Offset, c.Mask)
			})
			convtest.DCNBackward(t, convtest.Cases(300), random, func(c convtest.DCNCase, g convtest.Grads, dy []float32) error {
				if c.D.Packed {
					g.Mask = nil
				}
				plan, err := NewDCN(pool, c.D)
				if err != nil {
					return err
				}
				return plan.Backward(ctx, g.X, g.Offset, g.Mask, c.X, c.Offset, c.Mask, dy)
			})
		})
	}
}

func TestRoIPool(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	ctx := context.Background()
	for name, random := range map[string]func(uint64, int) convtest.RoICase{"plain": convtest.RandomRoIPool, "position-sensitive": convtest.RandomPSRoIPool} {
		t.Run(name, func(t *testing.T) {
			convtest.RoIForward(t, convtest.Cases(300), random, func(c convtest.RoICase, y []float32) error {
				return NewRoIPool(pool, c.Q).Run(ctx, y, c.X, c.RoIs, c.Offset, c.Mask)
			})
			convtest.RoIBackward(t, convtest.Cases(300), random, func(c convtest.RoICase, g convtest.Grads, dy []float32) error {
				if !c.Q.Offset {
					g.Offset = nil
				}
				if !c.Q.Mask {
					g.Mask = nil
				}
				return NewRoIPool(pool, c.Q).Backward(ctx, g.X, g.Offset, g.Mask, c.X, c.RoIs, c.Offset, c.Mask, dy)
			})
		})
	}
}
