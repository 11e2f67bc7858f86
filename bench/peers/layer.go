package main

import (
	"context"
	"math/rand/v2"
	"time"

	"vkconv"
	"vkconv/conv"
)

// layer is an entry of shapes.json, see torch_peer.py.
type layer struct {
	Set, Name        string
	Op               string // "" for a convolution; others are not for here
	N, C, H, W       int
	K, R, S          int
	Stride, Pad      int
	Dilation, Groups int
	OG               int
	Mask             bool
}

func (l layer) problem() (conv.Problem, conv.Params, error) {
	params := conv.Params{Stride: [2]int{l.Stride, l.Stride}, Padding: conv.Pad(l.Pad), Dilation: [2]int{l.Dilation, l.Dilation}, Groups: l.Groups}
	x, w := conv.Shape{l.N, l.C, l.H, l.W}, conv.Shape{l.K, l.C / max(l.Groups, 1), l.R, l.S}
	if l.OG > 0 {
		p, err := params.DeformProblem(conv.Deform{OffsetGroups: l.OG, Mask: l.Mask}, x, w, false)
		return p, params, err
	}
	p, err := params.Problem(x, w, false)
	return p, params, err
}

// flops counts a multiply-add as two operations and sampling not at all, so that
// the kinds compare; gradients are twice a forward pass.
func (l layer) flops(backward bool) float64 {
	p, _, err := l.problem()
	if err != nil {
		return 0
	}
	f := float64(p.Cost().FLOPs())
	if backward {
		f *= 2
	}
	return f
}

// time returns the median milliseconds of a call, by the settings' clock.
func (l layer) time(e *vkconv.Engine, s *settings) (float64, error) {
	long := time.Duration(s.seconds * float64(time.Second))
	p, params, err := l.problem()
	if err != nil {
		return 0, err
	}
	call, free, err := l.prepare(e, p, params, s)
	defer free()
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	var times []float64
	start := time.Now()
	for warm := true; len(times) < 3 || time.Since(start) < long; {
		before := processorTime()
		t, err := e.Time(ctx, call)
		if err != nil {
			return 0, err
		}
		took := t.Wall
		switch s.clock {
		case processor:
			took = processorTime() - before
		case device:
			took = t.Device
		}
		if warm && time.Since(start) < long/4 {
			continue
		} else if warm {
			warm, start = false, time.Now()
		}
		times = append(times, float64(took)/1e6)
	}
	return median(times), nil
}

// prepare makes tensors and a plan, and returns the call to time.
func (l layer) prepare(e *vkconv.Engine, p conv.Problem, params conv.Params, set *settings) (call func() error, free func(), err error) {
	r := rand.New(rand.NewPCG(1, 1))
	var made []func()
	free = func() {
		for _, f := range made {
			f()
		}
	}
	normal := func(s conv.Shape) []float32 {
		v := make([]float32, s.Len())
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	tensor := func(s conv.Shape) (t *vkconv.Tensor) {
		if err != nil {
			return nil
		}
		if t, err = e.NewTensorAs(set.typ, s); err == nil {
			made = append(made, t.Free)
			err = t.Upload(normal(s))
		}
		return t
	}
	weight := normal(p.Weight())
	x, y := tensor(p.Input()), tensor(p.Output())
	ctx := context.Background()
	d := conv.Deform{OffsetGroups: p.OffsetGroups, Mask: p.Mask}
	var offset, mask *vkconv.Tensor
	if p.Deformable() {
		offset = tensor(p.Offset())
	}
	if p.Mask {
		mask = tensor(p.MaskShape())
	}
	g := vkconv.Gradients{}
	if set.backward {
		g.X, g.Weight = tensor(p.Input()), tensor(p.Weight())
		if p.Deformable() {
			g.Offset = tensor(p.Offset())
		}
		if p.Mask {
			g.Mask = tensor(p.MaskShape())
		}
	}
	if err != nil {
		return nil, free, err
	}
	var options []vkconv.LayerOption
	if set.typ != conv.Float32 {
		options = append(options, vkconv.Stored(set.typ))
	}
	if set.split {
		options = append(options, vkconv.SplitFloat32())
	}
	switch {
	case p.Deformable() && set.backward:
		plan, err := e.NewDeformConv2DBackward(p.Input(), weight, p.Weight(), params, d, options...)
		if err != nil {
			return nil, free, err
		}
		made = append(made, plan.Close)
		return func() error { return plan.Run(ctx, g, x, offset, mask, y) }, free, nil
	case p.Deformable():
		plan, err := e.NewDeformConv2D(p.Input(), weight, nil, p.Weight(), params, d, options...)
		if err != nil {
			return nil, free, err
		}
		made = append(made, plan.Close)
		return func() error { return plan.Run(ctx, y, x, offset, mask) }, free, nil
	case set.backward:
		plan, err := e.NewConv2DBackward(p.Input(), weight, p.Weight(), params, options...)
		if err != nil {
			return nil, free, err
		}
		made = append(made, plan.Close)
		return func() error { return plan.Run(ctx, g, x, y) }, free, nil
	}
	if set.winograd {
		options = append(options, vkconv.AllowWinograd())
	}
	plan, err := e.NewConv2D(p.Input(), weight, nil, p.Weight(), params, options...)
	if err != nil {
		return nil, free, err
	}
	made = append(made, plan.Close)
	return func() error { return plan.Run(ctx, y, x) }, free, nil
}
