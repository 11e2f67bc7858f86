package bench

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vkconv"
	"vkconv/conv"
)

func TestMainSet(t *testing.T) {
	groups := map[string]int{}
	for _, c := range Main() {
		problems, err := c.Problems()
		if err != nil {
			t.Error(err)
			continue
		}
		groups[c.Group]++
		last := problems[len(problems)-1]
		if last.Ho != c.Input[2] || last.Wo != c.Input[3] {
			t.Errorf("%s: %v becomes %v, must keep its size", c.Name, c.Input, last.Output())
		}
	}
	if len(groups) != 5 {
		t.Errorf("groups are %v", groups)
	}
}

// One 9×9 and four 3×3 must see equally far, or the comparison means nothing.
func TestFieldsAreEqual(t *testing.T) {
	size := map[string]int{}
	for _, c := range Main() {
		problems, _ := c.Problems()
		var rows []conv.Layer
		for _, p := range problems {
			r, _ := p.Layers()
			rows = append(rows, r)
		}
		size[c.Name] = conv.ReceptiveField(rows...).Size
	}
	for name, want := range map[string]int{"3×3": 3, "9×9": 9, "four 3×3": 9, "dilation 4": 9, "rate 18": 37} {
		if size[name] != want {
			t.Errorf("%s sees %d pixels, must see %d", name, size[name], want)
		}
	}
}

// small has a chain with every kind of layer.
func small() Case {
	return Case{Group: "group", Name: "all kinds", Input: conv.Shape{2, 3, 9, 8}, Layers: []Layer{
		{Weight: conv.Shape{4, 3, 3, 3}, Params: conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}, Mode: conv.Reflect}, Bias: true},
		{Weight: conv.Shape{5, 4, 3, 3}, Params: conv.Params{Padding: conv.Pad(1)}, Deform: &conv.Deform{OffsetGroups: 2, Mask: true}},
		{Weight: conv.Shape{5, 1, 3, 3}, Params: conv.Params{Stride: [2]int{2, 1}, Groups: 5}},
		{Weight: conv.Shape{2, 5, 1, 1}, Deform: &conv.Deform{}},
	}}
}

// engines opens what the machine has.
func engines(t *testing.T) *Bench {
	t.Helper()
	b := &Bench{Budget: time.Millisecond}
	var err error
	if b.CPU, err = vkconv.Open(vkconv.Options{Device: "cpu"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.CPU.Close() })
	e, err := vkconv.Open(vkconv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if e.OnGPU() {
		b.GPU = e
	}
	return b
}

func TestRunAndTable(t *testing.T) {
	b := engines(t)
	r, err := b.Run(context.Background(), small())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Measured{r.GPU, r.CPU} {
		if m == nil {
			continue
		}
		if m.Worst <= 0 || m.Worst > 1 || m.Wall.N < 3 || m.Wall.Median <= 0 || m.Device.Median < 0 || m.Describe == "" {
			t.Errorf("measured %+v", m)
		}
	}
	if (r.GPU == nil) != (b.GPU == nil) || r.CPU == nil {
		t.Errorf("measured on %v, %v", r.GPU, r.CPU)
	}
	var out bytes.Buffer
	table := Table{W: &out, Roofs: map[string]vkconv.Roofline{r.Main().Engine: {Float32: 1e15, Memory: 1e15}}}
	table.Row(r)
	table.Roofs = nil
	table.Row(r)
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 6 || lines[2] != "group" || !strings.Contains(lines[3], "  all kinds     2×3×9×8 → 2×4×6") {
		t.Errorf("table is\n%s", &out)
	}
	if strings.Count(lines[3], "%") != 2 || strings.Count(lines[4], "%") != 1 {
		t.Errorf("shares of a roofline: first told, then not\n%s", &out)
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > 80 {
			t.Errorf("line of %d columns: %s", n, l)
		}
	}
}

// Verification has to notice wrong results, or the times of nonsense get printed.
func TestRunNoticesMistakes(t *testing.T) {
	b := engines(t)
	c := small()
	problems, err := c.Problems()
	if err != nil {
		t.Fatal(err)
	}
	chain := makeData(problems, false, 1, nil, 0)
	w := chain[2].weight // behind the oracle's back
	w[3] += 1e-3
	_, err = b.measure(context.Background(), b.CPU, c, func(e *vkconv.Engine) (subject, error) { return newNet(e, c, chain) })
	if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "layer 3, y[") {
		t.Errorf("a wrong weight in the third layer: %v", err)
	}
}

// The same of gradients, each by itself.
func TestBackward(t *testing.T) {
	b := engines(t)
	small := small()
	for i, l := range small.Layers[:3] {
		c := Case{Name: "backward", Input: conv.Shape{2, l.Weight[1] * max(l.Params.Groups, 1), 9, 8}, Layers: []Layer{l}, Backward: true}
		r, err := b.Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*Measured{r.GPU, r.CPU} {
			if m != nil && (m.Worst <= 0 || m.Worst > 1 || m.Wall.N < 3 || m.Wall.Median <= 0 || m.Describe == "") {
				t.Errorf("layer %d: measured %+v", i, m)
			}
		}
		forward, err := c.Layers[0].Params.Problem(c.Input, l.Weight, l.Bias)
		if err != nil {
			t.Fatal(err)
		}
		if r.Cost.MACs != 2*forward.Cost().MACs {
			t.Errorf("layer %d: %d multiply-adds, want twice %d", i, r.Cost.MACs, forward.Cost().MACs)
		}
		problems, _ := c.Problems()
		for g := range gradNames {
			chain := makeData(problems, true, 1, nil, 0)
			sums := [...][]conv.Sum{chain[0].grads.X, chain[0].grads.Weight, chain[0].grads.Bias, chain[0].grads.Offset, chain[0].grads.Mask}[g]
			if sums == nil {
				continue
			}
			sums[len(sums)-1].Value += 1
			if _, err := b.measure(context.Background(), b.CPU, c, func(e *vkconv.Engine) (subject, error) { return newGrads(e, c, chain[0]) }); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), gradNames[g]+"[") {
				t.Errorf("layer %d: %s is not what the oracle has: %v", i, gradNames[g], err)
			}
		}
	}
	small.Backward = true
	if _, err := b.Run(context.Background(), small); !errors.Is(err, conv.ErrUnsupported) {
		t.Errorf("a chain backward: %v", err)
	}
}

func TestRunRefusesAndStops(t *testing.T) {
	b := engines(t)
	c := small()
	c.Layers[1].Weight = conv.Shape{5, 4, 30, 3}
	if _, err := b.Run(context.Background(), c); !errors.Is(err, conv.ErrShape) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Run(ctx, small()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled, but %v", err)
	}
}

func TestStats(t *testing.T) {
	s := NewStats([]time.Duration{50, 10, 40, 20, 30})
	if s != (Stats{5, 30, 20, 40, 10, 50, 48}) {
		t.Errorf("%+v", s)
	}
	if s.Spread() != 1.0/3 {
		t.Errorf("spread is %g", s.Spread())
	}
	if s := NewStats([]time.Duration{7}); s.Median != 7 || s.Spread() != 0 {
		t.Errorf("%+v", s)
	}
	if s := NewStats([]time.Duration{10, 20}); s.Median != 15 {
		t.Errorf("%+v", s)
	}
}

func TestSignificant(t *testing.T) {
	var got []string
	for _, v := range []float64{0, 0.0123, 0.9996, 9.994, 9.996, 99.96, 1234.5} {
		got = append(got, significant(v))
	}
	if want := []string{"0.000", "0.012", "1.00", "9.99", "10.0", "100", "1234"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
