//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// splitForward is a convolution whose tiles are too few for the device: several
// workgroups share one, each sums some of the channels, and a second pass adds
// that up in order.
//
//	x → parts[parts][K][N·Ho·Wo] → y
type splitForward struct {
	product   *operator
	sum       *pass
	bias      *gpu.Buffer
	workspace *gpu.Buffer
}

// newSplit builds what was planned.
func newSplit(d *gpu.Device, p conv.Problem, l launch, weight, bias []float32) (s *splitForward, err error) {
	s = &splitForward{}
	defer func() {
		if err != nil {
			s.Close()
			s = nil
		}
	}()
	maker, local := makerFor(d), localSize(traitsOf(d.Info()))
	low, high := activationParameters(p.Activation)
	items := p.N * p.Ho * p.Wo
	if s.sum, err = newPass(maker, "split_sum", local, ceil(p.K*items, local), map[string]int{
		"items": items, "parts": l.parts, "channels": p.K, "k": p.K, "ho": p.Ho, "wo": p.Wo, "firstY": 0,
		"low": low, "high": high, "activation": int(p.Activation.Kind),
	}); err != nil {
		return s, err
	}
	l.problem.Bias, l.problem.Activation = p.Bias, p.Activation // weights are checked and told as the problem's
	if s.product, err = newOperator(d, l, weight, bias); err != nil {
		return s, err
	}
	if s.workspace, err = d.NewBuffer(l.partialBytes()); err != nil {
		return s, fmt.Errorf("kernels: workspace: %w", err)
	}
	if s.bias, err = d.NewBuffer(4 * int64(p.K)); err != nil {
		return s, fmt.Errorf("kernels: bias: %w", err)
	}
	return s, s.setBias(bias)
}

func (s *splitForward) setBias(bias []float32) error {
	if bias == nil {
		bias = make([]float32, s.product.problem.K)
	}
	if err := s.product.device.Upload(s.bias, 0, bytesOf(bias)); err != nil {
		return fmt.Errorf("kernels: bias: %w", err)
	}
	return nil
}

// SetWeights is [operator.SetWeights].
func (s *splitForward) SetWeights(weight, bias []float32) error {
	if err := s.product.SetWeights(weight, bias); err != nil {
		return err
	}
	return s.setBias(bias)
}

// recordForward records both passes, between tensors or channels of wider ones.
func (s *splitForward) recordForward(stream *gpu.Stream, y, x View, offset, mask Tensor) error {
	p, limits := &s.product.problem, s.product.device.Info().Limits
	to, firstY, channels, err := y.place("y", p.Output(), max(limits.StorageAlign, 4), limits.StorageBufferRange)
	if err != nil {
		return err
	}
	if err := checkSpan("y", to); err != nil {
		return err
	}
	parts := Tensor{Buf: s.workspace}
	if err := s.product.recordFrom(stream, s.product.push, View{Tensor: parts}, x, offset, mask); err != nil {
		return err
	}
	push := patched(s.sum.module, s.sum.push)
	push.set("firstY", firstY)
	push.set("k", channels)
	return s.sum.recordWith(stream, push.push(), &[maxSpans]span{{parts, s.product.output().Len()}, {Tensor{Buf: s.bias}, p.K}, to})
}

// Workspace is the device memory in bytes that running takes.
func (s *splitForward) Workspace() int64 { return s.workspace.Size() }

// Close frees weights and workspace.
func (s *splitForward) Close() {
	if s.product != nil {
		s.product.Close()
	}
	s.bias.Free()
	s.workspace.Free()
}

// Describe names the kernels.
func (s *splitForward) Describe() string {
	return fmt.Sprintf("%s, channels in %d parts", s.product.Describe(), s.product.parts)
}
