package vkconv_test

import (
	"testing"

	"vkconv"
	"vkconv/conv"
)

// planned is a layer with tensors of its own.
type planned struct {
	name  string
	layer interface {
		Workspace() int64
		Close()
	}
	run     func() error // into given outputs
	taken   int64        // device memory, by its plan
	buffers int          // that it lies in
}

// everyLayer makes each kind of layer that the door has, forward and backward, and in
// the ways that it may be called: of channels of wider tensors, stored in 16 bits, in
// float64 where that is a device's.
func everyLayer(t testing.TB, e *vkconv.Engine) (list []planned) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	seen, buffers := e.Memory().InUse, e.Buffers() // of tensors and of plans before
	as := func(typ conv.Type, s conv.Shape) *vkconv.Tensor {
		t.Helper()
		before := e.Memory().InUse
		x, err := e.NewTensorAs(typ, s)
		must(err)
		t.Cleanup(x.Free)
		must(x.Upload(sines(s.Len())))
		seen += e.Memory().InUse - before
		buffers++
		return x
	}
	var typ conv.Type // of what is made
	of := func(s conv.Shape) *vkconv.Tensor { return as(typ, s) }
	channels := func(s conv.Shape) *vkconv.Tensor { // of a wider tensor
		wide := s
		wide[1] += 3
		x, err := of(wide).Channels(1, 1+s[1])
		must(err)
		return x
	}
	add := func(name string, l interface {
		Workspace() int64
		Close()
	}, err error, run func() error) {
		t.Helper()
		must(err)
		t.Cleanup(l.Close)
		if typ != conv.Float32 {
			name += " " + typ.String()
		}
		now, made := e.Memory().InUse, e.Buffers()
		list = append(list, planned{name, l, run, now - seen, made - buffers})
		seen, buffers = now, made
	}
	x := conv.Shape{2, 4, 9, 8}
	w := conv.Shape{6, 4, 3, 3}
	per := conv.Shape{1, 4, 1, 1}
	params := conv.Params{Padding: conv.Pad(1)}
	relu := conv.Activation{Kind: conv.ReLU}
	through := params
	through.Activation = relu
	weight, bias := sines(w.Len()), sines(w[0])

	types := []conv.Type{conv.Float32, conv.Float16}
	if e.OnGPU() { // the CPU path computes float64 by the oracle, which makes every result anew
		if x, err := e.NewTensorAs(conv.Float64, per); err == nil {
			x.Free()
			types = append(types, conv.Float64)
		}
	}
	for _, typ = range types {
		stored := vkconv.Stored(typ)
		conv2d, err := e.NewConv2D(x, weight, bias, w, through, stored)
		must(err)
		p := conv2d.Problem()
		in, out := of(x), of(p.Output())
		add("conv2d", conv2d, err, func() error { return conv2d.Run(ctx, out, in) })
		dy, dx := of(p.Output()), of(x)
		g := vkconv.Gradients{X: dx, Weight: of(w), Bias: of(conv.Shape{1, w[0], 1, 1})}
		back, err := e.NewConv2DBackward(x, weight, w, params, stored)
		add("conv2d backward", back, err, func() error { return back.Run(ctx, g, in, dy) })
		behind, err := e.NewConv2DBackward(x, weight, w, through, stored)
		add("conv2d backward through relu", behind, err, func() error { return behind.Run(ctx, g, in, dy) })
		for _, masked := range []bool{false, true} {
			name, d := "deform v1", conv.Deform{Mask: masked}
			deform, err := e.NewDeformConv2D(x, weight, bias, w, params, d, stored)
			must(err)
			p, g := deform.Problem(), g
			offset := of(p.Offset())
			g.Offset = of(p.Offset())
			var mask *vkconv.Tensor
			if masked {
				name, mask, g.Mask = "deform v2", of(p.MaskShape()), of(p.MaskShape())
			}
			add(name, deform, err, func() error { return deform.Run(ctx, out, in, offset, mask) })
			back, err := e.NewDeformConv2DBackward(x, weight, w, through, d, stored)
			add(name+" backward", back, err, func() error { return back.Run(ctx, g, in, offset, mask, dy) })
		}
		turned := conv.Params{Stride: [2]int{2, 2}}
		transposed, err := e.NewConvTranspose2D(x, weight[:4*6*9], bias, conv.Shape{4, 6, 3, 3}, turned, [2]int{}, stored)
		must(err)
		large := of(transposed.Problem().Output())
		add("conv transpose", transposed, err, func() error { return transposed.Run(ctx, large, in) })
		turnedBack, err := e.NewConvTranspose2DBackward(x, weight[:4*6*9], conv.Shape{4, 6, 3, 3}, turned, [2]int{}, stored)
		tg := vkconv.Gradients{X: dx, Weight: of(conv.Shape{4, 6, 3, 3}), Bias: g.Bias}
		add("conv transpose backward", turnedBack, err, func() error { return turnedBack.Run(ctx, tg, in, large) })

		v3, err := e.NewDCNv3(x, conv.DCNParams{Padding: conv.Pad(1), Groups: 2, Softmax: true}, stored)
		must(err)
		y3, o3, m3 := of(v3.Problem().Output()), of(v3.Problem().Offset()), of(v3.Problem().MaskShape())
		g3 := vkconv.Gradients{X: dx, Offset: of(v3.Problem().Offset()), Mask: of(v3.Problem().MaskShape())}
		add("dcnv3", v3, err, func() error { return v3.Run(ctx, y3, in, o3, m3) })
		add("dcnv3 backward", v3, err, func() error { return v3.RunBackward(ctx, g3, in, o3, m3, y3) })
		v4, err := e.NewDCNv4(x, conv.DCNParams{Padding: conv.Pad(1), Groups: 2}, stored)
		must(err)
		y4, o4 := of(v4.Problem().Output()), of(v4.Problem().Offset())
		g4 := vkconv.Gradients{X: dx, Offset: of(v4.Problem().Offset())}
		add("dcnv4", v4, err, func() error { return v4.Run(ctx, y4, in, o4) })
		add("dcnv4 backward", v4, err, func() error { return v4.RunBackward(ctx, g4, in, o4, y4) })
		pool, err := e.NewDeformRoIPool(x, 3, conv.RoIPoolParams{Bins: [2]int{2, 2}, Offset: true, Mask: true}, stored)
		must(err)
		q := pool.Problem()
		yr, rois, or, mr := of(q.Output()), of(q.RoIShape()), of(q.OffsetShape()), of(q.MaskShape())
		must(rois.Upload([]float32{0, 0, 0, 5, 5, 1, 1, 1, 6, 4, 1, 2, 2, 4, 7}))
		gr := vkconv.Gradients{X: dx, Offset: of(q.OffsetShape()), Mask: of(q.MaskShape())}
		add("roi pool", pool, err, func() error { return pool.Run(ctx, yr, in, rois, or, mr) })
		add("roi pool backward", pool, err, func() error { return pool.RunBackward(ctx, gr, in, rois, or, mr, yr) })

		resize, err := e.NewResize(x, 5, 11, false, stored)
		small := of(conv.Shape{2, 4, 5, 11})
		add("resize", resize, err, func() error { return resize.Run(ctx, small, in) })
		resizeBack, err := e.NewResizeBackward(x, 5, 11, false, stored)
		add("resize backward", resizeBack, err, func() error { return resizeBack.Run(ctx, dx, small) })
		global, err := e.NewGlobalPool(x, stored)
		mean := of(conv.Shape{2, 4, 1, 1})
		add("global pool", global, err, func() error { return global.Run(ctx, mean, in) })
		globalBack, err := e.NewGlobalPoolBackward(x, stored)
		add("global pool backward", globalBack, err, func() error { return globalBack.Run(ctx, dx, mean) })
		sum, err := e.NewAdd(x, stored)
		add("add", sum, err, func() error { return sum.Run(ctx, dx, in, in) })
		act, err := e.NewActivation(x, conv.Activation{Kind: conv.SiLU}, stored)
		add("activation", act, err, func() error { return act.Run(ctx, dx, in) })
		slope, err := e.NewActivationBackward(x, conv.Activation{Kind: conv.SiLU}, stored)
		same := of(x)
		add("activation backward", slope, err, func() error { return slope.Run(ctx, dx, in, same) })

		packs := vkconv.PackWeights{Weight: weight, Bias: bias, Offset: sines(27 * 4 * 9), OffsetBias: sines(27)}
		pack, err := e.NewDeformPack(x, packs, w, params, conv.Deform{Mask: true}, stored)
		add("deform pack", pack, err, func() error { return pack.Run(ctx, out, in) })
		packBack, err := e.NewDeformPackBackward(x, packs, w, through, conv.Deform{Mask: true}, stored)
		pg := vkconv.PackGradients{X: dx, Weight: g.Weight, Bias: g.Bias, Offset: of(conv.Shape{27, 4, 3, 3}), OffsetBias: of(conv.Shape{1, 27, 1, 1})}
		add("deform pack backward", packBack, err, func() error { return packBack.Run(ctx, pg, in, dy) })
		filter := func(k, c, size int) vkconv.Filter {
			return vkconv.Filter{Weight: sines(k * c * size * size), Bias: sines(k)}
		}
		by := func(k, c, size int) vkconv.FilterGradients {
			return vkconv.FilterGradients{Weight: of(conv.Shape{k, c, size, size}), Bias: of(conv.Shape{1, k, 1, 1})}
		}
		aspps := vkconv.ASPPWeights{Point: filter(3, 4, 1), Dilated: []vkconv.Filter{filter(3, 4, 3)}, Pool: filter(3, 4, 1), Project: filter(6, 9, 1)}
		aspp, err := e.NewASPP(x, vkconv.ASPPParams{Channels: 3, Out: 6, Rates: []int{2}, Activation: relu}, aspps, stored)
		add("aspp", aspp, err, func() error { return aspp.Run(ctx, out, in) })
		asppBack, err := e.NewASPPBackward(x, vkconv.ASPPParams{Channels: 3, Out: 6, Rates: []int{2}, Activation: relu}, aspps, stored)
		ag := vkconv.ASPPGradients{X: dx, Point: by(3, 4, 1), Dilated: []vkconv.FilterGradients{by(3, 4, 3)}, Pool: by(3, 4, 1), Project: by(6, 9, 1)}
		add("aspp backward", asppBack, err, func() error { return asppBack.Run(ctx, ag, in, dy) })
		pyramid, err := e.NewPyramid(x, 2, stored)
		must(err)
		var levels []*vkconv.Tensor
		for _, l := range pyramid.Problem().Levels {
			levels = append(levels, of(l.Output()))
		}
		add("pyramid", pyramid, err, func() error { return pyramid.Run(ctx, levels, in) })
		pyramidBack, err := e.NewPyramidBackward(x, 2, stored)
		add("pyramid backward", pyramidBack, err, func() error { return pyramidBack.Run(ctx, dx, levels) })

		if typ == conv.Float16 { // which takes whole tensors
			continue
		}
		wideIn, wideOut := channels(x), channels(p.Output())
		add("conv2d of channels", conv2d, nil, func() error { return conv2d.Run(ctx, wideOut, wideIn) })
		wideSmall := channels(small.Shape())
		add("resize of channels", resize, nil, func() error { return resize.Run(ctx, wideSmall, wideIn) })
	}
	typ = conv.Float32

	winograd, err := e.NewConv2D(conv.Shape{1, 32, 24, 24}, sines(32*32*9), sines(32), conv.Shape{32, 32, 3, 3}, params, vkconv.AllowWinograd())
	xw, yw := of(conv.Shape{1, 32, 24, 24}), of(conv.Shape{1, 32, 24, 24})
	add("winograd", winograd, err, func() error { return winograd.Run(ctx, yw, xw) })
	windows := conv.PoolParams{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Padding: conv.Pad(1)}
	most, err := e.NewMaxPool(x, windows)
	must(err)
	in, half, dx := of(x), of(most.Problem().Output()), of(x)
	add("max pool", most, err, func() error { return most.Run(ctx, half, in) })
	mostBack, err := e.NewMaxPoolBackward(x, windows)
	add("max pool backward", mostBack, err, func() error { return mostBack.Run(ctx, dx, in, half) })
	average, err := e.NewAvgPool(x, windows)
	add("avg pool", average, err, func() error { return average.Run(ctx, half, in) })
	averageBack, err := e.NewAvgPoolBackward(x, windows)
	add("avg pool backward", averageBack, err, func() error { return averageBack.Run(ctx, dx, half) })
	scale, shift := of(per), of(per)
	batch, running := vkconv.Moments{Mean: of(per), Var: of(per)}, vkconv.Moments{Mean: of(per), Var: of(per)}
	must(batch.Var.Upload(filled(4, 1)))
	norm, err := e.NewBatchNorm(x, conv.BatchNormParams{})
	add("batch norm", norm, err, func() error { return norm.Run(ctx, dx, in, scale, shift, batch) })
	training, err := e.NewBatchNormTraining(x, conv.BatchNormParams{})
	add("batch norm training", training, err, func() error { return training.Run(ctx, dx, batch, running, in, scale, shift) })
	normBack, err := e.NewBatchNormBackward(x, conv.BatchNormParams{})
	gn, same := vkconv.Gradients{X: dx, Weight: of(per), Bias: of(per)}, of(x)
	add("batch norm backward", normBack, err, func() error { return normBack.Run(ctx, gn, in, same, scale, batch) })
	first, second := of(x), of(x)
	must(first.Upload(filled(x.Len(), 0)))
	must(second.Upload(filled(x.Len(), 0)))
	sgd, err := e.NewSGD(x, conv.SGD{Momentum: 0.9})
	add("sgd", sgd, err, func() error { return sgd.Run(ctx, dx, first, in, 1e-3) })
	adam, err := e.NewAdam(x, conv.Adam{})
	step := 0
	add("adam", adam, err, func() error { step++; return adam.Run(ctx, dx, first, second, in, 1e-3, step) })
	entropy, err := e.NewCrossEntropy(x)
	loss, class := of(conv.Shape{2, 1, 9, 8}), of(conv.Shape{2, 1, 9, 8})
	must(class.Upload(filled(2*9*8, 1)))
	add("cross-entropy", entropy, err, func() error { return entropy.Run(ctx, loss, dx, in, class) })
	trained, err := e.NewConv2D(x, weight, bias, w, params)
	tw, tb := of(w), of(conv.Shape{1, w[0], 1, 1})
	add("weights from the device", trained, err, func() error { return trained.SetWeightsFrom(tw, tb) })
	return list
}

// sines are n numbers that differ.
func sines(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32((i*37)%101)/50 - 1
	}
	return v
}
