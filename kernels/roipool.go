//go:build cgo

package kernels

import (
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// RoIPool is a plan of deformable RoI pooling, plain or position-sensitive.
// Backward every invocation owns what it adds to, and adds in a fixed order;
// there is no workspace.
type RoIPool struct {
	q                  conv.RoIPool
	elements           [callTensors]int
	forward, input     call
	both, offset, mask call // gradients by offset and mask: both, or one of them alone
}

// NewRoIPool plans q, which comes from a Problem method of package conv.
func NewRoIPool(device *gpu.Device, q conv.RoIPool) (*RoIPool, error) {
	return newRoIPool(device, q, indexLimit(device), float32s)
}

// newRoIPool plans q for tensors of at most limit elements of a precision.
func newRoIPool(device *gpu.Device, q conv.RoIPool, limit int, as precision) (*RoIPool, error) {
	p := &RoIPool{q: q}
	p.elements = [callTensors]int{callX: q.Input().Len(), callRegions: q.RoIShape().Len(), callY: q.Output().Len(), callDX: q.Input().Len()}
	if q.Offset {
		p.elements[callOffset], p.elements[callDOffset] = q.OffsetShape().Len(), q.OffsetShape().Len()
	}
	if q.Mask {
		p.elements[callMask], p.elements[callDMask] = q.MaskShape().Len(), q.MaskShape().Len()
	}
	if err := fits(limit, map[string]int{"the input": p.elements[callX], "the output": p.elements[callY], "the regions' tensor": p.elements[callRegions],
		"the offset tensor": q.OffsetShape().Len()}); err != nil {
		return nil, err
	}
	as.widen(p.elements[:])
	flag := map[bool]int{true: 1}
	push := map[string]int{"n": q.N, "c": q.C, "h": q.H, "w": q.W, "rois": q.RoIs, "k": q.K, "ho": q.Ho, "wo": q.Wo, "group": q.Group,
		"classes": q.Classes, "partY": q.PartY, "partX": q.PartX, "samples": q.Samples, "mostSamples": q.MaxSamples(),
		"scale": int(math.Float32bits(q.SpatialScale)), "gamma": int(math.Float32bits(q.Gamma))}
	// As many invocations as keep the device busy; each goes over all bins.
	enough := 1 << 14
	if device.Info().Type == gpu.Software {
		enough = 1 << 7
	}
	push["bands"] = max(min(ceil(enough, max(q.N*q.C, 1)), q.H), 1)
	prefix := as.prefix
	if q.PositionSensitive {
		prefix += "ps"
	}
	var failed error
	make := func(module string, items int, wants map[string]int) call {
		constants := map[string]int{"offsets": flag[q.Offset], "masks": flag[q.Mask]}
		for name, v := range wants {
			constants[name] = v
		}
		c, err := newCall(device, prefix+module, items, false, constants, push)
		if failed == nil {
			failed = err
		}
		return c
	}
	p.forward = make("roipool", q.Output().Len(), nil)
	p.input = make("roipool_grad_input", q.N*q.C*push["bands"], nil)
	parts := q.MaskShape().Len()
	p.both = make("roipool_grad_offset", parts, map[string]int{"wantOffset": 1, "wantMask": 1})
	p.offset = make("roipool_grad_offset", parts, map[string]int{"wantOffset": 1, "wantMask": 0})
	p.mask = make("roipool_grad_offset", parts, map[string]int{"wantOffset": 0, "wantMask": 1})
	return p, failed
}

// Workspace is 0.
func (p *RoIPool) Workspace() int64 { return 0 }

// Close does nothing: the plan holds no memory.
func (p *RoIPool) Close() {}

// Describe says how the plan runs.
func (p *RoIPool) Describe() string {
	return fmt.Sprintf("roipool: a bin of a channel an invocation, workgroups of %d", callSize)
}

// Record records y = pool(x) over rois; offset and mask are not looked at where
// the problem has none.
func (p *RoIPool) Record(s *gpu.Stream, y, x, rois, offset, mask Tensor) error {
	if p.elements[callY] == 0 {
		return nil
	}
	t, sizes := p.tensors(x, rois, offset, mask)
	t[callY] = y
	return p.forward.record(s, &t, &sizes)
}

// tensors binds the inputs. Where there is no offset or mask the regions are
// bound: something that may be read.
func (p *RoIPool) tensors(x, rois, offset, mask Tensor) ([callTensors]Tensor, [callTensors]int) {
	t, sizes := [callTensors]Tensor{callX: x, callRegions: rois, callOffset: offset, callMask: mask}, p.elements
	if !p.q.Offset {
		t[callOffset], sizes[callOffset] = rois, sizes[callRegions]
	}
	if !p.q.Mask {
		t[callMask], sizes[callMask] = rois, sizes[callRegions]
	}
	return t, sizes
}

// RecordBackward records the gradients dx, doffset and dmask, those that have a
// buffer, from dy.
func (p *RoIPool) RecordBackward(s *gpu.Stream, dx, doffset, dmask, x, rois, offset, mask, dy Tensor) error {
	t, sizes := p.tensors(x, rois, offset, mask)
	t[callY], t[callDX], t[callDOffset], t[callDMask] = dy, dx, doffset, dmask
	zero := func(at Tensor, n int) error {
		if at.Buf == nil {
			return nil
		}
		return s.Fill(at.Buf, at.Offset, 4*int64(n), 0)
	}
	if p.q.N == 0 || p.q.RoIs == 0 { // nothing reaches anything
		for slot, at := range t[callDX : callDMask+1] {
			if err := zero(at, sizes[callDX+slot]); err != nil {
				return err
			}
		}
		return nil
	}
	if dx.Buf != nil {
		if err := p.input.record(s, &t, &sizes); err != nil {
			return err
		}
	}
	// The one that is not wanted is bound to something that is not written.
	switch {
	case doffset.Buf != nil && dmask.Buf != nil:
		return p.both.record(s, &t, &sizes)
	case doffset.Buf != nil:
		t[callDMask], sizes[callDMask] = doffset, sizes[callDOffset]
		return p.offset.record(s, &t, &sizes)
	case dmask.Buf != nil:
		t[callDOffset], sizes[callDOffset] = dmask, sizes[callDMask]
		return p.mask.record(s, &t, &sizes)
	}
	return nil
}
