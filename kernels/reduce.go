//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// A gradient by weight or bias is a long sum for each of few elements. It is
// cut into parts that write partial results to the workspace, and a second pass
// adds those up in order.

// sum is a gradient computed in those two passes.
type sum struct {
	partial, reduce *pass // reduce is nil where there is one part
	elements, parts int
	at              int64 // of the partial results in the workspace, bytes
}

// newSum adds the second pass to the first, which writes parts partial results.
func newSum(m maker, partial *pass, elements, parts int) (*sum, error) {
	s := &sum{partial: partial, elements: elements, parts: parts}
	if parts == 1 {
		return s, nil
	}
	local := localSize(m.traits)
	var err error
	s.reduce, err = newPass(m, "conv2d_grad_reduce", local, ceil(elements, local), map[string]int{"items": elements, "parts": parts})
	return s, err
}

// bytes is the workspace taken.
func (s *sum) bytes() int64 {
	if s == nil || s.reduce == nil {
		return 0
	}
	return 4 * int64(s.elements) * int64(s.parts)
}

// describe names the kernel.
func (s *sum) describe() string {
	return fmt.Sprintf("%s in %d parts", s.partial.module.Name, s.parts)
}

// record records both passes into to; bound are the first pass's bindings,
// whose last is the partial result.
func (s *sum) record(stream *gpu.Stream, to Tensor, workspace *gpu.Buffer, bound *[maxSpans]span) error {
	last := len(s.partial.module.Bindings) - 1
	if s.reduce == nil {
		bound[last] = span{to, s.elements}
		return s.partial.record(stream, bound)
	}
	parts := span{Tensor{workspace, s.at}, s.elements * s.parts}
	bound[last] = parts
	if err := s.partial.record(stream, bound); err != nil {
		return err
	}
	return s.reduce.record(stream, &[maxSpans]span{parts, {to, s.elements}})
}

// localSize is the workgroup size of passes that share nothing: software
// drivers run a workgroup on one core, so small ones share the work out best.
func localSize(t traits) int {
	if t.Software {
		return 8
	}
	return min(64, t.Invocations)
}

// split says into how many parts a sum over items is cut, and how many items
// each takes: enough workgroups to fill the device, and no more than the
// workspace has room for, but as many as keep a part within the rounds that the
// driver's loops may make; an item takes so many.
func split(t traits, items, tiles, elements, rounds int) (parts, share int) {
	target := 2048
	if t.Software {
		target = 16
	}
	parts = max(1, min(ceil(target, tiles), items, mostPartial/max(elements, 1)))
	if t.Loops > 0 {
		parts = max(parts, ceil(items, max(1, t.Loops/rounds)))
	}
	share = max(1, ceil(items, parts))
	return max(1, ceil(items, share)), share
}

// newBiasSum plans dbias = Σ dy.
func newBiasSum(m maker, p conv.Problem) (*sum, error) {
	local := localSize(m.traits)
	v := problemValues(p)
	v["items"] = p.N * p.Ho * p.Wo
	rounds := func() int { return ceil(v["items"], local) + 1 }
	for m.traits.Loops > 0 && rounds() > m.traits.Loops && 2*local <= m.traits.Invocations {
		local *= 2
	}
	if err := checkLoops(m.traits, float64(rounds())); err != nil {
		return nil, fmt.Errorf("kernels: gradient by the bias: %w", err)
	}
	pass, err := newPass(m, "conv2d_grad_bias", local, p.K, v)
	if err != nil {
		return nil, err
	}
	return newSum(m, pass, p.K, local)
}
