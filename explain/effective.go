package explain

import (
	"context"
	"math"
	"math/rand/v2"

	"vkconv"
	"vkconv/conv"
)

// Effective is the effective field of one output: how strongly it depends on
// each pixel of its field (Luo et al. 2016, "Understanding the Effective
// Receptive Field in Deep Convolutional Neural Networks").
type Effective struct {
	Draws   int       `json:"draws"`
	Device  string    `json:"device"`
	Pixels  int       `json:"pixels"` // with more than 4.55 % of the strongest gradient, as in the paper
	Share   float64   `json:"share"`  // of the field
	Rows    int       `json:"-"`
	Columns int       `json:"-"`
	Size    []float64 `json:"-"` // root mean square of the gradient, the strongest 1
}

// Channels of the networks that effective fields are measured on: the field's
// shape does not depend on them, and each is one more sample.
const effectiveChannels = 8

// widestEffective is the widest field whose gradient is measured.
const widestEffective = 2048

// Faint is the share of the strongest gradient up to which a pixel does not
// count: 1 − 95.45 %, two standard deviations of a normal distribution.
const Faint = 1 - 0.9545

// MeasureEffective measures the effective field by the input gradient of one
// output, through as many networks of random weights as there are draws. The
// networks have the stack's kernels, strides and dilations, a few channels, no
// activations, and where the stack pools the mean.
func MeasureEffective(ctx context.Context, e *vkconv.Engine, stack Stack, draws int, seed uint64) (*Effective, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	var sum []float64
	m := &Effective{Draws: draws, Device: e.Name()}
	for range draws {
		g, err := gradient(ctx, e, stack, r)
		if err != nil {
			return nil, err
		}
		m.Rows, m.Columns = g.rows, g.columns
		if sum == nil {
			sum = make([]float64, g.rows*g.columns)
		}
		for i, v := range g.data {
			sum[i%len(sum)] += float64(v) * float64(v)
		}
	}
	strongest := 0.0
	for i, v := range sum {
		sum[i] = math.Sqrt(v)
		strongest = max(strongest, sum[i])
	}
	for i := range sum {
		if sum[i] /= strongest; sum[i] > Faint {
			m.Pixels++
		}
	}
	m.Size = sum
	m.Share = float64(m.Pixels) / float64(len(sum))
	return m, nil
}

// window is a gradient by a window of a layer's input, that lies anywhere on
// an image without an edge.
type window struct {
	top, left, rows, columns int
	data                     []float32 // channels × rows × columns
}

// gradient follows the gradient of one output through the stack back to its input.
func gradient(ctx context.Context, e *vkconv.Engine, stack Stack, r *rand.Rand) (window, error) {
	g := window{rows: 1, columns: 1, data: normal(r, effectiveChannels*len(stack[len(stack)-1]))}
	for i := len(stack) - 1; i >= 0; i-- {
		channels := effectiveChannels // that come into the stage
		if i > 0 {
			channels *= len(stack[i-1])
		}
		var all []window
		for k, l := range stack[i] {
			part := g
			part.data = g.data[k*effectiveChannels*g.rows*g.columns:][:effectiveChannels*g.rows*g.columns]
			before, err := l.gradient(ctx, e, part, channels, r)
			if err != nil {
				return g, err
			}
			all = append(all, before)
		}
		g = together(all, channels)
	}
	return g, nil
}

// gradient takes a gradient by the layer's output to one by its input.
func (l Layer) gradient(ctx context.Context, e *vkconv.Engine, g window, channels int, r *rand.Rand) (window, error) {
	before := window{
		top: g.top*l.Stride[0] - l.Padding[0], left: g.left*l.Stride[1] - l.Padding[1],
		rows: (g.rows-1)*l.Stride[0] + conv.Reach(l.Kernel[0], l.Dilation[0]), columns: (g.columns-1)*l.Stride[1] + conv.Reach(l.Kernel[1], l.Dilation[1]),
	}
	if before.rows > widestEffective || before.columns > widestEffective {
		return before, refuse("the field is %d×%d pixels or more, its gradient is measured up to %d", before.rows, before.columns, widestEffective)
	}
	// With branches before it, a layer sees more channels than it returns: groups
	// of their own are then those of the first, enough for the field's shape.
	groups := 1
	if l.Depthwise || l.Pools {
		groups = effectiveChannels
	} else {
		for groups*2 <= min(l.Groups, effectiveChannels) {
			groups *= 2
		}
	}
	x, w := conv.Shape{1, channels, before.rows, before.columns}, conv.Shape{effectiveChannels, channels / groups, l.Kernel[0], l.Kernel[1]}
	weight := normal(r, w.Len())
	scale := float32(1 / math.Sqrt(float64(w[1]*w[2]*w[3]))) // gradients keep their size
	for i := range weight {
		if l.Pools {
			weight[i] = 1
		}
		weight[i] *= scale
	}
	op, err := e.NewConv2DBackward(x, weight, w, conv.Params{Stride: l.Stride, Dilation: l.Dilation, Groups: groups})
	if err != nil {
		return before, err
	}
	defer op.Close()
	// The gradient by the input does not depend on the input.
	input, err := e.TensorOf(x, make([]float32, x.Len()))
	if err != nil {
		return before, err
	}
	defer input.Free()
	dx, err := e.NewTensor(x)
	if err != nil {
		return before, err
	}
	defer dx.Free()
	dy, err := e.TensorOf(op.Problem().Output(), g.data)
	if err != nil {
		return before, err
	}
	defer dy.Free()
	if err := op.Run(ctx, vkconv.Gradients{X: dx}, input, dy); err != nil {
		return before, err
	}
	before.data = make([]float32, x.Len())
	return before, dx.Download(ctx, before.data)
}

// together adds gradients over the smallest window that holds all of theirs.
func together(parts []window, channels int) window {
	if len(parts) == 1 {
		return parts[0]
	}
	all := parts[0]
	for _, p := range parts[1:] {
		bottom, right := max(all.top+all.rows, p.top+p.rows), max(all.left+all.columns, p.left+p.columns)
		all.top, all.left = min(all.top, p.top), min(all.left, p.left)
		all.rows, all.columns = bottom-all.top, right-all.left
	}
	all.data = make([]float32, channels*all.rows*all.columns)
	for _, p := range parts {
		for c := range channels {
			for y := range p.rows {
				to := all.data[(c*all.rows+p.top-all.top+y)*all.columns+p.left-all.left:][:p.columns]
				for i, v := range p.data[(c*p.rows+y)*p.columns:][:p.columns] {
					to[i] += v
				}
			}
		}
	}
	return all
}

func normal(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}
