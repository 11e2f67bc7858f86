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
	totals []total       // by operand
}

// total is a gradient summed over a device's images, in their order:
//
//	image 0 → sum        image i → next,  sum + next → other,  sum ↔ other
type total struct {
	sum, next, other *Tensor
	add              *Add
}

// A wave of images is under way on a device at once, as many as waveBytes of operands, at
// least one and at most waveImages: enough that waiting is little beside computing, and
// little memory. A part of it, as many as partBytes, is uploaded before any of it is
// queued, for an upload submits what was queued before. So small images are submitted
// together (64 of 8×7×7 take 3.0 ms on llvmpipe, one by one 3.3 ms), and large ones
// uploaded while the device computes others.
const (
	waveBytes  = 64 << 20
	waveImages = 64
	partBytes  = 1 << 20
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
	fit := func(room int64) int { return int(max(1, min(room/bytes, waveImages))) }
	first := true
	for wave := range slices.Chunk(images, fit(waveBytes)) {
		done := 0
		for part := range slices.Chunk(wave, fit(partBytes)) {
			for k, i := range part {
				if err := r.upload(done+k, i, data); err != nil {
					return nil, err
				}
			}
			for range part {
				if err := r.start(ctx, done, data, first); err != nil {
					return nil, err
				}
				done++
				first = false
			}
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

// upload copies what image i reads into slot k.
func (r *replica) upload(k, i int, data [][]float32) error {
	if k == len(r.slots) {
		r.slots = append(r.slots, make([]*Tensor, len(r.operands)))
	}
	for j, o := range r.operands {
		if o.role != perImage || o.shape == (conv.Shape{}) {
			continue
		}
		t, err := r.tensor(&r.slots[k][j], o.shape)
		if err != nil {
			return err
		}
		if err := t.Upload(imageOf(data[j], i, o)); err != nil {
			return err
		}
	}
	return nil
}

// start queues the computation of the image in slot k; first is whether sums begin with it.
func (r *replica) start(ctx context.Context, k int, data [][]float32, first bool) (err error) {
	if r.totals == nil {
		r.totals = make([]total, len(r.operands))
	}
	t := make([]*Tensor, len(r.operands))
	for j, o := range r.operands {
		switch {
		case o.shape == conv.Shape{} || data[j] == nil && o.role != perImage && o.role != result:
		case o.role != summed:
			t[j], err = r.tensor(&r.slots[k][j], o.shape)
		case first:
			t[j], err = r.tensor(&r.totals[j].sum, o.shape)
		default:
			t[j], err = r.tensor(&r.totals[j].next, o.shape)
		}
		if err != nil {
			return err
		}
	}
	if err := r.queue(ctx, t); err != nil || first {
		return err
	}
	for j, o := range r.operands {
		if o.role == summed && t[j] != nil {
			if err := r.addNext(ctx, &r.totals[j], o.shape); err != nil {
				return err
			}
		}
	}
	return nil
}

// addNext queues the addition of an image's gradient to the sum.
func (r *replica) addNext(ctx context.Context, s *total, shape conv.Shape) (err error) {
	if s.add == nil {
		if s.add, err = r.engine.NewAdd(shape); err != nil {
			return err
		}
	}
	other, err := r.tensor(&s.other, shape)
	if err != nil {
		return err
	}
	if err := s.add.Run(ctx, other, s.sum, s.next); err != nil {
		return err
	}
	s.sum, s.other = s.other, s.sum
	return nil
}

// tensor returns the tensor kept at t, made where there is none yet.
func (r *replica) tensor(t **Tensor, shape conv.Shape) (*Tensor, error) {
	if *t == nil {
		made, err := r.engine.NewTensorAs(r.typ, shape)
		if err != nil {
			return nil, err
		}
		*t = made
	}
	return *t, nil
}

func (r *replica) close() {
	r.layer.Close()
	for _, slot := range r.slots {
		free(slot...)
	}
	for _, s := range r.totals {
		free(s.sum, s.next, s.other)
		if s.add != nil {
			s.add.Close()
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
