package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// weightTaker is an operator that takes weights from tensors of its device.
type weightTaker interface {
	takeWeights(weight, bias storage) error
}

// SetWeightsFrom is SetWeights with tensors on the device, for the runs queued from
// then on, so that weights which are trained there stay there: weight has the
// weight's shape, bias is 1×K×1×1, nil for a layer without one and for a backward
// pass unless that has [ForwardBias]. On a GPU the weights are laid out by a kernel, by a table of 4 bytes a
// weight that the first call makes. Layers of other types than float32, transposed
// convolutions on a GPU and layers computed in pieces answer [conv.ErrUnsupported].
func (l *layer) SetWeightsFrom(weight, bias *Tensor) error {
	var biases conv.Shape
	if l.biases > 0 {
		biases = conv.Shape{1, l.biases, 1, 1}
	}
	if l.typ != conv.Float32 {
		return errTakesNone(l.typ)
	}
	var h hold
	defer h.release()
	operands := [...]operand{{"weight", weight, l.p.Weight(), input}, {"bias", bias, biases, input}}
	if err := h.take(l, operands[:]); err != nil {
		return err
	}
	for i := range operands {
		if _, part := h.stores[i].(*view); part {
			return fmt.Errorf("%w: %s is channels of another tensor, must be a whole one", conv.ErrUnsupported, operands[i].name)
		}
	}
	to, ok := h.op.(weightTaker)
	if !ok {
		return fmt.Errorf("%w: this layer takes no weights from the device", conv.ErrUnsupported)
	}
	return to.takeWeights(h.stores[0], h.stores[1])
}

func errTakesNone(t conv.Type) error {
	return fmt.Errorf("%w: a layer of %v tensors takes no weights from the device", conv.ErrUnsupported, t)
}

// step is where an optimizer stands.
type step struct {
	rate float64
	t    int
}

// stepper is a planned step of an optimizer. Its operands are the parameters, the
// optimizer's state and the gradient.
type stepper interface {
	operator
	at(s step) // of the next run
}

// SGD is a planned step of stochastic gradient descent, [conv.SGD], on the device.
type SGD struct {
	unweighted
	shape conv.Shape
}

// NewSGD plans steps of parameters of that shape. Errors match [conv.ErrParams] or
// [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewSGD(parameters conv.Shape, o conv.SGD) (*SGD, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := parameters.Check("parameters"); err != nil {
		return nil, err
	}
	u, err := e.planSingle("sgd", true, double{}, nil, func() (operator, error) { return e.back.sgd(parameters.Len(), o) })
	if err != nil {
		return nil, err
	}
	return &SGD{u, parameters}, nil
}

// Run queues a step at a learning rate: parameters and velocity, which starts as
// zeros, are moved in place. All have the planned shape.
func (l *SGD) Run(ctx context.Context, parameters, velocity, gradient *Tensor, rate float64) error {
	if err := conv.CheckStep(rate, 1); err != nil {
		return err
	}
	return l.l.step(ctx, step{rate, 1}, operand{"parameters", parameters, l.shape, output}, operand{"velocity", velocity, l.shape, output},
		operand{"gradient", gradient, l.shape, input})
}

// Adam is a planned step of Adam, [conv.Adam], on the device.
type Adam struct {
	unweighted
	shape conv.Shape
}

// NewAdam plans steps of parameters of that shape. Errors match [conv.ErrParams] or
// [conv.ErrShape] where the arguments are at fault.
func (e *Engine) NewAdam(parameters conv.Shape, o conv.Adam) (*Adam, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := parameters.Check("parameters"); err != nil {
		return nil, err
	}
	u, err := e.planSingle("adam", true, double{}, nil, func() (operator, error) { return e.back.adam(parameters.Len(), o) })
	if err != nil {
		return nil, err
	}
	return &Adam{u, parameters}, nil
}

// Run queues step t, counted from 1, at a learning rate: parameters and both
// moments, which start as zeros, are moved in place. All have the planned shape.
func (l *Adam) Run(ctx context.Context, parameters, first, second, gradient *Tensor, rate float64, t int) error {
	if err := conv.CheckStep(rate, t); err != nil {
		return err
	}
	return l.l.step(ctx, step{rate, t}, operand{"parameters", parameters, l.shape, output}, operand{"first moment", first, l.shape, output},
		operand{"second moment", second, l.shape, output}, operand{"gradient", gradient, l.shape, input})
}

// step is run of an optimizer.
func (l *layer) step(ctx context.Context, at step, operands ...operand) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var h hold
	defer h.release()
	if err := h.take(l, operands); err != nil {
		return err
	}
	l.stepping.Lock()
	defer l.stepping.Unlock()
	h.op.(stepper).at(at)
	return h.op.run(ctx, h.stores)
}

// CrossEntropy is planned softmax and cross-entropy, [conv.CrossEntropy].
type CrossEntropy struct {
	unweighted
	c conv.CrossEntropy
}

// NewCrossEntropy plans it for scores of shape x, N×K×H×W with a channel a class.
// Errors match [conv.ErrShape] where the argument is at fault.
func (e *Engine) NewCrossEntropy(x conv.Shape) (*CrossEntropy, error) {
	c, err := conv.NewCrossEntropy(x)
	if err != nil {
		return nil, err
	}
	u, err := e.planSingle("cross-entropy", true, double{}, nil, func() (operator, error) { return e.back.crossEntropy(c) })
	if err != nil {
		return nil, err
	}
	return &CrossEntropy{u, c}, nil
}

// Problem returns what the layer computes.
func (l *CrossEntropy) Problem() conv.CrossEntropy { return l.c }

// Run queues the loss of every place, N×1×H×W, given the numbers of their classes,
// N×1×H×W, and unless dx is nil the gradient of the mean loss by the scores x.
func (l *CrossEntropy) Run(ctx context.Context, loss, dx, x, class *Tensor) error {
	return l.l.run(ctx, operand{"loss", loss, l.c.Places(), output}, operand{"dx", dx, l.c.Input(), wish},
		operand{"input", x, l.c.Input(), input}, operand{"class", class, l.c.Places(), input})
}
