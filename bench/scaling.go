package bench

import (
	"fmt"
	"strings"

	"vkconv/conv"
)

// scalingSet is the name of the set that [Scaling] makes.
const scalingSet = "scaling"

// Scaling is a set that shows how the cost of a layer grows. From one layer on, 32
// channels of 56×56 by 3×3 kernels, one extent after the other doubles three times:
//
//	batch, input channels, output channels, area, taps    work doubles, and cost should
//	dilation        the image larger by what the kernel reaches: the same work
//	padded dilation the same image with more padding, of which a tile may leave out taps
//
// What [Report.Totals] says of it is the cost of a multiply-add.
func Scaling() (cases []Case) {
	const k, out = 32, 56
	add := func(axis string, n int, x conv.Shape, w conv.Shape, p conv.Params) {
		cases = append(cases, Case{Group: scalingSet, Set: scalingSet, Name: fmt.Sprintf("%s %d", axis, n), Input: x,
			Layers: []Layer{{Weight: w, Bias: true, Params: p}}})
	}
	image, kernel, padded := conv.Shape{1, k, out, out}, conv.Shape{k, k, 3, 3}, conv.Params{Padding: conv.Pad(1)}
	for _, n := range []int{1, 2, 4, 8} {
		add("batch", n, conv.Shape{n, k, out, out}, kernel, padded)
	}
	for _, c := range []int{16, 32, 64, 128} {
		add("input channels", c, conv.Shape{1, c, out, out}, conv.Shape{k, c, 3, 3}, padded)
	}
	for _, c := range []int{16, 32, 64, 128} {
		add("output channels", c, image, conv.Shape{c, k, 3, 3}, padded)
	}
	for _, hw := range [][2]int{{28, 56}, {56, 56}, {56, 112}, {112, 112}} {
		add("area", hw[0]*hw[1], conv.Shape{1, k, hw[0], hw[1]}, kernel, padded)
	}
	for _, rs := range [][2]int{{3, 3}, {3, 6}, {6, 6}, {6, 12}} {
		r, s := rs[0], rs[1]
		add("taps", r*s, conv.Shape{1, k, out + r - 1, out + s - 1}, conv.Shape{k, k, r, s}, conv.Params{})
	}
	for _, d := range []int{1, 2, 4, 8} {
		// Not 56: there dilation 4 reads an image of 64×64, whose planes of 16 KiB fall on the
		// same sets of a first-level cache and cost more at any dilation.
		side := out - 2 + 2*d
		add("dilation", d, conv.Shape{1, k, side, side}, kernel, conv.Params{Dilation: [2]int{d, d}})
	}
	for _, d := range []int{1, 2, 4, 8} {
		add("padded dilation", d, image, kernel, conv.Params{Padding: conv.Pad(d), Dilation: [2]int{d, d}})
	}
	return cases
}

// growth says of the layers of [Scaling] what a multiply-add costs along each axis, as
// multiples of what it costs in the axis' first layer.
func (r Report) growth() (lines []string) {
	type group struct{ axis, kind, pass, device string }
	sizes, costs := map[group][]string{}, map[group][]float64{}
	var order []group
	for _, row := range r.Rows {
		at := strings.LastIndexByte(row.Name, ' ')
		if row.Set != scalingSet || at < 0 || row.FLOPs == 0 {
			continue
		}
		g := group{row.Name[:at], row.Kind, row.Pass, row.Device}
		if costs[g] == nil {
			order = append(order, g)
		}
		sizes[g] = append(sizes[g], row.Name[at+1:])
		costs[g] = append(costs[g], float64(row.DeviceStats().Median)/float64(row.FLOPs))
	}
	for _, g := range order {
		var text []string
		for _, c := range costs[g] {
			text = append(text, fmt.Sprintf("%.2f", c/max(costs[g][0], 1e-12)))
		}
		lines = append(lines, fmt.Sprintf("%s, %s, on %s: %s %s: a multiply-add costs %s", g.kind, g.pass, g.device, g.axis,
			strings.Join(sizes[g], ", "), strings.Join(text, ", ")))
	}
	return lines
}
