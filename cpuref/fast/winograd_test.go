package fast

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// tileOf is the algorithm that a plan says it computes by.
func tileOf(plan *Conv2D) conv.Winograd {
	if strings.Contains(plan.Describe(), "4×4") {
		return 4
	}
	return 2
}

func TestWinograd(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		worst, met := 0.0, map[conv.Winograd]int{}
		for seed := range 60 {
			r := rand.New(rand.NewPCG(uint64(seed), 11))
			dy, dx := pick(r, 1, 1, 2, 3), pick(r, 1, 1, 2, 3)
			if r.IntN(2) == 0 {
				dy, dx = 1, 1
			}
			pad := conv.Padding{Top: r.IntN(4), Left: r.IntN(4), Bottom: r.IntN(4), Right: r.IntN(4)}
			c, k := 16+r.IntN(40), 16+r.IntN(40)
			p := mustProblem(t, conv.Params{Dilation: [2]int{dy, dx}, Padding: pad},
				conv.Shape{1 + r.IntN(2), c, 6*dy + r.IntN(20), 6*dx + r.IntN(20)}, conv.Shape{k, c, 3, 3}, r.IntN(2) == 0)
			p.Activation.Kind = pick(r, conv.Identity, conv.ReLU)
			if !winogradWorth(current.Load().ks, p) {
				continue
			}
			d := randomTensors(r, p)
			plan, err := NewConv2D(pool, p, d.w.s, d.b.s, AllowWinograd)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(plan.Describe(), "Winograd") {
				t.Fatalf("%+v: plan is %s", p, plan.Describe())
			}
			y := guard(p.Output().Len())
			if err := plan.Run(context.Background(), y.s, d.x.s); err != nil {
				t.Fatal(err)
			}
			y.check(t, "y")
			m := tileOf(plan)
			met[m]++
			bias := d.b.s
			if !p.Bias {
				bias = nil
			}
			bounds := m.Bounds(p, d.x.s, d.w.s, bias)
			all, direct := 0.0, 0.0
			for i, sum := range cpuref.Conv2D(p, d.x.s, d.w.s, d.b.s) {
				share := conv.Share(y.s[i], sum.Value, bounds[i])
				if worst = max(worst, share); share > 1 {
					t.Fatalf("%+v: element %d is %v, must be %v ± %v", p, i, y.s[i], sum.Value, bounds[i])
				}
				all += bounds[i]
				direct += sum.Bound(conv.ProductRoundings)
			}
			if all > 6*direct && m == 2 || all > 90*direct {
				t.Errorf("%+v: the bounds are %.3g times those of direct sums", p, all/direct)
			}
			// Twenty, for a worker may meet its first tile only now.
			if n := testing.AllocsPerRun(20, func() { plan.Run(context.Background(), y.s, d.x.s) }); n != 0 {
				t.Errorf("%+v: a run allocates %v times", p, n)
			}
			var s scratch
			for i := range plan.tiles() {
				plan.tile(i, &job{y: y.s, x: d.x.s}, &s)
			}
			if got, told := s.bytes(), plan.Workspace()/2; got > told {
				t.Errorf("%+v: a worker has %d bytes, Workspace told %d", p, got, told)
			}
		}
		t.Logf("worst share of the bound: %.3g; %d problems of 2×2 outputs a tile, %d of 4×4", worst, met[2], met[4])
		if met[2] < 5 || met[4] < 5 {
			t.Error("too few of one kind")
		}
	})
}

// TestWinogradIsAsked: without being asked, and where it does not fit, nothing is
// transformed.
func TestWinogradIsAsked(t *testing.T) {
	pool := NewPool(1)
	defer pool.Close()
	x, w := conv.Shape{1, 32, 16, 16}, conv.Shape{32, 32, 3, 3}
	for _, test := range []struct {
		p       conv.Params
		options []Option
		want    bool
	}{
		{conv.Params{}, nil, false},
		{conv.Params{}, []Option{AllowWinograd}, true},
		{conv.Params{Stride: [2]int{2, 2}}, []Option{AllowWinograd}, false},
		{conv.Params{Mode: conv.Reflect, Padding: conv.Pad(1)}, []Option{AllowWinograd}, false},
	} {
		p := mustProblem(t, test.p, x, w, false)
		plan, err := NewConv2D(pool, p, make([]float32, w.Len()), nil, test.options...)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.HasPrefix(plan.Describe(), "Winograd"); got != test.want {
			t.Errorf("%+v with options %v: %s", test.p, test.options, plan.Describe())
		}
	}
}

// TestWinogradLeavesTheBound is why it has to be asked for: a sum whose terms are
// all 0 has an error bound of nothing but underflow, and here intermediate
// results d·w of other pairs cancel only nearly.
func TestWinogradLeavesTheBound(t *testing.T) {
	pool := NewPool(1)
	defer pool.Close()
	p := mustProblem(t, conv.Params{}, conv.Shape{1, 16, 36, 36}, conv.Shape{16, 16, 3, 3}, false)
	x, w, y := floats(p.Input().Len()), floats(p.Weight().Len()), make([]float32, p.Output().Len())
	for i := range x { // every fourth column is zeros, and weights read nothing but the left one of three
		if i%4 == 0 {
			x[i] = 0
		}
	}
	for i := range w {
		if i%3 != 0 {
			w[i] = 0
		}
	}
	plan, err := NewConv2D(pool, p, w, nil, AllowWinograd)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Run(context.Background(), y, x); err != nil {
		t.Fatal(err)
	}
	worst, bounds := 0.0, tileOf(plan).Bounds(p, x, w, nil)
	for i, sum := range cpuref.Conv2D(p, x, w, nil) {
		worst = max(worst, conv.Share(y[i], sum.Value, sum.Bound(conv.ProductRoundings)))
		if conv.Share(y[i], sum.Value, bounds[i]) > 1 {
			t.Fatalf("element %d is %v, must be %v ± %v", i, y[i], sum.Value, bounds[i])
		}
	}
	if worst <= 1 {
		t.Errorf("the worst element is at %.3g of the bound of a direct sum: Winograd's algorithm could be the default", worst)
	}
}
