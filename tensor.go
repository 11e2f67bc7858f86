package vkconv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"vkconv/conv"
)

// Tensor is a tensor on an engine's device, N×C×H×W, of float32 unless it was
// made by [Engine.NewTensorAs].
type Tensor struct {
	engine *Engine
	shape  conv.Shape
	typ    conv.Type

	of       *Tensor // whose channels from first on this is; nil for a whole tensor
	first    int
	part     *view // those channels' storage
	reshaped bool  // all of of, with other extents

	mu    sync.RWMutex
	store storage // nil after Free, and for channels of another tensor
}

// NewTensor makes a tensor; what it holds is undefined. A batch of 0 is fine.
func (e *Engine) NewTensor(s conv.Shape) (*Tensor, error) { return e.NewTensorAs(conv.Float32, s) }

// NewTensorAs makes a tensor that stores its elements as t, for layers made
// with [Stored]. A device without float64 refuses that with [conv.ErrUnsupported].
func (e *Engine) NewTensorAs(t conv.Type, s conv.Shape) (*Tensor, error) {
	if err := errors.Join(t.Check(), s.Check("tensor")); err != nil {
		return nil, err
	}
	done, err := e.use()
	if err != nil {
		return nil, err
	}
	defer done()
	store, err := e.back.alloc(s.Len(), t)
	if err != nil {
		return nil, fmt.Errorf("tensor %v: %w", s, err)
	}
	return &Tensor{engine: e, shape: s, typ: t, store: store}, nil
}

// TensorOf makes a tensor that holds data.
func (e *Engine) TensorOf(s conv.Shape, data []float32) (*Tensor, error) {
	t, err := e.NewTensor(s)
	if err != nil {
		return nil, err
	}
	if err := t.Upload(data); err != nil {
		t.Free()
		return nil, err
	}
	return t, nil
}

// Shape returns the tensor's shape.
func (t *Tensor) Shape() conv.Shape { return t.shape }

// bytes is the memory that the tensor takes.
func (t *Tensor) bytes() int64 { return t.typ.Bytes() * int64(t.shape.Len()) }

// Type returns how the tensor stores its elements.
func (t *Tensor) Type() conv.Type { return t.typ }

// Upload replaces what the tensor holds, after the work queued before; data may
// be reused when it returns. A 16-bit tensor takes the values rounded to nearest,
// ties to even; a float64 one as they are.
func (t *Tensor) Upload(data []float32) error {
	return t.with(len(data), func(s storage) error {
		switch t.typ {
		case conv.Float32:
			return s.upload(bytesOf(data))
		case conv.Float64:
			return s.upload(bytesOf(widened(data)))
		}
		narrow := make([]uint16, len(data))
		for i, v := range data {
			narrow[i] = t.typ.Encode(v)
		}
		return s.upload(bytesOf(narrow))
	})
}

// Download waits for the work queued so far and copies the tensor into dst,
// which has exactly its number of elements. Those of a float64 tensor are rounded.
func (t *Tensor) Download(ctx context.Context, dst []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.with(len(dst), func(s storage) error {
		switch t.typ {
		case conv.Float32:
			return s.download(ctx, bytesOf(dst))
		case conv.Float64:
			wide := make([]float64, len(dst))
			if err := s.download(ctx, bytesOf(wide)); err != nil {
				return err
			}
			for i, v := range wide {
				dst[i] = float32(v)
			}
			return nil
		}
		narrow := make([]uint16, len(dst))
		if err := s.download(ctx, bytesOf(narrow)); err != nil {
			return err
		}
		for i, b := range narrow {
			dst[i] = t.typ.Decode(b)
		}
		return nil
	})
}

// with calls f with the tensor kept alive, given that n is its number of elements.
func (t *Tensor) with(n int, f func(storage) error) error {
	if t == nil {
		return fmt.Errorf("%w: the tensor is nil", conv.ErrShape)
	}
	if n != t.shape.Len() {
		return fmt.Errorf("%w: data has %d elements, the tensor %v has %d", conv.ErrShape, n, t.shape, t.shape.Len())
	}
	done, err := t.engine.use()
	if err != nil {
		return err
	}
	defer done()
	if t.of != nil && !t.reshaped {
		return fmt.Errorf("%w: %v holds no data of its own, copy the whole tensor", conv.ErrUnsupported, t)
	}
	t = t.whole()
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.store == nil {
		return fmt.Errorf("tensor: %w", ErrClosed)
	}
	return f(t.store)
}

// Free gives the memory back when the work queued so far is done with it. It
// may be called twice, and after the engine's Close. Of channels of another
// tensor, and of nil, it does nothing.
func (t *Tensor) Free() {
	if t == nil || t.engine == nil {
		return
	}
	t.engine.mu.RLock()
	defer t.engine.mu.RUnlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.store != nil && !t.engine.closed {
		t.store.free()
	}
	t.store = nil
}

// bytesOf returns the memory of v, in the host's byte order, which is the device's.
func bytesOf[T float32 | float64 | uint16](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(*new(T))))
}
