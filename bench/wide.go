package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Wide writes rows of reports as a table that keeps the times apart. A row may
// be written as soon as it is there.
type Wide struct {
	W io.Writer
	// Peak, where it is not nil, tells what share of what its device can do a row
	// reaches, and by what that is limited: "41% of FMA", "73% of memory".
	Peak  func(Row) string
	group string
	begun bool
}

var wideColumns = []struct {
	head  [2]string
	width int // negative: to the left
}{
	{[2]string{"", "case"}, -20},
	{[2]string{"", "shape"}, -19},
	{[2]string{"device", "ms"}, 6},
	{[2]string{"95 %", "ms"}, 6},
	{[2]string{"", "±"}, 4},
	{[2]string{"wall", "ms"}, 6},
	{[2]string{"upload", "ms"}, 6},
	{[2]string{"downl.", "ms"}, 6},
	{[2]string{"plan", "ms"}, 6},
	{[2]string{"", "GFLOP/s"}, 7},
	{[2]string{"", "GB/s"}, 5},
	{[2]string{"error /", "bound"}, 7},
	{[2]string{"", "limit"}, -15}, // with Peak only
}

// Row writes one row, under a heading where its set, pass or device is new.
func (t *Wide) Row(r Row) {
	if !t.begun {
		t.begun = true
		for line := range 2 {
			var cells []string
			for _, c := range wideColumns {
				cells = append(cells, c.head[line])
			}
			if t.Peak == nil {
				cells = cells[:len(cells)-1]
			}
			t.line(cells)
		}
	}
	if group := r.Set + ", " + r.Pass + ", on " + r.Device; group != t.group {
		t.group = group
		fmt.Fprintf(t.W, "%s\n", strings.TrimPrefix(group, ", "))
	}
	d := r.DeviceStats()
	ms := func(t time.Duration) string { return significant(milliseconds(t)) }
	dash := func(ns int64) string {
		if ns == 0 {
			return "–"
		}
		return ms(time.Duration(ns))
	}
	name := r.Name
	if r.Times > 1 {
		name += fmt.Sprintf(" (×%d)", r.Times)
	}
	cells := []string{"  " + name, r.Shape, ms(d.Median), ms(d.P95), fmt.Sprintf("%.0f%%", 100*d.Spread()), ms(r.WallStats().Median),
		dash(r.UploadNS), dash(r.DownloadNS), ms(time.Duration(r.PlanNS)), significant(r.GFLOPs(d.Median)), significant(r.GBs(d.Median)), fmt.Sprintf("%.3f", r.Worst)}
	if t.Peak != nil {
		cells = append(cells, t.Peak(r))
	}
	t.line(cells)
}

func (t *Wide) line(cells []string) {
	var b strings.Builder
	over := 0 // by how much cells to the left were too wide
	for i, cell := range cells {
		width := wideColumns[i].width
		n := utf8.RuneCountInString(cell)
		if i > 0 {
			b.WriteByte(' ')
		}
		room := max(width, -width)
		pad := max(0, room-n-over)
		if over = max(0, n+over-room); width < 0 {
			b.WriteString(cell + strings.Repeat(" ", pad))
		} else {
			b.WriteString(strings.Repeat(" ", pad) + cell)
		}
	}
	fmt.Fprintln(t.W, strings.TrimRight(b.String(), " "))
}

// WriteTable writes all rows as a table, with a line for each whole network.
func (r Report) WriteTable(w io.Writer, peak func(Row) string) {
	t := Wide{W: w, Peak: peak}
	for _, row := range r.Rows {
		t.Row(row)
	}
	for _, line := range r.Totals() {
		fmt.Fprintln(w, line)
	}
}

// Totals says of every named set that is there whole what a network's layers
// take together, each as often as the network has it; and of [Scaling] how the cost grows.
func (r Report) Totals() (lines []string) {
	for _, s := range Sets() {
		type group struct{ pass, device string }
		layers, flops, times, count := map[group]int{}, map[group]int64{}, map[group]time.Duration{}, map[group]int{}
		var order []group
		for _, row := range r.Rows {
			if row.Set != s.Name {
				continue
			}
			g := group{row.Pass, row.Device}
			if layers[g] == 0 {
				order = append(order, g)
			}
			layers[g]++
			flops[g] += int64(row.Times) * row.FLOPs
			times[g] += row.total()
			count[g] += row.Times
		}
		for _, g := range order {
			if layers[g] == len(s.Layers) {
				lines = append(lines, fmt.Sprintf("%s, %s, on %s: %d layers take %s together, %s GFLOP/s.", s.Name, g.pass, g.device, count[g],
					Milliseconds(times[g]), significant(float64(flops[g])/max(float64(times[g]), 1))))
			}
		}
	}
	return append(lines, r.growth()...)
}
