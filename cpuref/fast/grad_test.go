package fast_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref/fast"
	"vkconv/tensorio"
)

// eachSet runs a test with every instruction set, on a pool.
func eachSet(t *testing.T, workers int, f func(t *testing.T, pool *fast.Pool)) {
	for _, name := range fast.InstructionSets() {
		t.Run(name, func(t *testing.T) {
			if err := fast.SetInstructionSet(name); err != nil {
				t.Fatal(err)
			}
			defer fast.SetInstructionSet("")
			pool := fast.NewPool(workers)
			defer pool.Close()
			f(t, pool)
		})
	}
}

// forward runs a case.
func forward(pool *fast.Pool) convtest.Run {
	return func(c convtest.Case, y, x, weight, bias, offset, mask []float32) error {
		if c.Problem.Deformable() {
			plan, err := fast.NewDeformConv2D(pool, c.Problem, weight, bias)
			if err != nil {
				return err
			}
			return plan.Run(context.Background(), y, x, offset, mask)
		}
		plan, err := fast.NewConv2D(pool, c.Problem, weight, bias)
		if err != nil {
			return err
		}
		return plan.Run(context.Background(), y, x)
	}
}

// backward makes the plan of a case and returns its run.
func backward(pool *fast.Pool, p conv.Problem, weight []float32) (func(ctx context.Context, g fast.Grads, x, offset, mask, dy []float32) error, error) {
	if p.Deformable() {
		plan, err := fast.NewDeformConv2DBackward(pool, p, weight)
		if err != nil {
			return nil, err
		}
		return plan.Run, nil
	}
	plan, err := fast.NewConv2DBackward(pool, p, weight)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, g fast.Grads, x, _, _, dy []float32) error { return plan.Run(ctx, g, x, dy) }, nil
}

func runBackward(pool *fast.Pool) convtest.RunBackward {
	return func(c convtest.Case, g convtest.Grads, dy []float32) error {
		run, err := backward(pool, c.Problem, c.Weight)
		if err != nil {
			return err
		}
		return run(context.Background(), wanted(c.Problem, g), c.X, c.Offset, c.Mask, dy)
	}
}

// wanted leaves out what a problem does not have: an empty gradient is not nil.
func wanted(p conv.Problem, g convtest.Grads) fast.Grads {
	w := fast.Grads{X: g.X, Weight: g.Weight}
	if p.Bias {
		w.Bias = g.Bias
	}
	if p.Deformable() {
		w.Offset = g.Offset
	}
	if p.Mask {
		w.Mask = g.Mask
	}
	return w
}

func TestForwardSuite(t *testing.T) {
	eachSet(t, 2, func(t *testing.T, pool *fast.Pool) { convtest.Forward(t, convtest.Cases(150), forward(pool)) })
}

func TestActivations(t *testing.T) {
	eachSet(t, 2, func(t *testing.T, pool *fast.Pool) {
		convtest.ForwardActivated(t, convtest.Cases(150), forward(pool))
	})
}

func TestBackwardSuite(t *testing.T) {
	eachSet(t, 3, func(t *testing.T, pool *fast.Pool) { convtest.Backward(t, convtest.Cases(150), runBackward(pool)) })
}

// The original code's border.
func TestBackwardBorderCut(t *testing.T) {
	eachSet(t, 3, func(t *testing.T, pool *fast.Pool) {
		worst := map[string]float64{}
		for i := range convtest.Cases(120) {
			if c := convtest.Random(convtest.Seed()+9, i); c.Problem.Deformable() {
				c.Problem.Border = conv.BorderCut
				convtest.OneBackward(t, c, runBackward(pool), worst)
			}
		}
		t.Log("worst share of the bound", worst)
	})
}

// larger draws problems with several tiles, blocks of channels and bands.
func larger(r *rand.Rand, i int) conv.Problem {
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	for {
		groups := pick(1, 1, 1, 2, 5)
		cg, kg := pick(1, 3, 16, 48, 70), pick(1, 4, 9, 33, 140)
		if i%4 == 0 {
			groups, cg, kg = pick(20, 70), 1, pick(1, 2)
		}
		params := conv.Params{Groups: groups, Stride: [2]int{pick(1, 1, 2, 3), pick(1, 1, 2)}, Dilation: [2]int{pick(1, 2, 12), pick(1, 2, 9)},
			Padding: conv.Padding{Top: pick(0, 1, 12), Left: pick(0, 1, 9), Bottom: pick(0, 2, 12), Right: pick(0, 1, 9)}}
		if i%2 == 0 {
			params.Mode = conv.PaddingMode(pick(0, 0, 1, 2, 3))
		}
		x := conv.Shape{pick(1, 1, 2), groups * cg, pick(9, 30, 60), pick(14, 33, 56)}
		w := conv.Shape{groups * kg, cg, pick(1, 3, 9), pick(1, 3, 8)}
		p, err := params.Problem(x, w, true)
		if err != nil || p.Cost().MACs > 6_000_000 {
			continue
		}
		if i%2 == 1 {
			p.OffsetGroups, p.Mask, p.Border = pick(1, 1, groups, p.C), r.IntN(2) == 0, conv.Border(r.IntN(2))
		}
		return p
	}
}

func TestBackwardLarger(t *testing.T) {
	eachSet(t, 2, func(t *testing.T, pool *fast.Pool) {
		worst := map[string]float64{}
		for i := range 8 {
			r := rand.New(rand.NewPCG(11, uint64(i)))
			c := convtest.Fill(r, larger(r, i))
			c.Name = convtest.Describe(c.Problem)
			convtest.OneBackward(t, c, runBackward(pool), worst)
		}
		t.Log("worst share of the bound", worst)
	})
}

// Taps very far apart: nothing may be as large as what lies between them.
func TestBackwardFarApart(t *testing.T) {
	eachSet(t, 2, func(t *testing.T, pool *fast.Pool) {
		r := rand.New(rand.NewPCG(13, 1))
		for _, far := range []int{40, 3_000_000} {
			for _, mode := range []conv.PaddingMode{conv.Zeros, conv.Replicate} {
				for _, c := range []conv.Shape{{7, 5, 3, 3}, {4, 1, 3, 2}, {40, 70, 2, 3}} {
					groups := map[bool]int{true: c[0], false: 1}[c[1] == 1]
					// Each output reads beside the image but for one or two of its taps.
					pad := conv.Padding{Top: far, Left: far - 1, Bottom: far * (c[2] - 2), Right: (far + 2) * (c[3] - 2)}
					p, err := conv.Params{Dilation: [2]int{far, far + 1}, Padding: pad, Stride: [2]int{1, 2}, Mode: mode, Groups: groups}.
						Problem(conv.Shape{2, c[1] * groups, 9, 12}, c, true)
					if err != nil {
						t.Fatal(err)
					}
					of := convtest.Fill(r, p)
					of.Name = convtest.Describe(p)
					convtest.OneBackward(t, of, runBackward(pool), map[string]float64{})
				}
			}
		}
	})
}

func gradsOf(p conv.Problem) fast.Grads {
	g := fast.Grads{X: make([]float32, p.Input().Len()), Weight: make([]float32, p.Weight().Len())}
	if p.Bias {
		g.Bias = make([]float32, p.K)
	}
	if p.Deformable() {
		g.Offset = make([]float32, p.Offset().Len())
	}
	if p.Mask {
		g.Mask = make([]float32, p.MaskShape().Len())
	}
	return g
}

func each(g fast.Grads) [][]float32 { return [][]float32{g.X, g.Weight, g.Bias, g.Offset, g.Mask} }

// The number of workers decides nothing, and neither does what else is wanted.
func TestBackwardSameBits(t *testing.T) {
	eachSet(t, 1, func(t *testing.T, one *fast.Pool) {
		many := fast.NewPool(5)
		defer many.Close()
		for i := range 24 {
			c := convtest.Random(3, i)
			if i%4 == 0 {
				r := rand.New(rand.NewPCG(12, uint64(i)))
				c = convtest.Fill(r, larger(r, i/4))
			}
			p, dy := c.Problem, c.OutputGrad()
			var first fast.Grads
			for turn, pool := range []*fast.Pool{one, many, many} {
				run, err := backward(pool, p, c.Weight)
				if err != nil {
					t.Fatal(err)
				}
				g := gradsOf(p)
				if turn < 2 {
					err = run(context.Background(), g, c.X, c.Offset, c.Mask, dy)
				} else { // one by one
					for _, alone := range []fast.Grads{{X: g.X}, {Weight: g.Weight}, {Bias: g.Bias}, {Offset: g.Offset}, {Mask: g.Mask}} {
						err = errors.Join(err, run(context.Background(), alone, c.X, c.Offset, c.Mask, dy))
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				if turn == 0 {
					first = g
				}
				for k, v := range each(g) {
					if !slices.EqualFunc(v, each(first)[k], sameBits) {
						t.Fatalf("%s: gradient %d differs in turn %d", convtest.Describe(p), k, turn)
					}
				}
			}
		}
	})
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// Results of PyTorch and torchvision, and of others.
func TestOutsideGradients(t *testing.T) {
	eachSet(t, 2, func(t *testing.T, pool *fast.Pool) {
		paths, err := filepath.Glob("../../convtest/testdata/cases/*.npz")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no cases (%v)", err)
		}
		worst := map[string]float64{}
		for _, path := range paths {
			a, err := tensorio.OpenNPZ(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := a.Case()
			a.Close()
			if err != nil {
				t.Fatal(err)
			}
			if c.DY == nil {
				continue
			}
			p := c.Problem
			of := convtest.Case{Name: c.Name, Problem: p, X: c.X, Weight: c.Weight, Bias: c.Bias, Offset: c.Offset, Mask: c.Mask}
			want, g := of.WantGrads(c.DY), gradsOf(p)
			run, err := backward(pool, p, c.Weight)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(context.Background(), g, c.X, c.Offset, c.Mask, c.DY); err != nil {
				t.Fatal(err)
			}
			names := []string{"dx", "dweight", "dbias", "doffset", "dmask"}
			for k, pair := range []struct {
				sums []conv.Sum
				want []float64
			}{{want.X, c.DX}, {want.Weight, c.DWeight}, {want.Bias, c.DBias}, {want.Offset, c.DOffset}, {want.Mask, c.DMask}} {
				if pair.want == nil {
					continue
				}
				v := conv.Judge(each(g)[k], pair.sums, pair.want, of.Roundings())
				worst[names[k]] = max(worst[names[k]], v.Worst)
				if !v.OK() {
					t.Errorf("%s: %s[%d] is %g, want %g within %g", c.Name, names[k], v.Index, v.Got, v.Want, v.Bound)
				}
			}
		}
		t.Log("worst share of the bound", worst)
	})
}

func TestBackwardRefusals(t *testing.T) {
	pool := fast.NewPool(1)
	defer pool.Close()
	p, err := conv.Params{}.Problem(conv.Shape{1, 2, 4, 4}, conv.Shape{3, 2, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	w := make([]float32, p.Weight().Len())
	q := p
	q.Activation.Kind = conv.ReLU
	if _, err := fast.NewConv2DBackward(pool, q, w); !errors.Is(err, conv.ErrUnsupported) {
		t.Error("activation:", err)
	}
	q.OffsetGroups = 1
	if _, err := fast.NewDeformConv2DBackward(pool, q, w); !errors.Is(err, conv.ErrUnsupported) {
		t.Error("activation:", err)
	}
	if _, err := fast.NewConv2DBackward(pool, p, w[1:]); !errors.Is(err, conv.ErrShape) {
		t.Error("short weight:", err)
	}
	if _, err := fast.NewDeformConv2DBackward(pool, p, w); !errors.Is(err, conv.ErrParams) {
		t.Error("not deformable:", err)
	}
	if _, err := fast.NewConv2DBackward(nil, p, w); !errors.Is(err, conv.ErrParams) {
		t.Error("no pool:", err)
	}
	plan, err := fast.NewConv2DBackward(pool, p, w)
	if err != nil {
		t.Fatal(err)
	}
	x, dy, ctx := make([]float32, 32), make([]float32, 12), context.Background()
	for name, c := range map[string]struct {
		g     fast.Grads
		x, dy []float32
		want  error
	}{
		"short dy":          {fast.Grads{}, x, dy[1:], conv.ErrShape},
		"short x":           {fast.Grads{Weight: w}, x[1:], dy, conv.ErrShape},
		"short dx":          {fast.Grads{X: x[1:]}, x, dy, conv.ErrShape},
		"short dweight":     {fast.Grads{Weight: w[1:]}, x, dy, conv.ErrShape},
		"no bias":           {fast.Grads{Bias: w[:3]}, x, dy, conv.ErrParams},
		"no offset":         {fast.Grads{Offset: w[:3]}, x, dy, conv.ErrParams},
		"nothing, and no x": {fast.Grads{}, nil, dy, nil},
	} {
		if err := plan.Run(ctx, c.g, c.x, c.dy); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
