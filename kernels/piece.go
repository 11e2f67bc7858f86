//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// piece is one of a split problem's: images or rows from here on.
type piece struct {
	*piecewise
	stream     *gpu.Stream
	image, row int
}

// record records the piece of one block of output channels. in are its offsets
// and masks.
func (p piece) record(b int, y, x View, in [2]Tensor) error {
	whole := &p.whole
	k, c := p.blockAt(b)
	x.First, y.First = x.First+c, y.First+k
	x.Offset += 4 * int64(p.image) * int64(x.Channels*whole.H*whole.W)
	y.Offset += 4 * int64(p.image) * int64(y.Channels*whole.Ho*whole.Wo)
	o := p.blocks[b]
	if !p.banded {
		return o.recordForward(p.stream, y, x, in[0], in[1])
	}
	push := patched(o.module, o.push)
	if whole.Deformable() { // its rows are counted from the band's first
		push.set("top", whole.Pad.Top-p.row*whole.StrideY)
	} else {
		if b == 0 || whole.Groups > 1 { // the same for every block else
			if err := p.gather(x); err != nil {
				return err
			}
		}
		x = View{Tensor: Tensor{Buf: p.room[slotX]}}
	}
	if err := o.recordFrom(p.stream, push.push(), View{Tensor: Tensor{Buf: p.room[slotY]}}, x, in[0], in[1]); err != nil {
		return err
	}
	band := rowsOf{width: whole.Wo, height: whole.Ho, row: p.row, rows: p.part.Ho}
	for i := range p.part.K {
		if err := p.copyRows(y.Tensor, band.at(y.First+i), Tensor{Buf: p.room[slotY]}, i*band.elements(), band.elements()); err != nil {
			return fmt.Errorf("kernels: y: %w", err)
		}
	}
	return nil
}

// rowsOf are some rows of planes.
type rowsOf struct{ width, height, row, rows int }

func (r rowsOf) elements() int { return r.rows * r.width }

// at is the element where they start in a plane.
func (r rowsOf) at(plane int) int { return (plane*r.height + r.row) * r.width }

// copyRows records a copy of elements, from and to given in elements behind the
// tensors' own offsets.
func (p piece) copyRows(dst Tensor, to int, src Tensor, from, elements int) error {
	return p.stream.Copy(dst.Buf, dst.Offset+4*int64(to), src.Buf, src.Offset+4*int64(from), 4*int64(elements))
}

// gather copies the rows of x that the band's outputs are made of, in the order
// that the padding mode makes of them; beyond zeros' edge there are zeros.
func (p piece) gather(x View) error {
	whole, band := &p.whole, Tensor{Buf: p.room[slotX]}
	first := p.row*whole.StrideY - whole.Pad.Top
	each := p.part.H * whole.W // elements of a channel of the band
	for row := 0; row < p.part.H; {
		from, n := p.run(first+row, p.part.H-row)
		for c := range p.part.C {
			to := c*each + row*whole.W
			var err error
			if from < 0 {
				err = p.stream.Fill(band.Buf, 4*int64(to), 4*int64(n*whole.W), 0)
			} else {
				src := rowsOf{width: whole.W, height: whole.H, row: from}
				err = p.copyRows(band, to, x.Tensor, src.at(x.First+c), n*whole.W)
			}
			if err != nil {
				return fmt.Errorf("kernels: x: %w", err)
			}
		}
		row += n
	}
	return nil
}

// run is the row of the image that stands at row, and how many rows behind one
// another, at most n, stand there with it; −1 for zeros.
func (p piece) run(row, n int) (from, rows int) {
	from = conv.MapPad(p.whole.Mode, row, p.whole.H)
	step := 1
	if from < 0 { // zeros are alike
		step = 0
	}
	for rows = 1; rows < n && conv.MapPad(p.whole.Mode, row+rows, p.whole.H) == from+rows*step; rows++ {
	}
	return from, rows
}

// deformation is where the piece's offsets and masks are bound: where they lie,
// or copied where that cannot be.
func (p piece) deformation(offset, mask Tensor) (in [2]Tensor, err error) {
	whole := &p.whole
	if !whole.Deformable() {
		return in, nil
	}
	align := p.device.Info().Limits.StorageAlign
	place := func(i, channels int, t Tensor) (Tensor, error) {
		image := channels * whole.Ho * whole.Wo
		t.Offset += 4 * int64(p.image) * int64(image)
		room := Tensor{Buf: p.room[i]}
		switch {
		case p.banded:
			band := rowsOf{width: whole.Wo, height: whole.Ho, row: p.row, rows: p.part.Ho}
			for c := range channels {
				if err := p.copyRows(room, c*band.elements(), t, band.at(c), band.elements()); err != nil {
					return room, err
				}
			}
			return room, nil
		case t.Offset%align != 0:
			return room, p.copyRows(room, 0, t, 0, p.part.N*image)
		}
		return t, nil
	}
	points := whole.OffsetGroups * whole.Taps()
	if in[0], err = place(slotOffset, 2*points, offset); err == nil && whole.Mask {
		in[1], err = place(slotMask, points, mask)
	}
	if err != nil {
		err = fmt.Errorf("kernels: offset and mask: %w", err)
	}
	return in, err
}
