package vkconv_test

import (
	"errors"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// Resizing and pooling on both sides of the door, whole tensors and channels.
func TestScales(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		convtest.Scales(t, convtest.Cases(60), func(c convtest.ScaleCase, y, dx, x, dy []float32) error {
			var forward, backward func(y, x *vkconv.Tensor) error
			var big, small conv.Shape
			if c.Pool != nil {
				f, err := e.NewGlobalPool(c.Pool.Input())
				if err != nil {
					return err
				}
				defer f.Close()
				b, err := e.NewGlobalPoolBackward(c.Pool.Input())
				if err != nil {
					return err
				}
				defer b.Close()
				forward = func(y, x *vkconv.Tensor) error { return f.Run(ctx, y, x) }
				backward = func(y, x *vkconv.Tensor) error { return b.Run(ctx, y, x) }
				big, small = f.Problem().Input(), b.Problem().Output()
			} else {
				f, err := e.NewResize(c.Resize.Input(), c.Resize.Ho, c.Resize.Wo, c.Resize.AlignCorners)
				if err != nil {
					return err
				}
				defer f.Close()
				b, err := e.NewResizeBackward(c.Resize.Input(), c.Resize.Ho, c.Resize.Wo, c.Resize.AlignCorners)
				if err != nil {
					return err
				}
				defer b.Close()
				forward = func(y, x *vkconv.Tensor) error { return f.Run(ctx, y, x) }
				backward = func(y, x *vkconv.Tensor) error { return b.Run(ctx, y, x) }
				big, small = f.Problem().Input(), b.Problem().Output()
			}
			whole, part := widened(t, e, small, 2, 1, y)
			if err := forward(part, tensor(t, e, big, x)); err != nil {
				return err
			}
			if err := narrowed(whole, small, 2, y); err != nil {
				return err
			}
			_, part = widened(t, e, small, 1, 3, dy)
			out := tensor(t, e, big, dx)
			if err := backward(out, part); err != nil {
				return err
			}
			return out.Download(ctx, dx)
		})
		_, none := e.NewResize(conv.Shape{1, 2, 3, 4}, 0, 5, false)
		_, empty := e.NewGlobalPool(conv.Shape{1, 2, 0, 4})
		for _, c := range []struct {
			err  error
			says string
		}{{none, "resized to 0×5"}, {empty, "1×2×0×4"}} {
			if !errors.Is(c.err, conv.ErrShape) || !strings.Contains(c.err.Error(), c.says) {
				t.Errorf("%v, want %q", c.err, c.says)
			}
		}
	})
}
