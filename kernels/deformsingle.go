//go:build cgo

package kernels

import (
	"errors"
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// deformSingle computes the gradients of one image of a deformable convolution
// where its tensors pass a binding: blocks of channels of x (deformblocks.go), and
// for each of them bands of rows of dy, offset and mask, which are gathered.
//
//	              rows of the output →
//	channels  ┌──────┬──────┬───┐   dx, dweight: added up along a row of this table,
//	of x   ↓  │      │      │   │   doffset, dmask: along a column, over the blocks of
//	          ├──────┼──────┼───┤   an offset group
//	          └──────┴──────┴───┘
//
// doffset and dmask have the bits of the whole where x is not cut.
type deformSingle struct {
	whole  conv.Problem
	blocks []deformTile
	rows   int // of a band, but perhaps the last
	scratch
	raw       []*gpu.Buffer // weights of the blocks
	workspace *gpu.Buffer   // of all plans, which are never under way at once
	rooms     [tileRooms]*gpu.Buffer
}

// deformTile is a plan for a block and a band.
type deformTile struct {
	deformBlock
	row, rows       int
	plan            *DeformConv2DBackward
	addX            *flat // to dx of earlier bands
	addWeight       *flat
	addBias         *flat
	addOff, addMask *flat // to those of earlier blocks
	lastRow         bool
}

// What is not bound where it lies.
const (
	roomX = iota
	roomDY
	roomOffset
	roomMask
	roomDX
	roomDOffset
	roomDMask
	roomDWeight
	roomDBias
	roomShareX // shares that are to be added
	roomShareOffset
	roomShareMask
	roomShareWeight
	roomShareBias
	tileRooms
)

func newDeformSingle(m maker, p conv.Problem, weight []float32) (*deformSingle, error) {
	p, m.tuning = normal(p), nil // pieces are chosen by the cost model
	p.Bias, p.Activation = false, conv.Activation{}
	d := &deformSingle{whole: p, scratch: scratch{device: m.device}}
	err := (&backward{problem: p}).checkWeight(weight)
	if err == nil {
		err = checkSingle(p, m.traits)
	}
	if err != nil {
		return nil, err
	}
	cut, err := newDeformBlocks(p, m.traits)
	if err != nil {
		return nil, err
	}
	if d.rows, err = cut.bandRows(m.traits); err == nil {
		err = cut.each(func(b deformBlock) error { return d.planBlock(m, b) })
	}
	if err == nil {
		err = d.reserve()
	}
	if err == nil {
		err = d.SetWeights(weight)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *deformSingle) planBlock(m maker, b deformBlock) error {
	p := &d.whole
	for row := 0; row < p.Ho; row += d.rows {
		t := deformTile{deformBlock: b, row: row, rows: min(d.rows, p.Ho-row), lastRow: row+d.rows >= p.Ho}
		t.part.Ho = t.rows
		t.part.Pad.Top -= row * p.StrideY
		t.plan = &DeformConv2DBackward{}
		err := t.plan.init(m, t.part)
		if err == nil {
			err = t.plan.plan(m)
		}
		add := func(to **flat, wanted bool, n int) {
			if err == nil && wanted {
				*to, err = newFlat(m, "add", n, []string{"a gradient", "a share of it", "a gradient"}, []int{n, n, n}, nil)
			}
		}
		add(&t.addX, row > 0, t.part.Input().Len())
		add(&t.addWeight, row > 0, t.part.Weight().Len())
		add(&t.addBias, row > 0 && b.starts, t.part.K)
		add(&t.addOff, !b.startsOffsets, t.part.Offset().Len())
		add(&t.addMask, !b.startsOffsets && p.Mask, t.part.MaskShape().Len())
		if err != nil {
			return err
		}
		d.blocks = append(d.blocks, t)
	}
	return nil
}

// reserve makes the rooms, for the largest of all tiles, and the workspace.
func (d *deformSingle) reserve() (err error) {
	var need [tileRooms]int
	var workspace int64
	for _, t := range d.blocks {
		t.plan.layOut()
		workspace = max(workspace, t.plan.size)
		x, y, weight := t.part.Input().Len(), t.part.Output().Len(), t.part.Weight().Len()
		offset, mask := t.part.Offset().Len(), t.part.MaskShape().Len()
		for i, n := range map[int]int{roomX: x, roomDY: y, roomOffset: offset, roomDOffset: offset, roomDX: x, roomDWeight: weight, roomDBias: t.part.K} {
			need[i] = max(need[i], n)
		}
		if d.whole.Mask {
			need[roomMask] = max(need[roomMask], mask)
			need[roomDMask] = need[roomMask]
		}
		for i, add := range map[int]*flat{roomShareX: t.addX, roomShareWeight: t.addWeight, roomShareBias: t.addBias, roomShareOffset: t.addOff, roomShareMask: t.addMask} {
			if add != nil {
				need[i] = max(need[i], add.items)
			}
		}
		if t.row == 0 {
			raw, err := d.device.NewBuffer(4 * int64(weight))
			if err != nil {
				return fmt.Errorf("kernels: weight: %w", err)
			}
			d.raw = append(d.raw, raw)
		}
	}
	if !d.unaligned(d.whole.H * d.whole.W) {
		need[roomX], need[roomDX] = 0, 0
	}
	for i, n := range need {
		if n > 0 {
			if d.rooms[i], err = d.buffer(n); err != nil {
				return err
			}
		}
	}
	if d.workspace, err = d.buffer(int(workspace / 4)); err != nil {
		return err
	}
	block := -1
	for _, t := range d.blocks {
		if t.row == 0 {
			block++
		}
		t.plan.raw, t.plan.workspace = d.raw[block], d.workspace
	}
	return nil
}

// RecordBackward records the gradients that g wants.
func (d *deformSingle) RecordBackward(s *gpu.Stream, g Grads, x, offset, mask, dy Tensor) error {
	if g.Mask.wants() && !d.whole.Mask {
		return fmt.Errorf("kernels: %w: a gradient by the mask is wanted, and the problem has none", conv.ErrParams)
	}
	if err := d.check(g, x, offset, mask, dy); err != nil {
		return err
	}
	for i := range d.blocks {
		if err := d.blocks[i].record(s, d, g, x, offset, mask, dy); err != nil {
			return err
		}
	}
	return nil
}

// check refuses tensors that are too short.
func (d *deformSingle) check(g Grads, x, offset, mask, dy Tensor) error {
	p := &d.whole
	in, at, m := span{x, p.Input().Len()}, span{offset, p.Offset().Len()}, span{mask, p.MaskShape().Len()}
	if !p.Mask {
		m = at
	}
	b := &DeformConv2DBackward{backward: backward{problem: *p}}
	return errors.Join(b.check(g, in, dy), b.checkDeform(g, in, at, m))
}

// record records a tile: its inputs gathered, its gradients added to those before
// and, where they are whole, put where they belong.
func (t *deformTile) record(s *gpu.Stream, d *deformSingle, g Grads, x, offset, mask, dy Tensor) error {
	p, part := &d.whole, &t.part
	rows := rowsOf{p.Wo, p.Ho, t.row, t.rows}
	room := func(i int) Tensor { return Tensor{Buf: d.rooms[i]} }
	points := p.Taps()
	in := [3]Tensor{room(roomDY), room(roomOffset), room(roomMask)}
	err := copyBand(s, in[0], planes(dy, t.k, rows), rows, part.K, false)
	if sampled := g.X.wants() || g.Weight.wants() || g.Offset.wants() || g.Mask.wants(); err == nil && sampled {
		if err = copyBand(s, in[1], planes(offset, 2*points*t.q, rows), rows, 2*points*part.OffsetGroups, false); err == nil && p.Mask {
			err = copyBand(s, in[2], planes(mask, points*t.q, rows), rows, points*part.OffsetGroups, false)
		}
	}
	if err == nil && (g.Weight.wants() || g.Offset.wants() || g.Mask.wants()) {
		x, err = d.lodge(s, x, t.c*p.H*p.W, part.Input().Len(), d.rooms[roomX])
	}
	if err != nil {
		return err
	}
	dx := g.X
	dx.Offset += 4 * int64(t.c*p.H*p.W)
	if dx.Offset%d.device.Info().Limits.StorageAlign != 0 {
		dx = room(roomDX)
	}
	if !t.starts {
		g.Bias = Tensor{}
	}
	// Where each gradient is gathered, what is added to it, and of which share.
	sums := []struct {
		wanted    bool
		at, share Tensor
		add       *flat
	}{
		{g.X.wants(), dx, room(roomShareX), t.addX},
		{g.Weight.wants(), room(roomDWeight), room(roomShareWeight), t.addWeight},
		{g.Bias.wants(), room(roomDBias), room(roomShareBias), t.addBias},
		{g.Offset.wants(), room(roomDOffset), room(roomShareOffset), t.addOff},
		{g.Mask.wants(), room(roomDMask), room(roomShareMask), t.addMask},
	}
	var own Grads
	for i, to := range []*Tensor{&own.X, &own.Weight, &own.Bias, &own.Offset, &own.Mask} {
		if sum := &sums[i]; sum.wanted {
			if *to = sum.at; sum.add != nil {
				*to = sum.share
			}
		}
	}
	if err := t.plan.Record(s, own, x, in[1], in[2], in[0]); err != nil {
		return err
	}
	for i := range sums {
		sum := &sums[i]
		if !sum.wanted || sum.add == nil {
			continue
		}
		if i >= 3 { // what earlier blocks left lies where it belongs
			if err := t.moveOffsets(s, d, i, sum.at, g, false); err != nil {
				return err
			}
		}
		if err := sum.add.record(s, sum.at, sum.share, sum.at); err != nil {
			return err
		}
	}
	return t.put(s, d, g, dx)
}

// planes is a tensor from one of its planes on.
func planes(t Tensor, first int, of rowsOf) Tensor {
	t.Offset += 4 * int64(first) * int64(of.width*of.height)
	return t
}

// moveOffsets copies the tile's rows of doffset, number 3, or dmask, 4, back to
// where they belong, or from there.
func (t *deformTile) moveOffsets(s *gpu.Stream, d *deformSingle, i int, at Tensor, g Grads, back bool) error {
	rows := rowsOf{d.whole.Wo, d.whole.Ho, t.row, t.rows}
	to, each := g.Offset, 2*d.whole.Taps()
	if i == 4 {
		to, each = g.Mask, d.whole.Taps()
	}
	return copyBand(s, at, planes(to, each*t.q, rows), rows, each*t.part.OffsetGroups, back)
}

// put copies the gradients that are whole to where they belong.
func (t *deformTile) put(s *gpu.Stream, d *deformSingle, g Grads, dx Tensor) error {
	if g.Offset.wants() {
		if err := t.moveOffsets(s, d, 3, Tensor{Buf: d.rooms[roomDOffset]}, g, true); err != nil {
			return err
		}
	}
	if g.Mask.wants() {
		if err := t.moveOffsets(s, d, 4, Tensor{Buf: d.rooms[roomDMask]}, g, true); err != nil {
			return err
		}
	}
	if !t.lastRow {
		return nil
	}
	put := func(name string, to Tensor, first int, from *gpu.Buffer, at, n int) error {
		if err := s.Copy(to.Buf, to.Offset+4*int64(first), from, 4*int64(at), 4*int64(n)); err != nil {
			return fmt.Errorf("kernels: %s: %w", name, err)
		}
		return nil
	}
	if g.X.wants() && dx.Buf == d.rooms[roomDX] {
		if err := put("dx", g.X, t.c*d.whole.H*d.whole.W, dx.Buf, 0, t.part.Input().Len()); err != nil {
			return err
		}
	}
	if g.Bias.wants() {
		if err := put("dbias", g.Bias, t.k, d.rooms[roomDBias], 0, t.part.K); err != nil {
			return err
		}
	}
	if !g.Weight.wants() {
		return nil
	}
	return blockRows(d.whole, t.part, t.k, t.c, func(inBlock, inWhole, n int) error {
		return put("dweight", g.Weight, inWhole, d.rooms[roomDWeight], inBlock, n)
	})
}

// SetWeights replaces the weight.
func (d *deformSingle) SetWeights(weight []float32) error {
	if err := (&backward{problem: d.whole}).checkWeight(weight); err != nil {
		return err
	}
	block := 0
	for _, t := range d.blocks {
		if t.row > 0 {
			continue
		}
		if err := d.device.Upload(d.raw[block], 0, bytesOf(t.weightsOf(d.whole, weight))); err != nil {
			return fmt.Errorf("kernels: weight: %w", err)
		}
		block++
	}
	return nil
}

// Workspace is the device memory in bytes beyond tensors and weights.
func (d *deformSingle) Workspace() int64 { return d.size }

// Choices say how kernels were chosen: nothing, in pieces.
func (d *deformSingle) Choices() []Choice { return nil }

// Describe names the kernels and the pieces.
func (d *deformSingle) Describe() string {
	return fmt.Sprintf("%s; %d of %d rows and %d of %d channels at a time", d.blocks[0].plan.Describe(), d.rows, d.whole.Ho, d.blocks[0].part.C, d.whole.C)
}

// Close frees weights and workspace. What was submitted before goes on.
func (d *deformSingle) Close() {
	for _, b := range d.raw {
		b.Free()
	}
	for _, b := range d.rooms {
		b.Free()
	}
	d.workspace.Free()
}
