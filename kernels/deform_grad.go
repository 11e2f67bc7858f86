//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// mostColumn bounds the workspace of sample gradients, in elements: 32 MiB.
const mostColumn = 8 << 20

// leastPixels is how many pixels are worked on at once at least; for thousands
// of channels × taps that may take more than mostColumn.
const leastPixels = 32

// DeformConv2DBackward is a plan of a deformable convolution's gradients, v1 or
// v2, see [vkconv/cpuref.DeformConv2DBackward] for the formulas and for what
// holds at whole pixels. dy is the gradient by the output before any activation.
//
// Gradients by input, offset and mask go part by part over the output: first the
// gradient by every sample of the part goes to the workspace,
//
//	images × C × taps × pixels  ←  weight · dy
//
// then doffset and dmask gather from it, one invocation an element, and dx
// scatters it, one invocation a channel's plane.
type DeformConv2DBackward struct {
	backward
	parts []deformPart
}

// deformPart is some pixels of dy.
type deformPart struct {
	column   *pass
	elements int      // of the sample gradients
	offset   [4]*pass // by what is wanted: 1 doffset, 2 dmask, 3 both
	input    *pass
}

// NewDeformConv2DBackward plans the gradients of p, which comes from
// [conv.Params.DeformProblem]; the rest is as for [NewConv2DBackward].
func NewDeformConv2DBackward(d *gpu.Device, p conv.Problem, weight []float32) (*DeformConv2DBackward, error) {
	if !p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: an ordinary problem is for NewConv2DBackward", conv.ErrParams)
	}
	b := &DeformConv2DBackward{}
	if err := b.init(d, p); err != nil {
		return nil, err
	}
	most := 0
	if p.N > 0 {
		var err error
		if b.weights, err = newDeformWeightSum(d, b.problem); err != nil {
			return nil, err
		}
		if b.bias, err = newBiasSum(d, b.problem); err != nil {
			return nil, err
		}
		images, pixels := columnPart(p)
		for n := 0; n < p.N; n += images {
			for first := 0; first < p.Ho*p.Wo; first += pixels {
				part, err := newDeformPart(d, b.problem, n, min(images, p.N-n), first, min(pixels, p.Ho*p.Wo-first))
				if err != nil {
					return nil, err
				}
				b.parts = append(b.parts, part)
				most = max(most, part.elements)
			}
		}
	}
	if err := b.allocate(weight, 4*int64(most)); err != nil {
		return nil, err
	}
	return b, nil
}

// columnPart says how much of dy is worked on at once: images, and pixels of
// each. All images where that leaves a fair number of pixels, since dx is
// computed by one invocation for each channel of each.
func columnPart(p conv.Problem) (images, pixels int) {
	perPixel, all := p.C*p.Taps(), p.Ho*p.Wo
	images = min(p.N, max(1, mostColumn/perPixel/min(all, 256)))
	return images, min(all, max(leastPixels, mostColumn/(perPixel*images)))
}

func newDeformPart(d *gpu.Device, p conv.Problem, image, images, first, pixels int) (deformPart, error) {
	t := traitsOf(d.Info())
	part := deformPart{elements: images * p.C * p.Taps() * pixels}
	rows := p.C / p.Groups * p.Taps()
	best, err := chooseTile(t, "deform_grad_column", p.Groups, rows, images*pixels, 1)
	if err != nil {
		return part, err
	}
	v := problemValues(p)
	v["firstImage"], v["firstPixel"], v["pixels"] = image, first, pixels
	v["items"], v["groupBlocks"] = images*pixels, ceil(rows, best.tm)
	v["blocks"] = p.Groups * v["groupBlocks"]
	if part.column, err = newPass(d, best.module, best.local, ceil(v["items"], best.local*best.tn)*v["blocks"], v); err != nil {
		return part, err
	}
	local := localSize(t)
	v["items"] = images * p.OffsetGroups * p.Taps() * pixels
	for wants := 1; wants < 4; wants++ {
		v["wants"] = wants
		if part.offset[wants], err = newPass(d, "deform_grad_offset", local, ceil(v["items"], local), v); err != nil {
			return part, err
		}
	}
	v["items"] = images * p.C
	part.input, err = newPass(d, "deform_grad_input", local, ceil(v["items"], local), v)
	return part, err
}

// newDeformWeightSum plans dweight. Bindings: x, dy, offset, mask.
func newDeformWeightSum(d *gpu.Device, p conv.Problem) (*sum, error) {
	t := traitsOf(d.Info())
	cg, kg, elements := p.C/p.Groups, p.K/p.Groups, p.Weight().Len()
	v := problemValues(p)
	if kg <= fewChannels {
		const channels = 4 // of an invocation
		local := localSize(t)
		v["groupBlocks"] = ceil(p.C/p.OffsetGroups, channels)
		v["items"], v["blocks"], v["rowItems"] = p.N*p.Ho*p.Wo, p.OffsetGroups*v["groupBlocks"]*p.Taps()*kg, 1
		parts, share := split(t, ceil(v["items"], local), v["blocks"], elements*local)
		v["share"] = share * local
		pass, err := newPass(d, "deform_grad_depthwise_n4", local, v["blocks"]*parts, v)
		if err != nil {
			return nil, err
		}
		return newSum(d, pass, elements, parts*local)
	}
	units := func(tn int) int { return cg / v["run"] * ceil(v["run"], tn) * p.Taps() }
	best, err := chooseTile(t, "deform_grad_weight", p.Groups, kg, cg*p.Taps(), 1)
	if err != nil {
		return nil, err
	}
	v["items"], v["groupBlocks"] = p.N*p.Ho, ceil(kg, best.tm)
	v["blocks"], v["rowItems"] = p.Groups*v["groupBlocks"], ceil(units(best.tn), best.local)
	tiles := v["blocks"] * v["rowItems"]
	parts, share := split(t, v["items"], tiles, elements)
	v["share"] = share
	pass, err := newPass(d, best.module, best.local, tiles*parts, v)
	if err != nil {
		return nil, err
	}
	return newSum(d, pass, elements, parts)
}

// Describe names the kernels.
func (b *DeformConv2DBackward) Describe() string {
	if b.weights == nil {
		return "an empty batch"
	}
	return fmt.Sprintf("%s in %d parts, deform_grad_offset, deform_grad_input; %s", b.parts[0].column.module.Name, len(b.parts), b.weights.describe())
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
	if g.X.wants() { // the parts add to it
		if err := s.Fill(dx.Buf, dx.Offset, 4*int64(dx.elements), 0); err != nil {
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
			if err := part.input.record(s, &[maxSpans]span{column, offset, mask, dx}); err != nil {
				return err
			}
		}
	}
	return nil
}
