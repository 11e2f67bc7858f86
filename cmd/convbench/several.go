package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"

	"vkconv"
	"vkconv/bench"
)

var severalCommand = command{
	name: "several", args: "[DEVICE…]",
	short: "measure several devices on one batch, alone and together",
	long: `Spreads the batches of layers over several devices and compares that with each device alone.
A DEVICE is cpu, an index of convbench devices, or a part of a device's or driver's name; without
any they are all of the best kind there is. A device gets whole images, in proportion to the
speed that was measured on the layer itself.

Every result, of each device alone and of all together, is compared with the float64 oracle
first (of large ones a part that is spread evenly); then they are timed in turns. The table has
the wall time of a batch on each device and on all, from the host's memory to the host's
memory, so copies are in it; how many images each device got; and how many times faster all are
than the fastest alone. Devices that share their cores, such as software drivers and the CPU
path, cannot gain: there the figure is what the sharing out costs.`,
	examples: `
  convbench several
  convbench several llvmpipe SwiftShader
  convbench several -batch 32 -run dilation 0 1
  convbench several -run 'deformable v2' cpu cpu`,
	operands: deviceNames,
	setup: func(flags *flag.FlagSet) action {
		batch := flags.Int("batch", 8, "the `number` of images")
		pattern := flags.String("run", "", "run only the cases whose group or name matches this `regexp`")
		budget := flags.Duration("budget", bench.DefaultBudget, "how long to repeat a case: a `duration`")
		seed := flags.Uint64("seed", 1, "the `number` that random data starts from")
		return func(ctx context.Context, e *env, args []string) error {
			if *batch < 1 {
				return badInputf("-batch is %d, must be at least 1", *batch)
			}
			if *budget <= 0 {
				return badInputf("-budget is %v, must be more than 0", *budget)
			}
			match, err := regexp.Compile(*pattern)
			if err != nil {
				return badInputf("-run: %v", err)
			}
			var cases []bench.Case
			for _, c := range bench.Main() {
				if len(c.Layers) == 1 && match.MatchString(c.Group+" "+c.Name) {
					cases = append(cases, c)
				}
			}
			if len(cases) == 0 {
				return badInputf("-run %q matches no case of one layer", *pattern)
			}
			b := bench.Bench{Budget: *budget, Seed: *seed, Terms: bench.SampledTerms}
			return runSeveral(ctx, e, &b, args, cases, *batch)
		}
	},
}

func runSeveral(ctx context.Context, e *env, b *bench.Bench, devices []string, cases []bench.Case, batch int) (err error) {
	f, err := vkconv.OpenFleet(vkconv.Options{}, devices...)
	if err != nil {
		return badInput(err)
	}
	defer f.Close() // what stands by, too
	engines := f.Engines()
	defer func() { err = e.shut(err, engines...) }()
	table := bench.SpreadTable{W: e.stdout}
	for _, engine := range engines {
		fmt.Fprintf(e.stdout, "device  %s (%s)\n", engine.Name(), engine.Driver())
		table.Devices = append(table.Devices, engine.Name())
	}
	fmt.Fprintf(e.stdout, "batch   %s\n\n", plural(batch, "image"))
	worst, wrong := 0.0, 0
	for i, c := range cases {
		e.progress("%d of %d: %s", i+1, len(cases), c.Name)
		s, err := b.RunFleet(ctx, f, c, batch)
		e.progress("")
		switch {
		case errors.Is(err, bench.ErrMismatch):
			wrong++
			e.complain(fmt.Errorf("WRONG: %w", err))
			continue
		case err != nil:
			return err
		}
		table.Row(s)
		worst = max(worst, s.Worst)
	}
	fmt.Fprintf(e.stdout, "\n%s\n", verdict(len(cases), wrong, worst))
	if lost := len(engines) - len(f.Engines()); lost > 0 {
		return fmt.Errorf("%s lost on the way; the others computed what it was given", plural(lost, "device"))
	}
	if wrong > 0 {
		return &failure{status: statusWrong}
	}
	return nil
}
