//go:build cgo

package kernels

import (
	"errors"
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// Conv2DBackward is a plan of an ordinary convolution's gradients: with dy the
// gradient by the output (before any activation),
//
//	dx += weight·dy    dweight += x·dy    dbias += dy
//
// at the places the padding mode maps to; see [vkconv/cpuref.Conv2DBackward].
type Conv2DBackward struct {
	backward
	x *pass
}

// backward is what plans of gradients share.
type backward struct {
	problem       conv.Problem
	device        *gpu.Device
	raw           *gpu.Buffer // the weight as it is
	workspace     *gpu.Buffer // nil where none is needed
	size          int64
	weights, bias *sum
}

// NewConv2DBackward plans the gradients of p, which comes from
// [conv.Params.Problem]. weight, K×(C/G)×R×S, is needed for the gradient by the
// input. A problem beyond the device's limits gives [gpu.ErrTooLarge].
func NewConv2DBackward(d *gpu.Device, p conv.Problem, weight []float32) (*Conv2DBackward, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: a deformable problem is for NewDeformConv2DBackward", conv.ErrParams)
	}
	b := &Conv2DBackward{}
	if err := b.init(d, p); err != nil {
		return nil, err
	}
	if p.N > 0 {
		var err error
		if b.x, err = newInputPass(d, b.problem, false, conv.Activation{}); err != nil {
			return nil, err
		}
		if b.weights, err = newWeightSum(d, b.problem); err != nil {
			return nil, err
		}
		if b.bias, err = newBiasSum(d, b.problem); err != nil {
			return nil, err
		}
	}
	if err := b.allocate(weight, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// init checks the problem.
func (b *backward) init(d *gpu.Device, p conv.Problem) error {
	b.device, b.problem = d, normal(p)
	return checkGradient(b.problem, traitsOf(d.Info()))
}

// reserve makes the workspace, which holds the partial sums behind the first
// bytes.
func (b *backward) reserve(first int64) (err error) {
	align := max(b.device.Info().Limits.StorageAlign, 4)
	next := func(n int64) int64 {
		at := (b.size + align - 1) / align * align
		b.size = at + n
		return at
	}
	b.size = first
	if n := b.weights.bytes(); n > 0 {
		b.weights.at = next(n)
	}
	if n := b.bias.bytes(); n > 0 {
		b.bias.at = next(n)
	}
	if b.size == 0 {
		return nil
	}
	if b.workspace, err = b.device.NewBuffer(b.size); err != nil {
		return fmt.Errorf("kernels: workspace: %w", err)
	}
	return nil
}

// allocate also uploads the weight.
func (b *backward) allocate(weight []float32, first int64) error {
	err := b.reserve(first)
	if err != nil {
		return err
	}
	if b.raw, err = b.device.NewBuffer(4 * int64(b.problem.Weight().Len())); err == nil {
		err = b.SetWeights(weight)
	}
	if err != nil {
		b.Close()
		return fmt.Errorf("kernels: weight: %w", err)
	}
	return nil
}

// SetWeights replaces the weight, K×(C/G)×R×S. What was submitted before
// computes with the old one.
func (b *backward) SetWeights(weight []float32) error {
	if want := b.problem.Weight(); len(weight) != want.Len() {
		return fmt.Errorf("kernels: %w: weight has %d elements, %v has %d", conv.ErrShape, len(weight), want, want.Len())
	}
	return b.device.Upload(b.raw, 0, bytesOf(weight))
}

// Workspace is the device memory in bytes that the gradients take beyond
// tensors and weights.
func (b *backward) Workspace() int64 { return b.size }

// Close frees weight and workspace. What was submitted before goes on.
func (b *backward) Close() {
	b.raw.Free()
	b.workspace.Free()
}

func (b *backward) weightSpan() span { return span{Tensor{Buf: b.raw}, b.problem.Weight().Len()} }

// Describe names the kernels.
func (b *Conv2DBackward) Describe() string {
	if b.x == nil {
		return "an empty batch"
	}
	return b.x.module.Name + "; " + b.weights.describe()
}

// Record records the gradients that g wants. x, N×C×H×W, is only read for the
// gradient by the weight; dy is N×K×Ho×Wo.
func (b *Conv2DBackward) Record(s *gpu.Stream, g Grads, x, dy Tensor) error {
	p := &b.problem
	if g.Offset.wants() || g.Mask.wants() {
		return fmt.Errorf("kernels: %w: an ordinary convolution has no gradient by offset or mask", conv.ErrParams)
	}
	in := span{x, p.Input().Len()}
	if err := b.check(g, in, dy); err != nil {
		return err
	}
	if p.N == 0 {
		return b.empty(s, g, p.K)
	}
	out := span{dy, p.Output().Len()}
	if g.X.wants() {
		w := b.weightSpan()
		if err := b.x.record(s, &[maxSpans]span{out, w, w, {g.X, in.elements}}); err != nil {
			return err
		}
	}
	if g.Weight.wants() {
		if err := b.weights.record(s, g.Weight, b.workspace, &[maxSpans]span{in, out}); err != nil {
			return err
		}
	}
	return b.recordBias(s, g, out)
}

// check refuses tensors that are too short. A gradient by the weight needs x.
func (b *backward) check(g Grads, x span, dy Tensor) error {
	p := &b.problem
	err := checkSpan("dy", span{dy, p.Output().Len()})
	if err == nil && g.X.wants() {
		err = checkSpan("dx", span{g.X, p.Input().Len()})
	}
	if err == nil && g.Weight.wants() {
		if err = checkSpan("dweight", span{g.Weight, p.Weight().Len()}); err == nil {
			err = checkSpan("x", x)
		}
	}
	if err == nil && g.Bias.wants() {
		err = checkSpan("dbias", span{g.Bias, p.K})
	}
	return err
}

// empty is the gradient of an empty batch: sums of nothing.
func (b *backward) empty(s *gpu.Stream, g Grads, biases int) error {
	var err error
	if g.Weight.wants() {
		err = s.Fill(g.Weight.Buf, g.Weight.Offset, 4*int64(b.problem.Weight().Len()), 0)
	}
	if g.Bias.wants() {
		err = errors.Join(err, s.Fill(g.Bias.Buf, g.Bias.Offset, 4*int64(biases), 0))
	}
	return err
}

func (b *backward) recordBias(s *gpu.Stream, g Grads, dy span) error {
	if !g.Bias.wants() {
		return nil
	}
	return b.bias.record(s, g.Bias, b.workspace, &[maxSpans]span{dy})
}

// newInputPass plans dx, or the transposed convolution with a bias and an
// activation behind. Bindings: dy, weight, bias, dx.
func newInputPass(d *gpu.Device, p conv.Problem, biased bool, a conv.Activation) (*pass, error) {
	t := traitsOf(d.Info())
	cg := p.C / p.Groups
	phases := min(p.StrideY, p.H) * min(p.StrideX, p.W)
	items := p.N * ceil(p.H, p.StrideY) * ceil(p.W, p.StrideX) // of a phase
	best, err := chooseTile(t, "conv2d_grad_input", p.Groups, cg, items, 1)
	if err != nil {
		return nil, err
	}
	v := problemValues(p)
	v["items"], v["groupBlocks"] = items, ceil(cg, best.tm)
	v["blocks"] = p.Groups * v["groupBlocks"]
	v["bottom"] = p.Pad.Bottom
	v["imagesY"], v["imagesX"] = 1, 1
	switch p.Mode {
	case conv.Reflect, conv.Circular:
		v["imagesY"], v["imagesX"] = 3, 3
	case conv.Replicate:
		v["imagesY"], v["imagesX"] = 1+p.Pad.Top+p.Pad.Bottom, 1+p.Pad.Left+p.Pad.Right
	}
	v["activation"], v["low"], v["high"] = int(a.Kind), int(math.Float32bits(a.Min)), int(math.Float32bits(a.Max))
	if a.Kind == conv.LeakyReLU {
		v["low"] = int(math.Float32bits(a.Slope))
	}
	if v["biased"] = 0; biased {
		v["biased"] = 1
	}
	return newPass(d, best.module, best.local, phases*ceil(items, best.local*best.tn)*v["blocks"], v)
}

// fewChannels is up to how many output channels of a group the gradient by the
// weight is better computed one by one.
const fewChannels = 2

// newWeightSum plans dweight. Bindings: x, dy.
func newWeightSum(d *gpu.Device, p conv.Problem) (*sum, error) {
	t := traitsOf(d.Info())
	cg, kg, elements := p.C/p.Groups, p.K/p.Groups, p.Weight().Len()
	v := problemValues(p)
	if kg <= fewChannels && cg*p.Taps() <= 4*9 {
		const taps = 9 // of an invocation
		local := localSize(t)
		v["items"], v["blocks"], v["rowItems"] = p.N*p.Ho*p.Wo, p.K*cg, ceil(p.Taps(), taps)
		tiles := v["blocks"] * v["rowItems"]
		parts, share := split(t, ceil(v["items"], local), tiles, elements*local)
		v["share"] = share * local
		pass, err := newPass(d, "conv2d_grad_depthwise_n9", local, tiles*parts, v)
		if err != nil {
			return nil, err
		}
		return newSum(d, pass, elements, parts*local)
	}
	best, err := chooseTile(t, "conv2d_grad_weight", p.Groups, kg, cg*p.Taps(), 1)
	if err != nil {
		return nil, err
	}
	v["items"], v["groupBlocks"] = p.N*p.Ho, ceil(kg, best.tm)
	v["blocks"], v["rowItems"] = p.Groups*v["groupBlocks"], ceil(cg*p.Taps(), best.local*best.tn)
	tiles := v["blocks"] * v["rowItems"]
	parts, share := split(t, v["items"], tiles, elements)
	v["share"] = share
	pass, err := newPass(d, best.module, best.local, tiles*parts, v)
	if err != nil {
		return nil, err
	}
	return newSum(d, pass, elements, parts)
}
