package explain

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// The columns of the table of layers and their widths, with the gaps at most
// 100 characters; negative widths stand to the left.
var (
	heads = [2][]string{
		{"", "", "", "", "", "", "field", "field", "", "never", "param-", "multiply-"},
		{"layer", "kernel", "stride", "dil.", "pad", "output", "alone", "stacked", "jump", "read", "eters", "adds"},
	}
	widths = []int{-10, 7, 6, 5, 5, 13, 7, 9, 5, 6, 7, 9}
)

// WriteText writes the report as text of at most 100 columns.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Name != "" {
		fmt.Fprintf(&b, "%s: %s\n", r.Name, r.About)
	}
	fmt.Fprintf(&b, "input %s\n\n", size(r.Input[1:]))
	line(&b, heads[0])
	line(&b, heads[1])
	for i, row := range r.Rows {
		name := row.Name
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		if row.Branch {
			name = "| " + name
		}
		kernel := cross(row.Kernel)
		if strings.Contains(row.Layer, " pool") {
			kernel = "p " + kernel
		}
		line(&b, []string{name, kernel, pairText(row.Stride), pairText(row.Dilation), pairText(row.Padding), size(row.Output[1:]),
			cross(row.Alone), cross(row.Stacked), pairText(row.Jump), percent(row.Stacked, row.Unseen), count(row.Params), count(row.MACs)})
	}
	fmt.Fprintf(&b, "\nOne output sees %s pixels; the fields of neighbouring outputs lie %s apart.\n", cross(r.Field), pixels(r.Jump))
	total := r.Field[0] * r.Field[1]
	if r.Unseen == 0 {
		fmt.Fprintf(&b, "It reads every one of the %d.\n", total)
	} else {
		fmt.Fprintf(&b, "It never reads %d of the %d (%s).\n", r.Unseen, total, percent(r.Field, r.Unseen))
	}
	fmt.Fprintf(&b, "%s parameters, %s multiply-adds.\n", count(r.Params), count(r.MACs))
	if m := r.Effective; m != nil {
		side := math.Sqrt(float64(m.Pixels))
		fmt.Fprintf(&b, "Effective field (Luo et al. 2016), measured through %d random networks on %s:\n", m.Draws, m.Device)
		fmt.Fprintf(&b, "  %.1f%% of the field's pixels, as many as %.0f×%.0f, have more than 4.55%% of the strongest gradient.\n", 100*m.Share, side, side)
	}
	if r.Deforms {
		fmt.Fprintf(&b, "Fields of deformable layers are those with offsets of 0; the layers that give offsets are not counted.\n")
	}
	for _, h := range r.Hybrid {
		fmt.Fprintf(&b, "Hybrid dilation (Wang et al. 2018), %d×%d at rates %s: %s.\n", h.Kernel, h.Kernel, shorten(join(h.Rates), 20), h.sentence())
	}
	if len(r.Others) > 1 {
		fmt.Fprintf(&b, "\nWhat sees as far")
		if r.Others[0].Weights > 0 {
			fmt.Fprintf(&b, ", with %d channels at %d×%d", r.Input[1], r.Input[2], r.Input[3])
		}
		const form = "%-40s %9s %8s %6s %10s %7s %10s\n"
		fmt.Fprintf(&b, ":\n"+form, "", "field", "weights*", "layers", "never read", "param.", "mult.-adds")
		for i, o := range r.Others {
			weights, params, macs := "–", count(o.Params), count(o.MACs)
			if o.Weights > 0 {
				weights = fmt.Sprint(o.Weights)
			}
			if i > 0 && r.Others[0].Weights == 0 { // of other channels, nothing to compare
				params, macs = "", ""
			}
			line := fmt.Sprintf(form, shorten(o.What, 40), cross(o.Field), weights, fmt.Sprint(o.Layers), percent(o.Field, o.Unseen), params, macs)
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
		fmt.Fprintf(&b, "* a pair of an incoming and an outgoing channel\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (h Rates) sentence() string {
	if h.OK {
		return fmt.Sprintf("no holes (gap %d, at most %d)", h.Gap, h.Kernel)
	}
	if h.Gap > h.Kernel {
		return fmt.Sprintf("holes (gap %d, more than %d)", h.Gap, h.Kernel)
	}
	return "holes (the rates have a common divisor)"
}

func line(b *strings.Builder, cells []string) {
	var out strings.Builder
	for i, cell := range cells {
		width := widths[i]
		pad := strings.Repeat(" ", max(0, max(width, -width)-utf8.RuneCountInString(cell)))
		if i > 0 {
			out.WriteByte(' ')
		}
		if width < 0 {
			out.WriteString(cell + pad)
		} else {
			out.WriteString(pad + cell)
		}
	}
	fmt.Fprintln(b, strings.TrimRight(out.String(), " "))
}

func cross(p [2]int) string { return fmt.Sprintf("%d×%d", p[0], p[1]) }

// pairText writes one number where rows and columns agree.
func pairText(p [2]int) string {
	if p[0] == p[1] {
		return fmt.Sprint(p[0])
	}
	return cross(p)
}

func pixels(p [2]int) string {
	if p == [2]int{1, 1} {
		return "1 pixel"
	}
	return pairText(p) + " pixels"
}

func size(s []int) string { return fmt.Sprintf("%d×%d×%d", s[0], s[1], s[2]) }

func join(numbers []int) string {
	var parts []string
	for _, n := range numbers {
		parts = append(parts, fmt.Sprint(n))
	}
	return strings.Join(parts, ", ")
}

// percent writes the share of a field that is not read; none is a dash, and
// little is not none.
func percent(field [2]int, unseen int) string {
	share := 100 * float64(unseen) / (float64(field[0]) * float64(field[1]))
	switch {
	case unseen == 0:
		return "–"
	case share < 0.1:
		return "<0.1%"
	case share > 99.9:
		return ">99.9%"
	}
	return fmt.Sprintf("%.1f%%", share)
}

// count writes a number in four digits and a unit.
func count(n int64) string {
	v, units := float64(n), []string{"", "k", "M", "G", "T", "P", "E"}
	if n == 0 {
		return "–"
	}
	if n < 10000 {
		return fmt.Sprint(n)
	}
	u := 0
	for v >= 999.5 && u < len(units)-1 {
		v /= 1000
		u++
	}
	digits := 2
	if v >= 9.995 {
		digits = 1
	}
	if v >= 99.95 {
		digits = 0
	}
	return fmt.Sprintf("%.*f%s", digits, v, units[u])
}

// shorten cuts the middle out of a long text.
func shorten(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-9]) + "…" + string(r[len(r)-8:])
}
