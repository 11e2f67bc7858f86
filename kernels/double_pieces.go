//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// doublePieces computes convolutions in double precision whose tensors pass a
// binding: image after image, each by blocks of channels (singleweight.go,
// deformblocks.go), a deformable one by bands of rows besides, whose offsets are
// gathered. The kernels add to what is there, so a sum goes on from piece to piece.
// The bits are those of the whole but of deformable gradients by the input, which
// sum over taps before pixels, and by offset and mask, which sum up a share first.
type doublePieces struct {
	p          conv.Problem // of a transposed convolution the one that goes the other way
	transposed bool
	flags      int
	pieces     []doublePiece
	scratch
	rooms [doubleRooms]*gpu.Buffer
}

// doublePiece is a block of channels and a band of rows of one image.
type doublePiece struct {
	deformBlock         // starts and ends: the sums over c
	row                 int
	startsK, endsK      bool // the sums over k
	weight, bias        *gpu.Buffer
	output, input       stepped
	weights, sum, shift stepped // gradients by weight, bias, and offset and mask
}

// What is not bound where it lies.
const (
	doubleX = iota
	doubleY
	doubleOffset
	doubleMask
	doubleDOffset
	doubleDMask
	doubleDWeight
	doubleDBias
	doubleRooms
)

// doubleUnfinished is a flag for the host alone: other pieces follow.
const doubleUnfinished = 1 << 16

func newDoublePieces(m maker, p conv.Problem, transposed, backward bool) (*doublePieces, error) {
	d := &doublePieces{p: p, transposed: transposed, scratch: scratch{device: m.device}}
	_, d.flags = doubleValues(p)
	err := checkSingle(p, m.traits)
	if err == nil && p.Deformable() {
		err = d.cutDeform(m)
	} else if err == nil {
		err = d.cut(m)
	}
	for i := range d.pieces {
		if err == nil {
			err = d.pieces[i].plan(m, transposed, backward)
		}
	}
	if err == nil {
		err = d.reserve()
	}
	if err != nil {
		d.free()
		return nil, err
	}
	return d, nil
}

// cut makes the pieces of an ordinary convolution.
func (d *doublePieces) cut(m maker) error {
	p := d.p
	groups, k, c, err := channelBlocks(p, m.traits)
	if err != nil {
		return err
	}
	kg, cg := p.K/p.Groups, p.C/p.Groups
	return eachBlock(p, groups, k, c, func(part conv.Problem, k, c int) error {
		d.pieces = append(d.pieces, doublePiece{deformBlock: deformBlock{part: part, k: k, c: c, starts: c%cg == 0, ends: (c+part.C)%cg == 0},
			startsK: k%kg == 0, endsK: (k+part.K)%kg == 0})
		return nil
	})
}

// cutDeform makes those of a deformable one.
func (d *doublePieces) cutDeform(m maker) error {
	cut, err := newDeformBlocks(d.p, m.traits)
	if err != nil {
		return err
	}
	rows, err := cut.bandRows(m.traits)
	if err != nil {
		return err
	}
	return cut.each(func(b deformBlock) error {
		for row := 0; row < d.p.Ho; row += rows {
			piece := doublePiece{deformBlock: b, row: row, startsK: true, endsK: true}
			piece.part.Ho = min(rows, d.p.Ho-row)
			piece.part.Pad.Top -= row * d.p.StrideY
			d.pieces = append(d.pieces, piece)
		}
		return nil
	})
}

// plan makes the passes.
func (q *doublePiece) plan(m maker, transposed, backward bool) (err error) {
	p := q.part
	v, _ := doubleValues(p)
	make := func(to *stepped, name string, items, terms, rounds, fixed int) {
		if err == nil {
			*to, err = newStepped(m, name, items, terms, rounds, fixed, v)
		}
	}
	kg, cg := p.K/p.Groups, p.C/p.Groups
	if transposed == backward {
		if p.Deformable() {
			make(&q.output, "double_deform", p.Output().Len(), cg*p.Taps(), 1, functionRounds)
		} else {
			make(&q.output, "double_conv2d", p.Output().Len(), cg*p.R, 1+p.S, functionRounds)
		}
	} else if p.Deformable() {
		make(&q.input, "double_deform_grad_input", p.C, p.Taps()*p.Ho*p.Wo, 1+kg, 0)
		make(&q.shift, "double_deform_grad_offset", p.MaskShape().Len(), p.C/p.OffsetGroups, 1+kg, 0)
	} else {
		make(&q.input, "double_conv2d_grad_input", p.C*p.H, inputTerms(p), 1+p.Wo*(1+p.S), 2*p.W+p.W*functionRounds)
	}
	if !backward {
		return err
	}
	name := "double_conv2d_grad_weight"
	if p.Deformable() {
		name = "double_deform_grad_weight"
	}
	make(&q.weights, name, p.Weight().Len(), p.Ho, 1+p.Wo, 0)
	if transposed { // dbias sums dy, the other way's input
		v["k"], v["ho"], v["wo"] = p.C, p.H, p.W
		make(&q.sum, "double_grad_bias", p.C, p.H, 1+p.W, 0)
	} else {
		make(&q.sum, "double_grad_bias", p.K, p.Ho, 1+p.Wo, 0)
	}
	return err
}

// reserve makes the rooms and the pieces' weights.
func (d *doublePieces) reserve() (err error) {
	var need [doubleRooms]int
	for i := range d.pieces {
		q := &d.pieces[i]
		if q.row > 0 { // a band of the block before
			q.weight, q.bias = d.pieces[i-1].weight, d.pieces[i-1].bias
			continue
		}
		p := q.part // none of its bands is larger
		sizes := [doubleRooms]int{doubleX: p.Input().Len(), doubleY: p.Output().Len(), doubleDWeight: p.Weight().Len(), doubleDBias: max(p.K, p.C)}
		if p.Deformable() {
			sizes[doubleOffset] = p.Offset().Len()
			if sizes[doubleDOffset] = sizes[doubleOffset]; p.Mask {
				sizes[doubleMask] = p.MaskShape().Len()
				sizes[doubleDMask] = sizes[doubleMask]
			}
		}
		for i, n := range sizes {
			need[i] = max(need[i], n)
		}
		if q.weight, err = d.device.NewBuffer(8 * int64(p.Weight().Len())); err == nil {
			q.bias, err = d.device.NewBuffer(8 * int64(max(p.K, p.C)))
		}
		if err != nil {
			return fmt.Errorf("kernels: weight: %w", err)
		}
	}
	for i, n := range need {
		if n > 0 {
			if d.rooms[i], err = d.buffer(2 * n); err != nil {
				return err
			}
		}
	}
	return nil
}

// setWeights uploads every piece's share.
func (d *doublePieces) setWeights(weight, bias []float64) error {
	for _, q := range d.pieces {
		if q.row > 0 {
			continue
		}
		own := make([]float64, q.part.Weight().Len())
		_ = blockRows(d.p, q.part, q.k, q.c, func(inBlock, inWhole, n int) error {
			copy(own[inBlock:][:n], weight[inWhole:])
			return nil
		})
		if err := d.device.Upload(q.weight, 0, bytesOfDoubles(own)); err != nil {
			return fmt.Errorf("kernels: weight: %w", err)
		}
		first, n := q.k, q.part.K
		if d.transposed {
			first, n = q.c, q.part.C
		}
		if len(bias) > 0 {
			if err := d.device.Upload(q.bias, 0, bytesOfDoubles(bias[first:][:n])); err != nil {
				return fmt.Errorf("kernels: bias: %w", err)
			}
		}
	}
	return nil
}

func (d *doublePieces) free() {
	for _, q := range d.pieces {
		if q.row == 0 {
			q.weight.Free()
			q.bias.Free()
		}
	}
	for _, b := range d.rooms {
		b.Free()
	}
}

func (d *doublePieces) describe() string {
	text := fmt.Sprintf("; in %d pieces of an image", len(d.pieces))
	for _, pass := range []stepped{d.pieces[0].output, d.pieces[0].input} {
		if pass.pass != nil {
			return pass.module.Name + text
		}
	}
	return text
}
