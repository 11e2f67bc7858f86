//go:build cgo

package kernels

import (
	"errors"
	"fmt"

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
	x      *pass     // dx, where it is not
	mirror *operator // a forward convolution, see mirrored
}

// backward is what plans of gradients share.
type backward struct {
	problem       conv.Problem
	device        *gpu.Device
	raw           *gpu.Buffer // the weight as it is
	workspace     *gpu.Buffer // nil where none is needed
	size          int64
	weights, bias *sum
	choices       []Choice
}

// Choices say how the kernels were chosen.
func (b *backward) Choices() []Choice { return b.choices }

func (b *backward) choose(c []Choice) { b.choices = append(b.choices, c...) }

// NewConv2DBackward plans the gradients of p, which comes from
// [conv.Params.Problem]. weight, K×(C/G)×R×S, is needed for the gradient by the
// input. A problem beyond the device's limits gives [gpu.ErrTooLarge].
func NewConv2DBackward(d *gpu.Device, p conv.Problem, weight []float32) (*Conv2DBackward, error) {
	return newConv2DBackward(makerFor(d), p, weight, true)
}

// newConv2DBackward uses forward kernels for dx where it can and mirror is set.
func newConv2DBackward(m maker, p conv.Problem, weight []float32, mirror bool) (*Conv2DBackward, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("kernels: %w: a deformable problem is for NewDeformConv2DBackward", conv.ErrParams)
	}
	b := &Conv2DBackward{}
	if err := b.init(m, p); err != nil {
		return nil, err
	}
	err := b.checkWeight(weight)
	if err == nil && p.N > 0 {
		err = b.plan(m, weight, mirror)
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

func (b *Conv2DBackward) plan(m maker, weight []float32, mirrors bool) (err error) {
	if of, ok := mirrored(b.problem); ok && mirrors {
		// Where no forward kernel takes it, this file's own does.
		mirrored := mirror(b.problem, weight)
		w, choice, why := m.forwardWay("dx", of, mirrored, nil, onePass)
		switch {
		case why == nil:
			b.choices = append(b.choices, choice)
			if b.mirror, err = newOperator(m.device, w.launch, mirrored, nil); err != nil {
				return err
			}
		case !errors.Is(why, gpu.ErrTooLarge) && !errors.Is(why, conv.ErrUnsupported):
			return why
		}
	}
	if b.mirror == nil {
		if b.x, err = newInputPass(m, b.problem, false, conv.Activation{}); err != nil {
			return err
		}
	}
	if b.weights, err = newWeightSum(m, b.problem, b.problem); err != nil {
		return err
	}
	b.bias, err = newBiasSum(m, b.problem)
	return err
}

// init checks the problem.
func (b *backward) init(m maker, p conv.Problem) error {
	b.device, b.problem = m.device, normal(p)
	return checkGradient(b.problem, m.traits)
}

// room adds n bytes to the workspace and says where they are.
func (b *backward) room(n int64) int64 {
	align := max(b.device.Info().Limits.StorageAlign, 4)
	at := (b.size + align - 1) / align * align
	b.size = at + n
	return at
}

// reserve makes the workspace, with room for the partial sums. They may lie
// over what was given room before: the sums are done by then.
func (b *backward) reserve() (err error) {
	if b.layOut(); b.size == 0 {
		return nil
	}
	if b.workspace, err = b.device.NewBuffer(b.size); err != nil {
		return fmt.Errorf("kernels: workspace: %w", err)
	}
	return nil
}

// layOut says where in the workspace the partial sums lie, and its size.
func (b *backward) layOut() {
	before := b.size
	b.size = 0
	if n := b.weights.bytes(); n > 0 {
		b.weights.at = b.room(n)
	}
	if n := b.bias.bytes(); n > 0 {
		b.bias.at = b.room(n)
	}
	b.size = max(b.size, before)
}

// allocate also uploads the weight.
func (b *backward) allocate(weight []float32) error {
	err := b.reserve()
	if err != nil {
		return err
	}
	if b.raw, err = b.device.NewBuffer(4 * int64(b.problem.Weight().Len())); err == nil {
		err = b.SetWeights(weight)
	}
	if err != nil {
		return fmt.Errorf("kernels: weight: %w", err)
	}
	return nil
}

// SetWeights replaces the weight, K×(C/G)×R×S. What was submitted before
// computes with the old one.
func (b *backward) SetWeights(weight []float32) error {
	if err := b.checkWeight(weight); err != nil {
		return err
	}
	return b.device.Upload(b.raw, 0, bytesOf(weight))
}

func (b *backward) checkWeight(weight []float32) error {
	if want := b.problem.Weight(); len(weight) != want.Len() {
		return fmt.Errorf("kernels: %w: weight has %d elements, %v has %d", conv.ErrShape, len(weight), want, want.Len())
	}
	return nil
}

// Workspace is the device memory in bytes that the gradients take beyond
// tensors and weights.
func (b *backward) Workspace() int64 { return b.size }

// Workspace is the device memory in bytes that the gradients take beyond
// tensors and weights.
func (b *Conv2DBackward) Workspace() int64 {
	if b.mirror == nil {
		return b.size
	}
	return b.size + b.mirror.Workspace()
}

// Close frees weight and workspace. What was submitted before goes on.
func (b *backward) Close() {
	b.raw.Free()
	b.workspace.Free()
}

func (b *backward) weightSpan() span { return span{Tensor{Buf: b.raw}, b.problem.Weight().Len()} }

// mirrored is the convolution of dy that dx is where the stride is 1: with the
// kernel turned by half a turn, and inputs and outputs exchanged,
//
//	dx[n,c,iy,ix] = Σ_{k,r,s} weight[k,c,R−1−r,S−1−s] · dy[n,k, iy + top − (R−1−r)·dy, …]
//
// ok is false where dx is no such convolution.
func mirrored(p conv.Problem) (m conv.Problem, ok bool) {
	m = conv.Problem{
		N: p.N, C: p.K, H: p.Ho, W: p.Wo, K: p.C, R: p.R, S: p.S, Ho: p.H, Wo: p.W,
		StrideY: 1, StrideX: 1, DilationY: p.DilationY, DilationX: p.DilationX, Groups: p.Groups,
	}
	m.Pad.Top, m.Pad.Left = p.DilationY*(p.R-1)-p.Pad.Top, p.DilationX*(p.S-1)-p.Pad.Left
	// Padding beyond the kernel's reach leaves dy's border without use: the
	// forward kernels are not asked to crop.
	ok = p.StrideY == 1 && p.StrideX == 1 && p.Mode == conv.Zeros && m.Pad.Top >= 0 && m.Pad.Left >= 0
	return m, ok
}

// mirror is the weight of that convolution.
func mirror[T float32 | int32](p conv.Problem, weight []T) []T {
	out := make([]T, len(weight))
	cg, kg, taps := p.C/p.Groups, p.K/p.Groups, p.Taps()
	for k := range p.K {
		for c := range cg {
			from := weight[(k*cg+c)*taps:][:taps]
			to := out[((k/kg*cg+c)*kg+k%kg)*taps:][:taps]
			for i, w := range from {
				to[taps-1-i] = w
			}
		}
	}
	return out
}

// SetWeights replaces the weight, K×(C/G)×R×S. What was submitted before
// computes with the old one.
func (b *Conv2DBackward) SetWeights(weight []float32) error {
	if err := b.backward.SetWeights(weight); err != nil || b.mirror == nil {
		return err
	}
	return b.mirror.SetWeights(mirror(b.problem, weight), nil)
}

// Close frees weight and workspace. What was submitted before goes on.
func (b *Conv2DBackward) Close() {
	b.backward.Close()
	if b.mirror != nil {
		b.mirror.Close()
	}
}

// Describe names the kernels.
func (b *Conv2DBackward) Describe() string {
	switch {
	case b.mirror != nil:
		return "dx by " + b.mirror.Describe() + "; " + b.weights.describe()
	case b.x != nil:
		return b.x.module.Name + "; " + b.weights.describe()
	}
	return "an empty batch"
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
	if g.X.wants() && b.mirror != nil {
		err := b.mirror.record(s, &[slots]Tensor{slotX: dy, slotY: g.X}, &[slots]int{slotX: out.elements, slotY: in.elements})
		if err != nil {
			return err
		}
	} else if g.X.wants() {
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
func newInputPass(m maker, p conv.Problem, biased bool, a conv.Activation) (*pass, error) {
	t := m.traits
	if err := checkLoops(t, inputLoops(p)); err != nil {
		return nil, fmt.Errorf("kernels: gradient by the input: %w", err)
	}
	cg := p.C / p.Groups
	phases := min(p.StrideY, p.H) * min(p.StrideX, p.W)
	items := p.N * ceil(p.H, p.StrideY) * ceil(p.W, p.StrideX) // of a phase
	best, err := m.tileOf(matrix{groups: p.Groups, rows: cg, columns: items, value: t.machine().load}, "conv2d_grad_input")
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
	v["activation"] = int(a.Kind)
	v["low"], v["high"] = activationParameters(a)
	if v["biased"] = 0; biased {
		v["biased"] = 1
	}
	return newPass(m, best.module, best.local, phases*ceil(items, best.local*best.tn)*v["blocks"], v)
}

// fewChannels is up to how many output channels of a group the gradient by the
// weight is better computed one by one.
const fewChannels = 2

// newWeightSum plans dweight of p, a block of channels of whole, by the kernel and
// in as many parts as whole's would be. Bindings: x, dy.
func newWeightSum(m maker, p, whole conv.Problem) (*sum, error) {
	t := m.traits
	if cg, kg := whole.C/whole.Groups, whole.K/whole.Groups; kg <= fewChannels && cg*p.Taps() <= 4*9 && whole.Weight().Len()*localSize(t) <= mostPartial {
		return newFewSum(m, p, whole)
	}
	product := matrix{groups: whole.Groups, rows: whole.K / whole.Groups, columns: whole.C / whole.Groups * p.Taps(), value: t.machine().load, padded: p.Mode != conv.Zeros}
	best, err := m.tileOf(product, "conv2d_grad_weight")
	if err != nil {
		return nil, err
	}
	cg, kg, v := p.C/p.Groups, p.K/p.Groups, problemValues(p)
	v["items"], v["groupBlocks"] = p.N*p.Ho, ceil(kg, best.tm)
	v["blocks"], v["rowItems"] = p.Groups*v["groupBlocks"], ceil(cg*p.Taps(), best.local*best.tn)
	tiles := v["blocks"] * v["rowItems"]
	rounds := p.Wo + 2 // of an item, a row
	if err := checkLoops(t, float64(rounds)); err != nil {
		return nil, fmt.Errorf("kernels: gradient by the weight: %w", err)
	}
	parts, share := split(t, v["items"], product.count(best), whole.Weight().Len(), rounds)
	v["share"] = share
	pass, err := newPass(m, best.module, best.local, tiles*parts, v)
	if err != nil {
		return nil, err
	}
	return newSum(m, pass, p.Weight().Len(), parts)
}

// newFewSum plans dweight where groups have few channels: every invocation sums
// its share of pixels, or of strips of them, for one kernel.
func newFewSum(m maker, p, whole conv.Problem) (*sum, error) {
	local, v, elements := localSize(m.traits), problemValues(p), p.Weight().Len()
	v["blocks"] = p.K * p.C / p.Groups
	wholeTiles := whole.K * whole.C / whole.Groups
	estep, other := p.StrideX/gcd(p.StrideX, p.DilationX), p.StrideY/gcd(p.StrideY, p.DilationY)
	name, tiles := "conv2d_grad_depthwise_n9", v["blocks"]
	if p.R == 3 && p.S == 3 && estep == other && estep <= 2 {
		const width, height = 4, 16 // of a strip
		along := func(out, stride, dilation, size int) (step, items int) {
			step = dilation / gcd(stride, dilation)
			return step, step * ceil(ceil(out, step), size)
		}
		v["rows"] = height
		v["stepY"], v["columnItems"] = along(p.Ho, p.StrideY, p.DilationY, height)
		v["stepX"], v["rowItems"] = along(p.Wo, p.StrideX, p.DilationX, width)
		v["items"] = p.N * v["columnItems"] * v["rowItems"]
		if name = fmt.Sprintf("conv2d_grad_window_e%d", estep); p.Mode == conv.Zeros {
			name += "z"
		}
	} else {
		const taps = 9 // of an invocation
		v["items"], v["rowItems"] = p.N*p.Ho*p.Wo, ceil(p.Taps(), taps)
		wholeTiles *= v["rowItems"]
		if tiles *= v["rowItems"]; p.Mode == conv.Zeros {
			name += "z"
		}
	}
	parts, share := split(m.traits, ceil(v["items"], local), wholeTiles, whole.Weight().Len()*local, v["rows"]+4)
	v["share"] = share * local
	pass, err := newPass(m, name, local, tiles*parts, v)
	if err != nil {
		return nil, err
	}
	return newSum(m, pass, elements, parts*local)
}
