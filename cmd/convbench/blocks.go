package main

import (
	"context"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// pack is a layer that predicts its own offsets; dy is nil for the forward pass
// alone.
type pack struct {
	p                                             conv.Problem
	x, weight, bias, offsetWeight, offsetBias, dy []float32
}

func (o pack) kind() string {
	if o.p.Mask {
		return "pack v2"
	}
	return "pack v1"
}

func (o pack) describe() string { return shapeOf(o.p.Input(), o.p.Output()) }

func (o pack) filters() (filter, predictor cpuref.Filter[float32]) {
	return cpuref.Filter[float32]{Weight: o.weight, Bias: o.bias}, cpuref.Filter[float32]{Weight: o.offsetWeight, Bias: o.offsetBias}
}

func (o pack) oracle() []answer {
	filter, predictor := o.filters()
	return want("y", o.p.Output(), cpuref.DeformPack(o.p, o.x, filter, predictor), conv.SampleRoundings)
}

func (o pack) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	t := tensors{e: e}
	defer t.free()
	x, y := t.of(o.p.Input(), o.x), t.result("y", o.p.Output())
	params, deform := paramsOf(o.p)
	weights := vkconv.PackWeights{Weight: o.weight, Bias: o.bias, Offset: o.offsetWeight, OffsetBias: o.offsetBias}
	l, err := e.NewDeformPack(o.p.Input(), weights, o.p.Weight(), params, deform)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer l.Close()
	return t.results(ctx, l.Run(ctx, y, x))
}

// aspp is DeepLab's block; dy is nil for the forward pass alone.
type aspp struct {
	p       conv.ASPP
	x, dy   []float32
	names   []string // of the layers, as files call them
	filters []cpuref.Filter[float32]
}

// add takes the filter of the next layer.
func (o *aspp) add(name string, _ conv.Problem, weight, bias []float32) {
	o.names = append(o.names, name)
	o.filters = append(o.filters, cpuref.Filter[float32]{Weight: weight, Bias: bias})
}

func (o aspp) kind() string     { return "aspp" }
func (o aspp) describe() string { return shapeOf(o.p.Input(), o.p.Output()) }

func (o aspp) oracle() []answer {
	return want("y", o.p.Output(), cpuref.ASPP(o.p, o.x, o.filters), conv.ProductRoundings)
}

// params and weights make the block at the door.
func (o aspp) params() (p vkconv.ASPPParams, w vkconv.ASPPWeights) {
	p = vkconv.ASPPParams{Channels: o.p.Pool.K, Out: o.p.Project.K, Activation: o.p.Project.Activation}
	filter := func(i int) vkconv.Filter { return vkconv.Filter{Weight: o.filters[i].Weight, Bias: o.filters[i].Bias} }
	n := len(o.p.Branches)
	w = vkconv.ASPPWeights{Point: filter(0), Pool: filter(n), Project: filter(n + 1)}
	for i := 1; i < n; i++ {
		p.Rates = append(p.Rates, o.p.Branches[i].DilationY)
		w.Dilated = append(w.Dilated, filter(i))
	}
	return p, w
}

func (o aspp) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	t := tensors{e: e}
	defer t.free()
	x, y := t.of(o.p.Input(), o.x), t.result("y", o.p.Output())
	params, weights := o.params()
	l, err := e.NewASPP(o.p.Input(), params, weights)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer l.Close()
	return t.results(ctx, l.Run(ctx, y, x))
}
