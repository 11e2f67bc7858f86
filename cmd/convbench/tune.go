package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"vkconv"
	"vkconv/bench"
)

var tuneCommand = command{
	name: "tune", args: "[DESCRIPTOR…]",
	short: "measure which kernel is the fastest for a layer, and tell why it was chosen",
	long: `Shows for each layer what kernels there are: which do not fit the layer or the device and why,
what the cost model expects of the others (as a multiple of the least), and how long they take.
The layers are given as to convbench bench. On the CPU path there is nothing to choose from.

Kernels are tried in the order of the cost model for about -budget a layer, each once to warm up
and then up to five times; the best time counts. The cost model's own choice stays unless another
is at least 2% faster. The answer is kept beside the pipeline cache ($VKCONV_CACHE) for this
device, its driver and this version's shaders, and what is opened with -tune, $VKCONV_TUNE or
Options.Tune takes it from there instead of measuring. Without any of these the cost model
chooses, so that results have the same bits whatever was tuned before; another kernel may add in
another order and so give other last bits, but one that is kept gives the same every time.

Measure while the machine does nothing else. Layers that are computed in pieces have no choice.`,
	examples: `
  convbench tune -x 1x64x56x56 -k 64 -pad 2 -dilation 2
  convbench tune -set resnet50,dcnv2 -brief
  convbench tune 'ic64ih56oc64kh3ph1' -winograd -again
  convbench tune -set mobilenet -budget 0`,
	values: map[string]func() []string{"set": benchCommand.values["set"], "deform": benchCommand.values["deform"], "dir": benchCommand.values["dir"]},
	setup: func(flags *flag.FlagSet) action {
		var f benchFlags
		f.selection(flags, "tune")
		budget := flags.Duration("budget", 2*time.Second, "how long to measure a layer's kernels: a `duration`; 0 shows the cost model's choice")
		again := flags.Bool("again", false, "measure although there is an answer, and keep nothing")
		winograd := flags.Bool("winograd", false, "allow Winograd's algorithm")
		brief := flags.Bool("brief", false, "print one line a layer, as a Markdown table")
		return func(ctx context.Context, e *env, args []string) error {
			if err := f.checkSelection("tune", args); err != nil {
				return badInput(err)
			}
			if *budget < 0 {
				return badInputf("-budget is %v, must be at least 0", *budget)
			}
			cases, err := f.cases(args)
			if err != nil {
				return badInput(err)
			}
			o := vkconv.Options{Device: *f.device, Tune: *budget}
			if *again {
				o.CacheDir = "off"
			}
			var options []vkconv.LayerOption
			if *winograd {
				options = append(options, vkconv.AllowWinograd())
			}
			return tuneCases(ctx, e, o, cases, options, *brief)
		}
	},
}

func tuneCases(ctx context.Context, e *env, o vkconv.Options, cases []bench.Case, options []vkconv.LayerOption, brief bool) (err error) {
	engine, err := vkconv.Open(o)
	if err != nil {
		return badInput(err)
	}
	defer func() { err = e.shut(err, engine) }()
	if !engine.OnGPU() {
		fmt.Fprintf(e.stdout, "There is nothing to choose from: the CPU path has one kernel for everything.\nwhy     %s\n", wrap(engine.Why(), 72, "        "))
		return nil
	}
	fmt.Fprintf(e.stdout, "device  %s\ndriver  %s\n\n", engine.Name(), engine.Driver())
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	if brief {
		w = tabwriter.NewWriter(e.stdout, 0, 0, 1, ' ', 0)
		fmt.Fprintf(w, "| layer\t| of\t| cost model's\t| ms\t| chosen\t| ms\t| ratio\t|\n|---\t|---\t|---\t|---\t|---\t|---\t|---\t|\n")
	}
	var gains []float64
	for i, c := range cases {
		e.progress("%d of %d: %s %s", i+1, len(cases), c.Set, c.Name)
		tuned, err := c.Choices(ctx, engine, options...)
		e.progress("")
		if err != nil {
			return err
		}
		for _, t := range tuned {
			if !brief {
				fmt.Fprintf(w, "%s: %s\n  %s\n", t.Name, t.Shape, t.Describe)
			}
			for _, choice := range t.Choices {
				k := weigh(choice)
				if k.gain() > 0 {
					gains = append(gains, k.gain())
				}
				if brief {
					k.line(w, t.Name)
				} else {
					k.table(w)
				}
			}
			if !brief {
				fmt.Fprintln(w)
				w.Flush()
			}
		}
	}
	if brief {
		w.Flush()
	}
	if len(gains) > 0 {
		fmt.Fprintf(e.stdout, "%sOf %s the chosen kernel is %.2f × as fast as the cost model's (geometric mean), at most %.2f ×.\n",
			map[bool]string{true: "\n"}[brief], plural(len(gains), "choice"), math.Exp(mean(gains, math.Log)), slices.Max(gains))
	}
	return nil
}

func mean(v []float64, of func(float64) float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += of(x)
	}
	return sum / float64(len(v))
}

// weighed is a choice with what stands out in it.
type weighed struct {
	vkconv.Choice
	fit, unfit    []vkconv.Variant // by cost
	guess, chosen vkconv.Variant
}

func weigh(c vkconv.Choice) (k weighed) {
	k.Choice = c
	for _, v := range c.Variants {
		if v.Unfit == "" {
			k.fit = append(k.fit, v)
		} else {
			k.unfit = append(k.unfit, v)
		}
		if v.Chosen {
			k.chosen = v
		}
	}
	slices.SortStableFunc(k.fit, func(a, b vkconv.Variant) int {
		switch {
		case a.Cost < b.Cost:
			return -1
		case a.Cost > b.Cost:
			return 1
		}
		return 0
	})
	k.guess = k.fit[0]
	return k
}

// gain is how many times faster the chosen kernel is than the cost model's; 0 where
// they were not measured.
func (k weighed) gain() float64 {
	if k.guess.Time == 0 || k.chosen.Time == 0 {
		return 0
	}
	return float64(k.guess.Time) / float64(k.chosen.Time)
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.3g", d.Seconds()*1e3)
}

func (k weighed) line(w io.Writer, name string) {
	gain := ""
	if k.gain() > 0 {
		gain = fmt.Sprintf("%.2f", k.gain())
	}
	fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", name, k.Of, k.guess.Name, milliseconds(k.guess.Time), k.chosen.Name, milliseconds(k.chosen.Time), gain)
}

func (k weighed) table(w io.Writer) {
	fmt.Fprintf(w, "  %s: %s\n  variant\tcost\tms\truns\t\n", k.Of, k.How)
	for _, v := range k.fit {
		var notes []string
		if v.Chosen {
			notes = append(notes, "chosen")
		}
		if v.Name == k.guess.Name {
			notes = append(notes, "the cost model's choice")
		}
		runs := fmt.Sprint(v.Runs)
		if v.Runs == 0 {
			runs = ""
			if k.chosen.Runs > 0 {
				notes = append(notes, "not tried, the time was up")
			}
		}
		fmt.Fprintf(w, "  %s\t%.2f\t%s\t%s\t%s\n", v.Name, v.Cost/k.guess.Cost, milliseconds(v.Time), runs, strings.Join(notes, "; "))
	}
	var reasons []string
	names := map[string][]string{}
	for _, v := range k.unfit {
		if names[v.Unfit] == nil {
			reasons = append(reasons, v.Unfit)
		}
		names[v.Unfit] = append(names[v.Unfit], v.Name)
	}
	for _, r := range reasons {
		fmt.Fprintf(w, "  not %s\n", wrap(strings.Join(names[r], ", ")+": "+r, 90, "      "))
	}
}
