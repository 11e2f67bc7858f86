package bench

import (
	"strings"
	"testing"
)

// Along each axis of the scaling set the work doubles, but for dilation, where it stays.
func TestScaling(t *testing.T) {
	work, seen := map[string]int64{}, map[string]int{}
	report := Report{}
	for _, c := range Scaling() {
		problems, err := c.Problems()
		if err != nil {
			t.Fatal(err)
		}
		at := strings.LastIndexByte(c.Name, ' ')
		axis, macs := c.Name[:at], c.cost(problems).MACs
		want := work[axis]
		if !strings.Contains(axis, "dilation") {
			want *= 2
		}
		if seen[axis] > 0 && macs != want {
			t.Errorf("%s has %d multiply-adds, want %d", c.Name, macs, want)
		}
		work[axis] = macs
		seen[axis]++
		// A device that takes a nanosecond for a multiply-add, and twice that in the last layers.
		row := Row{Set: c.Set, Name: c.Name, Kind: "conv", Pass: "forward", Device: "a device", FLOPs: 2 * macs, DeviceNS: []int64{macs}}
		if seen[axis] == 4 {
			row.DeviceNS[0] *= 2
		}
		report.Rows = append(report.Rows, row)
	}
	for axis, n := range seen {
		if n != 4 {
			t.Errorf("%s has %d layers", axis, n)
		}
	}
	lines := report.Totals()
	if len(lines) != len(seen) || lines[0] != "conv, forward, on a device: batch 1, 2, 4, 8: a multiply-add costs 1.00, 1.00, 1.00, 2.00" {
		t.Errorf("%d lines, the first %q", len(lines), lines[:1])
	}
}
