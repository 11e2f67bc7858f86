package main

import (
	"fmt"
	"io"
	"math"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"vkconv"
)

// report is what was measured: milliseconds of every turn, by layer, ours and
// every peer's.
type report struct {
	*settings
	engine *vkconv.Engine
	layers []layer
	left   []string // names of layers there was no time for
	ours   run
	peers  []peerRun
}

// peerRun is one peer's figures. A layer it does not have is missing.
type peerRun struct {
	name, about string
	times       run
	direct      run               // without Winograd, where it tells
	ways        map[string]string // what it computed a layer by
	missing     map[string]string // why it has no figure
}

// leaveOut takes out the layers that were not measured.
func (r *report) leaveOut() {
	r.layers = slices.DeleteFunc(slices.Clone(r.layers), func(l layer) bool {
		if len(r.ours[l.Name]) > 0 {
			return false
		}
		r.left = append(r.left, l.Name)
		return true
	})
}

func (r *report) write(w io.Writer) {
	pass := "forward"
	if r.backward {
		pass = "backward, all gradients"
	}
	if r.winograd {
		pass += ", Winograd allowed"
	}
	if r.split {
		pass += ", operands split for matrix units"
	}
	clock := map[string]string{
		wall:      "milliseconds on the clock",
		processor: "milliseconds of processors, all threads together, which other programs disturb less",
		device:    "milliseconds of the device, by its own clock",
	}[r.clock]
	fmt.Fprintf(w, "%s, %d threads, %v, %s; %s.\nOurs: %s; %s; commit %s.\n", pass, r.threads, r.typ,
		time.Now().UTC().Format("2006-01-02"), clock, r.engine.Name(), r.engine.Driver(), commit())
	head, rule := "| layer | ours, ms | ± | GFLOP/s |", "|---|---|---|---|"
	for _, p := range r.peers {
		fmt.Fprintf(w, "%s: %s.\n", p.name, p.about)
		head += fmt.Sprintf(" %s, ms | ± | GFLOP/s | %s / ours |", p.name, p.name)
		rule += "---|---|---|---|"
	}
	fmt.Fprintf(w, "\n%s\n%s\n", head, rule)
	for _, l := range r.layers {
		fmt.Fprintf(w, "| %s |%s", l.Name, r.figures(l, r.ours))
		for _, p := range r.peers {
			if fmt.Fprint(w, r.figures(l, p.times)); len(p.times[l.Name]) > 0 {
				fmt.Fprintf(w, " %.2f", r.ratio(l, p.times))
				if way := p.ways[l.Name]; way != "" {
					fmt.Fprintf(w, " (%s)", way)
				}
				if direct := p.direct[l.Name]; len(direct) > 0 && median(direct) > median(p.times[l.Name]) {
					fmt.Fprintf(w, "; without Winograd %.2f", r.ratio(l, p.direct))
				}
			}
			fmt.Fprint(w, " |")
		}
		fmt.Fprintln(w)
	}
	for _, p := range r.peers {
		for _, l := range r.layers {
			if why := p.missing[l.Name]; why != "" {
				fmt.Fprintf(w, "\n%s has no figure for %s: %s.\n", p.name, l.Name, strings.TrimSuffix(why, "."))
			}
		}
	}
	if len(r.left) > 0 {
		fmt.Fprintf(w, "\nNot measured, for want of time: %s.\n", strings.Join(r.left, ", "))
	}
	r.means(w)
	r.shares(w)
}

// commit is that of the working directory, or of the build where there is none.
func commit() string {
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 7 {
				return s.Value[:7]
			}
		}
	}
	return "unknown"
}

// figures are the cells of one side.
func (r *report) figures(l layer, times run) string {
	t := times[l.Name]
	if len(t) == 0 {
		return " | | |"
	}
	return fmt.Sprintf(" %.3g | %.2g | %.3g |", median(t), spread(t), l.flops(r.backward)/1e6/median(t))
}

func (r *report) ratio(l layer, times run) float64 {
	return median(times[l.Name]) / median(r.ours[l.Name])
}

// means prints the geometric mean of the ratios, over each set and kind of layer.
func (r *report) means(w io.Writer) {
	var groups []string
	group := func(l layer) string {
		kind := "convolution"
		if l.OG > 0 {
			kind = "deformable"
		}
		if l.Set == "" {
			return kind
		}
		return l.Set + ", " + kind
	}
	for _, l := range r.layers {
		if g := group(l); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	fmt.Fprintln(w)
	for _, p := range r.peers {
		for _, g := range groups {
			sum, least, n := 0.0, math.Inf(1), 0
			for _, l := range r.layers {
				if group(l) == g && len(p.times[l.Name]) > 0 {
					ratio := r.ratio(l, p.times)
					sum, least, n = sum+math.Log(ratio), min(least, ratio), n+1
				}
			}
			if n > 0 {
				fmt.Fprintf(w, "Geometric mean, %s: %.2f × as fast as %s over %d layers, the least %.2f ×.\n", g, math.Exp(sum/float64(n)), p.name, n, least)
			}
		}
	}
}

// shares prints the speed of deformable layers beside that of our own ordinary
// convolution of the same shape.
func (r *report) shares(w io.Writer) {
	for _, l := range r.layers {
		plain := l
		plain.OG, plain.Mask = 0, false
		for _, o := range r.layers {
			plain.Name, plain.Set = o.Name, o.Set
			if l.OG > 0 && o == plain {
				fmt.Fprintf(w, "\n%s: %.2f × the speed of our %s.\n", l.Name, median(r.ours[o.Name])/median(r.ours[l.Name]), o.Name)
				break
			}
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func spread(v []float64) float64 { return (slices.Max(v) - slices.Min(v)) / 2 }
