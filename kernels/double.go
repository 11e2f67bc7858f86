//go:build cgo

package kernels

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"vkconv/conv"
	"vkconv/gpu"
)

// Double is a plan of an operator in double precision, forward or backward. It is
// for checking and not for speed: shaders/double.glsl says how it computes.
type Double struct {
	device        *gpu.Device
	weights       conv.Shape // zero without
	biases        int
	weight, bias  *gpu.Buffer
	record        func(s *gpu.Stream, t DoubleTensors) error
	describe      string
	workspace     int64
	views         bool
	closeSampling func()
	pieces        *doublePieces // nil where all is bound at once
}

// DoubleTensors are the operands of a Double, the outputs first:
//
//	forward   y, x, [rois,] offset, mask
//	backward  dx, dweight, dbias, doffset, dmask, x, offset, mask, dy   of a convolution
//	          dx, doffset, dmask, x, [rois,] offset, mask, dy          of DCN and RoI pooling
//	          dx, dy                                                   of resize and pooling
//	          dx, x, dy                                                of an activation
//	y, a, b                                                            of a sum
//
// with offset and mask left out of ordinary and transposed convolutions. Those
// that an operator does not have, and gradients that are not wanted, are zero.
// Only the first two may be ranges of channels, where [Double.Views] says so.
type DoubleTensors [9]View

// NewDouble plans a [conv.Problem], [conv.Transposed], [conv.DCN], [conv.RoIPool],
// [conv.Resize], [conv.GlobalPool] or [conv.Elementwise]. weight and bias are those
// of a convolution; backward bias is nil. Without double precision in the device's
// shaders the error matches [conv.ErrUnsupported], beyond its limits
// [gpu.ErrTooLarge].
func NewDouble(d *gpu.Device, problem any, backward bool, weight, bias []float64) (*Double, error) {
	return newDouble(makerFor(d), problem, backward, weight, bias)
}

func newDouble(m maker, problem any, backward bool, weight, bias []float64) (*Double, error) {
	if !m.device.Info().Features.Float64 {
		return nil, fmt.Errorf("kernels: %w: float64 on %s, whose shaders have no double precision", conv.ErrUnsupported, m.device.Info().Name)
	}
	m.traits.StorageRange /= 2 // what follows counts float32 elements
	if m.traits.Loops == 0 {
		m.traits.Loops = longestDouble
	}
	b := &Double{device: m.device}
	var err error
	switch p := problem.(type) {
	case conv.Problem:
		err = b.planConv(m, p, backward)
	case conv.Transposed:
		err = b.planTransposed(m, p, backward)
	case conv.DCN:
		err = b.planDCN(m, p, backward)
	case conv.RoIPool:
		err = b.planRoIPool(m, p, backward)
	case conv.Resize:
		err = b.planScale(newResize(m, p, backward, float64s))
	case conv.GlobalPool:
		var s *scaler
		s, err = newScaler(m, "pool", p.Input(), p.Output(), backward, true, float64s)
		err = b.planScale(&Resize{s}, err)
	case conv.Elementwise:
		if backward || p.Sum {
			err = b.planPair(m, p)
			break
		}
		// An activation is that of a depthwise convolution with ones.
		x := p.Shape
		weight = slices.Repeat([]float64{1}, x[1])
		err = b.planConv(m, conv.Problem{N: x[0], C: x[1], H: x[2], W: x[3], K: x[1], R: 1, S: 1, Ho: x[2], Wo: x[3], StrideY: 1, StrideX: 1,
			DilationY: 1, DilationX: 1, Groups: x[1], Activation: p.Activation}, false)
	default:
		err = fmt.Errorf("kernels: %w: %T in float64", conv.ErrUnsupported, problem)
	}
	if err == nil && b.pieces != nil {
		err = b.SetWeights(weight, bias)
	} else if err == nil && b.weights != (conv.Shape{}) {
		err = b.allocate(weight, bias)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// longestDouble bounds how often an invocation's loops go round where the driver
// does not: a few tenths of a second.
const longestDouble = 1 << 20

func (b *Double) allocate(weight, bias []float64) (err error) {
	if b.weight, err = b.device.NewBuffer(8 * int64(b.weights.Len())); err == nil && b.biases > 0 {
		b.bias, err = b.device.NewBuffer(8 * int64(b.biases))
	}
	if err != nil {
		return fmt.Errorf("kernels: weight: %w", err)
	}
	return b.SetWeights(weight, bias)
}

// SetWeights replaces weight and bias. What was submitted before computes with
// the old ones.
func (b *Double) SetWeights(weight, bias []float64) error {
	if len(weight) != b.weights.Len() || len(bias) != b.biases {
		return fmt.Errorf("kernels: %w: there are %d weights and %d biases, must be %d and %d", conv.ErrShape, len(weight), len(bias), b.weights.Len(), b.biases)
	}
	if b.pieces != nil {
		return b.pieces.setWeights(weight, bias)
	}
	err := b.device.Upload(b.weight, 0, bytesOfDoubles(weight))
	if err == nil && b.biases > 0 {
		err = b.device.Upload(b.bias, 0, bytesOfDoubles(bias))
	}
	return err
}

// bytesOfDoubles views numbers as bytes.
func bytesOfDoubles(v []float64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 8*len(v))
}

// Record records the operator.
func (b *Double) Record(s *gpu.Stream, t DoubleTensors) error { return b.record(s, t) }

// Views reports whether output and input may be ranges of channels.
func (b *Double) Views() bool { return b.views }

// Describe names the kernels.
func (b *Double) Describe() string { return b.describe }

// Workspace is the device memory in bytes that running takes beyond tensors and
// weights.
func (b *Double) Workspace() int64 { return b.workspace }

// Close frees the weights. What was submitted before goes on.
func (b *Double) Close() {
	b.weight.Free()
	b.bias.Free()
	if b.pieces != nil {
		b.pieces.free()
	}
	if b.closeSampling != nil {
		b.closeSampling()
	}
}

// stepped is a pass whose sum is cut into dispatches of share terms.
type stepped struct {
	*pass        // nil where there is nothing to compute
	terms, share int
}

// newStepped plans a pass of so many invocations, each with a sum of so many
// terms that take rounds rounds of loops each, and fixed rounds besides.
func newStepped(m maker, name string, items, terms, rounds, fixed int, values map[string]int) (stepped, error) {
	p := stepped{terms: terms, share: max(1, (m.traits.Loops-fixed)/rounds)}
	if items == 0 {
		return p, nil
	}
	if err := checkLoops(m.traits, float64(fixed)+float64(rounds)); err != nil {
		return p, fmt.Errorf("kernels: %s: %w", name, err)
	}
	values["items"] = items
	local := localSize(m.traits)
	var err error
	p.pass, err = newPass(m, name, local, ceil(items, local), values)
	return p, err
}

// The flags of double.glsl.
const (
	doubleLast = 1 << iota
	doubleBiased
	doubleMasked
	doubleCut
	doubleOffsets
	doubleMasks
	doubleGoesOn
)

// places are where a call's output and input begin in their bindings, and the
// channels of the tensors that they lie in.
type places struct{ firstY, cy, firstX, cx int }

// record records all dispatches. With at, output and input may be views.
func (p stepped) record(s *gpu.Stream, flags int, at *places, bound ...span) error {
	if p.pass == nil {
		return nil
	}
	var b [maxSpans]span
	copy(b[:], bound)
	push := patched(p.module, p.push)
	if at != nil {
		push.set("firstY", at.firstY)
		push.set("cy", at.cy)
		push.set("firstX", at.firstX)
		push.set("cx", at.cx)
	}
	for from := 0; from == 0 || from < p.terms; from += p.share {
		to := min(from+p.share, p.terms)
		push.set("from", from)
		push.set("to", to)
		push.set("flags", flags)
		if to == p.terms && flags&doubleUnfinished == 0 {
			push.set("flags", flags|doubleLast)
		}
		if err := p.recordWith(s, push.push(), &b); err != nil {
			return err
		}
	}
	return nil
}

// doubles is a tensor as a span, whose elements are counted in words of 4 bytes.
func doubles(name string, t Tensor, elements int) (span, error) {
	at := span{t, 2 * elements}
	return at, checkSpan(name, at)
}

// doubleValues are the push constants of double.glsl.
func doubleValues(p conv.Problem) (v map[string]int, flags int) {
	v = problemValues(p)
	for _, name := range []string{"from", "to", "flags", "firstX", "firstY"} {
		v[name] = 0
	}
	v["cx"], v["cy"] = p.C, p.K
	v["activation"] = int(p.Activation.Kind)
	v["low"], v["high"] = activationParameters(p.Activation)
	if !p.Deformable() {
		v["offsetGroups"], v["offsetChannels"] = 1, p.C
	}
	if p.Bias {
		flags |= doubleBiased
	}
	if p.Mask {
		flags |= doubleMasked
	}
	if p.Border == conv.BorderCut {
		flags |= doubleCut
	}
	return v, flags
}

// functionRounds is what evaluating an activation may take.
const functionRounds = 128

// planConv plans a convolution, ordinary or deformable.
func (b *Double) planConv(m maker, p conv.Problem, backward bool) error {
	p = normal(p)
	b.weights = p.Weight()
	b.views = !backward
	if p.Bias && !backward {
		b.biases = p.K
	}
	if err := checkGradient(p, m.traits); errors.Is(err, gpu.ErrTooLarge) {
		return b.planPieces(m, p, false, backward)
	} else if err != nil {
		return err
	}
	if backward {
		return b.planConvBackward(m, p)
	}
	v, flags := doubleValues(p)
	name, terms, rounds := "double_conv2d", p.C/p.Groups*p.R, 1+p.S
	if p.Deformable() {
		name, terms, rounds = "double_deform", p.C/p.Groups*p.Taps(), 1
	}
	b.describe = name
	pass, err := newStepped(m, name, p.Output().Len(), terms, rounds, functionRounds, v)
	if err != nil {
		return err
	}
	b.record = func(s *gpu.Stream, t DoubleTensors) error {
		y, x, places, err := b.viewed(t, p.Output(), p.Input())
		if err != nil {
			return err
		}
		w, bias := b.constants()
		if !p.Deformable() {
			return pass.record(s, flags, &places, x, w, bias, y)
		}
		at, mask, err := samplingSpans(p, t[2].Tensor, t[3].Tensor)
		if err != nil {
			return err
		}
		return pass.record(s, flags, &places, x, w, bias, at, mask, y)
	}
	return nil
}

// constants are weight and bias; without one the weight is bound in its place.
func (b *Double) constants() (weight, bias span) {
	weight = span{Tensor{Buf: b.weight}, 2 * b.weights.Len()}
	if b.bias == nil {
		return weight, weight
	}
	return weight, span{Tensor{Buf: b.bias}, 2 * b.biases}
}

// samplingSpans are offset and mask; without a mask the offset in its place.
func samplingSpans(p conv.Problem, offset, mask Tensor) (at, m span, err error) {
	if at, err = doubles("offset", offset, p.Offset().Len()); err != nil || !p.Mask {
		return at, at, err
	}
	m, err = doubles("mask", mask, p.MaskShape().Len())
	return at, m, err
}

// viewed binds output and input, which may be ranges of channels, and returns
// where they begin.
func (b *Double) viewed(t DoubleTensors, to, from conv.Shape) (out, in span, p places, err error) {
	limits := b.device.Info().Limits
	place := func(v View, name string, shape conv.Shape) (span, int, int) {
		at, first, channels, e := v.placeOf(8, name, shape, max(limits.StorageAlign, 8), limits.StorageBufferRange)
		at.elements *= 2
		if e == nil {
			e = checkSpan(name, at)
		}
		err = errors.Join(err, e)
		return at, first, channels
	}
	out, p.firstY, p.cy = place(t[0], "the output", to)
	in, p.firstX, p.cx = place(t[1], "the input", from)
	return out, in, p, err
}

// planConvBackward plans the gradients.
func (b *Double) planConvBackward(m maker, p conv.Problem) error {
	p.Activation = conv.Activation{}
	p.Bias = false
	v, flags := doubleValues(p)
	cg, kg := p.C/p.Groups, p.K/p.Groups
	var failed error
	plan := func(name string, items, terms, rounds, fixed int) stepped {
		s, err := newStepped(m, name, items, terms, rounds, fixed, v)
		failed = errors.Join(failed, err)
		return s
	}
	weightName, deformable := "double_conv2d_grad_weight", p.Deformable()
	var input, offset stepped
	if deformable {
		weightName = "double_deform_grad_weight"
		input = plan("double_deform_grad_input", p.N*p.C, p.Taps()*p.Ho*p.Wo, 1+kg, 0)
		offset = plan("double_deform_grad_offset", p.MaskShape().Len(), p.C/p.OffsetGroups, 1+kg, 0)
	} else {
		input = plan("double_conv2d_grad_input", p.N*p.C*p.H, inputTerms(p), 1+p.Wo*(1+p.S), 2*p.W+functionRounds)
	}
	weights := plan(weightName, p.K*cg*p.Taps(), p.N*p.Ho, 1+p.Wo, 0)
	bias := plan("double_grad_bias", p.K, p.N*p.Ho, 1+p.Wo, 0)
	b.describe = weightName
	b.record = func(s *gpu.Stream, t DoubleTensors) error {
		g := [5]span{}
		sizes := [5]int{p.Input().Len(), p.Weight().Len(), p.K}
		last := 6
		var at, mask span
		var err error
		if deformable {
			sizes[3], sizes[4] = p.Offset().Len(), p.MaskShape().Len()
			last = 8
			at, mask, err = samplingSpans(p, t[6].Tensor, t[7].Tensor)
		}
		var x span // which dx alone does not need
		var e error
		if deformable || t[1].wants() {
			x, e = doubles("x", t[5].Tensor, p.Input().Len())
		}
		dy, e2 := doubles("dy", t[last].Tensor, p.Output().Len())
		if err = errors.Join(err, e, e2); err != nil {
			return err
		}
		for i := range g {
			if t[i].wants() {
				if g[i], err = doubles("a gradient", t[i].Tensor, sizes[i]); err != nil {
					return err
				}
			}
		}
		w, _ := b.constants()
		if g[0].wants() {
			if deformable {
				if err = fill(s, g[0]); err == nil {
					err = input.record(s, flags, nil, dy, w, at, mask, g[0])
				}
			} else {
				err = input.record(s, flags, nil, dy, w, w, g[0])
			}
		}
		if err == nil && g[1].wants() {
			if deformable {
				err = weights.record(s, flags, nil, x, dy, at, mask, g[1])
			} else {
				err = weights.record(s, flags, nil, x, dy, g[1])
			}
		}
		if err == nil && g[2].wants() {
			err = bias.record(s, flags, nil, dy, g[2])
		}
		if err != nil || !g[3].wants() && !g[4].wants() {
			return err
		}
		flags, off, m := flags, g[3], g[4] // what is not wanted is bound to something that is not written
		if off.wants() {
			flags |= doubleOffsets
		} else {
			off = m
		}
		if m.wants() {
			flags |= doubleMasks
		} else {
			m = off
		}
		return offset.record(s, flags, nil, x, dy, w, at, mask, off, m)
	}
	return failed
}

// fill clears a span.
func fill(s *gpu.Stream, at span) error {
	if at.elements == 0 {
		return nil
	}
	return s.Fill(at.Buf, at.Offset, 4*int64(at.elements), 0)
}

// inputTerms is what double_conv2d_grad_input.comp sums over.
func inputTerms(p conv.Problem) int {
	if p.Mode == conv.Zeros {
		return p.K / p.Groups * p.R
	}
	return p.K / p.Groups * p.Ho * p.R
}

// planTransposed plans a transposed convolution: the gradient by the input of the
// convolution that goes the other way.
func (b *Double) planTransposed(m maker, q conv.Transposed, backward bool) error {
	p := normal(q.Of)
	b.weights = p.Weight()
	flags := 0
	if q.Bias && !backward {
		b.biases, flags = p.C, doubleBiased
	}
	p.Activation, p.Bias = q.Activation, q.Bias
	if err := checkGradient(p, m.traits); errors.Is(err, gpu.ErrTooLarge) {
		return b.planPieces(m, p, true, backward)
	} else if err != nil {
		return err
	}
	if backward {
		p.Activation, p.Bias = conv.Activation{}, false
		return b.planTransposedBackward(m, p)
	}
	v, _ := doubleValues(p)
	pass, err := newStepped(m, "double_conv2d_grad_input", p.N*p.C*p.H, inputTerms(p), 1+p.Wo*(1+p.S), 2*p.W+p.W*functionRounds, v)
	b.describe = "double_conv2d_grad_input"
	b.record = func(s *gpu.Stream, t DoubleTensors) error {
		y, err := doubles("y", t[0].Tensor, p.Input().Len())
		x, e := doubles("x", t[1].Tensor, p.Output().Len())
		if err = errors.Join(err, e); err != nil {
			return err
		}
		w, bias := b.constants()
		return pass.record(s, flags, nil, x, w, bias, y)
	}
	return err
}

func (b *Double) planTransposedBackward(m maker, p conv.Problem) error {
	v, _ := doubleValues(p)
	input, err := newStepped(m, "double_conv2d", p.Output().Len(), p.C/p.Groups*p.R, 1+p.S, functionRounds, v)
	if err != nil {
		return err
	}
	weights, err := newStepped(m, "double_conv2d_grad_weight", b.weights.Len(), p.N*p.Ho, 1+p.Wo, 0, v)
	if err != nil {
		return err
	}
	v["k"], v["ho"], v["wo"] = p.C, p.H, p.W // dbias sums dy, the other way's input
	bias, err := newStepped(m, "double_grad_bias", p.C, p.N*p.H, 1+p.W, 0, v)
	b.describe = "double_conv2d, double_conv2d_grad_weight"
	b.record = func(s *gpu.Stream, t DoubleTensors) error {
		x, err := doubles("x", t[5].Tensor, p.Output().Len())
		dy, e := doubles("dy", t[6].Tensor, p.Input().Len())
		if err = errors.Join(err, e); err != nil {
			return err
		}
		w, _ := b.constants()
		for i, g := range []struct {
			name  string
			size  int
			pass  stepped
			bound [3]span
			n     int
		}{{"dx", p.Output().Len(), input, [3]span{dy, w, w}, 3}, {"dweight", b.weights.Len(), weights, [3]span{dy, x}, 2}, {"dbias", p.C, bias, [3]span{dy}, 1}} {
			if !t[i].wants() {
				continue
			}
			to, err := doubles(g.name, t[i].Tensor, g.size)
			if err == nil {
				var bound [4]span
				copy(bound[:], g.bound[:g.n])
				bound[g.n] = to
				err = g.pass.record(s, 0, nil, bound[:g.n+1]...)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return err
}
