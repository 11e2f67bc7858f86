package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"vkconv"
	"vkconv/conv"
)

// The table's columns and their widths; with the gaps 80 characters, what fits
// any terminal.
var columns = []struct {
	head  [2]string
	width int // negative: to the left
}{
	{[2]string{"", "case"}, -15},
	{[2]string{"", "shape"}, -15},
	{[2]string{"device", "ms"}, 6},
	{[2]string{"", "±"}, 4},
	{[2]string{"wall", "ms"}, 5},
	{[2]string{"GFLOP", "/s"}, 5},
	{[2]string{"", "GB/s"}, 5},
	{[2]string{"of", "roof"}, 5},
	{[2]string{"times", "CPU"}, 5},
	{[2]string{"err. /", "bound"}, 6},
}

// Table writes results as a table of at most 80 columns. A row may be written
// as soon as its result is there.
type Table struct {
	W io.Writer
	// Roofs are the engines' peaks by name; without, the share of the roof is not told.
	Roofs map[string]vkconv.Roofline
	group string
	begun bool
}

// Row writes one result, under a heading where its group is new.
func (t *Table) Row(r Result) {
	if !t.begun {
		t.begun = true
		for line := range 2 {
			var cells []string
			for _, c := range columns {
				cells = append(cells, c.head[line])
			}
			t.line(cells)
		}
	}
	if r.Case.Group != t.group {
		t.group = r.Case.Group
		fmt.Fprintf(t.W, "%s\n", t.group)
	}
	m := r.Main()
	seconds := m.Device.Median.Seconds()
	speedup := "–"
	if s := r.Speedup(); s > 0 {
		speedup = significant(s)
	}
	share := "–"
	if roof := t.Roofs[m.Engine]; roof.Known() {
		share = percent(roof.Share(r.Cost.FLOPs(), r.Cost.Bytes, m.Device.Median))
	}
	t.line([]string{
		"  " + r.Case.Name, r.Shape,
		significant(milliseconds(m.Device.Median)), fmt.Sprintf("%.0f%%", 100*m.Device.Spread()), significant(milliseconds(m.Wall.Median)),
		significant(float64(r.Cost.FLOPs()) / seconds / 1e9), significant(float64(r.Cost.Bytes) / seconds / 1e9),
		share, speedup, fmt.Sprintf("%.3f", m.Worst),
	})
}

func (t *Table) line(cells []string) {
	var b strings.Builder
	for i, cell := range cells {
		width := columns[i].width
		pad := strings.Repeat(" ", max(0, max(width, -width)-utf8.RuneCountInString(cell)))
		if i > 0 {
			b.WriteByte(' ')
		}
		if width < 0 {
			b.WriteString(cell + pad)
		} else {
			b.WriteString(pad + cell)
		}
	}
	fmt.Fprintln(t.W, strings.TrimRight(b.String(), " "))
}

// ShapeOf writes a chain's shape as 64×56×56 → 64, with the output's size where
// it differs from the input's and the batch where it is not 1.
func ShapeOf(chain []conv.Problem) string {
	first, last := chain[0], chain[len(chain)-1]
	s := fmt.Sprintf("%d×%d×%d → %d", first.C, first.H, first.W, last.K)
	if first.N != 1 {
		s = fmt.Sprintf("%d×%s", first.N, s)
	}
	if last.Ho != first.H || last.Wo != first.W {
		s += fmt.Sprintf("×%d×%d", last.Ho, last.Wo)
	}
	return s
}

// Milliseconds writes a time with three digits.
func Milliseconds(d time.Duration) string { return significant(milliseconds(d)) + " ms" }

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// significant writes three digits, more before the point.
func significant(v float64) string {
	switch {
	case v < 0.9995:
		return fmt.Sprintf("%.3f", v)
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
