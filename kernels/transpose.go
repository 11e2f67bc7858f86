//go:build cgo

package kernels

import (
	"errors"
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// ConvTranspose2D is a plan of a transposed convolution: the gradient by the
// input of the convolution that goes the other way, with a bias and an
// activation behind. A batch that passes a binding is done some images at a time,
// an image by bands of rows, with the bits of the whole.
type ConvTranspose2D struct {
	of       conv.Problem
	bias     bool
	device   *gpu.Device
	passes   []*pass  // none for an empty batch; two where the last part is shorter
	portions portions // of y and x
	bands    *bands   // where not even an image fits
	weights  *gpu.Buffer
	biases   *gpu.Buffer
}

// NewConvTranspose2D plans t, which comes from [conv.Params.TransposedProblem],
// with weights C×(K/G)×R×S and biases K, nil without. A problem beyond the
// device's limits gives [gpu.ErrTooLarge].
func NewConvTranspose2D(d *gpu.Device, t conv.Transposed, weight, bias []float32) (*ConvTranspose2D, error) {
	return newConvTranspose2D(makerFor(d), t, weight, bias)
}

func newConvTranspose2D(m maker, t conv.Transposed, weight, bias []float32) (*ConvTranspose2D, error) {
	c := &ConvTranspose2D{of: normal(t.Of), bias: t.Bias, device: m.device}
	err := checkSingle(c.of, m.traits)
	if err != nil {
		return nil, err
	}
	if c.passes, err = inParts(c.of.N, func(images int) ([]*pass, error) {
		one := c.of
		one.N = 1
		c.portions = portions{device: m.device, all: c.of.N, images: images, lengths: []int{one.Input().Len(), one.Output().Len()}, written: 1}
		var passes []*pass
		for _, n := range []int{images, c.of.N % max(images, 1)} {
			part := c.of
			part.N = n
			if err := checkGradient(part, m.traits); err != nil || n == 0 {
				return passes, err
			}
			pass, err := newInputPass(m, part, t.Bias, t.Activation)
			if err != nil {
				return nil, err
			}
			passes = append(passes, pass)
		}
		return passes, nil
	}); errors.Is(err, gpu.ErrTooLarge) {
		c.bands, err = newBands(m, c.of, t.Bias, t.Activation)
	}
	if err != nil {
		return nil, err
	}
	if len(c.passes) > 0 && c.portions.images < c.of.N {
		if err := c.portions.reserve(); err != nil {
			c.portions.free()
			return nil, err
		}
	}
	if c.weights, err = m.device.NewBuffer(4 * int64(c.of.Weight().Len())); err == nil {
		c.biases, err = m.device.NewBuffer(4 * int64(c.of.C))
	}
	if err == nil {
		err = c.SetWeights(weight, bias)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("kernels: weight: %w", err)
	}
	return c, nil
}

// SetWeights replaces the weights and the biases. What was submitted before
// computes with the old ones.
func (c *ConvTranspose2D) SetWeights(weight, bias []float32) error {
	if want := c.of.Weight(); len(weight) != want.Len() {
		return fmt.Errorf("kernels: %w: weight has %d elements, %v has %d", conv.ErrShape, len(weight), want, want.Len())
	}
	want := 0
	if c.bias {
		want = c.of.C
	}
	if len(bias) != want {
		return fmt.Errorf("kernels: %w: bias has %d elements, the problem %d", conv.ErrShape, len(bias), want)
	}
	if err := c.device.Upload(c.weights, 0, bytesOf(weight)); err != nil {
		return err
	}
	return c.device.Upload(c.biases, 0, bytesOf(bias))
}

// Record records y = convᵀ(x), x N×C×H×W and y N×K×Ho×Wo.
func (c *ConvTranspose2D) Record(s *gpu.Stream, y, x Tensor) error {
	in, out := span{x, c.of.Output().Len()}, span{y, c.of.Input().Len()}
	if c.of.N == 0 {
		return nil
	}
	if err := checkSpan("x", in); err != nil {
		return err
	}
	if err := checkSpan("y", out); err != nil {
		return err
	}
	weights, biases := span{Tensor{Buf: c.weights}, c.of.Weight().Len()}, span{Tensor{Buf: c.biases}, c.of.C}
	if c.bands != nil {
		return c.bands.record(s, y, x, weights, biases)
	}
	if c.portions.images == c.of.N {
		return c.passes[0].record(s, &[maxSpans]span{in, weights, biases, out})
	}
	return c.portions.each(s, []Tensor{y, x}, func(part, images int, at []Tensor) error {
		pass := c.passes[0]
		if images < c.portions.images {
			pass = c.passes[1]
		}
		out, in := span{at[0], images * c.portions.lengths[0]}, span{at[1], images * c.portions.lengths[1]}
		return pass.record(s, &[maxSpans]span{in, weights, biases, out})
	})
}

// Describe names the kernel.
func (c *ConvTranspose2D) Describe() string {
	if c.bands != nil {
		return c.bands.describe()
	}
	if len(c.passes) == 0 {
		return "an empty batch"
	}
	text := c.passes[0].module.Name
	if c.portions.images < c.of.N {
		text += fmt.Sprintf("; %d of %d images at a time", c.portions.images, c.of.N)
	}
	return text
}

// Workspace is the device memory in bytes that running takes beyond tensors and
// weights: the bands or, of a batch in parts, what does not start where a binding may.
func (c *ConvTranspose2D) Workspace() int64 {
	if c.bands != nil {
		return c.bands.size
	}
	return c.portions.size
}

// Close frees the weights. What was submitted before goes on.
func (c *ConvTranspose2D) Close() {
	c.weights.Free()
	c.biases.Free()
	c.portions.free()
	if c.bands != nil {
		c.bands.free()
	}
}

// ConvTranspose2DBackward is a plan of a transposed convolution's gradients,
// see [vkconv/cpuref.ConvTranspose2DBackward]: the one by the input is the
// convolution that goes the other way.
type ConvTranspose2DBackward struct {
	forward  planned // of dy: the gradient by the input
	weights  backward
	channels int
	planes   int // elements of dy
}

// NewConvTranspose2DBackward plans the gradients of t with a weight of
// C×(K/G)×R×S. dy is the gradient by the output before any activation.
// What passes a binding is done some images at a time, see [NewBackward].
func NewConvTranspose2DBackward(d *gpu.Device, t conv.Transposed, weight []float32, options ...Option) (Backward, error) {
	return newTransposedBackward(makerFor(d, options...), t, weight)
}

func newTransposedBackward(m maker, t conv.Transposed, weight []float32) (Backward, error) {
	one := t.Of
	one.N = 1
	lengths := []int{one.Output().Len(), 0, 0, one.Output().Len(), 0, 0, one.Input().Len()}
	return inParts(t.Of.N, func(images int) (Backward, error) {
		if images == t.Of.N {
			return newWholeTransposed(m, t, weight)
		}
		return orNone(newBatchwiseOf(m, t.Of.N, images, lengths, [2]int{t.Of.Weight().Len(), t.Of.C}, func(images int) (Backward, error) {
			part := t
			part.Of.N = images
			return newWholeTransposed(m, part, weight)
		}))
	})
}

// newWholeTransposed plans t at once or, where it is one image that passes a
// binding, in pieces of that.
func newWholeTransposed(m maker, t conv.Transposed, weight []float32) (Backward, error) {
	b, err := orNone(newConvTranspose2DBackward(m, t, weight))
	if t.Of.N == 1 && errors.Is(err, gpu.ErrTooLarge) {
		return orNone(newSingle(m, t.Of, weight, true))
	}
	return b, err
}

func newConvTranspose2DBackward(m maker, t conv.Transposed, weight []float32) (*ConvTranspose2DBackward, error) {
	of := t.Of
	of.Bias, of.Activation = false, conv.Activation{}
	c := &ConvTranspose2DBackward{channels: of.C, planes: of.Input().Len()}
	if err := c.weights.init(m, of); err != nil {
		return nil, err
	}
	if of.N > 0 {
		var err error
		if c.weights.weights, err = newWeightSum(m, c.weights.problem, c.weights.problem); err != nil {
			return nil, err
		}
		// dbias sums dy, whose shape is the other way's input.
		dy := of
		dy.K, dy.Ho, dy.Wo = of.C, of.H, of.W
		if c.weights.bias, err = newBiasSum(m, dy); err != nil {
			return nil, err
		}
	}
	var err error
	if c.forward, err = newForward(m, of, weight, nil); err != nil {
		return nil, err
	}
	for i := range c.forward.choices {
		c.forward.choices[i].Of = "dx"
	}
	if err := c.weights.reserve(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// SetWeights replaces the weight.
func (c *ConvTranspose2DBackward) SetWeights(weight []float32) error {
	return c.forward.SetWeights(weight, nil)
}

// Workspace is the device memory in bytes that the gradients take beyond
// tensors and weights.
func (c *ConvTranspose2DBackward) Workspace() int64 { return c.weights.size + c.forward.Workspace() }

// Close frees weight and workspace. What was submitted before goes on.
func (c *ConvTranspose2DBackward) Close() {
	c.weights.Close()
	c.forward.Close()
}

// Choices say how the kernel of dx was chosen.
func (c *ConvTranspose2DBackward) Choices() []Choice { return c.forward.Choices() }

// Describe names the kernels.
func (c *ConvTranspose2DBackward) Describe() string {
	text := c.forward.Describe()
	if c.weights.weights != nil {
		text += "; " + c.weights.weights.describe()
	}
	return text
}

// RecordBackward records the gradients that g wants: dx N×C×H×W, dweight C×(K/G)×R×S,
// dbias K. x is only read for the gradient by the weight; dy is N×K×Ho×Wo; there are
// no offsets and masks.
func (c *ConvTranspose2DBackward) RecordBackward(s *gpu.Stream, g Grads, x, _, _, dy Tensor) error {
	p := &c.weights.problem // from dy to x
	if g.Offset.wants() || g.Mask.wants() {
		return fmt.Errorf("kernels: %w: a transposed convolution has no gradient by offset or mask", conv.ErrParams)
	}
	in, grad := span{x, p.Output().Len()}, span{dy, c.planes}
	err := checkSpan("dy", grad)
	if err == nil && g.Weight.wants() {
		if err = checkSpan("x", in); err == nil {
			err = checkSpan("dweight", span{g.Weight, p.Weight().Len()})
		}
	}
	if err == nil && g.Bias.wants() {
		err = checkSpan("dbias", span{g.Bias, c.channels})
	}
	if err != nil {
		return err
	}
	if p.N == 0 {
		return c.weights.empty(s, g, c.channels)
	}
	if g.X.wants() {
		err := c.forward.recordForward(s, View{Tensor: g.X}, View{Tensor: dy}, Tensor{}, Tensor{})
		if err != nil {
			return err
		}
	}
	if g.Weight.wants() { // the other way's input is dy, its output's gradient x
		if err := c.weights.weights.record(s, g.Weight, c.weights.workspace, &[maxSpans]span{grad, in}); err != nil {
			return err
		}
	}
	return c.weights.recordBias(s, g, grad)
}
