package vkconv_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
)

// fleetOf is a fleet of the engines that tests share: all devices together, or where
// there is none the CPU path twice.
func fleetOf(t *testing.T) *vkconv.Fleet {
	t.Helper()
	var engines []*vkconv.Engine
	names := devices(t)[1:]
	if len(names) < 2 {
		names = append(names, "cpu", "cpu")
	}
	for _, name := range names {
		if e := lasting[name]; e != nil && !slices.Contains(engines, e) {
			engines = append(engines, e)
			continue
		}
		e := open(t, name)
		engines = append(engines, e)
		if lasting[name] == nil {
			lasting[name] = e
		} else {
			t.Cleanup(func() { _ = e.Close() })
		}
	}
	return vkconv.FleetOf(engines...)
}

// fleetCase is a random case with a batch of 0 to 7 images.
func fleetCase(seed uint64, i int) convtest.Case {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	c := convtest.RandomActivated(seed, i)
	p := c.Problem
	p.N = i % 8
	c = convtest.Fill(r, p)
	c.Name = convtest.Describe(p)
	return c
}

// fleetRun computes a case by a layer of its own.
func fleetRun(f *vkconv.Fleet, c convtest.Case, y []float32, then ...func(shares []vkconv.Share)) error {
	p := c.Problem
	var bias []float32
	if p.Bias {
		bias = c.Bias
	}
	if p.Deformable() {
		l, err := f.NewDeformConv2D(p.Input(), c.Weight, bias, p.Weight(), paramsOf(p), deformOf(p))
		if err != nil {
			return err
		}
		defer l.Close()
		if err := l.Run(ctx, y, c.X, c.Offset, c.Mask); err != nil {
			return err
		}
		for _, f := range then {
			f(l.Shares())
		}
		return nil
	}
	l, err := f.NewConv2D(p.Input(), c.Weight, bias, p.Weight(), paramsOf(p))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Run(ctx, y, c.X); err != nil {
		return err
	}
	for _, f := range then {
		f(l.Shares())
	}
	return nil
}

// fix has a fleet share by random weights, or by speed.
func fix(t *testing.T, f *vkconv.Fleet, i int) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, uint64(i)))
	var weights []float64
	for range f.AllEngines() {
		weights = append(weights, 0.1+r.Float64())
	}
	if i%3 == 0 {
		weights = nil
	}
	if err := f.FixShares(weights...); err != nil {
		t.Fatal(err)
	}
}

// Batches of none, of one, of fewer images than devices and uneven ones.
func TestFleet(t *testing.T) {
	f := fleetOf(t)
	seed := convtest.Seed() + 17
	for i := range convtest.Cases(32) {
		fix(t, f, i)
		c := fleetCase(seed, i)
		convtest.One(t, c, func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
			c.X, c.Weight, c.Bias, c.Offset, c.Mask = x, weight, bias, offset, mask
			return fleetRun(f, c, y, func(shares []vkconv.Share) {
				images := 0
				for _, s := range shares {
					images += s.Images
				}
				if images != c.Problem.N {
					t.Errorf("%d images were shared as %+v", c.Problem.N, shares)
				}
			})
		})
	}
	noMessages(t, f)
}

func noMessages(t *testing.T, f *vkconv.Fleet) {
	t.Helper()
	for _, e := range f.AllEngines() {
		for _, m := range e.Messages() {
			t.Errorf("validation: %s", m)
		}
	}
}

func fleetBackward(f *vkconv.Fleet, c convtest.Case, g convtest.Grads, dy []float32) error {
	p := c.Problem
	out := vkconv.FleetGradients{X: g.X, Weight: g.Weight}
	if p.Bias {
		out.Bias = g.Bias
	}
	if !p.Deformable() {
		l, err := f.NewConv2DBackward(p.Input(), c.Weight, p.Weight(), paramsOf(p))
		if err != nil {
			return err
		}
		defer l.Close()
		return l.Run(ctx, out, c.X, dy)
	}
	out.Offset = g.Offset
	if p.Mask {
		out.Mask = g.Mask
	}
	l, err := f.NewDeformConv2DBackward(p.Input(), c.Weight, p.Weight(), paramsOf(p), deformOf(p))
	if err != nil {
		return err
	}
	defer l.Close()
	return l.Run(ctx, out, c.X, c.Offset, c.Mask, dy)
}

func TestFleetBackward(t *testing.T) {
	f := fleetOf(t)
	seed, worst := convtest.Seed()+18, map[string]float64{}
	for i := range convtest.Cases(24) {
		fix(t, f, i)
		c := fleetCase(seed, i)
		c.Problem.Activation, c.Problem.Border = conv.Activation{}, conv.BorderFade
		convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error { return fleetBackward(f, c, g, dy) }, worst)
	}
	t.Logf("worst share of the bound %v", worst)
	noMessages(t, f)
}

// With fixed shares every image has the bits of a layer of one image on the device
// that got it, and every call those of the one before, gradients included.
func TestFleetBits(t *testing.T) {
	f := fleetOf(t)
	weights := make([]float64, len(f.AllEngines()))
	for i := range weights {
		weights[i] = float64(2 + i)
	}
	if err := f.FixShares(weights...); err != nil {
		t.Fatal(err)
	}
	for i := range 1 + convtest.Cases(16)/4 {
		c := fleetCase(29, 8*i+7)
		c.Problem.Activation, c.Problem.Border = conv.Activation{}, conv.BorderFade
		p := c.Problem
		first, again := make([]float32, p.Output().Len()), make([]float32, p.Output().Len())
		var shares []vkconv.Share
		if err := errors.Join(fleetRun(f, c, first, func(s []vkconv.Share) { shares = s }), fleetRun(f, c, again)); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(first, again, bits) {
			t.Errorf("%s: other bits the second time", c.Name)
		}
		at := 0
		for d, s := range shares {
			for range s.Images {
				one := imageOfCase(c, at)
				alone := make([]float32, one.Problem.Output().Len())
				if err := run(f.AllEngines()[d], one, alone, one.X, one.Weight, one.Bias, one.Offset, one.Mask); err != nil {
					t.Fatal(err)
				}
				if !slices.EqualFunc(alone, first[at*len(alone):(at+1)*len(alone)], bits) {
					t.Errorf("%s: image %d has other bits than alone on %s", c.Name, at, s.Device)
				}
				at++
			}
		}
		dy := c.OutputGrad()
		var all [2][]float32
		for k := range all {
			g := convtest.Grads{X: make([]float32, len(c.X)), Weight: make([]float32, len(c.Weight)), Bias: make([]float32, p.K),
				Offset: make([]float32, len(c.Offset)), Mask: make([]float32, len(c.Mask))}
			if err := fleetBackward(f, c, g, dy); err != nil {
				t.Fatal(err)
			}
			all[k] = slices.Concat(g.X, g.Weight, g.Bias, g.Offset, g.Mask)
		}
		if !slices.EqualFunc(all[0], all[1], bits) {
			t.Errorf("%s: gradients have other bits the second time", c.Name)
		}
	}
}

// imageOfCase is a case of one image of the batch.
func imageOfCase(c convtest.Case, i int) convtest.Case {
	p := c.Problem
	cut := func(v []float32) []float32 { return v[i*len(v)/p.N : (i+1)*len(v)/p.N] }
	c.X, c.Offset, c.Mask = cut(c.X), cut(c.Offset), cut(c.Mask)
	c.Problem.N = 1
	return c
}

// By units of some images: the bound, and the bits of layers of so many.
func TestFleetImagesAtOnce(t *testing.T) {
	f := fleetOf(t)
	if err := f.FixShares(slices.Repeat([]float64{1}, len(f.AllEngines()))...); err != nil {
		t.Fatal(err)
	}
	x, w := conv.Shape{6, 3, 6, 7}, conv.Shape{4, 3, 3, 3}
	l, err := f.NewConv2D(x, noise(w.Len()), nil, w, conv.Params{}, vkconv.ImagesAtOnce(2))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := convtest.Case{Problem: l.Problem(), X: noise(x.Len()), Weight: noise(w.Len())}
	y := make([]float32, l.Problem().Output().Len())
	if err := l.Run(ctx, y, c.X); err != nil {
		t.Fatal(err)
	}
	if v := conv.Judge(y, c.Want(), nil, c.Roundings()); !v.OK() {
		t.Errorf("%+v", v)
	}
	if s := l.Shares(); s[0].Images+s[1].Images != 6 || s[0].Images != 4 {
		t.Errorf("3 units of 2 for two devices became %+v", s)
	}
	part := c
	part.Problem.N, part.X = 2, c.X[:len(c.X)/3]
	alone := make([]float32, len(y)/3)
	if err := run(f.AllEngines()[0], part, alone, part.X, part.Weight, nil, nil, nil); err != nil || !slices.EqualFunc(alone, y[:len(alone)], bits) {
		t.Errorf("%v, or other bits than alone", err)
	}
	back, err := f.NewConv2DBackward(x, c.Weight, w, conv.Params{}, vkconv.ImagesAtOnce(3))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	g, dy := vkconv.FleetGradients{Weight: make([]float32, w.Len())}, c.OutputGrad()
	if err := back.Run(ctx, g, c.X, dy); err != nil {
		t.Fatal(err)
	}
	if v := conv.Judge(g.Weight, c.WantGrads(dy).Weight, nil, c.Roundings()); !v.OK() {
		t.Errorf("gradient by the weight: %+v", v)
	}
	for _, n := range []int{-1, 4, 7} {
		if _, err := f.NewConv2D(x, c.Weight, nil, w, conv.Params{}, vkconv.ImagesAtOnce(n)); !errors.Is(err, conv.ErrParams) {
			t.Errorf("%d at once: %v", n, err)
		}
	}
	if _, err := f.AllEngines()[0].NewConv2D(x, c.Weight, nil, w, conv.Params{}, vkconv.ImagesAtOnce(2)); !errors.Is(err, conv.ErrUnsupported) {
		t.Errorf("of an engine: %v", err)
	}
}

// Tensors of float16 on the devices, sums in float32: each result is the one of
// float32 on rounded operands, rounded once.
func TestFleetStored(t *testing.T) {
	f := fleetOf(t)
	x, w := conv.Shape{5, 3, 6, 7}, conv.Shape{4, 3, 3, 3}
	data, weight := noise(x.Len()), noise(w.Len())
	l, err := f.NewConv2D(x, weight, nil, w, conv.Params{}, vkconv.Stored(conv.Float16))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := convtest.Case{Problem: l.Problem(), X: slices.Clone(data), Weight: slices.Clone(weight)}
	for _, v := range [][]float32{c.X, c.Weight} {
		for i := range v {
			v[i] = conv.Float16.Round(v[i])
		}
	}
	y := make([]float32, l.Problem().Output().Len())
	if err := l.Run(ctx, y, data); err != nil {
		t.Fatal(err)
	}
	want := c.Want()
	for i := range want {
		want[i] = conv.Float16.Stored(want[i], c.Roundings())
	}
	if v := conv.Judge(y, want, nil, c.Roundings()); !v.OK() {
		t.Errorf("%+v", v)
	}
	_, err = f.NewConv2D(x, weight, nil, w, conv.Params{}, vkconv.Stored(conv.Float64))
	_, err2 := f.NewConv2DBackward(x, weight, w, conv.Params{}, vkconv.Stored(conv.Float16))
	if !errors.Is(err, conv.ErrUnsupported) || !errors.Is(err2, conv.ErrUnsupported) {
		t.Errorf("float64: %v; float16 backward: %v", err, err2)
	}
}

// Goroutines share a fleet and a layer, and some give up: fixed shares, the same bits.
func TestFleetManyAtOnce(t *testing.T) {
	f := fleetOf(t)
	weights := slices.Repeat([]float64{1}, len(f.AllEngines()))
	if err := f.FixShares(weights...); err != nil {
		t.Fatal(err)
	}
	x, w := conv.Shape{5, 3, 9, 8}, conv.Shape{4, 3, 3, 3}
	l, err := f.NewConv2D(x, noise(w.Len()), nil, w, conv.Params{Padding: conv.Pad(1)})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float32, l.Problem().Output().Len())
	if err := l.Run(ctx, want, noise(x.Len())); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for k := range 6 {
				c := ctx
				if (g+k)%3 == 0 {
					done, cancel := context.WithCancel(ctx)
					go cancel()
					c = done
				}
				y := make([]float32, len(want))
				if err := l.Run(c, y, noise(x.Len())); errors.Is(err, context.Canceled) && c != ctx {
					continue
				} else if err != nil || !slices.EqualFunc(y, want, bits) {
					t.Errorf("%v, or other bits", err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.SetWeights(make([]float32, w.Len()), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(ctx, want, noise(x.Len())); err != nil || slices.Max(want) != 0 || slices.Min(want) != 0 {
		t.Errorf("with weights of 0: %v, %v", err, want[0])
	}
	l.Close()
	l.Close()
	if err := l.Run(ctx, want, noise(x.Len())); !errors.Is(err, vkconv.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// What callers do wrong is said before anything is computed.
func TestFleetRefusals(t *testing.T) {
	_, err := vkconv.OpenFleet(vkconv.Options{Device: "cpu"}, "cpu")
	if !errors.Is(err, conv.ErrParams) {
		t.Errorf("a device in the options and beside them: %v", err)
	}
	if _, err = vkconv.OpenFleet(vkconv.Options{}, "cpu", "a card that isn't there"); !errors.Is(err, gpu.ErrNoDevice) && !errors.Is(err, gpu.ErrNoCgo) && !errors.Is(err, gpu.ErrNoLoader) {
		t.Errorf("an unknown device: %v", err)
	}
	f, err := vkconv.OpenFleet(vkconv.Options{Threads: 1}, "cpu", "cpu")
	if err != nil {
		t.Fatal(err)
	}
	for _, weights := range [][]float64{{1}, {1, -1}, {0, 0}, {math.NaN(), 1}, {1, math.Inf(1)}} {
		if err := f.FixShares(weights...); !errors.Is(err, conv.ErrParams) {
			t.Errorf("shares of %v: %v", weights, err)
		}
	}
	x, w := conv.Shape{3, 2, 4, 4}, conv.Shape{2, 2, 1, 1}
	_, err = f.NewConv2D(x, make([]float32, 3), nil, w, conv.Params{})
	if !errors.Is(err, conv.ErrShape) {
		t.Errorf("a weight of 3 elements: %v", err)
	}
	l, err := f.NewConv2D(x, make([]float32, 4), nil, w, conv.Params{})
	if err != nil {
		t.Fatal(err)
	}
	n := x.Len()
	both := make([]float32, 2*n)
	done, cancel := context.WithCancel(ctx)
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		y, x []float32
		want error
	}{
		{ctx, both[:n-1], both[n:], conv.ErrShape},
		{ctx, both[:n], nil, conv.ErrShape},
		{ctx, nil, both[:n], conv.ErrShape},
		{ctx, both[1 : n+1], both[n:], conv.ErrShape}, // one element in common
		{done, both[:n], both[n:], context.Canceled},
		{ctx, both[:n], both[n:], nil},
	} {
		if err := l.Run(c.ctx, c.y, c.x); !errors.Is(err, c.want) {
			t.Errorf("%d from %d elements: %v, want %v", len(c.y), len(c.x), err, c.want)
		}
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if err := l.Run(ctx, both[:n], both[n:]); !errors.Is(err, vkconv.ErrClosed) {
		t.Errorf("after the fleet's Close: %v", err)
	}
	l.Close()
}

// No other division is through sooner, and it is near the proportions.
func TestApportion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	longest := func(counts []int, each []float64) (most float64) {
		for i, n := range counts {
			if n > 0 {
				most = max(most, float64(n)*each[i])
			}
		}
		return most
	}
	for range 300 {
		n, each := r.IntN(10), make([]float64, 1+r.IntN(3))
		speed := 0.0
		for i := range each {
			each[i] = math.Exp(2 * r.NormFloat64())
			speed += 1 / each[i]
		}
		got := vkconv.Apportion(n, each)
		best := math.Inf(1)
		counts := make([]int, len(each))
		var try func(i, left int)
		try = func(i, left int) {
			if i == len(each)-1 {
				counts[i] = left
				best = min(best, longest(counts, each))
				return
			}
			for counts[i] = 0; counts[i] <= left; counts[i]++ {
				try(i+1, left-counts[i])
			}
		}
		try(0, n)
		sum := 0
		for i, c := range got {
			sum += c
			if c < int(float64(n)/each[i]/speed) {
				t.Errorf("%d images at %v an image are %v: device %d has less than its proportion", n, each, got, i)
			}
		}
		if sum != n || longest(got, each) > best*(1+1e-12) {
			t.Errorf("%d images at %v an image are %v, through after %v; %v is possible", n, each, got, longest(got, each), best)
		}
	}
	inf := math.Inf(1)
	for _, c := range []struct {
		n    int
		each []float64
		want []int
	}{{7, []float64{1, inf, 1}, []int{4, 0, 3}}, {3, []float64{inf, inf}, []int{2, 1}}, {4, []float64{1.0 / 3, 1}, []int{3, 1}}, {0, []float64{1}, []int{0}}} {
		if got := vkconv.Apportion(c.n, c.each); !slices.Equal(got, c.want) {
			t.Errorf("%d images at %v an image: %v, want %v", c.n, c.each, got, c.want)
		}
	}
}
