//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// Window is a plan of a pooling over windows or of the gradient of a mean one.
type Window struct{ *scaler }

// NewWindow plans y = pool(x), x N×C×H×W and y N×C×Ho×Wo. A tensor beyond the
// device's limits gives [gpu.ErrTooLarge].
func NewWindow(d *gpu.Device, p conv.Pool) (*Window, error) {
	name, rounds := "window_mean", p.R*(1+p.S)
	if p.Maximum {
		name = "window_max"
	}
	s, err := newWindow(makerFor(d), name, p, false, float64(rounds))
	return &Window{s}, err
}

// NewMeanBackward plans the gradient of a mean, dx from dy, which Record takes in
// the places of y and x.
func NewMeanBackward(d *gpu.Device, p conv.Pool) (*Window, error) {
	s, err := newWindow(makerFor(d), "window_mean", p, true, float64(p.R*(1+p.S)))
	return &Window{s}, err
}

// MaxBackward is a plan of the gradient of a maximum.
type MaxBackward struct{ *scaler }

// NewMaxBackward plans dx from x and dy, whole tensors.
func NewMaxBackward(d *gpu.Device, p conv.Pool) (*MaxBackward, error) {
	// Taps that read a pixel, along one axis, and a search of the window for each.
	meets := func(kernel, stride, dilation int) int { return ceil(kernel, stride/gcd(stride, dilation)) }
	windows := float64(meets(p.R, p.StrideY, p.DilationY)) * float64(meets(p.S, p.StrideX, p.DilationX))
	s, err := newWindow(makerFor(d), "window_max", p, true, float64(p.R)*float64(1+p.S)*(1+windows))
	return &MaxBackward{s}, err
}

func newWindow(m maker, name string, p conv.Pool, backward bool, rounds float64) (*scaler, error) {
	if err := checkLoops(m.traits, rounds); err != nil {
		return nil, fmt.Errorf("kernels: pooling: %w", err)
	}
	for _, reach := range []int{p.Ho * p.StrideY, p.Wo * p.StrideX, p.R * p.DilationY, p.S * p.DilationX} {
		if reach >= farthest {
			return nil, fmt.Errorf("kernels: %w: positions reach beyond %d, the most that the kernels index", gpu.ErrTooLarge, farthest)
		}
	}
	flag := map[bool]int{true: 1}
	return newScalerWith(m, name, p.Input(), p.Output(), backward, false, float32s, map[string]int{"r": p.R, "s": p.S,
		"strideY": p.StrideY, "strideX": p.StrideX, "dilationY": p.DilationY, "dilationX": p.DilationX,
		"top": p.Pad.Top, "left": p.Pad.Left, "bottom": p.Pad.Bottom, "right": p.Pad.Right, "exclude": flag[p.ExcludePadding]})
}

// Record records dx.
func (m *MaxBackward) Record(s *gpu.Stream, dx, x, dy Tensor) error {
	if m.pass == nil {
		return nil
	}
	tensor := func(t Tensor, binding int, name string, shape conv.Shape, isX bool) scaled {
		return scaled{View{Tensor: t}, binding, name, shape, isX}
	}
	return m.scaler.record(s, tensor(dx, 2, "dx", m.to, true), tensor(dy, 0, "dy", m.from, false), tensor(x, 1, "x", m.to, true))
}
