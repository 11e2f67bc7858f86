package vkconv

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"vkconv/conv"
)

// Stored makes a layer whose tensors are all of the type t, made by
// [Engine.NewTensorAs].
//
// Of Float16 and BFloat16 weights and biases are rounded to t, products and sums
// are in float32, results are rounded to t once; [conv.Type.Stored] bounds that.
// On a device with matrix units for t a convolution may be computed on them.
// It halves the memory of what lies between layers. To compute, the operands are
// widened into a workspace that belongs to the layer, see Workspace. A backward pass
// through an activation rounds its gradients alone: what it runs again stays float32;
// and so does everything inside an [ASPP], [DeformPack] or [Pyramid].
//
// Of [conv.Float64] everything is in float64, within [conv.Sum.Bound64]; weights
// may be given so by [Weights64]. It is for checking, not for speed: on a device
// an invocation computes an element at a time by the formula, on the CPU path the
// oracle does, which takes about 48 bytes for each result, computes all gradients
// if any, and looks at a run's context before it starts alone. A 3×3 convolution of
// 64 channels at 28×28 takes some 450 times as long as in float32 on two cores' CPU
// path and 120 times on llvmpipe there, the deformable one 240 and 120, its
// gradients on the CPU 1000. A device without double precision in its
// shaders refuses it with [conv.ErrUnsupported].
func Stored(t conv.Type) LayerOption { return func(o *layerOptions) { o.stored = t } }

// SplitFloat32 lets a [Conv2D] or [DeformConv2D] of float32 tensors be computed on
// matrix units for bfloat16 where that is faster: each operand is cut into three
// parts of 8 bits, which hold it exactly, and products of parts are summed in
// float32. Results are within [conv.Sum.Bound] like all others, but not those of
// the same layer without the option, bit by bit; an operand smaller than 2⁻¹⁰² loses
// its last bits, and an infinite one makes NaN of what it reaches. Describe tells
// whether a layer is computed so.
//
// A device that has no such units refuses it with [conv.ErrUnsupported], and so do
// the CPU path, other layers and those of other types.
func SplitFloat32() LayerOption { return func(o *layerOptions) { o.split = true } }

func refuseSplit(name string, t conv.Type) error {
	if t != conv.Float32 {
		return fmt.Errorf("%w: SplitFloat32 is for float32 tensors, the layer's are %v", conv.ErrUnsupported, t)
	}
	return fmt.Errorf("%w: SplitFloat32 is for Conv2D and DeformConv2D layers, not for %s", conv.ErrUnsupported, name)
}

// staging widens a layer's operands to float32 and narrows its results. A nil
// staging is that of a float32 layer.
type staging struct {
	engine *Engine
	t      conv.Type

	mu    sync.Mutex // one run at a time between widening and narrowing
	slots [maxOperands]stage
}

// stage is the staging of one operand, made when it is first used.
type stage struct {
	wide storage
	cast caster
	size int64 // bytes
}

func newStaging(e *Engine, t conv.Type) (*staging, error) {
	if err := t.Check(); err != nil || t == conv.Float32 || t == conv.Float64 {
		return nil, err
	}
	return &staging{engine: e, t: t}, nil
}

// bytes is the workspace in use.
func (s *staging) bytes() (n int64) {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slot := range s.slots {
		n += slot.size
	}
	return n
}

// round returns v as the type holds it.
func (s *staging) round(v []float32) []float32 {
	if s == nil {
		return v
	}
	v = slices.Clone(v)
	for i := range v {
		v[i] = s.t.Round(v[i])
	}
	return v
}

// slot returns the staging of operand i.
func (s *staging) slot(i int, o *operand) (*stage, error) {
	at := &s.slots[i]
	if at.wide != nil {
		return at, nil
	}
	n := o.want.Len()
	cast, err := s.engine.back.cast(n, s.t, o.role != input)
	if err != nil {
		return nil, fmt.Errorf("%s as %v: %w", o.name, s.t, err)
	}
	wide, err := s.engine.back.alloc(n, conv.Float32)
	if err != nil {
		return nil, fmt.Errorf("%s in float32: %w", o.name, err)
	}
	*at = stage{wide, cast, 4 * int64(n)}
	return at, nil
}

// run widens the inputs, runs the operator and narrows the outputs.
func (s *staging) run(ctx context.Context, op operator, operands []operand, given stores) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wide stores
	for i := range operands {
		if given[i] == nil {
			continue
		}
		o := &operands[i]
		slot, err := s.slot(i, o)
		if err != nil {
			return err
		}
		wide[i] = slot.wide
		if o.role == input {
			if err := slot.cast.cast(slot.wide, given[i]); err != nil {
				return err
			}
		}
	}
	if err := op.run(ctx, wide); err != nil {
		return err
	}
	for i := range operands {
		if given[i] != nil && operands[i].role != input {
			if err := s.slots[i].cast.cast(given[i], wide[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// free gives the workspace back.
func (s *staging) free() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		if s.slots[i].wide != nil {
			s.slots[i].wide.free()
		}
		s.slots[i] = stage{}
	}
}
