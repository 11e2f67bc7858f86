//go:build cgo

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unsafe"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/shaders"
)

func TestMain(m *testing.M) { os.Exit(gputest.Main(m)) }

// guard is a pattern in tensors that are to be written: a NaN that no computation makes.
const guard = 0x7fc0dead

// guardAt is the word between tensors at that place: a NaN, and another one at
// every place, since a sum with a NaN may be that same NaN.
func guardAt(word int) uint32 { return 0x7fc00000 | uint32(word)*2654435761>>11 }

// arena lays tensors out in one device buffer, with guard words before, between
// and behind, and knows afterwards whether anything but y was written.
type arena struct {
	words []uint32
	at    [slots]int // first word, −1 where there is no tensor
	n     [slots]int
}

func newArena(align int64, tensors [slots][]float32) *arena {
	step := max(int(align)/4, 16)
	a := &arena{}
	pad := func(n int) {
		for range n {
			a.words = append(a.words, guardAt(len(a.words)))
		}
	}
	pad(64 / step * step)
	for i, t := range tensors {
		a.at[i], a.n[i] = -1, len(t)
		if t == nil {
			continue
		}
		pad((step - len(a.words)%step) % step)
		a.at[i] = len(a.words)
		for _, v := range t {
			a.words = append(a.words, math.Float32bits(v))
		}
		pad(64)
	}
	return a
}

func (a *arena) bytes(w []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), 4*len(w))
}

// run computes c by l on d between guard bands, into y.
func run(d *gpu.Device, l launch, c convtest.Case, y []float32) error {
	o, err := newOperator(d, l, c.Weight, c.Bias)
	if err != nil {
		return err
	}
	return runForward(d, o, c, y)
}

// runForward is run with a plan, which it closes.
func runForward(d *gpu.Device, o forward, c convtest.Case, y []float32) error {
	defer o.Close()
	poison := make([]float32, len(y))
	for i := range poison {
		poison[i] = float32(math.NaN())
	}
	a := newArena(d.Info().Limits.StorageAlign, [slots][]float32{slotX: c.X, slotY: poison, slotOffset: c.Offset, slotMask: c.Mask})
	buf, err := d.NewBuffer(int64(4 * len(a.words)))
	if err != nil {
		return err
	}
	defer buf.Free()
	if err := d.Upload(buf, 0, a.bytes(a.words)); err != nil {
		return err
	}
	tensor := func(i int) Tensor { return Tensor{buf, int64(4 * max(a.at[i], 0))} }
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	if err := o.recordForward(s, View{Tensor: tensor(slotY)}, View{Tensor: tensor(slotX)}, tensor(slotOffset), tensor(slotMask)); err != nil {
		s.Discard()
		return err
	}
	sub, err := s.Submit()
	if err != nil {
		return err
	}
	if err := sub.Wait(context.Background()); err != nil {
		return err
	}
	got := make([]uint32, len(a.words))
	if err := d.Download(a.bytes(got), buf, 0); err != nil {
		return err
	}
	for i, w := range got {
		if i >= a.at[slotY] && i < a.at[slotY]+len(y) && a.at[slotY] >= 0 {
			y[i-a.at[slotY]] = math.Float32frombits(w)
		} else if w != a.words[i] {
			return fmt.Errorf("word %d outside the output changed from %#x to %#x", i, a.words[i], w)
		}
	}
	return nil
}

// TestForward runs the shared suite with the variants that the plans choose.
func TestForward(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		convtest.ForwardActivated(t, convtest.Cases(60), func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
			l, err := choose(c.Problem, traitsOf(d.Info()))
			if err != nil {
				return err
			}
			c.X, c.Weight, c.Bias, c.Offset, c.Mask = x, weight, bias, offset, mask
			if len(bias) == 0 {
				c.Bias = nil
			}
			return run(d, l, c, y)
		})
	})
}

// TestEveryVariant forces each variant in turn on the suite's cases, and on
// cases made for it, and asks for the same bits twice.
func TestEveryVariant(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for index, v := range variants {
			if v.kind.matrices() {
				continue // TestMatrixUnits has operands for them
			}
			t.Run(v.String(), func(t *testing.T) {
				ran, worst, reason := 0, 0.0, ""
				cases, kinds := convtest.Cases(24), 2
				if cases < 60 {
					cases, kinds = (cases+2)/3, 1
				}
				for i := range cases {
					c := caseFor(v, convtest.Seed(), i)
					if i%3 == 0 { // one kind a variant or two: each is a pipeline to compile
						c.Problem.Activation = activations[(index+i%kinds*4)%len(activations)]
						c.Name += " " + c.Problem.Activation.Kind.String()
					}
					l, why, err := plan(c.Problem, traitsOf(d.Info()), v)
					if err != nil {
						t.Fatal(err)
					}
					if why != "" {
						if !strings.Contains(reason, "subgroups") { // which says it of all cases
							reason = why
						}
						continue
					}
					ran++
					verdict := convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error {
						if err := run(d, l, c, y); err != nil {
							return err
						}
						again := make([]float32, len(y))
						if err := runViews(d, l, c, again); err != nil {
							return fmt.Errorf("between channels of wider tensors: %w", err)
						}
						for i := range y {
							if math.Float32bits(y[i]) != math.Float32bits(again[i]) {
								return fmt.Errorf("y[%d] is %g, and %g the second time", i, y[i], again[i])
							}
						}
						return nil
					})
					worst = max(worst, verdict.Worst)
					if t.Failed() {
						t.FailNow()
					}
				}
				if ran == 0 && !strings.Contains(reason, "subgroups") {
					t.Errorf("no case fits: %s", reason)
				} else if ran == 0 {
					t.Skip(reason)
				}
				t.Logf("%d cases, worst share of the bound %.3f", ran, worst)
			})
		}
	})
}

// TestTapsInPadding: of the kernels that skip taps of which a whole tile meets
// padding alone, dilations that leave whole rows, columns and images to it.
func TestTapsInPadding(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for i, v := range append(variants[:len(variants):len(variants)], twins...) {
			if v.kind != sharedProduct && v.kind != matrixProduct {
				continue
			}
			for _, params := range []conv.Params{
				{Dilation: [2]int{12, 12}, Padding: conv.Pad(12)},
				{Dilation: [2]int{3, 40}, Padding: conv.Padding{Top: 2, Bottom: 5, Left: 40, Right: 41}, Stride: [2]int{2, 3}},
				{Dilation: [2]int{20, 1}, Padding: conv.Padding{Top: 40}, Mode: conv.Zeros},
				{Dilation: [2]int{7, 5}, Padding: conv.Pad(7), Mode: conv.Replicate},
			} {
				p, err := params.Problem(conv.Shape{2, 5, 17, 19}, conv.Shape{6, 5, 3, 3}, true)
				if err != nil {
					t.Fatal(err)
				}
				c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), uint64(i))), p)
				c.Name = fmt.Sprintf("%s: %s", v, convtest.Describe(p))
				traits := traitsOf(d.Info())
				if v.kind.matrices() {
					traits = allowing(traits, v)
					operandsFor(v, traits, &c)
				}
				if l, why, err := plan(p, traits, v); err != nil {
					t.Fatal(err)
				} else if why == "" {
					convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error { return run(d, l, c, y) })
				}
			}
		}
	})
}

// caseFor is the suite's case for even i, for odd i one that the variant's own
// conditions let through: its kernel size, dilation in step with its stride.
func caseFor(v variant, seed uint64, i int) convtest.Case {
	c := convtest.Random(seed, i)
	if i%2 == 0 {
		return c
	}
	m, err := shaders.Get(v.module)
	if err != nil {
		panic(err)
	}
	s := v.shape(m)
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	for {
		w := conv.Shape{1 + r.IntN(40), 1 + r.IntN(20), 1 + r.IntN(4), 1 + r.IntN(4)}
		if s.taps > 1 {
			w[3] = s.taps
		}
		if s.rows > 1 {
			w[2] = s.rows
		}
		if v.kind == pointwise {
			w[2], w[3] = 1, 1
		}
		dilation := [2]int{1 + r.IntN(4), 1 + r.IntN(5)}
		params := conv.Params{Dilation: dilation, Stride: [2]int{dilation[0] * s.step, dilation[1] * s.step},
			Padding: conv.Padding{Top: r.IntN(6), Left: r.IntN(6), Bottom: r.IntN(6), Right: r.IntN(6)}, Groups: 1 + r.IntN(3)}
		if s.step == 1 && r.IntN(3) > 0 {
			params.Stride = [2]int{}
		}
		if v.kind == pointwise {
			params.Stride, params.Padding = [2]int{}, conv.Padding{}
		}
		if s.step > 1 && r.IntN(2) > 0 {
			params.Dilation, params.Stride = [2]int{}, [2]int{s.step, s.step}
		}
		if v.kind == grouped || v.kind == depthwise || v.kind == deformDepthwise {
			w[0], w[1] = 1+r.IntN(3), 1
			params.Groups = 1 + r.IntN(20)
		}
		w[0] *= params.Groups
		x := conv.Shape{1 + r.IntN(2), w[1] * params.Groups, 1 + r.IntN(80), 1 + r.IntN(40)}
		if v.kind == pointwise {
			x[3] = 4 * (1 + r.IntN(12))
		}
		p, err := params.Problem(x, w, true)
		if err == nil && (v.kind == deform || v.kind == deformDepthwise || v.kind == sharedDeform || v.kind == matrixDeform) {
			p, err = params.DeformProblem(conv.Deform{OffsetGroups: 1 + r.IntN(2), Mask: r.IntN(2) == 0}, x, w, true)
		}
		if err == nil && p.Cost().MACs < 1_000_000 {
			c = convtest.Fill(r, p)
			c.Name = convtest.Describe(p)
			return c
		}
	}
}

// TestNotNumbers: NaN offsets give NaN, infinite and huge ones zero, and zero
// it is beside infinite pixels too; NaN and infinite pixels stay what they are.
func TestNotNumbers(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	offsets := []float32{nan, -nan, math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff), inf, -inf, 1e30, -1e30, math.MaxFloat32, 2147483648, -2147483648, 1e10}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, v := range variants {
			if v.kind != deform && v.kind != deformDepthwise && v.kind != sharedDeform {
				continue
			}
			for i, o := range offsets {
				for axis := range 2 {
					c := filled(t, 3, 4, 5)
					for j := range c.X {
						c.X[j] = inf
					}
					pixels := 4 * 5
					for j := range pixels {
						c.Offset[axis*pixels+j] = o
					}
					want := func(v float32) bool { return v == 0 }
					if i < 4 {
						want = func(v float32) bool { return math.IsNaN(float64(v)) }
					}
					forced(t, d, v, c, want, fmt.Sprintf("offset %g on axis %d", o, axis))
				}
			}
		}
	})
}

// filled is a 1×1 deformable convolution of all ones, whose samples all lie in the middle of four pixels.
func filled(t *testing.T, channels, h, w int) convtest.Case {
	params := conv.Params{Groups: channels}
	p, err := params.DeformProblem(conv.Deform{}, conv.Shape{1, channels, h, w}, conv.Shape{channels, 1, 1, 1}, false)
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.Fill(rand.New(rand.NewPCG(1, 2)), p)
	for i := range c.Weight {
		c.Weight[i] = 1
	}
	for i := range c.Offset {
		c.Offset[i] = 0.5
	}
	return c
}

func forced(t *testing.T, d *gpu.Device, v variant, c convtest.Case, want func(float32) bool, name string) {
	t.Helper()
	l, why, err := plan(c.Problem, traitsOf(d.Info()), v)
	if err != nil {
		t.Fatal(err)
	}
	if why != "" {
		return
	}
	y := make([]float32, c.Problem.Output().Len())
	if err := run(d, l, c, y); err != nil {
		t.Fatal(err)
	}
	for i, g := range y {
		if !want(g) {
			t.Fatalf("%s: %s: y[%d] is %g", v.module, name, i, g)
		}
	}
}

// TestRecordDoesNotAllocate keeps garbage out of the steady state.
func TestRecordDoesNotAllocate(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		shape, w := conv.Shape{1, 4, 8, 8}, conv.Shape{4, 4, 3, 3}
		weight := make([]float32, w.Len())
		p, err1 := conv.Params{}.Problem(shape, w, false)
		q, err2 := conv.Params{}.TransposedProblem(shape, w, [2]int{}, false)
		pool, err3 := conv.NewGlobalPool(shape)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		conv2d, err1 := NewConv2D(d, p, weight, nil)
		transposed, err2 := NewConvTranspose2D(d, q, weight, nil)
		mean, err3 := NewGlobalPool(d, pool)
		resize, err4 := NewResize(d, conv.Resize{N: 1, C: 4, H: 8, W: 8, Ho: 4, Wo: 5})
		add, err5 := NewAdd(d, shape.Len())
		cast, err6 := NewCast(d, conv.Float16, shape.Len(), true)
		buf, err7 := d.NewBuffer(1 << 16)
		s, err8 := d.NewStream()
		if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
			t.Fatal(err)
		}
		defer conv2d.Close()
		defer transposed.Close()
		defer resize.Close()
		defer buf.Free()
		defer s.Discard()
		x, y := Tensor{buf, 0}, Tensor{buf, 1 << 15}
		for name, record := range map[string]func() error{
			"conv2d":      func() error { return conv2d.Record(s, y, x) },
			"transpose":   func() error { return transposed.Record(s, y, x) },
			"global pool": func() error { return mean.Record(s, View{Tensor: y}, View{Tensor: x}) },
			"resize":      func() error { return resize.Record(s, View{Tensor: y}, View{Tensor: x}) },
			"add":         func() error { return add.Record(s, y, x, x) },
			"cast":        func() error { return cast.Record(s, y, x) },
		} {
			if n := testing.AllocsPerRun(50, func() {
				if err := record(); err != nil {
					t.Fatal(err)
				}
			}); n > 0 {
				t.Errorf("Record of %s allocates %v times", name, n)
			}
		}
	})
}

// TestFoldedDispatch runs every variant with its workgroups folded over two
// dimensions and some too many.
func TestFoldedDispatch(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		narrow := traitsOf(d.Info())
		narrow.Groups[0] = 7
		for _, v := range variants {
			for i := 1; i < 200; i += 2 {
				c := caseFor(v, 99, i)
				l, why, err := plan(c.Problem, narrow, v)
				if err != nil {
					t.Fatal(err)
				}
				if why != "" {
					break
				}
				if l.groups[1] < 2 {
					continue
				}
				convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error { return run(d, l, c, y) })
				break
			}
		}
	})
}

// TestSetWeights: what was submitted computes with the weights of its time.
func TestSetWeights(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p, err := conv.Params{}.Problem(conv.Shape{1, 1, 4, 4}, conv.Shape{1, 1, 1, 1}, true)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewConv2D(d, p, []float32{0}, []float32{0})
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		const rounds = 8
		step := max(d.Info().Limits.StorageAlign, 64)
		buf, err := d.NewBuffer(step * (rounds + 1))
		if err != nil {
			t.Fatal(err)
		}
		defer buf.Free()
		if err := d.Fill(buf, 0, buf.Size(), math.Float32bits(1)); err != nil {
			t.Fatal(err)
		}
		for i := range rounds {
			if err := plan.SetWeights([]float32{float32(i)}, []float32{0.5}); err != nil {
				t.Fatal(err)
			}
			s, err := d.NewStream()
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.Record(s, Tensor{buf, step * int64(i+1)}, Tensor{buf, 0}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Submit(); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]uint32, buf.Size()/4)
		if err := d.Download((&arena{}).bytes(got), buf, 0); err != nil {
			t.Fatal(err)
		}
		for i := range rounds {
			if v := math.Float32frombits(got[int(step)/4*(i+1)]); v != float32(i)+0.5 {
				t.Errorf("round %d computed %g", i, v)
			}
		}
		for _, w := range [][2][]float32{{nil, {0}}, {{1}, nil}, {{1, 2}, {0}}} {
			if err := plan.SetWeights(w[0], w[1]); !errors.Is(err, conv.ErrShape) {
				t.Errorf("SetWeights(%v, %v): %v", w[0], w[1], err)
			}
		}
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Discard()
		for name, tensor := range map[string]Tensor{"no buffer": {}, "too short": {buf, buf.Size() - 4}, "before the start": {buf, -64}} {
			if err := plan.Record(s, tensor, Tensor{buf, 0}); !errors.Is(err, conv.ErrShape) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := NewDeformConv2D(d, p, []float32{0}, []float32{0}); !errors.Is(err, conv.ErrParams) {
			t.Errorf("an ordinary problem as a deformable one: %v", err)
		}
	})
}
