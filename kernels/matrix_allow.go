//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
)

// Operands says that all inputs and weights that a plan will ever see are values of
// t: those of float16 and bfloat16 may go to matrix units as they are.
func Operands(t conv.Type) Option { return func(m *maker) { m.traits.Operands = t } }

// AllowSplit lets a plan split its float32 operands into three bfloat16 numbers
// each, for matrix units, where that is cheaper. Results are within
// [conv.Sum.Bound] like others; but an operand below 2⁻¹⁰² loses its last bits, and
// an infinite one makes NaN of what it reaches. On a device without matrix units
// for bfloat16 there is no plan then, but [conv.ErrUnsupported].
func AllowSplit(m *maker) { m.traits.Split = true }

// checkSplit refuses AllowSplit where nothing could come of it.
func (m maker) checkSplit() error {
	if m.traits.Split && m.traits.Units.BFloat16.M == 0 {
		return fmt.Errorf("kernels: %w: split float32 needs matrix units for bfloat16 with float32 sums, %s has none", conv.ErrUnsupported, m.device.Info().Name)
	}
	return nil
}
