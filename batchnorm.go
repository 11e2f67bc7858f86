package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Moments are a mean and a variance for every channel, 1×C×1×1 each.
type Moments struct{ Mean, Var *Tensor }

// normalization is what the passes of a batch normalization share.
type normalization struct {
	unweighted
	b conv.BatchNorm
}

// Problem returns what the layer computes or differentiates.
func (l normalization) Problem() conv.BatchNorm { return l.b }

func (e *Engine) planBatchNorm(pass normPass, x conv.Shape, params conv.BatchNormParams) (normalization, error) {
	b, err := params.BatchNorm(x)
	if err == nil && pass != normGiven {
		err = b.CheckTraining()
	}
	if err != nil {
		return normalization{}, err
	}
	u, err := e.planSingle("batch norm", true, double{}, nil, func() (operator, error) { return e.back.batchNorm(b, pass) })
	return normalization{u, b}, err
}

// normPass is a pass of a batch normalization.
type normPass uint8

const (
	normGiven normPass = iota // with given moments
	normTraining
	normBackward
)

func (l normalization) channels(name string, t *Tensor, r role) operand {
	return operand{name, t, l.b.Channels(), r}
}

// BatchNorm is a planned batch normalization with given moments, as behind
// training: torch.nn.BatchNorm2d in eval mode. Before a convolution it is better
// folded into the weights.
type BatchNorm struct{ normalization }

// NewBatchNorm plans the normalization of inputs of shape x (N×C×H×W). Errors
// match [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewBatchNorm(x conv.Shape, params conv.BatchNormParams) (*BatchNorm, error) {
	n, err := e.planBatchNorm(normGiven, x, params)
	if err != nil {
		return nil, err
	}
	return &BatchNorm{n}, nil
}

// Run queues y, x normalized with the moments m. weight and bias are 1×C×1×1.
func (l *BatchNorm) Run(ctx context.Context, y, x, weight, bias *Tensor, m Moments) error {
	return l.l.run(ctx, operand{"output", y, l.b.Input(), output}, operand{"input", x, l.b.Input(), input}, l.channels("weight", weight, input),
		l.channels("bias", bias, input), l.channels("mean", m.Mean, input), l.channels("variance", m.Var, input))
}

// BatchNormTraining is a planned batch normalization with the moments of the
// batch: torch.nn.BatchNorm2d in training mode.
type BatchNormTraining struct{ normalization }

// NewBatchNormTraining plans it, with the arguments of [Engine.NewBatchNorm].
func (e *Engine) NewBatchNormTraining(x conv.Shape, params conv.BatchNormParams) (*BatchNormTraining, error) {
	n, err := e.planBatchNorm(normTraining, x, params)
	if err != nil {
		return nil, err
	}
	return &BatchNormTraining{n}, nil
}

// Run queues y and batch, the moments of x, its variance divided by their number,
// which the backward pass wants; and moves the running moments, which hold some
// before, unless both are nil.
func (l *BatchNormTraining) Run(ctx context.Context, y *Tensor, batch, running Moments, x, weight, bias *Tensor) error {
	if (running.Mean == nil) != (running.Var == nil) {
		return fmt.Errorf("%w: of the running moments one is nil, must be both or neither", conv.ErrShape)
	}
	return l.l.run(ctx, operand{"output", y, l.b.Input(), output}, l.channels("mean", batch.Mean, output), l.channels("variance", batch.Var, output),
		l.channels("running mean", running.Mean, wish), l.channels("running variance", running.Var, wish),
		operand{"input", x, l.b.Input(), input}, l.channels("weight", weight, input), l.channels("bias", bias, input))
}

// BatchNormBackward is a planned backward pass of [BatchNormTraining].
type BatchNormBackward struct{ normalization }

// NewBatchNormBackward plans the gradients, with the arguments of
// [Engine.NewBatchNorm].
func (e *Engine) NewBatchNormBackward(x conv.Shape, params conv.BatchNormParams) (*BatchNormBackward, error) {
	n, err := e.planBatchNorm(normBackward, x, params)
	if err != nil {
		return nil, err
	}
	return &BatchNormBackward{n}, nil
}

// Run queues the gradients by the input, weight and bias (1×C×1×1) that g has a
// tensor for, given dy, the gradient by the output, and the moments of the batch.
func (l *BatchNormBackward) Run(ctx context.Context, g Gradients, x, dy, weight *Tensor, batch Moments) error {
	if g.Offset != nil || g.Mask != nil {
		return fmt.Errorf("%w: a gradient by offset or mask was asked of a batch normalization", conv.ErrShape)
	}
	return l.l.run(ctx, operand{"gradient by the input", g.X, l.b.Input(), wish}, l.channels("gradient by the weight", g.Weight, wish),
		l.channels("gradient by the bias", g.Bias, wish), operand{"input", x, l.b.Input(), input}, operand{"dy", dy, l.b.Input(), input},
		l.channels("weight", weight, input), l.channels("mean", batch.Mean, input), l.channels("variance", batch.Var, input))
}
