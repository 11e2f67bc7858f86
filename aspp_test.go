package vkconv_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// asppCase is an ASPP with its data.
type asppCase struct {
	x       conv.Shape
	params  vkconv.ASPPParams
	weights vkconv.ASPPWeights
	data    []float32
}

func randomASPP(i int) asppCase {
	r := rand.New(rand.NewPCG(convtest.Seed(), uint64(i)|1<<42))
	c := asppCase{x: conv.Shape{r.IntN(4), 1 + r.IntN(20), 1 + r.IntN(17), 1 + r.IntN(19)},
		params: vkconv.ASPPParams{Channels: 1 + r.IntN(17), Out: 1 + r.IntN(9), Rates: [][]int{{6, 12, 18}, {1, 2, 5}, {}, {24}, {2, 2}}[r.IntN(5)]}}
	if r.IntN(3) > 0 {
		c.params.Activation = convtest.RandomActivation(r)
	}
	filter := func(k, each int) vkconv.Filter {
		f := vkconv.Filter{Weight: convtest.Normal(r, k*each)}
		if r.IntN(3) > 0 {
			f.Bias = convtest.Normal(r, k)
		}
		return f
	}
	channels := c.params.Channels
	c.weights = vkconv.ASPPWeights{Point: filter(channels, c.x[1]), Pool: filter(channels, c.x[1]),
		Project: filter(c.params.Out, (2+len(c.params.Rates))*channels)}
	for range c.params.Rates {
		c.weights.Dilated = append(c.weights.Dilated, filter(channels, 9*c.x[1]))
	}
	c.data = convtest.Normal(r, c.x.Len())
	return c
}

// oracle computes a convolution of the ASPP.
func (c asppCase) oracle(t *testing.T, x conv.Shape, data []float32, f vkconv.Filter, k, size, rate int) []conv.Sum {
	t.Helper()
	params := conv.Params{Dilation: [2]int{rate, rate}, Padding: conv.Pad(rate * (size / 2)), Activation: c.params.Activation}
	p, err := params.Problem(x, conv.Shape{k, x[1], size, size}, f.Bias != nil)
	if err != nil {
		t.Fatal(err)
	}
	return cpuref.Conv2D(p, data, f.Weight, f.Bias)
}

// Every layer of the block within its bound, given what the layer before made.
func TestASPP(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		worst := map[string]float64{}
		for i := range convtest.Cases(25) {
			c := randomASPP(i)
			name := fmt.Sprintf("case %d: %v, %+v", i, c.x, c.params)
			l, err := e.NewASPP(c.x, c.params, c.weights)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			x, y := tensor(t, e, c.x, c.data), tensor(t, e, l.Output(), make([]float32, l.Output().Len()))
			read := func(v *vkconv.Tensor) []float32 {
				data := make([]float32, v.Shape().Len())
				if err := v.Download(ctx, data); err != nil {
					t.Fatal(err)
				}
				return data
			}
			if err := l.Run(ctx, y, x); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			first := read(y)
			if err := l.Run(ctx, y, x); err != nil {
				t.Fatal(err)
			}
			if again := read(y); !slices.EqualFunc(first, again, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Errorf("%s: other bits the second time", name)
			}
			meanAt, meanOutAt, catAt := l.Inside()
			mean, meanOut, cat := read(meanAt), read(meanOutAt), read(catAt)
			judge := func(what string, got []float32, want []conv.Sum, roundings int) {
				t.Helper()
				v := conv.Judge(got, want, nil, roundings)
				worst[what] = max(worst[what], v.Worst)
				if !v.OK() {
					t.Errorf("%s: %s[%d] is %g, want %g within %g", name, what, v.Index, v.Got, v.Want, v.Bound)
				}
			}
			channels := c.params.Channels
			branch := func(i int) []float32 { // of the concatenation
				var data []float32
				plane := c.x[2] * c.x[3]
				for n := range c.x[0] {
					data = append(data, cat[(n*catAt.Shape()[1]+i*channels)*plane:][:channels*plane]...)
				}
				return data
			}
			pool, err := conv.NewGlobalPool(c.x)
			if err != nil {
				t.Fatal(err)
			}
			resize, err := conv.NewResize(meanOutAt.Shape(), c.x[2], c.x[3], false)
			if err != nil {
				t.Fatal(err)
			}
			judge("1×1", branch(0), c.oracle(t, c.x, c.data, c.weights.Point, channels, 1, 1), conv.ProductRoundings)
			for i, rate := range c.params.Rates {
				judge("dilated", branch(1+i), c.oracle(t, c.x, c.data, c.weights.Dilated[i], channels, 3, rate), conv.ProductRoundings)
			}
			judge("mean", mean, cpuref.GlobalPool(pool, c.data), conv.PoolRoundings)
			judge("pooled", meanOut, c.oracle(t, meanAt.Shape(), mean, c.weights.Pool, channels, 1, 1), conv.ProductRoundings)
			judge("resized", branch(1+len(c.params.Rates)), cpuref.Resize(resize, meanOut), conv.ResizeRoundings)
			judge("y", first, c.oracle(t, catAt.Shape(), cat, c.weights.Project, c.params.Out, 1, 1), conv.ProductRoundings)
			l.Close()
			if t.Failed() {
				t.FailNow()
			}
		}
		t.Logf("worst shares of the bound: %v", worst)
	})
}

// All branches are one submission of one dispatch a layer, no copy between
// them, and take no memory but the concatenation and the pooled values.
func TestASPPIsOneSubmission(t *testing.T) {
	onOwn(t, func(t *testing.T, e *vkconv.Engine) {
		c := randomASPP(0)
		c.x, c.params.Rates = conv.Shape{2, 8, 12, 16}, []int{2, 4, 6}
		c.params.Channels, c.params.Out = 8, 4
		r := rand.New(rand.NewPCG(1, 1))
		f := func(n int) vkconv.Filter { return vkconv.Filter{Weight: convtest.Normal(r, n)} }
		c.weights = vkconv.ASPPWeights{Point: f(64), Dilated: []vkconv.Filter{f(576), f(576), f(576)}, Pool: f(64), Project: f(4 * 40)}
		x := tensor(t, e, c.x, convtest.Normal(r, c.x.Len()))
		y := tensor(t, e, conv.Shape{2, 4, 12, 16}, make([]float32, 2*4*12*16))
		before := e.Memory().InUse
		l, err := e.NewASPP(c.x, c.params, c.weights)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cat, small := int64(4*2*5*8*12*16), int64(4*2*(8+8))
		planned := e.Memory()
		if e.OnGPU() {
			// A table of positions for the resize; weights are packed in blocks of up to 64 channels.
			if n := l.Workspace(); n < cat+small || n > cat+small+4096 {
				t.Errorf("workspace is %d bytes, the concatenation takes %d and the pooled values %d", n, cat, small)
			}
			if n := planned.InUse - before - l.Workspace(); n < 0 || n > 128<<10 {
				t.Errorf("beyond its workspace the block takes %d bytes for 2,400 weights", n)
			}
		} else if n := planned.InUse - before; n != cat+small { // counts tensors
			t.Errorf("the block takes %d bytes, the concatenation takes %d and the pooled values %d", n, cat, small)
		}
		if err := e.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		_, last, gpu := e.Queued()
		if err := l.Run(ctx, y, x); err != nil {
			t.Fatal(err)
		}
		if n, now, _ := e.Queued(); gpu && (n != 1+3+3+1 || now != last) {
			t.Errorf("%d dispatches are queued, must be 8: 1×1, three rates, pool, its 1×1, resize, projection; submitted meanwhile: %v", n, now != last)
		}
		if _, err := e.Time(ctx, func() error { return l.Run(ctx, y, x) }); err != nil { // refuses more than one submission
			t.Error(err)
		}
		if m := e.Memory(); m.InUse != planned.InUse || m.Peak > max(planned.Peak, planned.InUse) {
			t.Errorf("running takes memory: %+v, before %+v", m, planned)
		}
	})
}

func TestASPPMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		c := randomASPP(1)
		try := func(change func(c *asppCase)) error {
			d := c
			d.params.Rates, d.weights.Dilated = slices.Clone(c.params.Rates), slices.Clone(c.weights.Dilated)
			change(&d)
			l, err := e.NewASPP(d.x, d.params, d.weights)
			if err == nil {
				l.Close()
			}
			return err
		}
		memory := e.Memory().InUse
		for _, q := range []struct {
			err, kind error
			says      string
		}{
			{try(func(c *asppCase) { c.params.Channels = 0 }), conv.ErrParams, "0 channels a branch"},
			{try(func(c *asppCase) { c.params.Rates = append(c.params.Rates, 3) }), conv.ErrShape, "dilated weights"},
			{try(func(c *asppCase) {
				c.params.Rates, c.weights.Dilated = []int{-1}, []vkconv.Filter{{}}
			}), conv.ErrParams, "rate 0 of the ASPP is -1"},
			{try(func(c *asppCase) { c.weights.Point.Weight = nil }), conv.ErrShape, "1×1 branch"},
			{try(func(c *asppCase) { c.weights.Pool.Weight = nil }), conv.ErrShape, "image pooling"},
			{try(func(c *asppCase) { c.weights.Project.Weight = nil }), conv.ErrShape, "projection"},
		} {
			if !errors.Is(q.err, q.kind) || !strings.Contains(q.err.Error(), q.says) {
				t.Errorf("%v, want %q", q.err, q.says)
			}
		}
		if now := e.Memory().InUse; now != memory {
			t.Errorf("failed plans keep %d bytes", now-memory)
		}
	})
}

// Blocks against PyTorch, torchvision and the formula of the pyramid, in float64.
func TestScalesOutside(t *testing.T) {
	paths, err := filepath.Glob("convtest/testdata/scales/*.npz")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d cases (%v)", len(paths), err)
	}
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		blocks := 0
		for _, path := range paths {
			a, err := tensorio.ReadNPZ(path)
			if err != nil {
				t.Fatal(err)
			}
			floats := func(name string) []float32 { return a[name].Data.([]float32) }
			s := a["x"].Shape
			shape := conv.Shape{s[0], s[1], s[2], s[3]}
			x := tensor(t, e, shape, floats("x"))
			switch string(a["op"].Data.([]uint8)) {
			case "pyramid":
				blocks++
				outsidePyramid(t, e, path, a, shape, x)
			case "aspp":
				blocks++
				filter := func(name string) vkconv.Filter {
					return vkconv.Filter{Weight: floats(name + "_weight"), Bias: floats(name + "_bias")}
				}
				c := asppCase{x: shape, data: floats("x"), weights: vkconv.ASPPWeights{Point: filter("point"), Pool: filter("pool"), Project: filter("project")}}
				kind, err := conv.ParseActivationKind(string(a["activation"].Data.([]uint8)))
				if err != nil {
					t.Fatal(err)
				}
				c.params = vkconv.ASPPParams{Channels: len(floats("point_bias")), Out: len(floats("project_bias")), Activation: conv.Activation{Kind: kind}}
				for i, rate := range a["rates"].Data.([]int64) {
					c.params.Rates = append(c.params.Rates, int(rate))
					c.weights.Dilated = append(c.weights.Dilated, filter(fmt.Sprintf("dilated%d", i)))
				}
				l, err := e.NewASPP(c.x, c.params, c.weights)
				if err != nil {
					t.Fatal(err)
				}
				y := tensor(t, e, l.Output(), make([]float32, l.Output().Len()))
				if err := l.Run(ctx, y, x); err != nil {
					t.Fatal(err)
				}
				bound := asppBound(t, l, c)
				got := make([]float32, l.Output().Len())
				if err := y.Download(ctx, got); err != nil {
					t.Fatal(err)
				}
				for i, want := range a["y"].Data.([]float64) {
					if share := conv.Share(got[i], want, bound[i]); !(share <= 1) {
						t.Fatalf("%s: y[%d] is %g, want %g within %g", path, i, got[i], want, bound[i])
					}
				}
				l.Close()
			}
		}
		if blocks < 4 {
			t.Errorf("only %d blocks", blocks)
		}
	})
}

// asppBound bounds the whole block with ReLU: the projection's own error, and
// what it makes of the branches' errors, |weight| times those at most.
func asppBound(t *testing.T, l *vkconv.ASPP, c asppCase) []float64 {
	_, _, catAt := l.Inside()
	cat := make([]float32, catAt.Shape().Len())
	if err := catAt.Download(ctx, cat); err != nil {
		t.Fatal(err)
	}
	plane, channels := c.x[2]*c.x[3], c.params.Channels
	off := make([]float64, len(cat)) // by which an element may be off
	put := func(branch int, bound func(n, channel, pixel int) float64) {
		for n := range c.x[0] {
			for k := range channels {
				for i := range plane {
					off[(n*catAt.Shape()[1]+branch*channels+k)*plane+i] = bound(n, k, i)
				}
			}
		}
	}
	whole := func(branch int, sums []conv.Sum) {
		put(branch, func(n, k, i int) float64 { return sums[(n*channels+k)*plane+i].Bound(conv.ProductRoundings) })
	}
	whole(0, c.oracle(t, c.x, c.data, c.weights.Point, channels, 1, 1))
	for i, rate := range c.params.Rates {
		whole(1+i, c.oracle(t, c.x, c.data, c.weights.Dilated[i], channels, 3, rate))
	}
	pool, err := conv.NewGlobalPool(c.x)
	if err != nil {
		t.Fatal(err)
	}
	sums := cpuref.GlobalPool(pool, c.data)
	mean := make([]float32, len(sums))
	for i, s := range sums {
		mean[i] = float32(s.Value)
	}
	pooled := c.oracle(t, conv.Shape{c.x[0], c.x[1], 1, 1}, mean, c.weights.Pool, channels, 1, 1)
	put(1+len(c.params.Rates), func(n, k, _ int) float64 {
		s := pooled[n*channels+k]
		e := s.Bound(conv.ProductRoundings) + conv.Gamma(conv.ResizeRoundings+3)*math.Abs(s.Value)
		for ch := range c.x[1] {
			m := sums[n*c.x[1]+ch]
			e += math.Abs(float64(c.weights.Pool.Weight[k*c.x[1]+ch])) * (m.Bound(conv.PoolRoundings) + conv.Roundoff*math.Abs(m.Value))
		}
		return e
	})
	out := c.oracle(t, catAt.Shape(), cat, c.weights.Project, c.params.Out, 1, 1)
	bound := make([]float64, len(out))
	all := catAt.Shape()[1]
	for i, s := range out {
		n, k, pixel := i/plane/c.params.Out, i/plane%c.params.Out, i%plane
		bound[i] = 1.01 * s.Bound(conv.ProductRoundings) // cat is the device's, not the exact one
		for ch := range all {
			bound[i] += math.Abs(float64(c.weights.Project.Weight[k*all+ch])) * off[(n*all+ch)*plane+pixel]
		}
	}
	return bound
}

// outsidePyramid compares a pyramid's levels: each adds an error of its own to
// the mean of the errors below it.
func outsidePyramid(t *testing.T, e *vkconv.Engine, path string, a map[string]tensorio.Array, shape conv.Shape, x *vkconv.Tensor) {
	count := 0
	for ; a[fmt.Sprintf("level%d", count+1)].Data != nil; count++ {
	}
	p, err := e.NewPyramid(shape, count)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var levels []*vkconv.Tensor
	for _, s := range p.Shapes() {
		levels = append(levels, tensor(t, e, s, make([]float32, s.Len())))
	}
	if err := p.Run(ctx, levels, x); err != nil {
		t.Fatal(err)
	}
	for i, l := range levels {
		want := a[fmt.Sprintf("level%d", i+1)]
		if s := l.Shape(); !slices.Equal(want.Shape, s[:]) {
			t.Fatalf("%s: level %d is %v, want %v", path, i+1, s, want.Shape)
		}
		got := make([]float32, l.Shape().Len())
		if err := l.Download(ctx, got); err != nil {
			t.Fatal(err)
		}
		most := 0.0 // pixels are no larger anywhere below
		for _, v := range a["x"].Data.([]float32) {
			most = max(most, math.Abs(float64(v)))
		}
		for j, w := range want.Data.([]float64) {
			if bound := float64(i+1) * conv.Gamma(25) * most; !(conv.Share(got[j], w, bound) <= 1) {
				t.Fatalf("%s: level %d[%d] is %g, want %g within %g", path, i+1, j, got[j], w, bound)
			}
		}
	}
	if err := p.Run(ctx, levels[1:], x); !errors.Is(err, conv.ErrShape) {
		t.Errorf("a tensor too few: %v", err)
	}
	if _, err := e.NewPyramid(shape, 0); !errors.Is(err, conv.ErrParams) {
		t.Errorf("no levels: %v", err)
	}
}
