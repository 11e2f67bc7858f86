package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"vkconv/bench"
	"vkconv/report"
	"vkconv/tensorio"
)

var reportCommand = command{
	name: "report", args: "-o REPORT.html",
	short: "run the built-in set and write a page with tables and plots",
	long: `Runs the built-in set as convbench does without a command, and beside it one layer at several
dilations and one at several sizes, plain and deformable. Writes one HTML page, whole by itself:
times, errors as a share of their bound, speed over the CPU path, rate against intensity, and
cost against dilation and size. The page needs no network and no script.

It also tells which share of its roofline each layer reaches: the device's peaks are measured as
convbench roofline does, or given with -gflops and -gbs.`,
	examples: `
  convbench report -o report.html
  convbench report -o cpu.html -device cpu -gflops 350 -gbs 40`,
	setup: func(flags *flag.FlagSet) action {
		var r reporting
		flags.StringVar(&r.out, "o", "", "write the page to this `file`, .html")
		flags.StringVar(&r.pattern, "run", "", "of the built-in set, run only the cases whose group or name matches this `regexp`")
		flags.DurationVar(&r.budget, "budget", bench.DefaultBudget, "how long to repeat a case on each device: a `duration`")
		flags.Uint64Var(&r.seed, "seed", 1, "the `number` that random data starts from")
		flags.Float64Var(&r.gflops, "gflops", 0, "the most `GFLOP/s` that the device does; without, it is measured")
		flags.Float64Var(&r.gbs, "gbs", 0, "the most `GB/s` that its memory gives")
		r.device = deviceFlag(flags)
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) > 0 {
				return badInputf("%q is too many; report takes flags only (convbench report -h says more)", args[0])
			}
			return r.run(ctx, e)
		}
	},
}

// reporting is what the flags ask for.
type reporting struct {
	out, pattern string
	device       *string
	budget       time.Duration
	seed         uint64
	gflops, gbs  float64
}

// check looks at the flags and finds the cases of the built-in set.
func (r *reporting) check() (cases []bench.Case, err error) {
	extension := strings.ToLower(filepath.Ext(r.out))
	switch {
	case r.out == "":
		return nil, fmt.Errorf("report needs -o REPORT.html")
	case extension != ".html" && extension != ".htm":
		return nil, fmt.Errorf("-o is %q, must end in .html", r.out)
	case r.budget <= 0:
		return nil, fmt.Errorf("-budget is %v, must be more than 0", r.budget)
	case !(r.gflops >= 0 && r.gflops < 1e12) || !(r.gbs >= 0 && r.gbs < 1e12):
		return nil, fmt.Errorf("-gflops and -gbs are %g and %g, must not be below 0", r.gflops, r.gbs)
	case (r.gflops == 0) != (r.gbs == 0):
		return nil, fmt.Errorf("-gflops and -gbs make a roofline together, give both or neither")
	}
	match, err := regexp.Compile(r.pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	for _, c := range bench.Main() {
		if match.MatchString(c.Group + " " + c.Name) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("-run %q matches no case", r.pattern)
	}
	if err := writable(r.out); err != nil {
		return nil, fmt.Errorf("cannot write -o %s: %w", r.out, err)
	}
	return cases, nil
}

// sweepTerms is how much of a sweep's layer the oracle looks at: the sweeps are
// there for their times.
const sweepTerms = 5e6

func (r *reporting) run(ctx context.Context, e *env) (err error) {
	begin := time.Now()
	cases, err := r.check()
	if err != nil {
		return badInput(err)
	}
	gpu, cpu, why, err := engines(*r.device)
	if err != nil {
		return err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	page := report.Page{CPU: cpu.Name(), CPUDriver: cpu.Driver(), Why: why, When: begin,
		System: fmt.Sprintf("%s on %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)}
	page.Device, page.Driver = cpu.Name(), cpu.Driver()
	if gpu != nil {
		page.Device, page.Driver = gpu.Name(), gpu.Driver()
	}
	if r.gflops > 0 {
		page.Peak = report.Peak{FLOPs: r.gflops * 1e9, Bytes: r.gbs * 1e9, From: "as given with -gflops and -gbs"}
	}
	b := bench.Bench{GPU: gpu, CPU: cpu, Budget: r.budget, Seed: r.seed}
	if r.gflops == 0 {
		e.progress("measuring the roofline")
		roofs, err := b.MeasureRoofs(ctx)
		e.progress("")
		if err != nil {
			return err
		}
		roof := roofs[page.Device]
		page.Peak = report.Peak{FLOPs: roof.Float32, Bytes: roof.Memory, From: "measured by micro-kernels"}
	}
	if page.Main, err = r.measure(ctx, e, b, cases, &page); err != nil {
		return err
	}
	if b.GPU != nil {
		b.CPU = nil // the sweeps are the device's
	}
	b.Terms = sweepTerms
	if page.Dilation, err = r.measure(ctx, e, b, report.Dilations(), &page); err != nil {
		return err
	}
	if page.Sizes, err = r.measure(ctx, e, b, report.Sizes(), &page); err != nil {
		return err
	}
	page.Took = time.Since(begin)
	if err := tensorio.WriteFile(r.out, page.Write); err != nil {
		return badInput(err)
	}
	right := len(page.Main) + len(page.Dilation) + len(page.Sizes)
	fmt.Fprintf(e.stdout, "%s: %s on %s, %d wrong, in %.1f s\n", r.out, plural(right+len(page.Wrong), "case"), page.Device, len(page.Wrong), page.Took.Seconds())
	if len(page.Wrong) > 0 {
		return &failure{status: statusWrong}
	}
	return nil
}

// measure runs cases; those with wrong results are noted on the page.
func (r *reporting) measure(ctx context.Context, e *env, b bench.Bench, cases []bench.Case, page *report.Page) (results []bench.Result, err error) {
	for i, c := range cases {
		e.progress("%d of %d: %s", i+1, len(cases), c.Name)
		result, err := b.Run(ctx, c)
		e.progress("")
		switch {
		case errors.Is(err, bench.ErrMismatch):
			page.Wrong = append(page.Wrong, err.Error())
		case err != nil:
			return nil, err
		default:
			results = append(results, result)
		}
	}
	return results, nil
}
