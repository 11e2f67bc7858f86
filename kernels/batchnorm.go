//go:build cgo

package kernels

import (
	"fmt"
	"maps"

	"vkconv/conv"
	"vkconv/gpu"
)

// BatchNorm is a plan of batch normalization: with given moments, training, or of
// training's gradients. Sums over a channel are cut into parts, and a second pass
// adds those up in order, so that the same call gives the same bits. What passes
// a binding comes in pieces, over which the sums go on (batchnorm_pieces.go).
type BatchNorm struct {
	device    *gpu.Device
	traits    traits
	pieces    []normPiece
	b         conv.BatchNorm
	parts     int
	apply     *pass // every element
	sums      []*pass
	finish    []*pass
	still     []byte      // of the last finish, where no running moments move
	workspace *gpu.Buffer // partial sums, and behind them dweight and dbias
	align     int64
}

// NewBatchNorm plans y with given moments.
func NewBatchNorm(d *gpu.Device, b conv.BatchNorm) (*BatchNorm, error) {
	return newBatchNorm(d, b, "batchnorm")
}

// NewBatchNormTraining plans y and the moments of the batch.
func NewBatchNormTraining(d *gpu.Device, b conv.BatchNorm) (*BatchNorm, error) {
	return newBatchNorm(d, b, "batchnorm", "_mean", "_var")
}

// NewBatchNormBackward plans training's gradients.
func NewBatchNormBackward(d *gpu.Device, b conv.BatchNorm) (*BatchNorm, error) {
	return newBatchNorm(d, b, "batchnorm_grad", "_grad")
}

func newBatchNorm(d *gpu.Device, b conv.BatchNorm, apply string, sums ...string) (*BatchNorm, error) {
	return newBatchNormOf(makerFor(d), b, apply, sums...)
}

func newBatchNormOf(m maker, b conv.BatchNorm, apply string, sums ...string) (*BatchNorm, error) {
	d := m.device
	p := &BatchNorm{device: d, traits: m.traits, b: b, align: max(d.Info().Limits.StorageAlign, 4), pieces: normPieces(b, m.traits)}
	if len(p.pieces) == 0 {
		return p, nil
	}
	local := localSize(m.traits)
	parts, share := split(m.traits, b.Count(), ceil(b.C, local), 2*b.C, 1)
	p.parts = parts
	count := float64(b.Count())
	values := map[string]int{"c": b.C, "plane": b.H * b.W, "parts": parts, "share": share, "eps": bits(float64(b.Eps)),
		"momentum": bits(float64(b.Momentum)), "count": bits(count), "unbiased": bits(count / max(count-1, 1)), "moves": 1}
	maps.Copy(values, p.pieces[0].values(parts, 0))
	plan := func(name string, items int) (*pass, error) {
		values["items"] = items
		return newPass(m, name, local, ceil(items, local), values)
	}
	var err error
	if p.apply, err = plan(apply, p.pieces[0].elements()); err != nil {
		return nil, err
	}
	for _, name := range sums {
		sum, err := plan("batchnorm_sum"+name, b.C*parts)
		if err != nil {
			return nil, err
		}
		finish, err := plan("batchnorm_finish"+name, b.C)
		if err != nil {
			return nil, err
		}
		p.sums, p.finish = append(p.sums, sum), append(p.finish, finish)
	}
	if len(sums) == 0 {
		return p, nil
	}
	if err := checkLoops(m.traits, float64(max(parts, share)+1)); err != nil {
		return nil, fmt.Errorf("kernels: batch normalization: %w", err)
	}
	last := p.finish[len(sums)-1]
	p.still = changed(last.module, last.push, map[string]int{"moves": 0})
	if p.workspace, err = d.NewBuffer(p.sumsAt() + 8*int64(b.C)); err != nil {
		return nil, fmt.Errorf("kernels: workspace: %w", err)
	}
	return p, nil
}

// sumsAt is where in the workspace dweight and dbias lie.
func (p *BatchNorm) sumsAt() int64 {
	return (8*int64(p.b.C)*int64(p.parts) + p.align - 1) / p.align * p.align
}

// Moments are a mean and a variance, a value a channel each.
type Moments struct{ Mean, Var Tensor }

// bind checks the tensors and gives the bindings: of each name and length.
func bind(names []string, spans ...span) (bound [maxSpans]span, err error) {
	for i, s := range spans {
		if err := checkSpan(names[i], s); err != nil {
			return bound, err
		}
		bound[i] = s
	}
	return bound, nil
}

// Record records y with given moments.
func (p *BatchNorm) Record(s *gpu.Stream, y, x, weight, bias Tensor, m Moments) error {
	if p.apply == nil {
		return nil
	}
	n, c := p.b.Input().Len(), p.b.C
	bound, err := bind([]string{"x", "weight", "mean", "variance", "bias", "y"}, span{x, n}, span{weight, c}, span{m.Mean, c}, span{m.Var, c}, span{bias, c}, span{y, n})
	if err != nil {
		return err
	}
	return p.each(s, p.apply, false, bound, 0, 5)
}

// RecordTraining records y and the moments of the batch, and moves the running
// ones unless they are zero.
func (p *BatchNorm) RecordTraining(s *gpu.Stream, y Tensor, m, running Moments, x, weight, bias Tensor) error {
	n, c := p.b.Input().Len(), p.b.C
	in, parts := span{x, n}, span{Tensor{Buf: p.workspace}, c * p.parts}
	mean, variance := span{m.Mean, c}, span{m.Var, c}
	push := p.finish[1].push
	if !running.Mean.wants() { // bound, but not touched
		push, running = p.still, Moments{Tensor{p.workspace, p.sumsAt()}, Tensor{p.workspace, p.sumsAt()}}
	}
	if _, err := bind([]string{"x", "mean", "variance", "running mean", "running variance"}, in, mean, variance, span{running.Mean, c}, span{running.Var, c}); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return p.each(s, p.sums[0], true, [maxSpans]span{in, parts}, 0) },
		func() error { return p.finish[0].record(s, &[maxSpans]span{parts, mean}) },
		func() error { return p.each(s, p.sums[1], true, [maxSpans]span{in, mean, parts}, 0) },
		func() error {
			return p.finish[1].recordWith(s, push, &[maxSpans]span{parts, mean, variance, {running.Mean, c}, {running.Var, c}})
		},
		func() error { return p.Record(s, y, x, weight, bias, m) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// RecordBackward records the gradients of training that g wants, given the moments
// of the batch.
func (p *BatchNorm) RecordBackward(s *gpu.Stream, g Grads, x, dy, weight Tensor, m Moments) error {
	n, c := p.b.Input().Len(), p.b.C
	in, out, parts := span{x, n}, span{dy, n}, span{Tensor{Buf: p.workspace}, 2 * c * p.parts}
	mean, variance := span{m.Mean, c}, span{m.Var, c}
	if _, err := bind([]string{"x", "dy", "weight", "mean", "variance"}, in, out, span{weight, c}, mean, variance); err != nil {
		return err
	}
	if err := p.each(s, p.sums[0], true, [maxSpans]span{in, out, mean, variance, parts}, 0, 1); err != nil {
		return err
	}
	at := p.sumsAt()
	if err := p.finish[0].record(s, &[maxSpans]span{parts, {Tensor{p.workspace, at}, 2 * c}}); err != nil {
		return err
	}
	for i, to := range []Tensor{g.Weight, g.Bias} {
		if !to.wants() {
			continue
		}
		if err := checkSpan("a gradient", span{to, c}); err != nil {
			return err
		}
		if err := s.Copy(to.Buf, to.Offset, p.workspace, at+4*int64(i*c), 4*int64(c)); err != nil {
			return err
		}
	}
	if !g.X.wants() {
		return nil
	}
	if err := checkSpan("dx", span{g.X, n}); err != nil {
		return err
	}
	return p.each(s, p.apply, false, [maxSpans]span{in, {weight, c}, mean, variance, out, {Tensor{p.workspace, at}, 2 * c}, {g.X, n}}, 0, 4, 6)
}

// Workspace is the device memory in bytes that running takes beyond tensors.
func (p *BatchNorm) Workspace() int64 {
	if p.workspace == nil {
		return 0
	}
	return p.workspace.Size()
}

// Describe names the kernels.
func (p *BatchNorm) Describe() string {
	if p.apply == nil {
		return "an empty batch"
	}
	text := p.apply.module.Name
	if p.sums != nil {
		text += fmt.Sprintf(", sums of a channel in %d parts", p.parts)
	}
	if len(p.pieces) > 1 {
		text += fmt.Sprintf("; in %d pieces", len(p.pieces))
	}
	return text
}

// Close frees the workspace. What was submitted before goes on.
func (p *BatchNorm) Close() { p.workspace.Free() }
