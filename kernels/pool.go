//go:build cgo

package kernels

import (
	"vkconv/conv"
	"vkconv/gpu"
)

// GlobalPool is a plan of global average pooling or of its gradient.
type GlobalPool struct{ *scaler }

// NewGlobalPool plans y = pool(x), x N×C×H×W and y N×C×1×1. A tensor beyond the
// device's limits gives [gpu.ErrTooLarge].
func NewGlobalPool(d *gpu.Device, p conv.GlobalPool) (*GlobalPool, error) {
	s, err := newScaler(makerFor(d), "pool", p.Input(), p.Output(), false, true, float32s)
	return &GlobalPool{s}, err
}

// NewGlobalPoolBackward plans dx from dy, which Record takes in the places of y and x.
func NewGlobalPoolBackward(d *gpu.Device, p conv.GlobalPool) (*GlobalPool, error) {
	s, err := newScaler(makerFor(d), "pool", p.Input(), p.Output(), true, true, float32s)
	return &GlobalPool{s}, err
}
