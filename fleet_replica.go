package vkconv

import (
	"context"
	"slices"
	"time"
	"unsafe"

	"vkconv/conv"
)

// replica is a fleet's layer on one device, for one image, with the tensors of the
// images under way.
type replica struct {
	engine   *Engine
	typ      conv.Type
	operands []fleetOperand
	layer    interface {
		SetWeights(weight, bias []float32) error
		Close()
	}
	queue func(ctx context.Context, t []*Tensor) error // the layer on tensors in the operands' order

	each   time.Duration // an image takes, 0 before it was measured
	slots  [][]*Tensor   // by image under way and operand, made when first needed
	totals []*total      // by operand
}

// total is a gradient summed over a device's images, in their order:
//
//	image 0 → sum        image i → next,  sum + next → other,  sum ↔ other
type total struct {
	sum, next, other *Tensor
	add              *Add
}

// Images whose operands together take waveBytes are under way on a device at once, at
// least one and at most waveImages: enough that waiting is little beside computing, and
// little memory.
const (
	waveBytes  = 64 << 20
	waveImages = 64
)

// compute computes images of the batches, given in the operands' order. It writes their
// results to their places there and returns the sums over these images, by operand.
func (r *replica) compute(ctx context.Context, images []int, data [][]float32) (sums [][]float32, err error) {
	bytes := int64(1)
	for j, o := range r.operands {
		if data[j] != nil && o.role != summed {
			bytes += r.typ.Bytes() * int64(o.shape.Len())
		}
	}
	first := true
	for wave := range slices.Chunk(images, int(max(1, min(waveBytes/bytes, waveImages)))) {
		for k, i := range wave {
			if err := r.start(ctx, k, i, data, first); err != nil {
				return nil, err
			}
			first = false
		}
		for k, i := range wave {
			for j, o := range r.operands {
				if data[j] == nil || o.role != result && o.role != wanted {
					continue
				}
				if err := r.slots[k][j].Download(ctx, imageOf(data[j], i, o)); err != nil {
					return nil, err
				}
			}
		}
	}
	sums = make([][]float32, len(data))
	for j, o := range r.operands {
		if o.role != summed || data[j] == nil {
			continue
		}
		sums[j] = make([]float32, o.shape.Len())
		if err := r.totals[j].sum.Download(ctx, sums[j]); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// start uploads image i into slot k and queues its computation.
func (r *replica) start(ctx context.Context, k, i int, data [][]float32, first bool) error {
	if k == len(r.slots) {
		r.slots = append(r.slots, make([]*Tensor, len(r.operands)))
	}
	if r.totals == nil {
		r.totals = make([]*total, len(r.operands))
	}
	t := make([]*Tensor, len(r.operands))
	for j, o := range r.operands {
		if o.shape == (conv.Shape{}) || data[j] == nil && o.role != perImage && o.role != result {
			continue
		}
		if o.role == summed {
			to, err := r.total(j, first)
			if err != nil {
				return err
			}
			t[j] = to
			continue
		}
		if err := r.make(&r.slots[k][j], o.shape); err != nil {
			return err
		}
		t[j] = r.slots[k][j]
		if o.role == perImage {
			if err := t[j].Upload(imageOf(data[j], i, o)); err != nil {
				return err
			}
		}
	}
	if err := r.queue(ctx, t); err != nil {
		return err
	}
	for j, o := range r.operands {
		if o.role != summed || t[j] == nil || first {
			continue
		}
		s := r.totals[j]
		if err := s.add.Run(ctx, s.other, s.sum, s.next); err != nil {
			return err
		}
		s.sum, s.other = s.other, s.sum
	}
	return nil
}

// total returns what an image's gradient by operand j goes to.
func (r *replica) total(j int, first bool) (*Tensor, error) {
	if r.totals[j] == nil {
		r.totals[j] = &total{}
	}
	s, shape := r.totals[j], r.operands[j].shape
	if first {
		return s.sum, r.make(&s.sum, shape)
	}
	if s.add == nil {
		add, err := r.engine.NewAdd(shape)
		if err != nil {
			return nil, err
		}
		s.add = add
	}
	if err := r.make(&s.other, shape); err != nil {
		return nil, err
	}
	return s.next, r.make(&s.next, shape)
}

// make makes a tensor that is not there yet.
func (r *replica) make(t **Tensor, shape conv.Shape) (err error) {
	if *t == nil {
		*t, err = r.engine.NewTensorAs(r.typ, shape)
	}
	return err
}

func (r *replica) close() {
	r.layer.Close()
	for _, slot := range r.slots {
		free(slot...)
	}
	for _, s := range r.totals {
		if s != nil {
			free(s.sum, s.next, s.other)
			if s.add != nil {
				s.add.Close()
			}
		}
	}
	r.slots, r.totals = nil, nil
}

// imageOf is image i of a batch.
func imageOf(batch []float32, i int, o fleetOperand) []float32 {
	n := o.shape.Len()
	return batch[i*n : (i+1)*n]
}

// overlap tells slices that have memory in common.
func overlap(a, b []float32) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	at, bt := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at < bt+4*uintptr(len(b)) && bt < at+4*uintptr(len(a))
}
