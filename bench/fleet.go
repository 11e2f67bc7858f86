package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"vkconv"
	"vkconv/conv"
)

// Spread is what a fleet made of a case: its batch on each device alone, and on all of
// them together. Times are the wall's, from the host's slices to the host's slices.
type Spread struct {
	Case     Case
	Shape    string  // of one image
	Worst    float64 // largest error of all results, as a share of its bound
	Alone    []Stats // by device
	Together Stats
	Images   []int // by device, of the last run together
}

// Gain is how many times faster all devices together are than the fastest alone.
func (s Spread) Gain() float64 {
	best := slices.MinFunc(s.Alone, func(a, b Stats) int { return int(a.Median - b.Median) })
	return float64(best.Median) / float64(s.Together.Median)
}

// RunFleet verifies a case of one layer, with that many images, on every device of a
// fleet alone and on all together, and then times these in turns for the budget, so
// that what else the machine does meets them alike. The fleet's shares follow measured
// speed afterwards.
func (b *Bench) RunFleet(ctx context.Context, f *vkconv.Fleet, c Case, images int) (Spread, error) {
	c.Input[0] = images
	s := Spread{Case: c}
	problems, err := c.Problems()
	if err != nil {
		return s, err
	}
	if len(problems) != 1 {
		return s, fmt.Errorf("%w: %s: a fleet runs single layers, this is a chain of %d", conv.ErrUnsupported, c.Name, len(problems))
	}
	d := makeData(problems, c.Backward, b.Seed, b.Offsets, b.Terms)[0]
	one := problems[0]
	one.N = 1
	s.Shape = ShapeOf([]conv.Problem{one})
	l, err := newSpread(f, c, d)
	if err != nil {
		return s, fmt.Errorf("%s: %w", c.Name, err)
	}
	defer l.close()
	ways := len(f.Engines())
	times := make([][]time.Duration, ways+1) // by device alone, then together
	budget := b.Budget
	if budget == 0 {
		budget = DefaultBudget
	}
	var begin time.Time
	for round := -1; round < fewest || round < most && time.Since(begin) < budget; round++ {
		if round == 0 {
			begin = time.Now()
		}
		for way := range times {
			if err := f.FixShares(only(way, ways)...); err != nil {
				return s, err
			}
			start := time.Now()
			if err := l.run(ctx); err != nil {
				return s, fmt.Errorf("%s: %w", c.Name, err)
			}
			if round >= 0 {
				times[way] = append(times[way], time.Since(start))
				continue
			}
			worst, err := l.verify()
			if s.Worst = max(s.Worst, worst); err != nil {
				return s, fmt.Errorf("%s: %w", c.Name, err)
			}
		}
	}
	for _, t := range times[:ways] {
		s.Alone = append(s.Alone, NewStats(t))
	}
	s.Together = NewStats(times[ways])
	for _, share := range l.shares()[:ways] {
		s.Images = append(s.Images, share.Images)
	}
	return s, nil
}

// only are the weights of one device alone, or none, for all by their speed.
func only(device, devices int) []float64 {
	if device == devices {
		return nil
	}
	weights := make([]float64, devices)
	weights[device] = 1
	return weights
}

// spread is a case's layer on a fleet, with its results.
type spread struct {
	d      data
	out    [len(gradNames)][]float32 // y first, or the gradients
	run    func(ctx context.Context) error
	shares func() []vkconv.Share
	close  func()
}

func newSpread(f *vkconv.Fleet, c Case, d data) (*spread, error) {
	s, p, l := &spread{d: d}, d.p, c.Layers[0]
	if !c.Backward {
		s.out[0] = make([]float32, p.Output().Len())
		if l.Deform != nil {
			op, err := f.NewDeformConv2D(p.Input(), d.weight, d.bias, p.Weight(), l.Params, *l.Deform)
			if err != nil {
				return nil, err
			}
			s.run = func(ctx context.Context) error { return op.Run(ctx, s.out[0], d.x, d.offset, d.mask) }
			s.shares, s.close = op.Shares, op.Close
			return s, nil
		}
		op, err := f.NewConv2D(p.Input(), d.weight, d.bias, p.Weight(), l.Params)
		if err != nil {
			return nil, err
		}
		s.run = func(ctx context.Context) error { return op.Run(ctx, s.out[0], d.x) }
		s.shares, s.close = op.Shares, op.Close
		return s, nil
	}
	for i, sums := range s.sums() {
		if sums != nil && c.wants(gradNames[i]) {
			s.out[i] = make([]float32, len(sums))
		}
	}
	g := vkconv.FleetGradients{X: s.out[0], Weight: s.out[1], Bias: s.out[2], Offset: s.out[3], Mask: s.out[4]}
	if l.Deform != nil {
		op, err := f.NewDeformConv2DBackward(p.Input(), d.weight, p.Weight(), l.Params, *l.Deform)
		if err != nil {
			return nil, err
		}
		s.run = func(ctx context.Context) error { return op.Run(ctx, g, d.x, d.offset, d.mask, d.dy) }
		s.shares, s.close = op.Shares, op.Close
		return s, nil
	}
	op, err := f.NewConv2DBackward(p.Input(), d.weight, p.Weight(), l.Params)
	if err != nil {
		return nil, err
	}
	s.run = func(ctx context.Context) error { return op.Run(ctx, g, d.x, d.dy) }
	s.shares, s.close = op.Shares, op.Close
	return s, nil
}

func (s *spread) sums() [len(gradNames)][]conv.Sum {
	g := s.d.grads
	return [...][]conv.Sum{g.X, g.Weight, g.Bias, g.Offset, g.Mask}
}

// verify holds the results against the oracle.
func (s *spread) verify() (worst float64, err error) {
	for i, got := range s.out {
		if got == nil {
			continue
		}
		name, v := "y", conv.Verdict{}
		if s.d.dy == nil {
			v = s.d.judge(got)
		} else {
			name, v = gradNames[i], judgeSome(got, s.sums()[i], s.d.roundings())
		}
		if worst = max(worst, v.Worst); !v.OK() {
			return worst, fmt.Errorf("%w: %s[%d] is %g, want %g within %g", ErrMismatch, name, v.Index, v.Got, v.Want, v.Bound)
		}
	}
	return worst, nil
}

// SpreadTable writes what fleets made of cases, each row as soon as it is there.
type SpreadTable struct {
	W       io.Writer
	Devices []string
	group   string
	begun   bool
}

// Row writes one result, under a heading where its group is new.
func (t *SpreadTable) Row(s Spread) {
	if !t.begun {
		t.begun = true
		var heads []string
		for _, d := range t.Devices {
			name, _, _ := strings.Cut(d, " ")
			heads = append(heads, strings.TrimSuffix(name, ","))
		}
		t.line("", "", heads, "all", "", "images", "times", "err. /")
		t.line("case", "shape", slices.Repeat([]string{"ms"}, len(heads)), "ms", "±", "each", "best", "bound")
	}
	if s.Case.Group != t.group {
		t.group = s.Case.Group
		fmt.Fprintln(t.W, t.group)
	}
	var alone, images []string
	for i, a := range s.Alone {
		alone = append(alone, significant(milliseconds(a.Median)))
		images = append(images, fmt.Sprint(s.Images[i]))
	}
	t.line("  "+s.Case.Name, s.Shape, alone, significant(milliseconds(s.Together.Median)), fmt.Sprintf("%.0f%%", 100*s.Together.Spread()),
		strings.Join(images, "+"), significant(s.Gain()), fmt.Sprintf("%.3f", s.Worst))
}

func (t *SpreadTable) line(name, shape string, alone []string, rest ...string) {
	line := left(name, 15) + " " + left(shape, 15)
	for _, a := range alone {
		line += " " + right(a, 11)
	}
	for i, width := range []int{6, 4, 7, 5, 6} {
		line += " " + right(rest[i], width)
	}
	fmt.Fprintln(t.W, strings.TrimRight(line, " "))
}

func left(s string, width int) string  { return s + blanks(s, width) }
func right(s string, width int) string { return blanks(s, width) + s }

func blanks(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
