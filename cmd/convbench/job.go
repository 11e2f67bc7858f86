package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"strings"
	"time"

	"vkconv"
	"vkconv/bench"
)

var mainCommand = command{
	short: "verify and time a built-in set of layers",
	long: `Runs a built-in set of layers (3×3 against 9×9 kernels, dilations 1, 2 and 4, the rates of
atrous spatial pyramid pooling, deformable convolution v1 and v2, and backward the gradients
of a dilated and a deformable layer) on the best Vulkan device and on the CPU. Every element
of every result is compared with a float64 oracle first; only then is anything timed.

The table has for each layer: its device time between two timestamps (median, and half the
distance between the quartiles), its wall time, GFLOP/s (2 for a multiply-add of direct
convolution, sampling not counted), GB/s (every tensor read or written once), its share of the
device's own roofline, min(peak, intensity × bandwidth), which is measured first (see convbench
roofline), how many times faster than the CPU path, and the largest error as a share of its
bound: up to 1 is right.`,
	examples: `
  convbench
  convbench -device cpu
  convbench -run 'rate|dilation' -budget 2s`,
	setup: func(flags *flag.FlagSet) action {
		device := deviceFlag(flags)
		pattern := flags.String("run", "", "run only the cases whose group or name matches this `regexp`")
		budget := flags.Duration("budget", bench.DefaultBudget, "how long to repeat a case on each device: a `duration`")
		tune := tuneFlag(flags)
		seed := flags.Uint64("seed", 1, "the `number` that random data starts from")
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) > 0 {
				return badInputf("%q is too many; the built-in set takes flags only", args[0])
			}
			if *budget <= 0 {
				return badInputf("-budget is %v, must be more than 0", *budget)
			}
			if *tune < 0 {
				return badInputf("-tune is %v, must be at least 0", *tune)
			}
			match, err := regexp.Compile(*pattern)
			if err != nil {
				return badInputf("-run: %v", err)
			}
			var cases []bench.Case
			for _, c := range bench.Main() {
				if match.MatchString(c.Group + " " + c.Name) {
					cases = append(cases, c)
				}
			}
			if len(cases) == 0 {
				return badInputf("-run %q matches no case", *pattern)
			}
			return runBench(ctx, e, vkconv.Options{Device: *device, Tune: *tune}, cases, *budget, *seed)
		}
	},
}

func runBench(ctx context.Context, e *env, o vkconv.Options, cases []bench.Case, budget time.Duration, seed uint64) (err error) {
	begin := time.Now()
	gpu, cpu, why, err := enginesWith(o)
	if err != nil {
		return err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	introduce(e, gpu, cpu, why)
	if gpu == nil {
		adviseIfNone(e, o.Device)
	}
	b := bench.Bench{GPU: gpu, CPU: cpu, Budget: budget, Seed: seed}
	e.progress("measuring the roofline")
	roofs, err := b.MeasureRoofs(ctx)
	e.progress("")
	if err != nil {
		return err
	}
	main := cpu
	if gpu != nil {
		main = gpu
	}
	fmt.Fprintf(e.stdout, "roof    %s\n\n", bench.RoofLine(roofs[main.Name()]))
	table := bench.Table{W: e.stdout, Roofs: roofs}
	worst, wrong := 0.0, 0
	for i, c := range cases {
		e.progress("%d of %d: %s", i+1, len(cases), c.Name)
		r, err := b.Run(ctx, c)
		e.progress("")
		switch {
		case errors.Is(err, bench.ErrMismatch):
			wrong++
			fmt.Fprintf(e.stdout, "  WRONG: %v\n", err)
			continue
		case err != nil:
			return err
		}
		table.Row(r)
		worst = max(worst, r.CPU.Worst)
		if r.GPU != nil {
			worst = max(worst, r.GPU.Worst)
		}
	}
	fmt.Fprintf(e.stdout, "\n%s\n", verdict(len(cases), wrong, worst))
	fmt.Fprintf(e.stdout, "Every element was compared with the float64 oracle before it was timed.\n%.1f s in all.\n", time.Since(begin).Seconds())
	if wrong > 0 {
		return &failure{status: statusWrong}
	}
	return nil
}

// introduce names the device, its driver, why it is used, and the CPU path.
func introduce(e *env, gpu, cpu *vkconv.Engine, why string) {
	if gpu != nil {
		fmt.Fprintf(e.stdout, "device  %s\ndriver  %s\n", gpu.Name(), gpu.Driver())
	}
	fmt.Fprintf(e.stdout, "cpu     %s (%s)\n", cpu.Name(), cpu.Driver())
	fmt.Fprintf(e.stdout, "why     %s\n", wrap(why, 72, "        "))
}

// verdict sums up how many cases were right.
func verdict(cases, wrong int, worst float64) string {
	if wrong == 0 {
		return fmt.Sprintf("%s, none outside its bound; largest error %.3f of the bound.", plural(cases, "case"), worst)
	}
	return fmt.Sprintf("%s, %d WRONG.", plural(cases, "case"), wrong)
}

// plural writes a count of something.
func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// wrap breaks a text into lines of at most width characters where it has
// spaces; lines after the first begin with indent.
func wrap(text string, width int, indent string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n"+indent)
}
