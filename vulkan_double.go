//go:build cgo

package vkconv

import (
	"fmt"

	"vkconv/conv"
)

func (v *vulkan) double(d double, weight, bias []float64) (operator64, error) {
	return nil, fmt.Errorf("%w: float64 on %s", conv.ErrUnsupported, v.name())
}
