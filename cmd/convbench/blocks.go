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
	p := o.p
	all := want("y", p.Output(), cpuref.DeformPack(p, o.x, filter, predictor), conv.SampleRoundings)
	if o.dy == nil {
		return all
	}
	g := cpuref.DeformPackBackward(p, o.x, filter, predictor, o.dy)
	all = append(all, want("dx", p.Input(), g.X, conv.SampleRoundings)...)
	all = append(all, want("dweight", p.Weight(), g.Filter.Weight, conv.SampleRoundings)...)
	if o.bias != nil {
		all = append(all, answer{"dbias", []int{p.K}, g.Filter.Bias, conv.SampleRoundings})
	}
	all = append(all, want("doffset_weight", o.predictor(), g.Predictor.Weight, conv.SampleRoundings)...)
	return append(all, answer{"doffset_bias", []int{len(o.offsetBias)}, g.Predictor.Bias, conv.SampleRoundings})
}

// predictor is the shape of the predictor's weight.
func (o pack) predictor() conv.Shape { return conv.Shape{len(o.offsetBias), o.p.C, o.p.R, o.p.S} }

func (o pack) compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error) {
	t := tensors{e: e}
	defer t.free()
	x, y, dy := t.of(o.p.Input(), o.x), t.result("y", o.p.Output()), t.of(o.p.Output(), o.dy)
	params, deform := paramsOf(o.p)
	weights := vkconv.PackWeights{Weight: o.weight, Bias: o.bias, Offset: o.offsetWeight, OffsetBias: o.offsetBias}
	l, err := e.NewDeformPack(o.p.Input(), weights, o.p.Weight(), params, deform)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer l.Close()
	if err := l.Run(ctx, y, x); err != nil || o.dy == nil {
		return t.results(ctx, err)
	}
	g := vkconv.PackGradients{X: t.result("dx", o.p.Input()), Weight: t.result("dweight", o.p.Weight()),
		Offset: t.result("doffset_weight", o.predictor()), OffsetBias: t.result("doffset_bias", conv.Shape{1, len(o.offsetBias), 1, 1})}
	if o.bias != nil {
		g.Bias = t.result("dbias", conv.Shape{1, o.p.K, 1, 1})
	}
	b, err := e.NewDeformPackBackward(o.p.Input(), weights, o.p.Weight(), params, deform)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer b.Close()
	return t.results(ctx, b.Run(ctx, g, x, dy))
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
	all := want("y", o.p.Output(), cpuref.ASPP(o.p, o.x, o.filters), conv.ProductRoundings)
	if o.dy == nil {
		return all
	}
	g := cpuref.ASPPBackward(o.p, o.x, o.filters, o.dy)
	all = append(all, want("dx", o.p.Input(), g.X, conv.ProductRoundings)...)
	for i, q := range o.p.Layers() {
		all = append(all, want("d"+o.names[i]+"_weight", q.Weight(), g.Filters[i].Weight, conv.ProductRoundings)...)
		if o.filters[i].Bias != nil {
			all = append(all, answer{"d" + o.names[i] + "_bias", []int{q.K}, g.Filters[i].Bias, conv.ProductRoundings})
		}
	}
	return all
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
	x, y, dy := t.of(o.p.Input(), o.x), t.result("y", o.p.Output()), t.of(o.p.Output(), o.dy)
	params, weights := o.params()
	l, err := e.NewASPP(o.p.Input(), params, weights)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer l.Close()
	if err := l.Run(ctx, y, x); err != nil || o.dy == nil {
		return t.results(ctx, err)
	}
	g := o.gradients(&t)
	b, err := e.NewASPPBackward(o.p.Input(), params, weights)
	if err != nil || t.err != nil {
		return nil, first(t.err, err)
	}
	defer b.Close()
	return t.results(ctx, b.Run(ctx, g, x, dy))
}

// gradients makes a tensor for each gradient there is.
func (o aspp) gradients(t *tensors) vkconv.ASPPGradients {
	g := vkconv.ASPPGradients{X: t.result("dx", o.p.Input())}
	var filters []vkconv.FilterGradients
	for i, q := range o.p.Layers() {
		f := vkconv.FilterGradients{Weight: t.result("d"+o.names[i]+"_weight", q.Weight())}
		if o.filters[i].Bias != nil {
			f.Bias = t.result("d"+o.names[i]+"_bias", conv.Shape{1, q.K, 1, 1})
		}
		filters = append(filters, f)
	}
	n := len(o.p.Branches)
	g.Point, g.Dilated, g.Pool, g.Project = filters[0], filters[1:n], filters[n], filters[n+1]
	return g
}
