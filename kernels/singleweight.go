//go:build cgo

package kernels

import (
	"fmt"
	"slices"

	"vkconv/conv"
	"vkconv/gpu"
)

// weightBlocks computes the gradients by weight and bias of one image block by
// block, since dweight[k,c] is made of channel k of dy and channel c of x alone:
//
//	     c →
//	k  ┌────┬────┬──┐    each a problem of its own, whose channels of x and of
//	↓  │    │    │  │    dy lie together; with several groups some of those
//	   ├────┼────┼──┤
//	   └────┴────┴──┘
//
// A sum is cut as the whole problem's would be, so the bits are the whole's.
type weightBlocks struct {
	whole  conv.Problem
	biasC  bool // dbias sums x over c, not dy over k: transposed
	blocks []weightBlock
	scratch
	rooms     [4]*gpu.Buffer // what a binding may not start at: x, dy; dweight, dbias of a block
	workspace *gpu.Buffer    // partial sums
}

// weightBlock is the block from channels k and c on.
type weightBlock struct {
	part    conv.Problem
	k, c    int
	weights *sum
	bias    *sum // nil where another block has it
}

// scratch makes buffers that count as workspace.
type scratch struct {
	device *gpu.Device
	size   int64
}

func (c *scratch) buffer(elements int) (*gpu.Buffer, error) {
	b, err := c.device.NewBuffer(4 * int64(elements))
	if err != nil {
		return nil, fmt.Errorf("kernels: workspace: %w", err)
	}
	c.size += 4 * int64(elements)
	return b, nil
}

// lodge returns elements of t from first on as a tensor that a binding may start
// at: where it is, or copied into the room.
func (c *scratch) lodge(s *gpu.Stream, t Tensor, first, elements int, room *gpu.Buffer) (Tensor, error) {
	t.Offset += 4 * int64(first)
	if t.Offset%c.device.Info().Limits.StorageAlign == 0 {
		return t, nil
	}
	if err := s.Copy(room, 0, t.Buf, t.Offset, 4*int64(elements)); err != nil {
		return t, fmt.Errorf("kernels: %w", err)
	}
	return Tensor{Buf: room}, nil
}

// unaligned tells whether some multiple of so many elements does not start where
// a binding may.
func (c *scratch) unaligned(elements int) bool {
	return 4*int64(elements)%c.device.Info().Limits.StorageAlign != 0
}

// channelBlocks is how many groups, output channels and input channels of an
// image of p a binding holds: whole groups, or channels of one.
func channelBlocks(p conv.Problem, t traits) (groups, k, c int, err error) {
	kg, cg, x, y := p.K/p.Groups, p.C/p.Groups, max(p.H*p.W, 1), max(p.Ho*p.Wo, 1)
	room := int(min(t.StorageRange/4, 1<<31-1<<17-int64(x)-int64(y))) // an index may run ahead by a plane
	if x > room || y > room {
		return 0, 0, 0, fmt.Errorf("kernels: %w: a channel of the input takes %d bytes, of the output %d; a binding on this device holds at most %d", gpu.ErrTooLarge, 4*x, 4*y, t.StorageRange)
	}
	groups = min(p.Groups, room/(kg*y), room/(cg*x))
	if groups > 0 {
		return groups, groups * kg, groups * cg, nil
	}
	return 1, min(kg, room/y), min(cg, room/x), nil
}

// eachBlock calls f with the blocks of a problem and their first channels.
func eachBlock(p conv.Problem, groups, k, c int, f func(part conv.Problem, k, c int) error) error {
	kg, cg := p.K/p.Groups, p.C/p.Groups
	for g := 0; g < p.Groups; g += groups {
		part := p
		part.N, part.Groups = 1, min(groups, p.Groups-g)
		for k0 := 0; k0 < part.Groups*kg; k0 += k {
			part.K = min(k, part.Groups*kg-k0)
			for c0 := 0; c0 < part.Groups*cg; c0 += c {
				part.C = min(c, part.Groups*cg-c0)
				if err := f(part, g*kg+k0, g*cg+c0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// blockRows calls f with the runs of weights that a block of output channels from
// k on and input channels from c on has in common with the whole: first element in
// the block, in the whole, how many.
func blockRows(whole, part conv.Problem, k, c int, f func(inBlock, inWhole, n int) error) error {
	cg, own := whole.C/whole.Groups, part.C/part.Groups
	row := own * whole.Taps()
	if own == cg {
		return f(0, k*row, part.K*row)
	}
	for i := range part.K {
		if err := f(i*row, ((k+i)*cg+c%cg)*whole.Taps(), row); err != nil {
			return err
		}
	}
	return nil
}

func newWeightBlocks(m maker, p conv.Problem, biasC bool) (*weightBlocks, error) {
	w := &weightBlocks{whole: p, biasC: biasC, scratch: scratch{device: m.device}}
	groups, k, c, err := channelBlocks(p, m.traits)
	if err != nil {
		return nil, err
	}
	type key struct{ groups, k, c int }
	weights, biases := map[key]*sum{}, map[int]*sum{}
	err = eachBlock(p, groups, k, c, func(part conv.Problem, k, c int) (err error) {
		b := weightBlock{part: part, k: k, c: c}
		of, channels, has := part, part.K, c%(p.C/p.Groups) == 0
		if biasC {
			has = k%(p.K/p.Groups) == 0
			of.K, of.Ho, of.Wo, channels = part.C, p.H, p.W, part.C
		}
		sized := key{part.Groups, part.K, part.C}
		if b.weights = weights[sized]; b.weights == nil {
			if b.weights, err = newWeightSum(m, part, p); err != nil {
				return err
			}
			weights[sized] = b.weights
		}
		if has {
			if b.bias = biases[channels]; b.bias == nil {
				if b.bias, err = newBiasSum(m, of); err != nil {
					return err
				}
				biases[channels] = b.bias
			}
		}
		w.blocks = append(w.blocks, b)
		return nil
	})
	if err == nil {
		err = w.reserve()
	}
	if err != nil {
		w.free()
		return nil, err
	}
	return w, nil
}

// reserve makes the rooms; the first block is the largest.
func (w *weightBlocks) reserve() (err error) {
	first := w.blocks[0].part
	need := [4]int{2: first.Weight().Len(), 3: max(first.K, first.C)}
	if plane := w.whole.H * w.whole.W; w.unaligned(plane) {
		need[0] = first.C * plane
	}
	if plane := w.whole.Ho * w.whole.Wo; w.unaligned(plane) {
		need[1] = first.K * plane
	}
	for i, n := range need {
		if n == 0 {
			continue
		}
		if w.rooms[i], err = w.buffer(n); err != nil {
			return err
		}
	}
	var partial int64
	for _, b := range w.blocks {
		partial = max(partial, b.weights.bytes(), b.bias.bytes())
	}
	if partial > 0 {
		w.workspace, err = w.buffer(int(partial / 4))
	}
	return err
}

// record records the gradients that are wanted.
func (w *weightBlocks) record(s *gpu.Stream, dweight, dbias, x, dy Tensor) error {
	p := &w.whole
	for _, b := range w.blocks {
		bias := dbias.wants() && b.bias != nil
		if !dweight.wants() && !bias {
			continue
		}
		in, out := span{Tensor{}, b.part.Input().Len()}, span{Tensor{}, b.part.Output().Len()}
		var err error
		if dweight.wants() || w.biasC {
			if in.Tensor, err = w.lodge(s, x, b.c*p.H*p.W, in.elements, w.rooms[0]); err != nil {
				return err
			}
		}
		if dweight.wants() || !w.biasC {
			if out.Tensor, err = w.lodge(s, dy, b.k*p.Ho*p.Wo, out.elements, w.rooms[1]); err != nil {
				return err
			}
		}
		if dweight.wants() {
			if err := w.recordWeight(s, b, dweight, in, out); err != nil {
				return err
			}
		}
		if !bias {
			continue
		}
		first := b.k
		if w.biasC {
			out, first = in, b.c
		}
		if err := b.bias.record(s, Tensor{Buf: w.rooms[3]}, w.workspace, &[maxSpans]span{out}); err != nil {
			return err
		}
		if err := s.Copy(dbias.Buf, dbias.Offset+4*int64(first), w.rooms[3], 0, 4*int64(b.bias.elements)); err != nil {
			return fmt.Errorf("kernels: dbias: %w", err)
		}
	}
	return nil
}

// recordWeight records a block of dweight and puts it where it belongs.
func (w *weightBlocks) recordWeight(s *gpu.Stream, b weightBlock, to Tensor, x, dy span) error {
	if err := b.weights.record(s, Tensor{Buf: w.rooms[2]}, w.workspace, &[maxSpans]span{x, dy}); err != nil {
		return err
	}
	return blockRows(w.whole, b.part, b.k, b.c, func(inBlock, inWhole, n int) error {
		if err := s.Copy(to.Buf, to.Offset+4*int64(inWhole), w.rooms[2], 4*int64(inBlock), 4*int64(n)); err != nil {
			return fmt.Errorf("kernels: dweight: %w", err)
		}
		return nil
	})
}

func (w *weightBlocks) describe() string {
	return fmt.Sprintf("%s; in %d blocks of channels", w.blocks[0].weights.describe(), len(w.blocks))
}

func (w *weightBlocks) free() {
	for _, b := range append(slices.Clone(w.rooms[:]), w.workspace) {
		b.Free()
	}
}
