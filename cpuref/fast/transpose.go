package fast

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// ConvTranspose2D is a plan of PyTorch's ConvTranspose2d: see
// [vkconv/cpuref.ConvTranspose2D] for the formula. Make one with
// [NewConvTranspose2D]; its methods may be called from any number of goroutines.
type ConvTranspose2D struct {
	t conv.Transposed
	d *inputGrad
}

// NewConvTranspose2D packs weight (C×K/groups×R×S) and bias (K elements, only
// looked at with t.Bias) into a plan. Errors match [conv.ErrShape],
// [conv.ErrParams] or [conv.ErrUnsupported].
func NewConvTranspose2D(pool *Pool, t conv.Transposed, weight, bias []float32) (*ConvTranspose2D, error) {
	d, err := newInputGrad(pool, t.Of, t.Bias, t.Activation)
	if err != nil {
		return nil, err
	}
	return &ConvTranspose2D{t, d}, d.setWeights(weight, bias)
}

// SetWeights packs another weight and bias into the plan. It waits for runs in progress.
func (c *ConvTranspose2D) SetWeights(weight, bias []float32) error {
	return c.d.setWeights(weight, bias)
}

// Run computes y (N×K×Ho×Wo) from x (N×C×H×W). It allocates nothing once the
// workers' buffers have grown. When ctx ends it returns the context's error
// within the time of a tile, and y holds nothing of use.
func (c *ConvTranspose2D) Run(ctx context.Context, y, x []float32) error {
	if err := length("y", y, c.t.Output().Len(), c.t.Output()); err != nil {
		return err
	}
	if err := length("x", x, c.t.Input().Len(), c.t.Input()); err != nil {
		return err
	}
	return c.d.run(ctx, y, x)
}

// Workspace returns the bytes that runs need beyond inputs, outputs and packed
// weights. It does not depend on the image's size, and plans of one pool share it.
func (c *ConvTranspose2D) Workspace() int64 { return c.d.workspace() }

// Describe says how the plan computes: algorithm, instruction set, tile.
func (c *ConvTranspose2D) Describe() string { return "transposed: " + c.d.describe() }

// ConvTranspose2DBackward differentiates [ConvTranspose2D]: see
// [vkconv/cpuref.ConvTranspose2DBackward]. Make one with
// [NewConvTranspose2DBackward]; its methods may be called from any number of goroutines.
type ConvTranspose2DBackward struct {
	t      conv.Transposed
	pool   *Pool
	input  *Conv2D
	weight *weightGrad
}

// NewConvTranspose2DBackward packs weight (C×K/groups×R×S) into a plan for the
// gradients of a transposed convolution; one with an activation is refused.
// Errors match [conv.ErrShape], [conv.ErrParams] or [conv.ErrUnsupported].
func NewConvTranspose2DBackward(pool *Pool, t conv.Transposed, weight []float32) (*ConvTranspose2DBackward, error) {
	if err := noActivation(t.Activation); err != nil {
		return nil, err
	}
	l, err := newLayout(pool, t.Of, zonesOf, 64)
	if err != nil {
		return nil, err
	}
	b := &ConvTranspose2DBackward{t: t, pool: pool}
	b.weight = newWeightGrad(&convPanels{&Conv2D{layout: l, runs: usesRuns(t.Of, l.ks)}}, l)
	b.input, err = NewConv2D(pool, t.Of, weight, nil)
	return b, err
}

// SetWeights packs another weight into the plan. It waits for runs in progress.
func (b *ConvTranspose2DBackward) SetWeights(weight []float32) error {
	return b.input.SetWeights(weight, nil)
}

// Run computes the gradients that are wanted (dx, dweight, dbias), given dy
// (N×K×Ho×Wo), those by the output. x (N×C×H×W) is only looked at for the
// gradient by the weight. Otherwise it is like [Conv2DBackward.Run].
func (b *ConvTranspose2DBackward) Run(ctx context.Context, g Grads, x, dy []float32) error {
	t := &b.t
	if g.Offset != nil || g.Mask != nil {
		return fmt.Errorf("fast: gradients by offset or mask are wanted of a transposed convolution, it has neither: %w", conv.ErrParams)
	}
	if err := length("dy", dy, t.Output().Len(), t.Output()); err != nil {
		return err
	}
	if g.Bias != nil && (!t.Bias || len(g.Bias) != t.Of.C) {
		return fmt.Errorf("fast: dbias has %d elements, it must have %d, one an output channel, and none without a bias: %w", len(g.Bias), t.Of.C, conv.ErrShape)
	}
	if g.X != nil {
		if err := length("dx", g.X, t.Input().Len(), t.Input()); err != nil {
			return err
		}
		if err := b.input.Run(ctx, g.X, dy); err != nil {
			return err
		}
	}
	if g.Weight != nil {
		if err := length("dweight", g.Weight, t.Weight().Len(), t.Weight()); err != nil {
			return err
		}
		if err := length("x", x, t.Input().Len(), t.Input()); err != nil {
			return err
		}
		// The pairs that a convolution of dy with the outputs x would have.
		if err := b.weight.run(ctx, g.Weight, dy, nil, nil, x); err != nil {
			return err
		}
	}
	if g.Bias != nil {
		return biasGrad(ctx, b.pool, t.Of.N, t.Of.C, t.Of.H*t.Of.W, g.Bias, dy)
	}
	return nil
}

// Workspace is like [Conv2DBackward.Workspace].
func (b *ConvTranspose2DBackward) Workspace() int64 {
	return b.input.Workspace() + b.weight.workspace()
}

// Describe says how the plan computes.
func (b *ConvTranspose2DBackward) Describe() string {
	return fmt.Sprintf("dx: %s; dweight: %s", b.input.Describe(), b.weight.describe())
}
