//go:build cgo

package kernels

import (
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// normPiece is what a dispatch of batch normalization takes of a tensor: images,
// channels of one image, or pixels of one channel.
type normPiece struct {
	b                       conv.BatchNorm
	image, channel, pixel   int // the first
	images, channels, count int // how many; count pixels of each
}

// normPieces cuts a tensor, no element twice. None for an empty one.
func normPieces(b conv.BatchNorm, t traits) (pieces []normPiece) {
	n, plane := b.Input().Len(), b.H*b.W
	if n == 0 {
		return nil
	}
	room := int(min(t.StorageRange/4, math.MaxInt32-1<<20))
	part := normPiece{b: b, images: b.N, channels: b.C, count: plane}
	if n > room {
		room -= granule / 4 // before the first element there may be others
		part.images = max(1, room/(b.C*plane))
		if part.images*b.C*plane > room {
			part.channels = max(1, min(b.C, room/plane))
		}
		part.count = min(plane, room)
	}
	for image := 0; image < b.N; image += part.images {
		for channel := 0; channel < b.C; channel += part.channels {
			for pixel := 0; pixel < plane; pixel += part.count {
				pieces = append(pieces, normPiece{b, image, channel, pixel,
					min(part.images, b.N-image), min(part.channels, b.C-channel), min(part.count, plane-pixel)})
			}
		}
	}
	return pieces
}

// elements is how many there are.
func (p normPiece) elements() int { return p.images * p.channels * p.count }

// values are the push constants that say which piece it is, where before elements
// of the binding lie before it.
func (p normPiece) values(parts, before int) map[string]int {
	values := p.images * p.count // of a channel
	goesOn := 0
	if p.image > 0 || p.pixel > 0 {
		goesOn = 1
	}
	return map[string]int{"firstChannel": p.channel, "channels": p.channels, "pixels": p.count, "values": values, "share": ceil(values, parts),
		"phase": (p.image*p.b.H*p.b.W + p.pixel) % parts, "before": before, "goesOn": goesOn}
}

// each records a pass for all pieces of the tensors bound at the places cut. sums
// says that it has an invocation for each partial sum, not each element.
func (p *BatchNorm) each(s *gpu.Stream, of *pass, sums bool, bound [maxSpans]span, cut ...int) error {
	if len(p.pieces) == 1 {
		return of.record(s, &bound)
	}
	plane := p.b.H * p.b.W
	for _, piece := range p.pieces {
		at := bound
		first := 4 * int64((piece.image*p.b.C+piece.channel)*plane+piece.pixel)
		before := int(first % p.align / 4)
		span := ((piece.images-1)*p.b.C+piece.channels-1)*plane + piece.count
		for _, i := range cut {
			at[i].Offset += first - int64(4*before)
			at[i].elements = before + span
		}
		items := piece.elements()
		if sums {
			items = piece.channels * p.parts
		}
		push := patched(of.module, of.push)
		for name, v := range piece.values(max(p.parts, 1), before) {
			push.set(name, v)
		}
		push.set("items", items)
		if err := of.recordPart(s, p.traits, ceil(items, localSize(p.traits)), &push, &at); err != nil {
			return err
		}
	}
	return nil
}
