package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
	"vkconv/cpuref/fast"
)

// Channels returns channels [from, to) of the tensor as a tensor that shares its
// memory: a layer that writes there does what a concatenation would copy.
//
// It may be output and input of [Conv2D], [DeformConv2D], [Resize], [GlobalPool]
// and the gradients of the latter two, and has no data of its own: Upload and
// Download go through the whole tensor. It lives as long as that: after the whole tensor's Free a layer's
// run answers [ErrClosed].
func (t *Tensor) Channels(from, to int) (*Tensor, error) {
	if from < 0 || to > t.shape[1] || from >= to {
		return nil, fmt.Errorf("%w: channels %d to %d of a tensor %v, must be a range within 0 to %d", conv.ErrShape, from, to, t.shape, t.shape[1])
	}
	if t.reshaped {
		return nil, fmt.Errorf("%w: channels of %v, take them of the tensor that it was made of", conv.ErrUnsupported, t)
	}
	shape := t.shape
	shape[1] = to - from
	of := t.whole()
	of.mu.RLock()
	defer of.mu.RUnlock()
	part := &view{of.store, of.shape, t.first + from}
	return &Tensor{engine: t.engine, shape: shape, typ: t.typ, of: of, first: part.first, part: part}, nil
}

// Reshape returns the tensor with other extents of as many elements, in the same
// memory and order: what flattening and the like are. It lives as long as the
// tensor that it was made of.
func (t *Tensor) Reshape(s conv.Shape) (*Tensor, error) {
	if err := s.Check("tensor"); err != nil {
		return nil, err
	}
	if s.Len() != t.shape.Len() {
		return nil, fmt.Errorf("%w: a tensor %v cannot be %v, it has %d elements", conv.ErrShape, t.shape, s, t.shape.Len())
	}
	if t.of != nil && !t.reshaped {
		return nil, fmt.Errorf("%w: %v do not lie together and have no other shape", conv.ErrUnsupported, t)
	}
	return &Tensor{engine: t.engine, shape: s, typ: t.typ, of: t.whole(), reshaped: true}, nil
}

// String says what the tensor is.
func (t *Tensor) String() string {
	if t.of == nil || t.reshaped {
		return fmt.Sprintf("tensor %v of %v", t.shape, t.typ)
	}
	return fmt.Sprintf("channels %d to %d of a tensor %v", t.first, t.first+t.shape[1], t.of.shape)
}

// whole is the tensor whose memory it is.
func (t *Tensor) whole() *Tensor {
	if t.of != nil {
		return t.of
	}
	return t
}

// overlaps tells of two tensors of the same memory whether they share a channel.
func (t *Tensor) overlaps(u *Tensor) bool {
	return t.reshaped || u.reshaped || t.first < u.first+u.shape[1] && u.first < t.first+t.shape[1]
}

// view is the storage of channels of a wider tensor.
type view struct {
	storage // the wider tensor's
	whole   conv.Shape
	first   int
}

// cpuViews is a cpuOperator whose first two operands, output and input, may be views.
type cpuViews struct {
	cpuOperator
	strided func(ctx context.Context, t onHost, st fast.Strides) error
}

func (o *cpuViews) run(ctx context.Context, operands stores) error {
	var t onHost
	var strides [maxOperands]int
	for i, s := range operands {
		switch s := s.(type) {
		case *view:
			plane := s.whole[2] * s.whole[3]
			t[i], strides[i] = s.storage.(*hostTensor).data, s.whole[1]*plane
			t[i] = t[i][min(s.first*plane, len(t[i])):]
		case nil:
		default:
			t[i] = s.(*hostTensor).data
		}
	}
	if strides[0]|strides[1] == 0 {
		return o.compute(ctx, t)
	}
	return o.strided(ctx, t, fast.Strides{Y: strides[0], X: strides[1]})
}
