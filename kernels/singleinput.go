//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// inputBlocks computes the gradient by the input of one image by blocks of its
// channels: the share of every block of dy's channels, added up in their order.
//
//	dx[c…] = Σ over the blocks of k:  weightᵀ[k…, c…] · dy[k…]
//
// The order of a sum is another one than the whole's, and its bits may be.
type inputBlocks struct {
	whole  conv.Problem
	blocks []inputBlock
	scratch
	dy, dx, share *gpu.Buffer // what a binding may not start at, and what is to be added
}

type inputBlock struct {
	part   conv.Problem
	k, c   int
	pass   *pass
	add    *flat // nil in the first block of dy's
	last   bool
	weight *gpu.Buffer
}

func newInputBlocks(m maker, p conv.Problem, weight []float32) (*inputBlocks, error) {
	b := &inputBlocks{whole: p, scratch: scratch{device: m.device}}
	groups, k, c, err := channelBlocks(p, m.traits)
	if err != nil {
		return nil, err
	}
	// Blocks of k inside, so the loops are turned round.
	turned := p
	turned.K, turned.C, turned.H, turned.W, turned.Ho, turned.Wo = p.C, p.K, p.Ho, p.Wo, p.H, p.W
	err = eachBlock(turned, groups, c, k, func(part conv.Problem, c, k int) (err error) {
		of := p
		of.N, of.Groups, of.K, of.C = 1, part.Groups, part.C, part.K
		block := inputBlock{part: of, k: k, c: c}
		kg := p.K / p.Groups
		block.last = (k+of.K)%kg == 0
		if block.pass, err = newInputPass(m, of, false, conv.Activation{}); err != nil {
			return err
		}
		if n := of.Input().Len(); k%kg != 0 {
			if block.add, err = newFlat(m, "add", n, []string{"dx", "a share of dx", "dx"}, []int{n, n, n}, nil); err != nil {
				return err
			}
		}
		if block.weight, err = m.device.NewBuffer(4 * int64(of.Weight().Len())); err == nil {
			b.blocks = append(b.blocks, block)
		}
		return err
	})
	if err == nil {
		err = b.reserve()
	}
	if err == nil {
		err = b.setWeights(weight)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *inputBlocks) reserve() (err error) {
	first := b.blocks[0].part
	if b.unaligned(b.whole.Ho * b.whole.Wo) {
		if b.dy, err = b.buffer(first.Output().Len()); err != nil {
			return err
		}
	}
	if b.unaligned(b.whole.H * b.whole.W) {
		if b.dx, err = b.buffer(first.Input().Len()); err != nil {
			return err
		}
	}
	for _, block := range b.blocks {
		if block.add != nil && b.share == nil {
			b.share, err = b.buffer(first.Input().Len())
		}
	}
	return err
}

func (b *inputBlocks) recordInput(s *gpu.Stream, dx, dy Tensor) error {
	p := &b.whole
	for _, block := range b.blocks {
		n := block.part.Input().Len()
		from, err := b.lodge(s, dy, block.k*p.Ho*p.Wo, block.part.Output().Len(), b.dy)
		if err != nil {
			return err
		}
		to := dx
		to.Offset += 4 * int64(block.c*p.H*p.W)
		at := to
		if at.Offset%b.device.Info().Limits.StorageAlign != 0 {
			at = Tensor{Buf: b.dx}
		}
		into := at
		if block.add != nil {
			into = Tensor{Buf: b.share}
		}
		w := span{Tensor{Buf: block.weight}, block.part.Weight().Len()}
		if err := block.pass.record(s, &[maxSpans]span{{from, block.part.Output().Len()}, w, w, {into, n}}); err != nil {
			return err
		}
		if block.add != nil {
			if err := block.add.record(s, at, into, at); err != nil {
				return err
			}
		}
		if at != to && block.last {
			if err := s.Copy(to.Buf, to.Offset, at.Buf, 0, 4*int64(n)); err != nil {
				return fmt.Errorf("kernels: dx: %w", err)
			}
		}
	}
	return nil
}

func (b *inputBlocks) setWeights(weight []float32) error {
	for _, block := range b.blocks {
		own := make([]float32, block.part.Weight().Len())
		_ = blockRows(b.whole, block.part, block.k, block.c, func(inBlock, inWhole, n int) error {
			copy(own[inBlock:][:n], weight[inWhole:])
			return nil
		})
		if err := b.device.Upload(block.weight, 0, bytesOf(own)); err != nil {
			return fmt.Errorf("kernels: weight: %w", err)
		}
	}
	return nil
}

// Workspace is the device memory in bytes beyond tensors and weights.
func (b *inputBlocks) Workspace() int64 { return b.size }

// Describe names the kernel and the blocks.
func (b *inputBlocks) Describe() string {
	return fmt.Sprintf("%s; in %d blocks of channels", b.blocks[0].pass.module.Name, len(b.blocks))
}

// Close frees weights and workspace. What was submitted before goes on.
func (b *inputBlocks) Close() {
	for _, block := range b.blocks {
		block.weight.Free()
	}
	b.dy.Free()
	b.dx.Free()
	b.share.Free()
}
