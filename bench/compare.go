package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/perf/benchmath"
)

// Gate says when a difference between two reports counts.
type Gate struct {
	Alpha     float64 // the probability of chance below which a difference is believed; 0 means 0.05
	Threshold float64 // by how much the median must differ, as a share; 0 means 0.05
}

func (g Gate) withDefaults() Gate {
	if g.Alpha == 0 {
		g.Alpha = 0.05
	}
	if g.Threshold == 0 {
		g.Threshold = 0.05
	}
	return g
}

// Change is a case in two reports.
type Change struct {
	Old, New Row
	P        float64  // Mann-Whitney's U test of the device's times
	Ratio    float64  // of the medians, new by old
	Warnings []string // why P says little
	Slower   bool     // believed and large enough, as the gate has it
	Faster   bool
}

// Comparison is two reports side by side.
type Comparison struct {
	Gate             Gate
	Changes          []Change
	OnlyOld, OnlyNew []string // cases without a partner
	Notes            []string // what makes the comparison doubtful
}

// Compare sets the device's times of two reports side by side. Whether they
// differ is decided by the U test of Mann and Whitney, which assumes nothing of
// their distribution but that the repetitions are independent. Those of one run
// are less so than they look, for a machine's speed drifts: hence the threshold.
func Compare(old, new Report, g Gate) Comparison {
	g = g.withDefaults()
	c := Comparison{Gate: g}
	// A report may hold a case on two devices: those are told apart where both do.
	before, seen := map[string][]Row{}, map[string]int{}
	for _, row := range old.Rows {
		before[row.key()] = append(before[row.key()], row)
	}
	devices := map[string]bool{}
	thresholds := benchmath.Thresholds{CompareAlpha: g.Alpha}
	for _, row := range new.Rows {
		k := row.key()
		i := seen[k]
		if i >= len(before[k]) {
			c.OnlyNew = append(c.OnlyNew, row.Title())
			continue
		}
		seen[k]++
		was := before[k][i]
		if was.Device != row.Device || was.Driver != row.Driver {
			devices[fmt.Sprintf("%s (%s) before, %s (%s) now", was.Device, was.Driver, row.Device, row.Driver)] = true
		}
		p := benchmath.AssumeNothing.Compare(benchmath.NewSample(floats(was.DeviceNS), &thresholds), benchmath.NewSample(floats(row.DeviceNS), &thresholds))
		ratio := float64(row.DeviceStats().Median) / max(float64(was.DeviceStats().Median), 1)
		ch := Change{Old: was, New: row, P: p.P, Ratio: ratio}
		for _, w := range p.Warnings {
			ch.Warnings = append(ch.Warnings, w.Error())
		}
		believed := p.P < g.Alpha
		ch.Slower = believed && ratio > 1+g.Threshold
		ch.Faster = believed && ratio < 1-g.Threshold
		c.Changes = append(c.Changes, ch)
	}
	for _, row := range old.Rows {
		if k := row.key(); seen[k] > 0 {
			seen[k]--
		} else {
			c.OnlyOld = append(c.OnlyOld, row.Title())
		}
	}
	for d := range devices {
		c.Notes = append(c.Notes, "other devices: "+d)
	}
	if old.CPU != new.CPU || old.Cores != new.Cores {
		c.Notes = append(c.Notes, fmt.Sprintf("other processors: %s, %d cores before, %s, %d cores now", old.CPU, old.Cores, new.CPU, new.Cores))
	}
	if old.Offsets != new.Offsets {
		c.Notes = append(c.Notes, fmt.Sprintf("other offsets: %s before, %s now", old.Offsets, new.Offsets))
	}
	return c
}

func floats(ns []int64) []float64 {
	v := make([]float64, len(ns))
	for i, n := range ns {
		v[i] = float64(n)
	}
	return v
}

// Slower counts the regressions.
func (c Comparison) Slower() (n int) {
	for _, ch := range c.Changes {
		if ch.Slower {
			n++
		}
	}
	return n
}

// Write writes the comparison as a table with a verdict below.
func (c Comparison) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "old ms\tnew ms\tchange\tp\t  case")
	few := 0
	for _, ch := range c.Changes {
		verdict := ""
		switch {
		case ch.Slower:
			verdict = "  SLOWER"
		case ch.Faster:
			verdict = "  faster"
		}
		delta := "~"
		if ch.P < c.Gate.Alpha {
			delta = fmt.Sprintf("%+.1f%%", 100*(ch.Ratio-1))
		}
		if len(ch.Warnings) > 0 {
			few++
			verdict += " (" + strings.Join(ch.Warnings, "; ") + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.3f\t  %s, %s%s\n", significant(milliseconds(ch.Old.DeviceStats().Median)),
			significant(milliseconds(ch.New.DeviceStats().Median)), delta, ch.P, ch.New.Title(), ch.New.Pass, verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, n := range c.Notes {
		fmt.Fprintf(w, "Note: %s.\n", n)
	}
	if len(c.OnlyOld) > 0 {
		fmt.Fprintf(w, "Only in the old report: %s.\n", strings.Join(c.OnlyOld, ", "))
	}
	if len(c.OnlyNew) > 0 {
		fmt.Fprintf(w, "Only in the new report: %s.\n", strings.Join(c.OnlyNew, ", "))
	}
	_, err := fmt.Fprintf(w, "%d compared, %d slower by more than %g%% with p < %g (Mann-Whitney U test).\n", len(c.Changes), c.Slower(), 100*c.Gate.Threshold, c.Gate.Alpha)
	return err
}

// total is the time that a network's layers of this kind take together.
func (r Row) total() time.Duration { return time.Duration(r.Times) * r.DeviceStats().Median }
