//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// doubleRun records pieces: the tensors as the convolution has them, of which a
// transposed one exchanges x and y.
type doubleRun struct {
	*doublePieces
	s                            *gpu.Stream
	x, y                         View // or gradients by them
	offset, mask, dOffset, dMask Tensor
	image                        int
}

// lodged is a part of a tensor where a binding may start.
type lodged struct {
	span
	back func() error // puts it where it belongs
}

// rows are those of a band, in words.
func (r *doubleRun) rows(q *doublePiece) rowsOf {
	return rowsOf{2 * r.p.Wo, r.p.Ho, q.row, q.part.Ho}
}

// lodge binds so many planes of t from a first one on, rows of them: where they
// lie, or in the room. keep says that what is there is needed.
func (r *doubleRun) lodge(t Tensor, first, planes int, rows rowsOf, room int, keep bool) (lodged, error) {
	at := lodged{span{t, planes * rows.elements()}, func() error { return nil }}
	at.Offset += 4 * int64(first) * int64(rows.width*rows.height)
	if rows.rows == rows.height && at.Offset%r.device.Info().Limits.StorageAlign == 0 {
		return at, checkSpan("a tensor", at.span)
	}
	whole := at.Tensor
	at.Tensor = Tensor{Buf: r.rooms[room]}
	if rows.rows == rows.height { // in one copy
		rows = rowsOf{width: planes * rows.width, height: rows.height, rows: rows.rows}
		planes = 1
	}
	at.back = func() error { return copyBand(r.s, at.Tensor, whole, rows, planes, true) }
	if !keep {
		return at, nil
	}
	return at, copyBand(r.s, at.Tensor, whole, rows, planes, false)
}

// bindX binds the piece's channels of x.
func (r *doubleRun) bindX(q *doublePiece, keep bool) (lodged, error) {
	v := r.x.wide(r.p.C)
	return r.lodge(v.Tensor, r.image*v.Channels+v.First+q.c, q.part.C, rowsOf{2 * r.p.W, r.p.H, 0, r.p.H}, doubleX, keep)
}

// bindY binds the piece's channels and rows of y.
func (r *doubleRun) bindY(q *doublePiece, keep bool) (lodged, error) {
	v := r.y.wide(r.p.K)
	return r.lodge(v.Tensor, r.image*v.Channels+v.First+q.k, q.part.K, r.rows(q), doubleY, keep)
}

// bindOffsets binds offset and mask, or gradients by them; without a mask the
// offset in its place.
func (r *doubleRun) bindOffsets(q *doublePiece, offset, mask Tensor, room int, keep bool) (at, m lodged, err error) {
	if !r.p.Deformable() {
		return at, m, nil
	}
	group, taps := r.image*r.p.OffsetGroups+q.q, r.p.Taps()
	if offset.wants() {
		at, err = r.lodge(offset, 2*taps*group, 2*taps*q.part.OffsetGroups, r.rows(q), room, keep)
	}
	if err == nil && r.p.Mask && mask.wants() {
		m, err = r.lodge(mask, taps*group, taps*q.part.OffsetGroups, r.rows(q), room+1, keep)
	}
	if !m.wants() {
		m.span = at.span
	}
	if !at.wants() {
		at.span = m.span
	}
	return at, m, err
}

// each calls f for the pieces of all images.
func (r *doubleRun) each(f func(q *doublePiece) error) error {
	for r.image = range r.p.N {
		for i := range r.pieces {
			if err := f(&r.pieces[i]); err != nil {
				return fmt.Errorf("kernels: %w", err)
			}
		}
	}
	return nil
}

// output records y = conv(x) over the blocks of x's channels.
func (r *doubleRun) output(flags int) error {
	return r.each(func(q *doublePiece) error {
		x, err := r.bindX(q, true)
		if err != nil {
			return err
		}
		at, m, err := r.bindOffsets(q, r.offset, r.mask, doubleOffset, true)
		if err != nil {
			return err
		}
		y, err := r.bindY(q, !q.starts)
		if err != nil {
			return err
		}
		w, bias := q.constants()
		bound := []span{x.span, w, bias, y.span}
		if r.p.Deformable() {
			bound = []span{x.span, w, bias, at.span, m.span, y.span}
		}
		if err := q.output.record(r.s, goingOn(flags, q.starts, q.ends), nil, bound...); err != nil {
			return err
		}
		return y.back()
	})
}

// input records dx, or a transposed convolution, over the blocks of y's channels.
func (r *doubleRun) input(flags int) error {
	return r.each(func(q *doublePiece) error {
		dy, err := r.bindY(q, true)
		if err != nil {
			return err
		}
		at, m, err := r.bindOffsets(q, r.offset, r.mask, doubleOffset, true)
		if err != nil {
			return err
		}
		starts := q.startsK && q.row == 0
		dx, err := r.bindX(q, !starts)
		if err != nil {
			return err
		}
		w, bias := q.constants()
		if !r.p.Deformable() {
			err = q.input.record(r.s, goingOn(flags, starts, q.endsK), nil, dy.span, w, bias, dx.span)
		} else {
			if starts {
				err = fill(r.s, dx.span)
			}
			if err == nil {
				err = q.input.record(r.s, flags, nil, dy.span, w, at.span, m.span, dx.span)
			}
		}
		if err != nil {
			return err
		}
		return dx.back()
	})
}

// sums records the gradients by weight and bias that are wanted. They go on over
// images and bands.
func (r *doubleRun) sums(dWeight, dBias Tensor) error {
	return r.each(func(q *doublePiece) error {
		has := q.starts
		first, channels := q.k, q.part.K
		if r.transposed {
			has, first, channels = q.startsK, q.c, q.part.C
		}
		has = has && dBias.wants()
		if !has && !dWeight.wants() {
			return nil
		}
		var x, dy lodged
		var err error
		if dWeight.wants() || r.transposed {
			if x, err = r.bindX(q, true); err != nil {
				return err
			}
		}
		if dWeight.wants() || !r.transposed {
			if dy, err = r.bindY(q, true); err != nil {
				return err
			}
		}
		starts := r.image == 0 && q.row == 0
		if dWeight.wants() {
			if err := r.weightOf(q, dWeight, x.span, dy.span, starts); err != nil {
				return err
			}
		}
		if !has {
			return nil
		}
		to, err := r.lodge(dBias, first, channels, rowsOf{2, 1, 0, 1}, doubleDBias, !starts)
		if err != nil {
			return err
		}
		from := dy.span
		if r.transposed {
			from = x.span
		}
		if err := q.sum.record(r.s, goingOn(0, starts, true), nil, from, to.span); err != nil {
			return err
		}
		return to.back()
	})
}

// weightOf records a block of dweight, gathered where it has been begun.
func (r *doubleRun) weightOf(q *doublePiece, to Tensor, x, dy span, starts bool) error {
	at, m, err := r.bindOffsets(q, r.offset, r.mask, doubleOffset, true)
	if err != nil {
		return err
	}
	own := span{Tensor{Buf: r.rooms[doubleDWeight]}, 2 * q.part.Weight().Len()}
	move := func(back bool) error {
		return blockRows(r.p, q.part, q.k, q.c, func(inBlock, inWhole, n int) error {
			if back {
				return r.s.Copy(to.Buf, to.Offset+8*int64(inWhole), own.Buf, 8*int64(inBlock), 8*int64(n))
			}
			return r.s.Copy(own.Buf, 8*int64(inBlock), to.Buf, to.Offset+8*int64(inWhole), 8*int64(n))
		})
	}
	if !starts {
		if err := move(false); err != nil {
			return err
		}
	}
	bound := []span{x, dy, own}
	if r.p.Deformable() {
		bound = []span{x, dy, at.span, m.span, own}
	}
	if err := q.weights.record(r.s, goingOn(r.flags, starts, true), nil, bound...); err != nil {
		return err
	}
	return move(true)
}

// shifts records the gradients by offset and mask, over the blocks of an offset
// group's channels.
func (r *doubleRun) shifts(flags int) error {
	return r.each(func(q *doublePiece) error {
		x, err := r.bindX(q, true)
		if err != nil {
			return err
		}
		dy, err := r.bindY(q, true)
		if err != nil {
			return err
		}
		at, m, err := r.bindOffsets(q, r.offset, r.mask, doubleOffset, true)
		if err != nil {
			return err
		}
		to, toMask, err := r.bindOffsets(q, r.dOffset, r.dMask, doubleDOffset, !q.startsOffsets)
		if err != nil {
			return err
		}
		w, _ := q.constants()
		if err := q.shift.record(r.s, goingOn(flags, q.startsOffsets, true), nil, x.span, dy.span, w, at.span, m.span, to.span, toMask.span); err != nil {
			return err
		}
		for _, l := range []lodged{to, toMask} {
			if l.back != nil {
				if err := l.back(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// constants are the piece's weight and bias.
func (q *doublePiece) constants() (weight, bias span) {
	return span{Tensor{Buf: q.weight}, 2 * q.part.Weight().Len()}, span{Tensor{Buf: q.bias}, 2 * int(q.bias.Size()/8)}
}

// goingOn adds to flags that a sum has begun before, and whether it ends here.
func goingOn(flags int, starts, ends bool) int {
	if !starts {
		flags |= doubleGoesOn
	}
	if !ends {
		flags |= doubleUnfinished
	}
	return flags
}

// record runs a Double in pieces.
func (d *doublePieces) record(backward bool) func(s *gpu.Stream, t DoubleTensors) error {
	forward := func(s *gpu.Stream, t DoubleTensors) error {
		r := doubleRun{doublePieces: d, s: s, x: t[1], y: t[0], offset: t[2].Tensor, mask: t[3].Tensor}
		if d.transposed {
			r.x, r.y = t[0], t[1]
			return r.input(d.flags)
		}
		return r.output(d.flags)
	}
	if !backward {
		return forward
	}
	return func(s *gpu.Stream, t DoubleTensors) error {
		last := 6
		if d.p.Deformable() {
			last = 8
		}
		x, dy := t[5], t[last]
		r := doubleRun{doublePieces: d, s: s, x: x, y: dy, offset: t[6].Tensor, mask: t[7].Tensor, dOffset: t[3].Tensor, dMask: t[4].Tensor}
		if d.transposed { // the other way's input is dy
			r.x, r.y = dy, x
		}
		if t[0].wants() {
			in := r
			var err error
			if d.transposed {
				in.y = t[0]
				err = in.output(0)
			} else {
				in.x = t[0]
				err = in.input(d.flags)
			}
			if err != nil {
				return err
			}
		}
		if t[1].wants() || t[2].wants() {
			if err := r.sums(t[1].Tensor, t[2].Tensor); err != nil {
				return err
			}
		}
		flags := d.flags
		for i, flag := range []int{doubleOffsets, doubleMasks} {
			if t[3+i].wants() {
				flags |= flag
			}
		}
		if flags == d.flags {
			return nil
		}
		return r.shifts(flags)
	}
}

// planPieces plans a convolution whose tensors pass a binding.
func (b *Double) planPieces(m maker, p conv.Problem, transposed, backward bool) error {
	if backward {
		p.Activation, p.Bias = conv.Activation{}, false
	}
	d, err := newDoublePieces(m, p, transposed, backward)
	if err != nil {
		return err
	}
	b.pieces, b.workspace, b.describe = d, d.size, d.describe()
	b.record = d.record(backward)
	return nil
}
