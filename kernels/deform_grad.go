//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// DeformConv2DBackward is a plan of a deformable convolution's gradients, v1 or
// v2, see [vkconv/cpuref.DeformConv2DBackward] for the formulas and for what
// holds at whole pixels. dy is the gradient by the output before any activation.
//
// Gradients by input, offset and mask go part by part over the output: first the
// gradient by every sample of the part goes to the workspace,
//
//	images × C × taps × pixels  ←  weight · dy
//
// then doffset and dmask gather from it, one invocation an element, and dx is
// made of it as deform_grad_input.go says.
type DeformConv2DBackward struct {
	backward
	parts []deformPart
	lists lists
	// How dx is computed, see deform_grad_input.go.
	gather, atomics bool
}

// deformPart is some pixels of dy.
type deformPart struct {
	column   *pass
	elements int      // of the sample gradients
	offset   [4]*pass // by what is wanted: 1 doffset, 2 dmask, 3 both
	input    inputPart
}

// NewDeformConv2DBackward plans the gradients of p, which comes from
// [conv.Params.DeformProblem]; the rest is as for [NewConv2DBackward].
func NewDeformConv2DBackward(d *gpu.Device, p conv.Problem, weight []float32) (*DeformConv2DBackward, error) {
	return newDeformConv2DBackward(makerFor(d), p, weight)
}

func newDeformConv2DBackward(m maker, p conv.Problem, weight []float32) (*DeformConv2DBackward, error) {
	if !p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: an ordinary problem is for NewConv2DBackward", conv.ErrParams)
	}
	b := &DeformConv2DBackward{}
	if err := b.init(m, p); err != nil {
		return nil, err
	}
	var err error
	if p.N > 0 {
		err = b.plan(m)
	}
	if err == nil {
		err = b.allocate(weight)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *DeformConv2DBackward) plan(m maker) (err error) {
	p, all := b.problem, b.problem.Ho*b.problem.Wo
	if b.weights, err = newDeformWeightSum(m, p); err != nil {
		return err
	}
	if b.bias, err = newBiasSum(m, p); err != nil {
		return err
	}
	b.atomics = m.atomics
	b.gather = !m.atomics && m.gathers(p)
	images, pixels := m.columnPart(p, b.gather)
	for n := 0; n < p.N; n += images {
		for first := 0; first < all; first += pixels {
			part, err := newDeformPart(m, p, n, min(images, p.N-n), first, min(pixels, all-first), b.gather)
			if err != nil {
				return err
			}
			b.parts = append(b.parts, part)
		}
	}
	first := &b.parts[0] // none is larger
	if bytes := 4 * int64(first.elements); bytes > m.traits.StorageRange {
		return fmt.Errorf("kernels: %w: the gradients of %d pixels' samples take %d bytes, a binding on this device at most %d",
			gpu.ErrTooLarge, pixels, bytes, m.traits.StorageRange)
	}
	b.room(4 * int64(first.elements))
	if b.gather {
		groups, cells := images*p.OffsetGroups, (p.H+1)*(p.W+1)
		b.lists.counts, b.lists.starts = groups*cells, groups*(cells+1)
		b.lists.count = b.room(4 * int64(b.lists.counts))
		b.lists.start = b.room(4 * int64(b.lists.starts))
		b.lists.order = b.room(4 * int64(first.input.orders))
	}
	return nil
}

// columnPart says how much of dy is worked on at once: images, and pixels of
// each. Where dx is not gathered, all images rather than all pixels, since it is
// computed by one invocation for each channel of each.
func (m maker) columnPart(p conv.Problem, gather bool) (images, pixels int) {
	perPixel, all := p.C*p.Taps(), p.Ho*p.Wo
	least := min(all, 256)
	if gather {
		least = all
	}
	images = min(p.N, max(1, m.column/perPixel/least))
	pixels = min(all, max(m.pixels, m.column/(perPixel*images)))
	if t := m.traits; t.Loops > 0 && !gather && !m.atomics { // an invocation goes over all taps of all pixels
		pixels = min(pixels, max(1, t.Loops/p.Taps()-2))
	}
	for gather && images > 1 && listRoom(p, images, pixels) > m.lists {
		images--
	}
	return images, pixels
}

func newDeformPart(m maker, p conv.Problem, image, images, first, pixels int, gather bool) (deformPart, error) {
	t := m.traits
	part := deformPart{elements: images * p.C * p.Taps() * pixels}
	rows := p.C / p.Groups * p.Taps()
	best, err := m.tileOf(matrix{groups: p.Groups, rows: rows, columns: images * pixels, value: t.machine().load}, "deform_grad_column")
	if err != nil {
		return part, err
	}
	v := problemValues(p)
	v["firstImage"], v["firstPixel"], v["pixels"] = image, first, pixels
	v["items"], v["groupBlocks"] = images*pixels, ceil(rows, best.tm)
	v["blocks"] = p.Groups * v["groupBlocks"]
	if part.column, err = newPass(m, best.module, best.local, ceil(v["items"], best.local*best.tn)*v["blocks"], v); err != nil {
		return part, err
	}
	local := localSize(t)
	v["items"] = images * p.OffsetGroups * p.Taps() * pixels
	for wants := 1; wants < 4; wants++ {
		v["wants"] = wants
		if part.offset[wants], err = newPass(m, "deform_grad_offset", local, ceil(v["items"], local), v); err != nil {
			return part, err
		}
	}
	part.input, err = newInputPart(m, p, v, images, pixels, gather)
	return part, err
}

// newDeformWeightSum plans dweight. Bindings: x, dy, offset, mask.
func newDeformWeightSum(m maker, p conv.Problem) (*sum, error) {
	t := m.traits
	cg, kg, elements := p.C/p.Groups, p.K/p.Groups, p.Weight().Len()
	v := problemValues(p)
	local := localSize(t)
	if kg <= fewChannels && elements*local <= mostPartial {
		const channels = 4 // of an invocation
		v["groupBlocks"] = ceil(p.C/p.OffsetGroups, channels)
		v["items"], v["blocks"], v["rowItems"] = p.N*p.Ho*p.Wo, p.OffsetGroups*v["groupBlocks"]*p.Taps()*kg, 1
		parts, share := split(t, ceil(v["items"], local), v["blocks"], elements*local, 1)
		v["share"] = share * local
		pass, err := newPass(m, "deform_grad_depthwise_n4", local, v["blocks"]*parts, v)
		if err != nil {
			return nil, err
		}
		return newSum(m, pass, elements, parts*local)
	}
	units := func(tn int) int { return cg / v["run"] * ceil(v["run"], tn) * p.Taps() }
	k := t.machine()
	best, err := m.tileOf(matrix{p.Groups, kg, cg * p.Taps(), 4 * (k.load + k.product), k.place, false}, "deform_grad_weight")
	if err != nil {
		return nil, err
	}
	v["items"], v["groupBlocks"] = p.N*p.Ho, ceil(kg, best.tm)
	v["blocks"], v["rowItems"] = p.Groups*v["groupBlocks"], ceil(units(best.tn), best.local)
	tiles := v["blocks"] * v["rowItems"]
	rounds := p.Wo + 2 // of an item, a row
	if err := checkLoops(t, float64(rounds)); err != nil {
		return nil, fmt.Errorf("kernels: gradient by the weight: %w", err)
	}
	parts, share := split(t, v["items"], tiles, elements, rounds)
	v["share"] = share
	pass, err := newPass(m, best.module, best.local, tiles*parts, v)
	if err != nil {
		return nil, err
	}
	return newSum(m, pass, elements, parts)
}

// Describe names the kernels.
func (b *DeformConv2DBackward) Describe() string {
	if b.weights == nil {
		return "an empty batch"
	}
	input := "deform_grad_input"
	switch {
	case b.atomics:
		input = "deform_grad_input_atomic"
	case b.gather:
		input = b.parts[0].input.gather.module.Name
	}
	return fmt.Sprintf("%s in %d parts, deform_grad_offset, %s; %s", b.parts[0].column.module.Name, len(b.parts), input, b.weights.describe())
}

// Record records the gradients that g wants. x is N×C×H×W, offset
// N×(2·og·R·S)×Ho×Wo, mask N×(og·R·S)×Ho×Wo (not looked at without a mask in the
// problem), dy N×K×Ho×Wo. x may be zero where only X and Bias are wanted.
func (b *DeformConv2DBackward) Record(s *gpu.Stream, g Grads, x, offset, mask, dy Tensor) error {
	p := &b.problem
	in, out := span{x, p.Input().Len()}, span{dy, p.Output().Len()}
	at, m := span{offset, p.Offset().Len()}, span{mask, p.MaskShape().Len()}
	if !p.Mask {
		if g.Mask.wants() {
			return fmt.Errorf("kernels: %w: a gradient by the mask is wanted, and the problem has none", conv.ErrParams)
		}
		m = at // the binding must be something that may be read
	}
	if err := b.check(g, in, dy); err != nil {
		return err
	}
	if err := b.checkDeform(g, in, at, m); err != nil {
		return err
	}
	if p.N == 0 {
		return b.empty(s, g, p.K)
	}
	if g.Weight.wants() {
		if err := b.weights.record(s, g.Weight, b.workspace, &[maxSpans]span{in, out, at, m}); err != nil {
			return err
		}
	}
	if err := b.recordBias(s, g, out); err != nil {
		return err
	}
	return b.recordParts(s, g, in, at, m, out)
}

// checkDeform is check for what an ordinary convolution lacks.
func (b *DeformConv2DBackward) checkDeform(g Grads, x, offset, mask span) error {
	err := error(nil)
	if g.Offset.wants() {
		err = checkSpan("doffset", span{g.Offset, offset.elements})
	}
	if err == nil && g.Mask.wants() {
		err = checkSpan("dmask", span{g.Mask, mask.elements})
	}
	if err == nil && (g.Offset.wants() || g.Mask.wants()) {
		err = checkSpan("x", x)
	}
	if err == nil && (g.Offset.wants() || g.Mask.wants() || g.X.wants() || g.Weight.wants()) {
		if err = checkSpan("offset", offset); err == nil {
			err = checkSpan("mask", mask)
		}
	}
	return err
}

// recordParts records dx, doffset and dmask.
func (b *DeformConv2DBackward) recordParts(s *gpu.Stream, g Grads, x, offset, mask, dy span) error {
	wants := 0
	dOffset, dMask := span{g.Offset, offset.elements}, span{g.Mask, b.problem.MaskShape().Len()}
	if g.Offset.wants() {
		wants = 1
	}
	if g.Mask.wants() {
		wants += 2
	}
	// A binding that is not written must still be something.
	switch wants {
	case 1:
		dMask = dOffset
	case 2:
		dOffset = dMask
	}
	if wants == 0 && !g.X.wants() {
		return nil
	}
	dx := span{g.X, x.elements}
	if g.X.wants() {
		clear, n := dx, dx.elements // scattered: the parts add to it
		if b.gather {
			clear, n = span{Tensor: Tensor{b.workspace, b.lists.count}}, b.lists.counts
		}
		if err := s.Fill(clear.Buf, clear.Offset, 4*int64(n), 0); err != nil {
			return err
		}
	}
	for i := range b.parts {
		part := &b.parts[i]
		column := span{Tensor{Buf: b.workspace}, part.elements}
		if err := part.column.record(s, &[maxSpans]span{dy, b.weightSpan(), column}); err != nil {
			return err
		}
		if wants != 0 {
			if err := part.offset[wants].record(s, &[maxSpans]span{x, column, offset, mask, dOffset, dMask}); err != nil {
				return err
			}
		}
		if g.X.wants() {
			if err := part.input.record(s, b.workspace, &b.lists, column, offset, mask, dx); err != nil {
				return err
			}
		}
	}
	return nil
}
