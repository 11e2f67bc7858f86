//go:build cgo

package kernels

import (
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// bits are those of a float32, as push constants take them.
func bits(v float64) int { return int(math.Float32bits(float32(v))) }

// SGD is a plan of a step of stochastic gradient descent.
type SGD struct{ *flat }

// NewSGD plans steps of so many parameters.
func NewSGD(d *gpu.Device, elements int, o conv.SGD) (*SGD, error) {
	flag := map[bool]int{true: 1}
	f, err := newFlat(makerFor(d), "sgd", elements, []string{"gradient", "velocity", "parameters"}, []int{elements, elements, elements},
		map[string]int{"rate": 0, "momentum": bits(o.Momentum), "decay": bits(o.WeightDecay), "nesterov": flag[o.Nesterov]})
	return &SGD{f}, err
}

// Record records a step at learning rate lr.
func (o *SGD) Record(s *gpu.Stream, parameters, velocity, gradient Tensor, lr float64) error {
	push := o.patched()
	push.set("rate", bits(lr))
	return o.recordPush(s, &push, gradient, velocity, parameters)
}

// Adam is a plan of a step of Adam.
type Adam struct {
	*flat
	o conv.Adam
}

// NewAdam plans steps of so many parameters.
func NewAdam(d *gpu.Device, elements int, o conv.Adam) (*Adam, error) {
	o = o.WithDefaults()
	values := map[string]int{"beta1": bits(o.Beta1), "beta2": bits(o.Beta2), "rest1": bits(1 - o.Beta1), "rest2": bits(1 - o.Beta2),
		"size": 0, "root": 0, "eps": bits(o.Eps), "decay": bits(o.WeightDecay), "shrink": 0}
	if o.Decoupled {
		values["decay"] = 0
	}
	f, err := newFlat(makerFor(d), "adam", elements, []string{"gradient", "first moment", "second moment", "parameters"},
		[]int{elements, elements, elements, elements}, values)
	return &Adam{f, o}, err
}

// Record records step t at learning rate lr.
func (o *Adam) Record(s *gpu.Stream, parameters, m, v, gradient Tensor, lr float64, t int) error {
	push := o.patched()
	push.set("size", bits(o.o.StepSize(lr, t)))
	push.set("root", bits(o.o.Root(t)))
	if o.o.Decoupled {
		push.set("shrink", bits(lr*o.o.WeightDecay))
	}
	return o.recordPush(s, &push, gradient, m, v, parameters)
}

// CrossEntropy is a plan of softmax and cross-entropy.
type CrossEntropy struct{ loss, both *flat }

// NewCrossEntropy plans loss and gradient. A tensor beyond the device's limits
// gives [gpu.ErrTooLarge].
func NewCrossEntropy(d *gpu.Device, c conv.CrossEntropy) (*CrossEntropy, error) {
	if err := checkLoops(traitsOf(d.Info()), 3*float64(c.K+1)); err != nil {
		return nil, fmt.Errorf("kernels: cross-entropy: %w", err)
	}
	scores, places := c.Input().Len(), c.Places().Len()
	names, lengths := []string{"x", "class", "loss", "dx"}, []int{scores, places, places, scores}
	values := func() map[string]int {
		return map[string]int{"k": c.K, "plane": c.H * c.W, "scale": bits(c.Scale())}
	}
	loss, err := newFlat(makerFor(d), "entropy", places, names[:3], lengths[:3], values())
	if err != nil {
		return nil, err
	}
	both, err := newFlat(makerFor(d), "entropy_grad", places, names, lengths, values())
	return &CrossEntropy{loss, both}, err
}

// Record records the loss and, where it is wanted, the gradient dx.
func (e *CrossEntropy) Record(s *gpu.Stream, loss, dx, x, class Tensor) error {
	if !dx.wants() {
		return e.loss.record(s, x, class, loss)
	}
	return e.both.record(s, x, class, loss, dx)
}

// Describe names the kernel.
func (e *CrossEntropy) Describe() string { return e.both.Describe() }

// Workspace is the device memory in bytes that running takes beyond tensors: none.
func (e *CrossEntropy) Workspace() int64 { return 0 }

// Close has nothing to free.
func (e *CrossEntropy) Close() {}
