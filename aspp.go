package vkconv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vkconv/conv"
)

// ASPP is the atrous spatial pyramid pooling of DeepLab v3 (Chen et al.,
// "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017):
//
//	    ┌ 1×1 ─────────────────────┐
//	    ├ 3×3 dilated by rate 1 ───┤
//	x ──┼ 3×3 dilated by rate 2 ───┼── concatenation ── 1×1 ── y
//	    ├ …                        │
//	    └ mean ── 1×1 ── resize ───┘
//
// Every branch writes its channels of the concatenation, which is never copied,
// and all of it is queued at once. Batch norm is for the caller to fold into
// weights and biases.
type ASPP struct {
	block
	branches []*Conv2D // 1×1, dilated
	pool     *GlobalPool
	pooled   *Conv2D
	spread   *Resize
	project  *Conv2D

	mu                 sync.Mutex // one run at a time between the branches and the projection
	mean, meanOut, cat *Tensor
	parts              []*Tensor // channels of cat, one a branch
}

// ASPPParams say what an ASPP computes.
type ASPPParams = conv.ASPPParams

// Filter is the weight of a convolution, and its bias or nil.
type Filter struct{ Weight, Bias []float32 }

// ASPPWeights are an ASPP's weights for inputs of C channels. The projection's
// input channels are those of the branches in the order of the fields.
type ASPPWeights struct {
	Point   Filter   // Channels×C×1×1
	Dilated []Filter // Channels×C×3×3, one a rate
	Pool    Filter   // Channels×C×1×1, behind the mean
	Project Filter   // Out×((2+rates)·Channels)×1×1
}

// NewASPP plans an ASPP for inputs of shape x (N×C×H×W). Errors match
// [conv.ErrParams] or [conv.ErrShape] where the arguments are at fault. [Stored] is
// an option of it: of 16-bit tensors all inside, the concatenation too, stays float32.
func (e *Engine) NewASPP(x conv.Shape, params ASPPParams, weights ASPPWeights, options ...LayerOption) (*ASPP, error) {
	b, err := e.newBlock("ASPP", options)
	if err != nil {
		return nil, err
	}
	weights = b.aspp(weights)
	a, err := e.newASPPParts(b.typ, x, params, weights)
	if err != nil {
		return nil, err
	}
	a.block = b
	f := weights.Project
	a.project, err = e.NewConv2D(a.cat.shape, f.Weight, f.Bias, conv.Shape{params.Out, a.cat.shape[1], 1, 1}, asppLayer(params, 1, 1), a.stored())
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("projection: %w", err)
	}
	return a, nil
}

// asppLayer are the parameters of a convolution of the block.
func asppLayer(params ASPPParams, size, rate int) conv.Params {
	return conv.Params{Dilation: [2]int{rate, rate}, Padding: conv.Pad(rate * (size / 2)), Activation: params.Activation}
}

// newASPPParts plans all of an ASPP but the projection, with tensors of a type inside.
func (e *Engine) newASPPParts(t conv.Type, x conv.Shape, params ASPPParams, weights ASPPWeights) (*ASPP, error) {
	if params.Channels < 1 || params.Out < 1 {
		return nil, fmt.Errorf("%w: an ASPP has %d channels a branch and %d outputs, both must be at least 1", conv.ErrParams, params.Channels, params.Out)
	}
	if len(weights.Dilated) != len(params.Rates) {
		return nil, fmt.Errorf("%w: there are %d dilated weights for %d rates, must be as many", conv.ErrShape, len(weights.Dilated), len(params.Rates))
	}
	a := &ASPP{block: block{typ: t}}
	if err := a.plan(e, x, params, weights); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *ASPP) plan(e *Engine, x conv.Shape, params ASPPParams, weights ASPPWeights) (err error) {
	plan := func(name string, in conv.Shape, f Filter, k, size, rate int) (*Conv2D, error) {
		l, err := e.NewConv2D(in, f.Weight, f.Bias, conv.Shape{k, in[1], size, size}, asppLayer(params, size, rate), a.stored())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return l, nil
	}
	branch := func(name string, f Filter, size, rate int) error {
		l, err := plan(name, x, f, params.Channels, size, rate)
		if err == nil {
			a.branches = append(a.branches, l)
		}
		return err
	}
	if err = branch("1×1 branch", weights.Point, 1, 1); err != nil {
		return err
	}
	for i, rate := range params.Rates {
		if rate < 1 {
			return fmt.Errorf("%w: rate %d of the ASPP is %d, must be at least 1", conv.ErrParams, i, rate)
		}
		if err = branch(fmt.Sprintf("branch of rate %d", rate), weights.Dilated[i], 3, rate); err != nil {
			return err
		}
	}
	if a.pool, err = e.NewGlobalPool(x, a.stored()); err != nil {
		return err
	}
	if a.mean, err = e.NewTensorAs(a.typ, a.pool.p.Output()); err != nil {
		return err
	}
	if a.pooled, err = plan("image pooling", a.mean.shape, weights.Pool, params.Channels, 1, 1); err != nil {
		return err
	}
	if a.meanOut, err = e.NewTensorAs(a.typ, a.pooled.p.Output()); err != nil {
		return err
	}
	if a.spread, err = e.NewResize(a.meanOut.shape, x[2], x[3], false, a.stored()); err != nil {
		return err
	}
	n := len(a.branches) + 1
	if a.cat, err = e.NewTensorAs(a.typ, conv.Shape{x[0], n * params.Channels, x[2], x[3]}); err != nil {
		return err
	}
	for i := range n {
		part, err := a.cat.Channels(i*params.Channels, (i+1)*params.Channels)
		if err != nil {
			return err
		}
		a.parts = append(a.parts, part)
	}
	return nil
}

// Output returns the shape of the output, N×Out×H×W.
func (a *ASPP) Output() conv.Shape { return a.project.p.Output() }

// Run queues y = aspp(x), x N×C×H×W and y N×Out×H×W.
func (a *ASPP) Run(ctx context.Context, y, x *Tensor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.edge.run(ctx, func() error {
		x, err := a.edge.in(ctx, "input", x, a.pool.p.Input())
		if err != nil {
			return err
		}
		y, err := a.edge.to("output", y, a.Output())
		if err != nil {
			return err
		}
		if err := a.runParts(ctx, x); err != nil {
			return err
		}
		return a.project.Run(ctx, y, a.cat)
	})
}

// runParts queues the concatenation.
func (a *ASPP) runParts(ctx context.Context, x *Tensor) error {
	// The pooling first: what follows it is small and waits for it.
	if err := a.pool.Run(ctx, a.mean, x); err != nil {
		return err
	}
	for i, l := range a.branches {
		if err := l.Run(ctx, a.parts[i], x); err != nil {
			return err
		}
	}
	if err := a.pooled.Run(ctx, a.meanOut, a.mean); err != nil {
		return err
	}
	return a.spread.Run(ctx, a.parts[len(a.branches)], a.meanOut)
}

// SetWeights replaces the weights for the runs queued from then on. After an
// error some may be the new ones.
func (a *ASPP) SetWeights(weights ASPPWeights) error {
	if len(weights.Dilated) != len(a.branches)-1 {
		return fmt.Errorf("%w: there are %d dilated weights for %d rates, must be as many", conv.ErrShape, len(weights.Dilated), len(a.branches)-1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	weights = a.aspp(weights)
	err := errors.Join(a.branches[0].SetWeights(weights.Point.Weight, weights.Point.Bias),
		a.pooled.SetWeights(weights.Pool.Weight, weights.Pool.Bias), a.project.SetWeights(weights.Project.Weight, weights.Project.Bias))
	for i, f := range weights.Dilated {
		err = errors.Join(err, a.branches[i+1].SetWeights(f.Weight, f.Bias))
	}
	return err
}

// Workspace returns the bytes of device memory that a run uses beyond input,
// output and weights: the concatenation, the pooled values before and behind
// their convolution, and what the layers take.
func (a *ASPP) Workspace() int64 {
	n := bytes(a.cat, a.mean, a.meanOut) + a.edge.bytes()
	for _, l := range append([]*Conv2D{a.pooled, a.project}, a.branches...) {
		if l != nil { // a backward pass has no projection forward
			n += l.Workspace()
		}
	}
	return n + a.pool.Workspace() + a.spread.Workspace()
}

// Close gives the plans' memory back when the work queued so far is done with it.
func (a *ASPP) Close() {
	for _, l := range append([]*Conv2D{a.pooled, a.project}, a.branches...) {
		if l != nil {
			l.Close()
		}
	}
	if a.pool != nil {
		a.pool.Close()
	}
	if a.spread != nil {
		a.spread.Close()
	}
	free(a.mean, a.meanOut, a.cat)
	a.edge.close()
}
