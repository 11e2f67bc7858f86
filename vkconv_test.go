package vkconv_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

var ctx = context.Background()

// lasting are the engines that tests share, by device: what one test had a driver
// compile serves the next, and software drivers take long. TestMain closes them.
var lasting = map[string]*vkconv.Engine{}

func TestMain(m *testing.M) {
	status := m.Run()
	for name, e := range lasting {
		if err := e.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "closing the engine of device %s: %v\n", name, err)
			status = 1
		}
		if left := e.Live(); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "left behind on device %s: %v\n", name, left)
			status = 1
		}
	}
	os.Exit(status)
}

// onEach runs f on every device there is, and asks the validation layer at the
// end. The engine is shared with other tests: see onOwn.
func onEach(t *testing.T, f func(t *testing.T, e *vkconv.Engine)) {
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			e := lasting[name]
			if e == nil {
				e = open(t, name)
				lasting[name] = e
			}
			before := len(e.Messages())
			f(t, e)
			if err := e.Wait(ctx); err != nil {
				t.Error(err)
			}
			for _, m := range e.Messages()[before:] {
				t.Errorf("validation: %s", m)
			}
		})
	}
}

// onOwn is onEach with an engine of the test's own, which it may close.
func onOwn(t *testing.T, f func(t *testing.T, e *vkconv.Engine)) {
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			e := open(t, name)
			f(t, e)
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			for _, m := range e.Messages() {
				t.Errorf("validation: %s", m)
			}
		})
	}
}

func open(t *testing.T, name string) *vkconv.Engine {
	t.Helper()
	e, err := vkconv.Open(vkconv.Options{Device: name, CacheDir: "off"})
	if err != nil {
		t.Fatal(err)
	}
	if e.OnGPU() != (name != "cpu") {
		t.Fatalf("%s opened %s", name, e.Name())
	}
	t.Logf("%s; %s; chosen: %s", e.Name(), e.Driver(), e.Why())
	return e
}

// tensor uploads data; the test frees it.
func tensor(t *testing.T, e *vkconv.Engine, s conv.Shape, data []float32) *vkconv.Tensor {
	t.Helper()
	x, err := e.TensorOf(s, data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Free)
	return x
}

// run computes a case by a layer of its own.
func run(e *vkconv.Engine, c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
	p := c.Problem
	var free []func()
	defer func() {
		for _, f := range free {
			f()
		}
	}()
	in := make([]*vkconv.Tensor, 4)
	for i, src := range []struct {
		s    conv.Shape
		data []float32
		has  bool
	}{{p.Input(), x, true}, {p.Offset(), offset, p.Deformable()}, {p.MaskShape(), mask, p.Mask}, {p.Output(), y, true}} {
		if !src.has {
			continue
		}
		v, err := e.TensorOf(src.s, src.data)
		if err != nil {
			return err
		}
		in[i], free = v, append(free, v.Free)
	}
	params := paramsOf(p)
	if !p.Bias {
		bias = nil
	}
	var err error
	if p.Deformable() {
		var l *vkconv.DeformConv2D
		if l, err = e.NewDeformConv2D(p.Input(), weight, bias, p.Weight(), params, deformOf(p)); err != nil {
			return err
		}
		free = append(free, l.Close)
		err = l.Run(ctx, in[3], in[0], in[1], in[2])
	} else {
		var l *vkconv.Conv2D
		if l, err = e.NewConv2D(p.Input(), weight, bias, p.Weight(), params); err != nil {
			return err
		}
		free = append(free, l.Close)
		err = l.Run(ctx, in[3], in[0])
	}
	if err != nil {
		return err
	}
	return in[3].Download(ctx, y)
}

func TestForward(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		before := e.Memory().InUse
		convtest.ForwardActivated(t, convtest.Cases(100), func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
			return run(e, c, y, x, weight, bias, offset, mask)
		})
		if m := e.Memory(); m.InUse != before || m.Peak == 0 {
			t.Errorf("everything was freed, yet memory is %+v, before %d bytes", m, before)
		}
	})
}

// A chain of dilated layers: three dependent runs, one download, checked layer by layer.
func TestChain(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		c := convtest.Random(11, 0)
		shape, w := conv.Shape{2, 4, 15, 13}, conv.Shape{4, 4, 3, 3}
		data := make([]float32, shape.Len())
		for i := range data {
			data[i] = float32(math.Sin(float64(i)))
		}
		x := tensor(t, e, shape, data)
		chain := []*vkconv.Tensor{x}
		var cases []convtest.Case
		for i, d := range []int{1, 2, 4} {
			weight := make([]float32, w.Len())
			for j := range weight {
				weight[j] = float32(math.Cos(float64(j * (i + 1))))
			}
			l, err := e.NewConv2D(shape, weight, nil, w, conv.Params{Padding: conv.Pad(d), Dilation: [2]int{d, d}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			y := tensor(t, e, shape, make([]float32, shape.Len()))
			if err := l.Run(ctx, y, chain[i]); err != nil {
				t.Fatal(err)
			}
			chain = append(chain, y)
			c.Problem = l.Problem()
			cases = append(cases, convtest.Case{Problem: l.Problem(), Weight: weight})
		}
		for i := range cases {
			cases[i].X = slices.Clone(data)
			if err := chain[i+1].Download(ctx, data); err != nil {
				t.Fatal(err)
			}
			if v := conv.Judge(data, cases[i].Want(), nil, cases[i].Roundings()); !v.OK() {
				t.Errorf("layer %d is off: %+v", i, v)
			}
		}
	})
}

// Many goroutines with layers of their own get what one alone gets, to the bit.
func TestConcurrent(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		const cases = 12
		alone := make([][]float32, cases)
		compute := func(i int) ([]float32, error) {
			c := convtest.Random(23, i)
			y := make([]float32, c.Problem.Output().Len())
			return y, run(e, c, y, c.X, c.Weight, c.Bias, c.Offset, c.Mask)
		}
		for i := range alone {
			y, err := compute(i)
			if err != nil {
				t.Fatal(err)
			}
			alone[i] = y
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range cases {
					y, err := compute((i + g) % cases)
					if err != nil {
						t.Error(err)
						return
					}
					if !slices.EqualFunc(y, alone[(i+g)%cases], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
						t.Errorf("case %d differs when others run", (i+g)%cases)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestSetWeights(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		shape := conv.Shape{1, 1, 1, 3}
		l, err := e.NewConv2D(shape, []float32{2}, []float32{0}, conv.Shape{1, 1, 1, 1}, conv.Params{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		x, a, b := tensor(t, e, shape, []float32{1, 2, 3}), tensor(t, e, shape, make([]float32, 3)), tensor(t, e, shape, make([]float32, 3))
		if err := l.Run(ctx, a, x); err != nil {
			t.Fatal(err)
		}
		if err := l.SetWeights([]float32{-1}, []float32{10}); err != nil { // the run queued before keeps the old ones
			t.Fatal(err)
		}
		if err := l.Run(ctx, b, x); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 6)
		if err := errors.Join(a.Download(ctx, got[:3]), b.Download(ctx, got[3:])); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, []float32{2, 4, 6, 9, 8, 7}) {
			t.Errorf("got %v", got)
		}
		if err := l.SetWeights([]float32{1}, nil); !errors.Is(err, conv.ErrShape) {
			t.Errorf("a missing bias: %v", err)
		}
	})
}

func TestTime(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		shape := conv.Shape{1, 8, 32, 32}
		l, err := e.NewConv2D(shape, make([]float32, 8*8*9), nil, conv.Shape{8, 8, 3, 3}, conv.Params{Padding: conv.Pad(1)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		x, y := tensor(t, e, shape, make([]float32, shape.Len())), tensor(t, e, shape, make([]float32, shape.Len()))
		for range 3 {
			got, err := e.Time(ctx, func() error { return l.Run(ctx, y, x) })
			if err != nil {
				t.Fatal(err)
			}
			if got.Device <= 0 || got.Wall < got.Device/2 { // clocks of device and host may drift, not by half
				t.Errorf("device %v, wall %v", got.Device, got.Wall)
			}
		}
		boom := errors.New("boom")
		if _, err := e.Time(ctx, func() error { return boom }); !errors.Is(err, boom) {
			t.Errorf("a failure inside: %v", err)
		}
		if _, err := e.Time(ctx, func() error { return e.Wait(ctx) }); e.OnGPU() && !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("waiting inside: %v", err)
		}
		if _, err := e.Time(ctx, func() error { return l.Run(ctx, y, x) }); err != nil {
			t.Errorf("timing after a failure: %v", err)
		}
	})
}

func TestMisuse(t *testing.T) {
	onOwn(t, func(t *testing.T, e *vkconv.Engine) {
		shape, w := conv.Shape{1, 2, 4, 4}, conv.Shape{2, 2, 3, 3}
		weight := make([]float32, w.Len())
		l, err := e.NewConv2D(shape, weight, nil, w, conv.Params{Padding: conv.Pad(1)})
		if err != nil {
			t.Fatal(err)
		}
		d, err := e.NewDeformConv2D(shape, weight, nil, w, conv.Params{Padding: conv.Pad(1)}, conv.Deform{})
		if err != nil {
			t.Fatal(err)
		}
		x, y := tensor(t, e, shape, make([]float32, 32)), tensor(t, e, shape, make([]float32, 32))
		offset := tensor(t, e, d.Problem().Offset(), make([]float32, d.Problem().Offset().Len()))
		freed := tensor(t, e, shape, make([]float32, 32))
		freed.Free()
		freed.Free()
		other, err := vkconv.Open(vkconv.Options{Device: "cpu"})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		foreign := tensor(t, other, shape, make([]float32, 32))
		small := tensor(t, e, conv.Shape{1, 1, 4, 4}, make([]float32, 16))
		_, wrongLength := e.TensorOf(shape, make([]float32, 31))
		_, wrongWeight := e.NewConv2D(shape, weight[1:], nil, w, conv.Params{})
		_, wrongBias := e.NewConv2D(shape, weight, []float32{1}, w, conv.Params{})
		_, wrongParams := e.NewConv2D(shape, weight, nil, w, conv.Params{Stride: [2]int{-1, 1}})
		_, wrongMode := e.NewDeformConv2D(shape, weight, nil, w, conv.Params{Mode: conv.Reflect, Padding: conv.Pad(1)}, conv.Deform{})
		for _, c := range []struct {
			err, kind error
			says      string
		}{
			{l.Run(ctx, y, nil), conv.ErrShape, "input is nil, must be 1×2×4×4"},
			{l.Run(ctx, small, x), conv.ErrShape, "output is 1×1×4×4, must be 1×2×4×4"},
			{l.Run(ctx, x, x), conv.ErrShape, "output and input are the same tensor"},
			{l.Run(ctx, y, foreign), conv.ErrShape, "belongs to another engine"},
			{l.Run(ctx, y, freed), vkconv.ErrClosed, "input"},
			{d.Run(ctx, y, x, nil, nil), conv.ErrShape, "offset is nil, must be 1×18×4×4"},
			{d.Run(ctx, y, x, offset, x), conv.ErrShape, "mask was given"},
			{x.Upload(make([]float32, 3)), conv.ErrShape, "data has 3 elements, the tensor 1×2×4×4 has 32"},
			{freed.Download(ctx, make([]float32, 32)), vkconv.ErrClosed, "tensor"},
			{wrongLength, conv.ErrShape, "31 elements"},
			{wrongWeight, conv.ErrShape, "weight has 35 elements"},
			{wrongBias, conv.ErrShape, "bias has 1 elements, must have 2"},
			{wrongParams, conv.ErrParams, "stride (rows) is -1"},
			{wrongMode, conv.ErrUnsupported, "zeros only"},
		} {
			if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.says) {
				t.Errorf("%v, want %q", c.err, c.says)
			}
		}
		if err := d.Run(ctx, y, x, offset, nil); err != nil {
			t.Error(err)
		}
		l.Close()
		l.Close()
		if err := l.Run(ctx, y, x); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("a closed layer runs: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		for _, err := range []error{d.Run(ctx, y, x, offset, nil), x.Upload(make([]float32, 32)), e.Flush(), e.Wait(ctx)} {
			if !errors.Is(err, vkconv.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if _, err := e.NewTensor(shape); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("NewTensor after Close: %v", err)
		}
		d.Close()
		x.Free()
	})
}

func TestOpenRefuses(t *testing.T) {
	if _, err := vkconv.Open(vkconv.Options{Device: "no such device"}); err == nil {
		t.Error("a device that is not there was opened")
	}
	if _, err := vkconv.Open(vkconv.Options{Threads: -1}); !errors.Is(err, conv.ErrParams) {
		t.Errorf("-1 threads: %v", err)
	}
}

// Without a driver the CPU takes over, and says why.
func TestFallback(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the loader's environment variables are those of Linux")
	}
	t.Setenv("VK_DRIVER_FILES", "/nonexistent/icd.json")
	t.Setenv("VK_ICD_FILENAMES", "/nonexistent/icd.json")
	t.Setenv("VKCONV_VALIDATION", "")
	e, err := vkconv.Open(vkconv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.OnGPU() || !strings.Contains(e.Why(), "because") {
		t.Errorf("opened %s: %s", e.Name(), e.Why())
	}
	if err := run(e, convtest.Random(1, 1), make([]float32, convtest.Random(1, 1).Problem.Output().Len()),
		convtest.Random(1, 1).X, convtest.Random(1, 1).Weight, convtest.Random(1, 1).Bias, convtest.Random(1, 1).Offset, convtest.Random(1, 1).Mask); err != nil {
		t.Error(err)
	}
}

// Exactly on the border at −1 a sample is 0 whatever the pixel at 0 holds;
// anywhere beyond it, an infinite or NaN pixel shows, as in torchvision.
func TestBorderPixels(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		shape, w := conv.Shape{1, 1, 1, 8}, conv.Shape{1, 1, 1, 1}
		l, err := e.NewDeformConv2D(shape, []float32{1}, nil, w, conv.Params{}, conv.Deform{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		x := tensor(t, e, shape, []float32{nan, inf, nan, inf, 1, 1, nan, 1})
		y := tensor(t, e, shape, make([]float32, 8))
		// Rows move by Δy: to −1, to −1, to −0.5, to 1 (=H), by NaN, by ±∞; the last column stays.
		offset := tensor(t, e, l.Problem().Offset(), []float32{-1, -1, -0.5, 1, nan, inf, -inf, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		if err := l.Run(ctx, y, x, offset, nil); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 8)
		if err := y.Download(ctx, got); err != nil {
			t.Fatal(err)
		}
		want := []float32{0, 0, nan, 0, nan, 0, 0, 1}
		if !slices.EqualFunc(got, want, func(a, b float32) bool { return a == b || a != a && b != b }) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A run queued before an upload reads what the tensor held then.
func TestUploadBehindRun(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		shape := conv.Shape{1, 1, 1, 2}
		l, err := e.NewConv2D(shape, []float32{2}, nil, conv.Shape{1, 1, 1, 1}, conv.Params{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		x, a, b := tensor(t, e, shape, []float32{1, 2}), tensor(t, e, shape, make([]float32, 2)), tensor(t, e, shape, make([]float32, 2))
		got := make([]float32, 4)
		for _, step := range []func() error{
			func() error { return l.Run(ctx, a, x) },
			func() error { return x.Upload([]float32{10, 20}) },
			func() error { return l.Run(ctx, b, x) },
			func() error { return a.Download(ctx, got[:2]) },
			func() error { return b.Download(ctx, got[2:]) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, []float32{2, 4, 20, 40}) {
			t.Errorf("got %v", got)
		}
	})
}
