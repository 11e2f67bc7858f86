package fast

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Grads are the gradients that a backward plan computes, in the shapes of what
// they differentiate by. Those that are nil are not wanted and cost nothing.
type Grads struct{ X, Weight, Bias, Offset, Mask []float32 }

// gradArgs are the tensors of a backward run, beyond those of a forward one.
type gradArgs struct {
	g    Grads
	dy   []float32
	part []float32 // partial sums of the gradient by the weight, see weightGrad
}

// ended reports that the run's context has ended, for units of many tiles; what
// the unit leaves behind then is of no use.
func (j *job) ended() bool {
	if j.ctx == nil || j.ctx.Err() == nil {
		return false
	}
	j.stopped.Store(true)
	return true
}

// gradScratch is one worker's memory for backward plans.
type gradScratch struct {
	rows, outs []float32 // transposed input panel, transposed dy
	acc        []float32 // a block of the gradient by the weight; of a deformable dx, channels last
	cols       []float32 // gradient by the samples of a tile
	dots       []float32
	plans      []gradPlan
	at, from   [8]int32 // arguments of kernels.transpose
	unit       unit
}

// oneSegment is the whole of a panel, for kernels.gemm.
var oneSegment = []int32{0}

// zeroBias starts sums at nothing.
var zeroBias [8]float32

// Conv2DBackward differentiates [Conv2D]: see [vkconv/cpuref.Conv2DBackward] for
// the formulas. Make one with [NewConv2DBackward]; its methods may be called
// from any number of goroutines.
type Conv2DBackward struct {
	p      conv.Problem
	pool   *Pool
	input  *inputGrad
	weight *weightGrad
}

// NewConv2DBackward packs weight (K×C/groups×R×S) into a plan for the gradients
// of a problem. Gradients are not taken through an activation: a problem that
// has one is refused. Errors match [conv.ErrShape], [conv.ErrParams] or
// [conv.ErrUnsupported].
func NewConv2DBackward(pool *Pool, p conv.Problem, weight []float32) (*Conv2DBackward, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("fast: the problem has %d offset groups, NewConv2DBackward differentiates ordinary convolutions: %w",
			p.OffsetGroups, conv.ErrParams)
	}
	if err := noActivation(p.Activation); err != nil {
		return nil, err
	}
	b := &Conv2DBackward{p: p, pool: pool}
	l, err := newLayout(pool, p, zonesOf, 64)
	if err != nil {
		return nil, err
	}
	b.weight = newWeightGrad(&convPanels{&Conv2D{layout: l, runs: usesRuns(p, l.ks)}}, l)
	if b.input, err = newInputGrad(pool, p, false, conv.Activation{}); err != nil {
		return nil, err
	}
	return b, b.SetWeights(weight)
}

// noActivation refuses an activation.
func noActivation(a conv.Activation) error {
	if a.Kind == conv.Identity {
		return nil
	}
	return fmt.Errorf("fast: the problem has activation %v, gradients are taken through none; apply it by itself: %w", a.Kind, conv.ErrUnsupported)
}

// usesRuns: see Conv2D.runs.
func usesRuns(p conv.Problem, ks *kernels) bool {
	return p.Mode == conv.Zeros && (p.StrideX == 1 && ks.pack != nil || p.StrideX == 2 && ks.packEven != nil)
}

// SetWeights packs other weights (K×C/groups×R×S) into the plan. It waits for
// runs in progress.
func (b *Conv2DBackward) SetWeights(weight []float32) error { return b.input.setWeights(weight, nil) }

// Run computes the gradients that are wanted, given dy (N×K×Ho×Wo), those by
// the output. x (N×C×H×W) is only looked at for the gradient by the weight. It
// allocates nothing once buffers have grown. When ctx ends it returns the
// context's error within the time of a tile, and g holds nothing of use.
func (b *Conv2DBackward) Run(ctx context.Context, g Grads, x, dy []float32) error {
	if g.Offset != nil || g.Mask != nil {
		return fmt.Errorf("fast: gradients by offset or mask are wanted of an ordinary convolution, it has neither: %w", conv.ErrParams)
	}
	if err := checkGrads(b.p, g, x, dy); err != nil {
		return err
	}
	if g.X != nil {
		if err := b.input.run(ctx, g.X, dy); err != nil {
			return err
		}
	}
	if g.Weight != nil {
		if err := b.weight.run(ctx, g.Weight, x, nil, nil, dy); err != nil {
			return err
		}
	}
	if g.Bias != nil {
		return biasGrad(ctx, b.pool, b.p.N, b.p.K, b.p.Ho*b.p.Wo, g.Bias, dy)
	}
	return nil
}

// checkGrads checks the lengths of what every backward run has.
func checkGrads(p conv.Problem, g Grads, x, dy []float32) error {
	if err := length("dy", dy, p.Output().Len(), p.Output()); err != nil {
		return err
	}
	if g.X != nil {
		if err := length("dx", g.X, p.Input().Len(), p.Input()); err != nil {
			return err
		}
	}
	if g.Weight != nil {
		if err := length("dweight", g.Weight, p.Weight().Len(), p.Weight()); err != nil {
			return err
		}
	}
	if g.Weight != nil || g.Offset != nil || g.Mask != nil {
		if err := length("x", x, p.Input().Len(), p.Input()); err != nil {
			return err
		}
	}
	if g.Bias != nil && !p.Bias {
		return fmt.Errorf("fast: a gradient by the bias is wanted, the problem has none: %w", conv.ErrParams)
	}
	if g.Bias != nil && len(g.Bias) != p.K {
		return fmt.Errorf("fast: dbias has %d elements, it must have %d, one an output channel: %w", len(g.Bias), p.K, conv.ErrShape)
	}
	return nil
}

// Workspace returns the bytes that runs need beyond inputs, outputs and packed
// weights. It does not depend on the image's size, and plans of one pool share
// most of it; each run that goes on at the same time needs its own partial sums.
func (b *Conv2DBackward) Workspace() int64 { return b.input.workspace() + b.weight.workspace() }

// Describe says how the plan computes.
func (b *Conv2DBackward) Describe() string {
	return fmt.Sprintf("dx: %s; dweight: %s", b.input.describe(), b.weight.describe())
}

// biasSums computes the gradient by the bias; a unit is one channel.
type biasSums struct{ n, channels, plane int }

func biasGrad(ctx context.Context, pool *Pool, n, channels, plane int, db, dy []float32) error {
	// A value in an interface would be allocated on every run.
	sums := biasPlans.get()
	if sums == nil {
		sums = new(biasSums)
	}
	*sums = biasSums{n, channels, plane}
	err := pool.runGrad(ctx, sums, channels, gradArgs{dy: dy}, db, nil, nil, nil)
	biasPlans.put(sums)
	return err
}

var biasPlans freeList[*biasSums]

func (b *biasSums) tile(k int, j *job, _ *scratch) {
	var sum [8]float32
	rest := float32(0)
	for n := range b.n {
		v := j.dy[(n*b.channels+k)*b.plane:][:b.plane]
		for len(v) >= 8 {
			sum[0] += v[0]
			sum[1] += v[1]
			sum[2] += v[2]
			sum[3] += v[3]
			sum[4] += v[4]
			sum[5] += v[5]
			sum[6] += v[6]
			sum[7] += v[7]
			v = v[8:]
		}
		for _, f := range v {
			rest += f
		}
	}
	j.y[k] = rest + ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]))
}
