//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// A deformable convolution reads its image anywhere, so the image cannot come in
// bands. Where it passes a binding it comes in blocks of channels, each a problem
// of its own with the offset and weight groups that it touches:
//
//	channels   0 ────────────────────────────── C
//	groups     │ offset │ offset │ offset │ … │
//	           │     weight      │     weight   │
//	blocks     ├────────┼────────┼────────┼ … ┤   whole groups, or
//	           ├──┼──┼──┼──┼──┼──┼──┼──┼──┼ … ┤   parts of one of each
//
// What is summed over channels, the output and the gradients by offset and mask,
// is added up block by block, in another order than the whole's.
type deformBlocks struct {
	whole    conv.Problem
	span     int // blocks start anew at every multiple
	channels int // of a block, but perhaps the last of a span
}

// deformBlock is the block from channel c on.
type deformBlock struct {
	part          conv.Problem
	c, k, q       int  // first input channel, output channel, offset group
	starts, ends  bool // the sums over its weight groups
	startsOffsets bool // those over its offset groups
}

// newDeformBlocks says how the image of p is cut, nothing of which is cut else.
func newDeformBlocks(p conv.Problem, t traits) (deformBlocks, error) {
	plane := max(p.H*p.W, 1)
	channels := int(imageRoom(p, t)/4) / plane
	b := deformBlocks{p, p.C, p.C}
	if channels >= p.C {
		return b, nil
	}
	if channels < 1 {
		return b, fmt.Errorf("kernels: %w: a channel of the input takes %d bytes, a binding on this device holds at most %d", gpu.ErrTooLarge, 4*plane, t.StorageRange)
	}
	offset, weight := p.C/p.OffsetGroups, p.C/p.Groups
	run := gcd(offset, weight)
	both := offset / run * weight
	switch {
	case channels >= both:
		b.channels = channels / both * both
	case channels >= run && run == min(offset, weight):
		b.span, b.channels = both, channels/run*run
	default:
		b.span, b.channels = run, min(channels, run)
	}
	return b, nil
}

// each calls f with the blocks, of one image each.
func (b deformBlocks) each(f func(block deformBlock) error) error {
	p := b.whole
	offset, weight := p.C/p.OffsetGroups, p.C/p.Groups
	for first := 0; first < p.C; first += b.span {
		for c := first; c < first+b.span; c += b.channels {
			part := p
			part.N, part.C = 1, min(b.channels, first+b.span-c)
			part.Groups, part.OffsetGroups = max(1, part.C/weight), max(1, part.C/offset)
			part.K = part.Groups * (p.K / p.Groups)
			end := c + part.C
			err := f(deformBlock{part: part, c: c, k: c / weight * (p.K / p.Groups), q: c / offset,
				starts: c%weight == 0, ends: end%weight == 0, startsOffsets: c%offset == 0})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// bandRows is how many rows of the output and its offsets are gathered at a time:
// all, or as pieces.fit has it.
func (b deformBlocks) bandRows(t traits) (int, error) {
	perRow := 1 // elements, at most
	_ = b.each(func(b deformBlock) error {
		perRow = max(perRow, b.part.K*b.part.Wo, 2*b.part.OffsetGroups*b.part.Taps()*b.part.Wo)
		return nil
	})
	all, most := int64(b.whole.Ho), imageRoom(b.whole, t)
	if most/4/int64(perRow) >= all {
		return b.whole.Ho, nil
	}
	for _, room := range []int64{min(bandBytes, most), most} {
		if rows := min(room/4/int64(perRow), all); rows > 0 {
			return int(rows), nil
		}
	}
	return 0, fmt.Errorf("kernels: %w: one row of the output or of its offsets takes %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, 4*perRow, t.StorageRange)
}

// weightsOf is the block's share of the weights.
func (b deformBlock) weightsOf(whole conv.Problem, weight []float32) []float32 {
	own := make([]float32, b.part.Weight().Len())
	_ = blockRows(whole, b.part, b.k, b.c, func(inBlock, inWhole, n int) error {
		copy(own[inBlock:][:n], weight[inWhole:])
		return nil
	})
	return own
}

// blockedDeform is a deformable convolution whose image comes in blocks. An
// image's outputs are added up beside it, and the activation comes behind.
type blockedDeform struct {
	whole  conv.Problem
	blocks []blockedPlan
	act    *Activation // nil without
	scratch
	sum, share   *gpu.Buffer // outputs of a block's weight groups
	offset, mask *gpu.Buffer // where a binding may not start
}

type blockedPlan struct {
	deformBlock
	forward
	add *flat // nil where the sum starts
}

func newBlockedDeform(m maker, p conv.Problem, weight, bias []float32) (*blockedDeform, error) {
	p, m.tuning = normal(p), nil // pieces are chosen by the cost model
	d := &blockedDeform{whole: p, scratch: scratch{device: m.device}}
	if err := (&operator{launch: launch{problem: p}, hasBias: p.Bias}).checkWeights(weight, bias); err != nil {
		return nil, err
	}
	cut, err := newDeformBlocks(p, m.traits)
	if err != nil {
		return nil, err
	}
	err = cut.each(func(b deformBlock) (err error) {
		b.part.Activation, b.part.Bias = conv.Activation{}, p.Bias && b.starts
		plan := blockedPlan{deformBlock: b}
		if n := b.part.Output().Len(); !b.starts {
			if plan.add, err = newFlat(m, "add", n, []string{"y", "a share of y", "y"}, []int{n, n, n}, nil); err != nil {
				return err
			}
		}
		if plan.forward, err = newForward(m, b.part, b.weightsOf(p, weight), d.biasOf(b, bias)); err == nil {
			d.blocks = append(d.blocks, plan)
		}
		return err
	})
	if err == nil {
		err = d.reserve(m)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *blockedDeform) biasOf(b deformBlock, bias []float32) []float32 {
	if !d.whole.Bias || !b.starts {
		return nil
	}
	return bias[b.k:][:b.part.K]
}

func (d *blockedDeform) reserve(m maker) (err error) {
	first := d.blocks[0].part // none is larger
	y := conv.Shape{1, first.K, first.Ho, first.Wo}
	for _, room := range []**gpu.Buffer{&d.sum, &d.share} {
		if *room, err = d.buffer(y.Len()); err != nil {
			return err
		}
	}
	if d.unaligned(d.whole.Taps() * d.whole.Ho * d.whole.Wo) {
		if d.offset, err = d.buffer(first.Offset().Len()); err == nil && d.whole.Mask {
			d.mask, err = d.buffer(first.MaskShape().Len())
		}
	}
	if a := d.whole.Activation; err == nil && a != (conv.Activation{}) {
		d.act, err = newActivation(m, y, a)
	}
	return err
}

// recordForward records image after image, block after block.
func (d *blockedDeform) recordForward(s *gpu.Stream, y, x View, offset, mask Tensor) error {
	p := &d.whole
	x, y = x.wide(p.C), y.wide(p.K)
	points := p.Taps() * p.Ho * p.Wo // of a mask's group
	for image := range p.N {
		for i := range d.blocks {
			b := &d.blocks[i]
			in := x
			in.First += b.c
			in.Offset += 4 * int64(image) * int64(x.Channels*p.H*p.W)
			at, err := d.lodge(s, offset, 2*points*(image*p.OffsetGroups+b.q), b.part.Offset().Len(), d.offset)
			if err != nil {
				return err
			}
			var m Tensor
			if p.Mask {
				if m, err = d.lodge(s, mask, points*(image*p.OffsetGroups+b.q), b.part.MaskShape().Len(), d.mask); err != nil {
					return err
				}
			}
			to := Tensor{Buf: d.sum}
			if b.add != nil {
				to.Buf = d.share
			}
			if err := b.recordForward(s, View{Tensor: to}, in, at, m); err != nil {
				return err
			}
			if b.add != nil {
				if err := b.add.record(s, Tensor{Buf: d.sum}, to, Tensor{Buf: d.sum}); err != nil {
					return err
				}
			}
			if !b.ends {
				continue
			}
			if err := d.finish(s, y, image, b.deformBlock); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish puts the sums of some output channels where they belong.
func (d *blockedDeform) finish(s *gpu.Stream, y View, image int, b deformBlock) error {
	from := d.sum
	if d.act != nil { // of channels of other blocks, too, perhaps, which nobody reads
		from = d.share
		if err := d.act.Record(s, View{Tensor: Tensor{Buf: from}}, View{Tensor: Tensor{Buf: d.sum}}); err != nil {
			return err
		}
	}
	plane := d.whole.Ho * d.whole.Wo
	to := y.Offset + 4*int64(image*y.Channels+y.First+b.k)*int64(plane)
	if err := s.Copy(y.Buf, to, from, 0, 4*int64(b.part.K)*int64(plane)); err != nil {
		return fmt.Errorf("kernels: y: %w", err)
	}
	return nil
}

// SetWeights replaces the weights and biases, as a whole plan's does.
func (d *blockedDeform) SetWeights(weight, bias []float32) error {
	if err := (&operator{launch: launch{problem: d.whole}, hasBias: d.whole.Bias}).checkWeights(weight, bias); err != nil {
		return err
	}
	for _, b := range d.blocks {
		if err := b.forward.SetWeights(b.weightsOf(d.whole, weight), d.biasOf(b.deformBlock, bias)); err != nil {
			return err
		}
	}
	return nil
}

// Workspace is the device memory in bytes beyond tensors and weights.
func (d *blockedDeform) Workspace() int64 {
	n := d.size
	for _, b := range d.blocks {
		n += b.Workspace()
	}
	return n
}

// Describe names the kernel and the blocks.
func (d *blockedDeform) Describe() string {
	return fmt.Sprintf("%s; in %d blocks of input channels", d.blocks[0].Describe(), len(d.blocks))
}

// Close frees weights and workspace. What was submitted before goes on.
func (d *blockedDeform) Close() {
	for _, b := range d.blocks {
		b.Close()
	}
	for _, b := range []*gpu.Buffer{d.sum, d.share, d.offset, d.mask} {
		b.Free()
	}
}
