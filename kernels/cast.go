//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// Cast converts tensors between float32 and a 16-bit type, rounding to nearest,
// ties to even: the same bits as [conv.Type.Encode] and Decode. 16-bit tensors
// are padded to whole 32-bit words.
type Cast struct {
	pass     *pass
	elements int
	narrow   bool
}

// NewCast plans the conversion of so many elements, from float32 to t with
// narrow, else from t to float32.
func NewCast(d *gpu.Device, t conv.Type, elements int, narrow bool) (*Cast, error) {
	if t != conv.Float16 && t != conv.BFloat16 {
		return nil, fmt.Errorf("kernels: %w: a cast is to or from float16 or bfloat16, not %v", conv.ErrParams, t)
	}
	traits := traitsOf(d.Info())
	if bytes := 4 * int64(elements); bytes > traits.StorageRange || elements > 1<<30 {
		return nil, fmt.Errorf("kernels: %w: a cast of %d float32 elements takes %d bytes, a binding on this device at most %d",
			gpu.ErrTooLarge, elements, bytes, traits.StorageRange)
	}
	if elements == 0 {
		return &Cast{}, nil
	}
	values := map[string]int{"elements": elements, "type": int(t), "narrow": 0}
	if narrow {
		values["narrow"] = 1
	}
	local := localSize(traits)
	p, err := newPass(d, "cast", local, ceil(ceil(elements, 2), local), values)
	if err != nil {
		return nil, err
	}
	return &Cast{p, elements, narrow}, nil
}

// Record records the conversion.
func (c *Cast) Record(s *gpu.Stream, to, from Tensor) error {
	if c.elements == 0 {
		return nil
	}
	wide, words := c.elements, ceil(c.elements, 2)
	bound := [maxSpans]span{{from, words}, {to, wide}}
	if c.narrow {
		bound = [maxSpans]span{{from, wide}, {to, words}}
	}
	for i, name := range []string{"the tensor to cast", "the cast tensor"} {
		if err := checkSpan(name, bound[i]); err != nil {
			return err
		}
	}
	return c.pass.record(s, &bound)
}
