// Package report makes a page of the main job's results: one HTML file that
// needs no network and no script, with its plots inside.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
	"time"

	"vkconv"
	"vkconv/bench"
	"vkconv/conv"
	"vkconv/vis"
)

// Page is what the page tells.
type Page struct {
	Device, Driver string // what was measured; the CPU path where there is no GPU
	CPU, CPUDriver string
	Why            string // the device was chosen
	System         string // Go's version, operating system, architecture
	When           time.Time
	Took           time.Duration

	Main            []bench.Result
	Dilation, Sizes []bench.Result // of [Dilations] and [Sizes]
	Wrong           []string       // cases whose results were wrong, in words
	Peak            Peak
}

// Peak is the most that the device does, 0 where that is not known.
type Peak struct {
	FLOPs float64 // a second
	Bytes float64 // a second
	From  string  // how it is known
}

// Known tells whether shares of the roofline can be told.
func (p Peak) Known() bool { return p.FLOPs > 0 && p.Bytes > 0 }

// GFLOPs and GBs are the same in units that people know.
func (p Peak) GFLOPs() float64 { return p.FLOPs / 1e9 }
func (p Peak) GBs() float64    { return p.Bytes / 1e9 }

// Share is which part of what the roofline allows work of this cost reached.
func (p Peak) Share(c conv.Cost, took time.Duration) float64 {
	return vkconv.Roofline{Float32: p.FLOPs, Memory: p.Bytes}.Share(c.FLOPs(), c.Bytes, took)
}

// Dilations are layers that cost the same but for their dilation.
func Dilations() (cases []bench.Case) {
	for _, deform := range []bool{false, true} {
		for _, d := range []int{1, 2, 4, 8, 16, 24} {
			cases = append(cases, layer(deform, conv.Shape{1, 32, 48, 48}, 32, d))
		}
	}
	return cases
}

// Sizes are layers that differ by the size of the picture.
func Sizes() (cases []bench.Case) {
	for _, deform := range []bool{false, true} {
		for _, size := range []int{7, 14, 28, 56, 80} {
			cases = append(cases, layer(deform, conv.Shape{1, 32, size, size}, 32, 1))
		}
	}
	return cases
}

func layer(deform bool, input conv.Shape, k, dilation int) bench.Case {
	l := bench.Layer{Weight: conv.Shape{k, input[1], 3, 3}, Params: conv.Params{Padding: conv.Pad(dilation), Dilation: [2]int{dilation, dilation}}}
	c := bench.Case{Group: "convolution", Input: input}
	if deform {
		c.Group = "deformable v2"
		l.Deform = &conv.Deform{Mask: true}
	}
	c.Name = fmt.Sprintf("%s %d×%d dilation %d", c.Group, input[2], input[3], dilation)
	c.Layers = []bench.Layer{l}
	return c
}

// plot is one figure of the page.
type plot struct {
	ID, Words string
	SVG       template.HTML
}

// row is one line of the table, or a heading.
type row struct {
	Heading                                                      string
	Name, Shape, Time, Spread, Wall, Rate, Bandwidth, CPU, Share string
	Roof, Algorithm                                              string
}

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// Write writes the page.
func (p Page) Write(w io.Writer) error {
	plots, err := p.plots()
	if err != nil {
		return err
	}
	worst := 0.0
	for _, r := range p.all() {
		worst = max(worst, r.Main().Worst)
	}
	return page.Execute(w, map[string]any{
		"Page": p, "Rows": p.rows(), "Plots": plots, "Cases": len(p.all()) + len(p.Wrong), "Worst": fmt.Sprintf("%.3f", worst),
		"When": p.When.Format("2 January 2006, 15:04 MST"), "Took": fmt.Sprintf("%.0f s", p.Took.Seconds()), "Speedup": p.speedup(),
	})
}

func (p Page) all() (all []bench.Result) {
	return append(append(append(all, p.Main...), p.Dilation...), p.Sizes...)
}

// speedup is the geometric mean over the main job, "" without a GPU.
func (p Page) speedup() string {
	sum, n := 0.0, 0
	for _, r := range p.Main {
		if s := r.Speedup(); s > 0 {
			sum, n = sum+math.Log(s), n+1
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", math.Exp(sum/float64(n)))
}

// digits writes three of them.
func digits(v float64) string {
	switch {
	case math.Abs(v) >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case math.Abs(v) >= 0.9995:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// percent writes a share in two digits.
func percent(share float64) string {
	if share < 0.0995 {
		return fmt.Sprintf("%.1f %%", 100*share)
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func (p Page) rows() (rows []row) {
	group := ""
	for _, r := range p.Main {
		if r.Case.Group != group {
			group = r.Case.Group
			rows = append(rows, row{Heading: group})
		}
		m := r.Main()
		seconds := m.Device.Median.Seconds()
		one := row{Name: r.Case.Name, Shape: shape(r.Case), Time: digits(ms(m.Device.Median)), Spread: fmt.Sprintf("%.0f %%", 100*m.Device.Spread()),
			Wall: digits(ms(m.Wall.Median)), Rate: digits(float64(r.Cost.FLOPs()) / seconds / 1e9), Bandwidth: digits(float64(r.Cost.Bytes) / seconds / 1e9),
			CPU: "–", Share: fmt.Sprintf("%.3f", m.Worst), Algorithm: m.Describe}
		if s := r.Speedup(); s > 0 {
			one.CPU = digits(s)
		}
		if p.Peak.Known() {
			one.Roof = percent(p.Peak.Share(r.Cost, m.Device.Median))
		}
		rows = append(rows, one)
	}
	return rows
}

// shape writes what goes in and comes out.
func shape(c bench.Case) string {
	problems, err := c.Problems()
	if err != nil { // it could not have been run
		return c.Input.String()
	}
	return bench.ShapeOf(problems)
}

// short is a group's name up to its colon.
func short(group string) string {
	name, _, _ := strings.Cut(group, ":")
	return name
}

// writer is a plot of package vis.
type writer interface{ Write(io.Writer) error }

func (p Page) plots() ([]plot, error) {
	var plots []plot
	var failed error
	add := func(id, words string, w writer) {
		var b strings.Builder
		if err := w.Write(&b); err != nil {
			failed = err
		}
		plots = append(plots, plot{id, words, template.HTML(b.String())}) // made by package vis, which escapes its words
	}
	bars := func(value func(bench.Result) (vis.Bar, bool)) (rows []vis.Bar) {
		for _, r := range p.Main {
			if bar, ok := value(r); ok {
				bar.Group, bar.Label = short(r.Case.Group), r.Case.Name
				rows = append(rows, bar)
			}
		}
		return rows
	}
	add("time", "Between two timestamps on the device; the line spans the middle half of the repetitions.",
		vis.Bars{Title: "Time", Note: "of one run, median", Unit: "milliseconds, logarithmic", Log: true, Rows: bars(func(r bench.Result) (vis.Bar, bool) {
			d := r.Main().Device
			return vis.Bar{Value: ms(d.Median), Low: ms(d.First), High: ms(d.Third), Text: digits(ms(d.Median)) + " ms"}, true
		})})
	add("error", "The largest error of any element as a share of its derived bound. Up to 1 is right.",
		vis.Bars{Title: "Error", Note: "largest, as a share of its bound", Unit: "of the bound, logarithmic", Log: true, Mark: 1, Rows: bars(func(r bench.Result) (vis.Bar, bool) {
			m := r.Main()
			return vis.Bar{Value: m.Worst, Text: fmt.Sprintf("%.4f", m.Worst)}, m.Worst > 0
		})})
	if p.speedup() != "" {
		add("speedup", "By the device's time against this library's own CPU path on the same machine. At the line both are equally fast.",
			vis.Bars{Title: "Speed over the CPU", Note: p.Device + " against " + p.CPU, Unit: "times, logarithmic", Log: true, Mark: 1, Rows: bars(func(r bench.Result) (vis.Bar, bool) {
				s := r.Speedup()
				return vis.Bar{Value: s, Text: digits(s) + " ×"}, s > 0
			})})
	}
	if p.Peak.Known() {
		add("share", "Of the least time that the roofline allows for as many operations and bytes.",
			vis.Bars{Title: "Share of the roofline", Note: p.Peak.From, Unit: "per cent", Rows: bars(func(r bench.Result) (vis.Bar, bool) {
				share := 100 * p.Peak.Share(r.Cost, r.Main().Device.Median)
				return vis.Bar{Value: share, Text: percent(share / 100)}, true
			})})
	}
	add("roofline", p.roofWords(), p.roofline())
	add("dilation", "The same number of multiply-adds at every dilation; near the picture's size, ever more taps lie in the padding.",
		p.sweep(p.Dilation, "Cost against dilation", "3×3, 32 → 32 channels at 48×48", "dilation", func(r bench.Result) float64 { return float64(r.Case.Layers[0].Params.Dilation[1]) }, false))
	add("size", "Both axes are logarithmic: a straight line of slope 2 is a constant cost a pixel.",
		p.sweep(p.Sizes, "Cost against size", "3×3, 32 → 32 channels, dilation 1", "rows and columns of the picture", func(r bench.Result) float64 { return float64(r.Case.Input[2]) }, true))
	return plots, failed
}

// sweep draws time against what varies.
func (p Page) sweep(results []bench.Result, title, note, x string, of func(bench.Result) float64, logs bool) vis.Lines {
	l := vis.Lines{Title: title, Note: note, X: x, Y: "milliseconds", LogX: logs, LogY: logs}
	seen := map[float64]bool{}
	for _, r := range results {
		if len(l.Series) == 0 || l.Series[len(l.Series)-1].Name != r.Case.Group {
			l.Series = append(l.Series, vis.Series{Name: r.Case.Group})
		}
		s, d := &l.Series[len(l.Series)-1], r.Main().Device
		s.Points = append(s.Points, vis.Point{X: of(r), Y: ms(d.Median)})
		s.Low, s.High = append(s.Low, ms(d.First)), append(s.High, ms(d.Third))
		if at := of(r); !seen[at] {
			seen[at] = true
			l.XTicks = append(l.XTicks, at)
		}
	}
	return l
}

func (p Page) roofWords() string {
	words := "How fast, against how many operations come to a byte if every tensor is read or written once."
	if !p.Peak.Known() {
		words += " The device's own limits are not known here, so that no roof is drawn."
	}
	return words
}

// roofline draws each case by its intensity and rate, under the roof if there is one.
func (p Page) roofline() vis.Lines {
	l := vis.Lines{Title: "Rate against intensity", Note: "a dot a layer", X: "FLOP a byte", Y: "GFLOP/s", LogX: true, LogY: true}
	low, high := math.Inf(1), 0.0
	for _, r := range p.Main {
		intensity := float64(r.Cost.FLOPs()) / float64(r.Cost.Bytes)
		rate := float64(r.Cost.FLOPs()) / r.Main().Device.Median.Seconds() / 1e9
		low, high = min(low, intensity), max(high, intensity)
		name := short(r.Case.Group)
		if len(l.Series) == 0 || l.Series[len(l.Series)-1].Name != name {
			l.Series = append(l.Series, vis.Series{Name: name, Dots: true})
		}
		s := &l.Series[len(l.Series)-1]
		s.Points = append(s.Points, vis.Point{X: intensity, Y: rate})
		s.Tips = append(s.Tips, fmt.Sprintf("%s: %s GFLOP/s at %.1f FLOP a byte", r.Case.Name, digits(rate), intensity))
	}
	if p.Peak.Known() {
		roof := vis.Series{Name: "roof", Bare: true}
		ridge := p.Peak.FLOPs / p.Peak.Bytes
		for _, x := range []float64{min(low, ridge) / 1.2, ridge, max(high, ridge) * 1.2} {
			roof.Points = append(roof.Points, vis.Point{X: x, Y: min(p.Peak.FLOPs, x*p.Peak.Bytes) / 1e9})
		}
		l.Series = append(l.Series, roof)
	}
	return l
}
