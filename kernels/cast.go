//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// Cast converts tensors between float32 and a 16-bit type, rounding to nearest,
// ties to even: the same bits as [conv.Type.Encode] and Decode. 16-bit tensors
// are padded to whole 32-bit words. What passes a binding is done in runs.
type Cast struct {
	pass     *pass
	traits   traits
	local    int
	elements int
	most     int // elements of a run
	narrow   bool
}

// NewCast plans the conversion of so many elements, from float32 to t with
// narrow, else from t to float32.
func NewCast(d *gpu.Device, t conv.Type, elements int, narrow bool) (*Cast, error) {
	if t != conv.Float16 && t != conv.BFloat16 {
		return nil, fmt.Errorf("kernels: %w: a cast is to or from float16 or bfloat16, not %v", conv.ErrParams, t)
	}
	return newCast(makerFor(d), t, elements, narrow)
}

func newCast(m maker, t conv.Type, elements int, narrow bool) (*Cast, error) {
	c := &Cast{traits: m.traits, local: localSize(m.traits), elements: elements, most: elements, narrow: narrow}
	if room := int(min(m.traits.StorageRange/4, 1<<30)); elements > room {
		if c.most = room / runStep * runStep; c.most == 0 {
			return nil, fmt.Errorf("kernels: %w: a cast takes runs of %d elements, a binding on this device at most %d bytes", gpu.ErrTooLarge, runStep, m.traits.StorageRange)
		}
	}
	if elements == 0 {
		return c, nil
	}
	values := map[string]int{"elements": c.most, "type": int(t), "narrow": 0}
	if narrow {
		values["narrow"] = 1
	}
	var err error
	c.pass, err = newPass(m, "cast", c.local, ceil(ceil(c.most, 2), c.local), values)
	return c, err
}

// Record records the conversion.
func (c *Cast) Record(s *gpu.Stream, to, from Tensor) error {
	if c.elements == 0 {
		return nil
	}
	for at := 0; at < c.elements; at += c.most {
		n := min(c.most, c.elements-at)
		push := patched(c.pass.module, c.pass.push)
		push.set("elements", n)
		run := func(t Tensor, wide bool) span {
			if wide {
				return span{Tensor{t.Buf, t.Offset + 4*int64(at)}, n}
			}
			return span{Tensor{t.Buf, t.Offset + 2*int64(at)}, ceil(n, 2)}
		}
		bound := [maxSpans]span{run(from, c.narrow), run(to, !c.narrow)}
		for i, name := range []string{"the tensor to cast", "the cast tensor"} {
			if err := checkSpan(name, bound[i]); err != nil {
				return err
			}
		}
		if err := c.pass.recordPart(s, c.traits, ceil(ceil(n, 2), c.local), &push, &bound); err != nil {
			return err
		}
	}
	return nil
}
