package report

import (
	"bytes"
	"encoding/xml"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"vkconv/bench"
	"vkconv/conv"
)

// measured is a result that took so long on the device, and twice as long on the CPU.
func measured(c bench.Case, took time.Duration) bench.Result {
	one := func(d time.Duration) *bench.Measured {
		s := bench.NewStats([]time.Duration{d, d - d/10, d + d/10})
		return &bench.Measured{Device: s, Wall: s, Worst: 0.125, Describe: "a <tiled> way"}
	}
	return bench.Result{Case: c, Cost: conv.Cost{MACs: 1e9, Bytes: 1e8}, GPU: one(took), CPU: one(2 * took)}
}

func example() Page {
	p := Page{Device: "a <device>", Driver: "driver", CPU: "CPU, 2 threads", CPUDriver: "avx2", Why: "it was asked for", When: time.Unix(0, 0).UTC(), Took: 3 * time.Second}
	for _, c := range bench.Main() {
		p.Main = append(p.Main, measured(c, time.Millisecond))
	}
	for i, c := range Dilations() {
		p.Dilation = append(p.Dilation, measured(c, time.Duration(i+1)*time.Millisecond))
	}
	for i, c := range Sizes() {
		p.Sizes = append(p.Sizes, measured(c, time.Duration(i+1)*time.Millisecond))
	}
	return p
}

func written(t *testing.T, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every plot is there and whole, nothing comes from outside, and names cannot
// become markup.
func TestPage(t *testing.T) {
	p := example()
	html := written(t, p)
	for _, id := range []string{"time", "error", "speedup", "roofline", "dilation", "size"} {
		_, figure, ok := strings.Cut(html, `<figure id="plot-`+id+`">`)
		svg, _, whole := strings.Cut(figure, "<figcaption>")
		if !ok || !whole {
			t.Errorf("no plot %s", id)
			continue
		}
		if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
			t.Errorf("plot %s: %v", id, err)
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("plot %s has places that are no numbers", id)
		}
	}
	if strings.Contains(html, "plot-share") || strings.Contains(html, "a <device>") || strings.Contains(html, "a <tiled>") || strings.Contains(html, "<script") {
		t.Error("a roofline, markup or a script that nobody asked for")
	}
	for _, address := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if !strings.HasPrefix(address[1], "data:") {
			t.Errorf("it takes %q from elsewhere", address[1])
		}
	}
	for _, word := range []string{"2.00 ×", "all right", "0.125", "2000", "1.00"} {
		if !strings.Contains(html, word) {
			t.Errorf("it does not say %q", word)
		}
	}
	if n := strings.Count(html, "<tr>") - 1; n != len(bench.Main()) {
		t.Errorf("%d rows for %d cases", n, len(bench.Main()))
	}
}

func TestPageWithoutGPU(t *testing.T) {
	p := example()
	for _, list := range [][]bench.Result{p.Main, p.Dilation, p.Sizes} {
		for i := range list {
			list[i].GPU = nil
		}
	}
	p.Wrong = []string{"one & only"}
	html := written(t, p)
	if strings.Contains(html, "plot-speedup") || !strings.Contains(html, "1 wrong") || !strings.Contains(html, "one &amp; only") {
		t.Error("it compares the CPU with itself, or hides what is wrong")
	}
}

// 2·10⁹ operations in 1 ms are a fifth of 10 TFLOP/s; 10⁸ bytes in 1 ms half of
// 200 GB/s, which is then the roof.
func TestShare(t *testing.T) {
	cost := conv.Cost{MACs: 1e9, Bytes: 1e8}
	for _, c := range []struct{ bytes, want float64 }{{1e15, 0.2}, {2e11, 0.5}} {
		if got := (Peak{FLOPs: 1e13, Bytes: c.bytes}).Share(cost, time.Millisecond); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("at %g bytes a second the share is %g, want %g", c.bytes, got, c.want)
		}
	}
	p := example()
	p.Peak = Peak{FLOPs: 1e13, Bytes: 2e11, From: "guessed"}
	if html := written(t, p); !strings.Contains(html, "plot-share") || !strings.Contains(html, "50 %") || !strings.Contains(html, "guessed") {
		t.Error("no shares of the roofline")
	}
}

// What differs within a sweep is what its axis says, and nothing else.
func TestSweeps(t *testing.T) {
	for name, c := range map[string]struct {
		cases []bench.Case
		of    func(conv.Problem) int
	}{"dilation": {Dilations(), func(p conv.Problem) int { return p.DilationX }}, "size": {Sizes(), func(p conv.Problem) int { return p.H }}} {
		macs, last := int64(0), 0
		for _, one := range c.cases {
			problems, err := one.Problems()
			if err != nil {
				t.Fatal(err)
			}
			p := problems[0]
			if one.Group == "convolution" && c.of(p) <= last {
				t.Errorf("%s: %d after %d", name, c.of(p), last)
			}
			last = c.of(p)
			if each := p.Cost().MACs / int64(p.H*p.W); macs != 0 && each != macs || p.Ho != p.H {
				t.Errorf("%s: %s takes %d multiply-adds a pixel, others %d", name, one.Name, each, macs)
			} else {
				macs = each
			}
		}
	}
}
