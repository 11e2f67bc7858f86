package vkconv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vkconv/conv"
)

// FilterGradients are the gradients by a [Filter]; a nil one is not computed.
// Weight has the weight's shape, Bias 1×K×1×1.
type FilterGradients struct{ Weight, Bias *Tensor }

func (g FilterGradients) some() bool { return g.Weight != nil || g.Bias != nil }

// ASPPGradients are the tensors that [ASPPBackward] writes; nil ones are not
// computed. Dilated has one element a rate, or none at all.
type ASPPGradients struct {
	X       *Tensor
	Point   FilterGradients
	Dilated []FilterGradients
	Pool    FilterGradients
	Project FilterGradients
}

// ASPPBackward is a planned backward pass of [ASPP]. It runs the branches once
// more, since the concatenation is the projection's input; then every branch
// goes back by itself, and their gradients by the input are added up:
//
//	             ┌ 1×1 ──────────────── dx ┐
//	             ├ 3×3 dilated by rate 1 dx ┤
//	dy ── 1×1 ───┼ …                        ┼── Σ ── dx
//	 (projection)└ resize ── 1×1 ── mean dx ┘
//
// Activations are gone through as in [Engine.NewConv2DBackward]. All of it is
// queued at once.
type ASPPBackward struct {
	block
	forward  *ASPP // without the projection
	project  *Conv2DBackward
	branches []*Conv2DBackward
	move     *Activation // the identity, from channels of dcat
	spread   *ResizeBackward
	pooled   *Conv2DBackward
	pool     *GlobalPoolBackward
	sum      *Add

	mu                           sync.Mutex // one run at a time over these tensors
	dcat, dpart, dmean, dmeanOut *Tensor
	dparts                       []*Tensor         // channels of dcat, one a branch and the pooling
	paths                        [3]*Tensor        // a branch's dx, and the sum before and behind it
	dilated                      []FilterGradients // of 16-bit tensors, what a run fills in place of the caller's
}

// NewASPPBackward plans the gradients of an ASPP, with the arguments of
// [Engine.NewASPP]. A run gives the same bits every time.
func (e *Engine) NewASPPBackward(x conv.Shape, params ASPPParams, weights ASPPWeights, options ...LayerOption) (*ASPPBackward, error) {
	b, err := e.newBlock("ASPP backward", options)
	if err != nil {
		return nil, err
	}
	weights = b.aspp(weights)
	forward, err := e.newASPPParts(b.typ, x, params, weights)
	if err != nil {
		return nil, err
	}
	a := &ASPPBackward{block: b, forward: forward, dilated: make([]FilterGradients, len(params.Rates))}
	if err := a.plan(e, x, params, weights); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *ASPPBackward) plan(e *Engine, x conv.Shape, params ASPPParams, weights ASPPWeights) (err error) {
	plan := func(name string, in conv.Shape, f Filter, k, size, rate int) *Conv2DBackward {
		if err != nil {
			return nil
		}
		var l *Conv2DBackward
		if l, err = e.NewConv2DBackward(in, f.Weight, conv.Shape{k, in[1], size, size}, asppLayer(params, size, rate), ForwardBias(f.Bias), a.stored()); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return l
	}
	tensor := func(s conv.Shape) (t *Tensor) {
		if err == nil {
			t, err = e.NewTensorAs(a.typ, s)
		}
		return t
	}
	f := a.forward
	a.project = plan("projection", f.cat.shape, weights.Project, params.Out, 1, 1)
	filters := append([]Filter{weights.Point}, weights.Dilated...)
	for i, l := range f.branches {
		if b := plan("branch", x, filters[i], params.Channels, l.p.R, l.p.DilationY); b != nil {
			a.branches = append(a.branches, b)
		}
	}
	a.pooled = plan("image pooling", f.mean.shape, weights.Pool, params.Channels, 1, 1)
	a.dcat, a.dmean, a.dmeanOut = tensor(f.cat.shape), tensor(f.mean.shape), tensor(f.meanOut.shape)
	a.dpart = tensor(f.branches[0].p.Output())
	for i := range a.paths {
		a.paths[i] = tensor(x)
	}
	for i := range f.parts {
		if err == nil {
			var part *Tensor
			part, err = a.dcat.Channels(i*params.Channels, (i+1)*params.Channels)
			a.dparts = append(a.dparts, part)
		}
	}
	if err != nil {
		return err
	}
	if a.move, err = e.NewActivation(a.dpart.shape, conv.Activation{}, a.stored()); err != nil {
		return err
	}
	if a.spread, err = e.NewResizeBackward(f.meanOut.shape, x[2], x[3], false, a.stored()); err != nil {
		return err
	}
	if a.pool, err = e.NewGlobalPoolBackward(x, a.stored()); err != nil {
		return err
	}
	a.sum, err = e.NewAdd(x, a.stored())
	return err
}

// Run queues the gradients that g has a tensor for, given dy, that by the output.
func (a *ASPPBackward) Run(ctx context.Context, g ASPPGradients, x, dy *Tensor) error {
	if g.Dilated != nil && len(g.Dilated) != len(a.branches)-1 {
		return fmt.Errorf("%w: there are %d dilated gradients for %d rates, must be as many or none", conv.ErrShape, len(g.Dilated), len(a.branches)-1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.edge.run(ctx, func() error {
		g, x, dy, err := a.inside(ctx, g, x, dy)
		if err != nil {
			return err
		}
		return a.run(ctx, g, x, dy)
	})
}

// inside are the tensors that the layers run on.
func (a *ASPPBackward) inside(ctx context.Context, g ASPPGradients, x, dy *Tensor) (_ ASPPGradients, _, _ *Tensor, err error) {
	if a.edge == nil {
		return g, x, dy, nil
	}
	if x, err = a.edge.in(ctx, "input", x, a.pool.p.Input()); err != nil {
		return g, x, dy, err
	}
	if dy, err = a.edge.in(ctx, "dy", dy, a.project.p.Output()); err != nil {
		return g, x, dy, err
	}
	if g.X, err = a.edge.to("gradient by the input", g.X, a.pool.p.Input()); err != nil {
		return g, x, dy, err
	}
	for i, l := range a.branches {
		if i == 0 {
			g.Point, err = a.edge.toFilter(g.Point, l.p.Weight())
		} else if g.Dilated != nil {
			a.dilated[i-1], err = a.edge.toFilter(g.Dilated[i-1], l.p.Weight())
		}
		if err != nil {
			return g, x, dy, err
		}
	}
	if g.Dilated != nil {
		g.Dilated = a.dilated
	}
	if g.Pool, err = a.edge.toFilter(g.Pool, a.pooled.p.Weight()); err == nil {
		g.Project, err = a.edge.toFilter(g.Project, a.project.p.Weight())
	}
	return g, x, dy, err
}

// branch are the gradients of a branch's filter.
func (g *ASPPGradients) branch(i int) (f FilterGradients) {
	switch {
	case i == 0:
		return g.Point
	case g.Dilated != nil:
		return g.Dilated[i-1]
	}
	return f
}

func (a *ASPPBackward) run(ctx context.Context, g ASPPGradients, x, dy *Tensor) error {
	if err := a.forward.runParts(ctx, x); err != nil {
		return err
	}
	below := g.X != nil || g.Pool.some()
	for i := range a.branches {
		below = below || g.branch(i).some()
	}
	by := Gradients{Weight: g.Project.Weight, Bias: g.Project.Bias}
	if below {
		by.X = a.dcat
	}
	if err := a.project.Run(ctx, by, a.forward.cat, dy); err != nil || !below {
		return err
	}
	// The pooling's path first: it is small, and what follows does not wait for it.
	sum, next := a.paths[1], a.paths[2]
	if g.X != nil || g.Pool.some() {
		if err := a.runPool(ctx, g, sum); err != nil {
			return err
		}
	}
	for i, l := range a.branches {
		filter := g.branch(i)
		if g.X == nil && !filter.some() {
			continue
		}
		by := Gradients{Weight: filter.Weight, Bias: filter.Bias}
		if g.X != nil {
			by.X = a.paths[0]
		}
		if err := a.move.Run(ctx, a.dpart, a.dparts[i]); err != nil {
			return err
		}
		if err := l.Run(ctx, by, x, a.dpart); err != nil {
			return fmt.Errorf("branch %d: %w", i, err)
		}
		if g.X == nil {
			continue
		}
		to := next
		if i == len(a.branches)-1 {
			to = g.X
		}
		if err := a.sum.Run(ctx, to, sum, a.paths[0]); err != nil {
			return fmt.Errorf("gradient by the input: %w", err)
		}
		sum, next = to, sum
	}
	return nil
}

// runPool queues the gradients along the image pooling, dx into a tensor of its own.
func (a *ASPPBackward) runPool(ctx context.Context, g ASPPGradients, dx *Tensor) error {
	if err := a.spread.Run(ctx, a.dmeanOut, a.dparts[len(a.branches)]); err != nil {
		return err
	}
	by := Gradients{Weight: g.Pool.Weight, Bias: g.Pool.Bias}
	if g.X != nil {
		by.X = a.dmean
	}
	if err := a.pooled.Run(ctx, by, a.forward.mean, a.dmeanOut); err != nil {
		return fmt.Errorf("image pooling: %w", err)
	}
	if g.X == nil {
		return nil
	}
	return a.pool.Run(ctx, dx, a.dmean)
}

// layers are the backward passes that have weights, the projection last.
func (a *ASPPBackward) layers() []*Conv2DBackward {
	return append(append([]*Conv2DBackward{}, a.branches...), a.pooled, a.project)
}

// SetWeights replaces the weights for the runs queued from then on. After an
// error some may be the new ones.
func (a *ASPPBackward) SetWeights(weights ASPPWeights) error {
	if len(weights.Dilated) != len(a.branches)-1 {
		return fmt.Errorf("%w: there are %d dilated weights for %d rates, must be as many", conv.ErrShape, len(weights.Dilated), len(a.branches)-1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	weights = a.aspp(weights)
	filters := append(append([]Filter{weights.Point}, weights.Dilated...), weights.Pool, weights.Project)
	var errs []error
	for i, l := range a.layers() {
		bias := filters[i].Bias
		if l.through == nil { // then no gradient depends on it
			bias = nil
		}
		errs = append(errs, l.SetWeights(filters[i].Weight, bias))
	}
	for i, l := range append(append([]*Conv2D{}, a.forward.branches...), a.forward.pooled) {
		errs = append(errs, l.SetWeights(filters[i].Weight, filters[i].Bias))
	}
	return errors.Join(errs...)
}

// Workspace returns the bytes of device memory that a run uses beyond tensors
// and weights: the concatenation and its gradient, three tensors like the input,
// and what the layers take.
func (a *ASPPBackward) Workspace() int64 {
	n := bytes(a.tensors()...) + a.edge.bytes() + a.forward.Workspace() + a.spread.Workspace() + a.pool.Workspace()
	for _, l := range a.layers() {
		n += l.Workspace()
	}
	return n
}

func (a *ASPPBackward) tensors() []*Tensor {
	return append([]*Tensor{a.dcat, a.dpart, a.dmean, a.dmeanOut}, a.paths[:]...)
}

// Close gives the plans' memory back when the work queued so far is done with it.
func (a *ASPPBackward) Close() {
	a.forward.Close()
	for _, l := range a.layers() {
		if l != nil {
			l.Close()
		}
	}
	if a.move != nil {
		a.move.Close()
	}
	if a.spread != nil {
		a.spread.Close()
	}
	if a.pool != nil {
		a.pool.Close()
	}
	if a.sum != nil {
		a.sum.Close()
	}
	free(a.tensors()...)
	a.edge.close()
}
