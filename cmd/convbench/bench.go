package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"vkconv"
	"vkconv/bench"
)

var benchCommand = command{
	name: "bench", args: "[DESCRIPTOR…]",
	short: "measure layers: published networks, descriptors, batch files",
	long: `Measures single layers, forward or backward, on one device: those of published networks
(-set), those that benchdnn's problem descriptors or batch files name, or one by flags. Every
result is compared with the float64 oracle before anything is timed: all elements of layers of
up to about 400 million terms, of larger ones a part that is spread evenly (-all compares all).

A descriptor is oneDNN's: g1mb2ic256ih33oc256kh3ph12dh11n"aspp". ITS DILATION COUNTS FROM 0:
dh11 is a dilation of 12. -dilation counts from 1, as everybody else does. What is left out:
g 1, mb 2, strides 1, dilations 0, padding 0 or what oh and ow need; widths are as heights.
A batch file holds descriptors and the knobs --dir, --mb, --dt=f32, --deform=v1|v2|none, --og,
--batch=FILE and --reset.

After a warm-up the layer is repeated until the spread of the device's times (half the distance
between the quartiles, as a share of the median) is small or the time is up. The table keeps
apart: the device's time between two timestamps (median, 95 in 100), the wall time from the
call to the end of waiting, the copies of operands and results, and the plan (choosing a
variant, packing weights, building pipelines). GFLOP/s count 2 for a multiply-add of direct
convolution, sampling not counted; GB/s every tensor read or written once.

Offsets of deformable layers are drawn from a normal distribution of -offsets pixels, and a
share of -outside of the samples is moved to where they miss the image.

-save keeps every repetition as JSON, for -compare: that tests each layer with the U test of
Mann and Whitney and ends with status 3 if one is slower by more than -threshold with a
probability of chance below -alpha. -format go prints what benchstat reads.`,
	examples: `
  convbench bench -set list
  convbench bench -set resnet50,aspp16 -save new.json
  convbench bench -set dcnv2 -backward -offsets 4 -outside 0.1
  convbench bench 'g1mb2ic256ih33oc256kh3ph12dh11n"aspp"' 'ic64ih56oc64kh3ph1'
  convbench bench -x 1x64x56x56 -k 64 -kernel 3x3 -pad 2 -dilation 2 -deform v2
  convbench bench -batch layers.bench -format csv
  convbench bench -set mobilenet -format go -reps 10
  convbench bench -set aspp16 -compare old.json
  convbench bench -load new.json -compare old.json -threshold 0.1`,
	values: map[string]func() []string{
		"set": func() []string {
			names := []string{"all", "list", "main", "scaling"}
			for _, s := range bench.Sets() {
				names = append(names, s.Name)
			}
			return names
		},
		"format": words(formats...), "deform": words("v1", "v2"), "dir": words("FWD_B", "FWD_D", "BWD_D", "BWD_W", "BWD_WB", "BWD_DW"), "offsets": words("zero", "2"),
	},
	setup: func(flags *flag.FlagSet) action {
		var f benchFlags
		f.flags(flags)
		return f.run
	},
}

// formats are what -format takes.
var formats = []string{"table", "csv", "json", "go"}

// benchFlags is what the flags ask for.
type benchFlags struct {
	device             *string
	tune               *time.Duration
	sets, batch, match string
	layer              layerFlags
	backward           bool
	dir, deform        string
	offsetGroups       int
	batchSize          int
	offsets            string
	outside            float64

	budget, warmup       time.Duration
	spread               float64
	reps                 int
	seed                 uint64
	cpu, all             bool
	format               string
	save, load, baseline string
	gate                 bench.Gate
}

// selection declares the flags that say which layers, and what is done with them.
func (f *benchFlags) selection(flags *flag.FlagSet, does string) {
	f.device = deviceFlag(flags)
	flags.StringVar(&f.sets, "set", "", does+" these named `sets`, with commas between them; all for all, main for the set of\n        convbench alone, list to list them")
	flags.StringVar(&f.batch, "batch", "", does+" what this batch `file` lists, as benchdnn's --batch")
	flags.StringVar(&f.match, "match", "", does+" only layers whose set, name or descriptor matches this `regexp`")
	f.layer.flags(flags)
	flags.BoolVar(&f.backward, "backward", false, does+" all gradients instead of the forward pass")
	flags.StringVar(&f.dir, "dir", "", "benchdnn's `direction`: FWD_B (with a bias, the default), FWD_D (without), BWD_D (dx),\n        BWD_W (dweight), BWD_WB (and dbias) or BWD_DW (dx and dweight)")
	flags.StringVar(&f.deform, "deform", "", "make convolutions deformable, `version` v1 or v2 (with masks)")
	flags.IntVar(&f.offsetGroups, "og", 1, "the `number` of offset groups with -deform")
	flags.IntVar(&f.batchSize, "mb", 0, "measure batches of this `number` of images; 0 leaves each layer its own")
}

func (f *benchFlags) flags(flags *flag.FlagSet) {
	f.selection(flags, "measure")
	f.tune = tuneFlag(flags)
	flags.StringVar(&f.offsets, "offsets", "2", "offsets are zero, or normal with this standard deviation in `pixels`")
	flags.Float64Var(&f.outside, "outside", 0, "the `share` of samples, 0 to 1, that is moved outside the image")
	flags.DurationVar(&f.budget, "budget", 2*time.Second, "how long to repeat a layer: a `duration`")
	flags.DurationVar(&f.warmup, "warmup", 0, "how long to run it before, at least once: a `duration`")
	flags.Float64Var(&f.spread, "spread", 0.01, "stop early, after ten repetitions, at this `share` of spread; 0 uses the whole budget")
	flags.IntVar(&f.reps, "reps", 1000, "stop at this `number` of repetitions")
	flags.Uint64Var(&f.seed, "seed", 1, "the `number` that random data starts from")
	flags.BoolVar(&f.cpu, "cpu", false, "measure the CPU path, too, where the device is a GPU")
	flags.BoolVar(&f.all, "all", false, "compare every element with the oracle, however long it takes")
	flags.StringVar(&f.format, "format", "table", "print this `format`: table, csv, json, or go for benchstat")
	flags.StringVar(&f.save, "save", "", "write all repetitions to this `file` as JSON")
	flags.StringVar(&f.load, "load", "", "measure nothing, take the results from this `file` of -save")
	flags.StringVar(&f.baseline, "compare", "", "compare with the results in this `file` of -save")
	flags.Float64Var(&f.gate.Alpha, "alpha", 0.05, "with -compare: believe differences below this `probability` of chance")
	flags.Float64Var(&f.gate.Threshold, "threshold", 0.05, "with -compare: the `share` by which a median must differ to count")
}

func (f *benchFlags) run(ctx context.Context, e *env, args []string) error {
	if f.sets == "list" {
		return listSets(e)
	}
	offsets, err := f.check(args)
	if err != nil {
		return badInput(err)
	}
	var old bench.Report
	if f.baseline != "" { // before the work, not after it
		if old, err = readReport(f.baseline); err != nil {
			return badInput(err)
		}
	}
	var report bench.Report
	if f.load != "" {
		if report, err = readReport(f.load); err != nil {
			return badInput(err)
		}
		if f.format == "table" {
			report.WriteTable(e.stdout, limits(report))
		}
	} else {
		cases, err := f.cases(args)
		if err != nil {
			return badInput(err)
		}
		if f.save != "" {
			if err := writable(f.save); err != nil {
				return badInputf("cannot write -save %s: %w", f.save, err)
			}
		}
		if report, err = f.measure(ctx, e, cases, offsets); err != nil {
			return err
		}
	}
	if err := f.write(e, report); err != nil {
		return err
	}
	if f.baseline == "" {
		return nil
	}
	out := e.stdout
	if f.format != "table" { // which is for a program
		out = e.stderr
	}
	c := bench.Compare(old, report, f.gate)
	fmt.Fprintln(out)
	if err := c.Write(out); err != nil {
		return err
	}
	if len(c.Changes) == 0 {
		return badInputf("%s has none of these layers", f.baseline)
	}
	if c.Slower() > 0 {
		return &failure{status: statusSlower}
	}
	return nil
}

// check refuses what cannot be meant.
func (f *benchFlags) check(args []string) (bench.Offsets, error) {
	offsets, err := bench.ParseOffsets(f.offsets)
	if err != nil {
		return offsets, fmt.Errorf("-offsets: %w", err)
	}
	offsets.Outside = f.outside
	if err := offsets.Validate(); err != nil {
		return offsets, fmt.Errorf("-outside: %w", err)
	}
	if err := f.checkSelection("bench", args); err != nil {
		return offsets, err
	}
	switch {
	case !slices.Contains(formats, f.format):
		return offsets, fmt.Errorf("-format is %q, must be one of %s", f.format, strings.Join(formats, ", "))
	case f.budget <= 0 || f.warmup < 0:
		return offsets, fmt.Errorf("-budget is %v and -warmup %v, must be more than 0 and at least 0", f.budget, f.warmup)
	case f.reps < 1 || *f.tune < 0:
		return offsets, fmt.Errorf("-reps is %d and -tune %v, must be at least 1 and 0", f.reps, *f.tune)
	case !(f.spread >= 0 && f.spread < 1), !(f.gate.Alpha > 0 && f.gate.Alpha < 1), !(f.gate.Threshold >= 0):
		return offsets, fmt.Errorf("-spread is %g, -alpha %g, -threshold %g, must be at least 0, between 0 and 1, at least 0", f.spread, f.gate.Alpha, f.gate.Threshold)
	case f.load != "" && f.save != "":
		return offsets, fmt.Errorf("-save would write what -load has read")
	}
	if f.gate.Threshold == 0 {
		f.gate.Threshold = 1e-9 // 0 is the package's word for its default
	}
	return offsets, nil
}

// checkSelection refuses what cannot be meant of the flags that say which layers.
func (f *benchFlags) checkSelection(command string, args []string) error {
	given := 0
	for _, is := range []bool{f.sets != "", f.batch != "", len(args) > 0, f.layer.given(), f.load != ""} {
		if is {
			given++
		}
	}
	also := ""
	if command == "bench" {
		also = " and -load"
	}
	switch {
	case given == 0:
		return fmt.Errorf("%s needs something to measure: -set, -batch, descriptors, or -x with -k (convbench %s -h says more)", command, command)
	case given > 1:
		return fmt.Errorf("%s takes one of -set, -batch, descriptors, -x%s, not several", command, also)
	case f.backward && f.dir != "":
		return fmt.Errorf("-backward and -dir exclude each other")
	case f.batchSize < 0 || f.offsetGroups < 1:
		return fmt.Errorf("-mb is %d and -og %d, must be at least 0 and 1", f.batchSize, f.offsetGroups)
	}
	return nil
}

// knobs are what holds for all layers.
func (f *benchFlags) knobs() (bench.Knobs, error) {
	k := bench.DefaultKnobs
	if f.dir != "" {
		if err := k.SetDirection(f.dir); err != nil {
			return k, fmt.Errorf("-dir: %w", err)
		}
	}
	if f.backward {
		k.Backward = true
	}
	if f.deform != "" {
		if err := k.SetDeform(f.deform); err != nil {
			return k, fmt.Errorf("-deform: %w", err)
		}
		k.Deform.OffsetGroups = f.offsetGroups
	}
	k.Batch = f.batchSize
	return k, nil
}

// cases collects what is to be measured.
func (f *benchFlags) cases(args []string) ([]bench.Case, error) {
	k, err := f.knobs()
	if err != nil {
		return nil, err
	}
	match, err := regexp.Compile(f.match)
	if err != nil {
		return nil, fmt.Errorf("-match: %w", err)
	}
	var all, cases []bench.Case
	switch {
	case f.sets != "":
		all, err = namedSets(f.sets)
	case f.batch != "":
		// The file's own knobs come after these.
		if all, err = bench.ReadBatch(f.batch, k); err != nil {
			return nil, err
		}
		k = bench.Knobs{}
	case len(args) > 0:
		for _, a := range args {
			c, err := bench.ParseDescriptor(a)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	default:
		var c bench.Case
		c, err = f.layer.build()
		all = []bench.Case{c}
	}
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if !match.MatchString(strings.Join([]string{c.Set, c.Name, c.Descriptor()}, " ")) {
			continue
		}
		if f.batch == "" && c.Group != mainGroup {
			if c, err = k.Apply(c); err != nil {
				return nil, err
			}
		}
		cases = append(cases, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no layer in it")
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("-match %q matches none of %s", f.match, plural(len(all), "layer"))
	}
	return cases, nil
}

// mainGroup marks the cases of the built-in set, which have passes and biases of their own.
const mainGroup = "main"

// namedSets returns the layers of the sets with these names.
func namedSets(names string) (cases []bench.Case, err error) {
	sets := bench.Sets()
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(sets, func(s bench.Set) bool { return s.Name == name })
		switch {
		case name == "main":
			for _, c := range bench.Main() {
				c.Set, c.Group = "main", mainGroup
				cases = append(cases, c)
			}
		case name == "scaling":
			cases = append(cases, bench.Scaling()...)
		case name == "all":
			for _, s := range sets {
				for _, l := range s.Layers {
					cases = append(cases, l.Case())
				}
			}
		case i < 0:
			var known []string
			for _, s := range sets {
				known = append(known, s.Name)
			}
			return nil, fmt.Errorf("there is no set %q; there are %s, scaling, main and all", name, strings.Join(known, ", "))
		default:
			for _, l := range sets[i].Layers {
				cases = append(cases, l.Case())
			}
		}
	}
	return cases, nil
}

func listSets(e *env) error {
	for _, s := range bench.Sets() {
		n := 0
		for _, l := range s.Layers {
			n += l.Times
		}
		fmt.Fprintf(e.stdout, "%-10s %s, %d different; %s\n", s.Name, plural(n, "layer"), len(s.Layers), s.About)
	}
	fmt.Fprintf(e.stdout, "%-10s %s; how the cost of one grows as each of its extents doubles (not among all)\n", "scaling", plural(len(bench.Scaling()), "layer"))
	fmt.Fprintf(e.stdout, "%-10s %s of what convbench alone measures\n", "main", plural(len(bench.Main()), "case"))
	return nil
}

func readReport(path string) (bench.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return bench.Report{}, err
	}
	defer f.Close()
	r, err := bench.ReadReport(f)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// measure runs all cases. The table is written while it goes on.
func (f *benchFlags) measure(ctx context.Context, e *env, cases []bench.Case, offsets bench.Offsets) (report bench.Report, err error) {
	gpu, cpu, why, err := enginesWith(vkconv.Options{Device: *f.device, Tune: *f.tune})
	if err != nil {
		return report, err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	b := bench.Bench{GPU: gpu, CPU: cpu, Seed: f.seed, Offsets: &offsets, Terms: bench.SampledTerms,
		Budget: f.budget, Warmup: f.warmup, Spread: f.spread, Most: f.reps, Copies: true}
	if f.all {
		b.Terms = 0
	}
	if gpu != nil && !f.cpu {
		b.CPU = nil
	}
	report = bench.NewReport(f.seed, offsets)
	shown := io.Discard
	if f.format == "table" {
		shown = e.stdout
		f.introduce(e, gpu, cpu, why, offsets, cases)
	}
	e.progress("measuring the roofline")
	report.Roofs, err = b.MeasureRoofs(ctx)
	e.progress("")
	if err != nil {
		return report, err
	}
	table := bench.Wide{W: shown, Peak: report.Limit}
	wrong, worst, sampled := 0, 0.0, 0
	for i, c := range cases {
		e.progress("%d of %d: %s %s", i+1, len(cases), c.Set, c.Name)
		r, err := b.Run(ctx, c)
		e.progress("")
		switch {
		case errors.Is(err, bench.ErrMismatch):
			wrong++
			e.complain(fmt.Errorf("WRONG: %w", err))
			continue
		case err != nil:
			return report, err
		}
		for _, row := range r.Rows() {
			report.Rows = append(report.Rows, row)
			table.Row(row)
			worst = max(worst, row.Worst)
			if row.Every > 1 {
				sampled++
			}
		}
	}
	if f.format == "table" {
		fmt.Fprintf(shown, "\n%s\n", verdict(len(cases), wrong, worst))
		if sampled > 0 {
			fmt.Fprintf(shown, "Of %s a part of the elements was compared, of the others all; -all compares all.\n", plural(sampled, "large measurement"))
		}
		for _, line := range report.Totals() {
			fmt.Fprintln(shown, line)
		}
	}
	if wrong > 0 {
		return report, &failure{status: statusWrong}
	}
	return report, nil
}

// limits is what a report knows of rooflines, nil where that is nothing.
func limits(r bench.Report) func(bench.Row) string {
	if len(r.Roofs) == 0 {
		return nil
	}
	return r.Limit
}

// introduce says what is measured on what.
func (f *benchFlags) introduce(e *env, gpu, cpu *vkconv.Engine, why string, offsets bench.Offsets, cases []bench.Case) {
	introduce(e, gpu, cpu, why)
	if gpu == nil {
		adviseIfNone(e, *f.device)
	}
	if slices.ContainsFunc(cases, func(c bench.Case) bool { return strings.HasPrefix(c.Kind(), "deform") || c.Kind() == "dcnv4" }) {
		fmt.Fprintf(e.stdout, "offsets %v\n", offsets)
	}
	fmt.Fprintln(e.stdout)
}

// write puts the results where and how they were asked for.
func (f *benchFlags) write(e *env, r bench.Report) error {
	if f.save != "" {
		if err := save(f.save, r.WriteJSON); err != nil {
			return badInput(err)
		}
	}
	switch f.format {
	case "csv":
		return r.WriteCSV(e.stdout)
	case "json":
		return r.WriteJSON(e.stdout)
	case "go":
		return r.WriteGo(e.stdout)
	}
	return nil
}
