package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vkconv"
	"vkconv/bench"
	"vkconv/conv"
	"vkconv/tensorio"
)

var checkCommand = command{
	name: "check", args: "FILE.npz|DIRECTORY…",
	short: "run cases made by another program, or at random",
	long: `Runs convolutions made by another program on the Vulkan device and on the CPU and compares
every element with the expected result. A line a case shows the largest error as a share of
its bound, which follows from the number of roundings: up to 1 is right. A directory stands
for all .npz files in it.

A case is an .npz file (numpy.savez) with x [N,C,H,W] and weight [K,C/groups,R,S]; optionally
bias [K]; offset [N,2·og·R·S,Ho,Wo], which makes it deformable, and mask [N,og·R·S,Ho,Wo];
stride [2], padding [4] (top, left, bottom, right), dilation [2], groups [1]; padding_mode as
ASCII bytes; and the expected y in float64, with a tolerance atol [1] besides the bound if its
digits are few. Without y it is computed and the device compared with the float64 oracle.`,
	examples: `
  convbench check convtest/testdata/cases
  convbench check -device cpu a.npz b.npz
  convbench check -out results/ a.npz
  convbench check -random 2000 -seed 7`,
	setup: func(flags *flag.FlagSet) action {
		device := deviceFlag(flags)
		out := flags.String("out", "", "write what was computed to this `directory`, as .npz files of the same names")
		random := flags.Int("random", 0, "run this `number` of random cases on every device")
		seed := flags.Uint64("seed", 1, "the `number` that the random cases follow from")
		return func(ctx context.Context, e *env, args []string) error {
			switch {
			case *random < 0:
				return badInputf("-random is %d, must be at least 1", *random)
			case *random > 0 && (len(args) > 0 || *out != ""):
				return badInputf("-random makes its own cases and takes neither files nor -out")
			case *random > 0:
				return checkRandom(ctx, e, *device, *random, *seed)
			case len(args) == 0:
				return badInputf("check needs .npz files, directories with such, or -random (convbench check -h says more)")
			}
			return checkFiles(ctx, e, *device, *out, args)
		}
	},
}

// caseFiles replaces directories by the .npz files in them.
func caseFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() { // a missing file gets its own line later
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, entry := range entries {
			if !entry.IsDir() && strings.HasSuffix(entry.Name(), ".npz") {
				files = append(files, filepath.Join(arg, entry.Name()))
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("directory %s has no .npz files", arg)
		}
	}
	return files, nil
}

// prepareOut makes the directory for results and looks whether they can be
// written there without harm.
func prepareOut(dir string, files []string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("cannot use -out %s: %w", dir, err)
	}
	seen := map[string]string{}
	for _, f := range files {
		name := filepath.Base(f)
		if other, ok := seen[name]; ok && other != f {
			return fmt.Errorf("%s and %s would both be written to %s", other, f, filepath.Join(dir, name))
		}
		seen[name] = f
		a, errA := os.Stat(f)
		b, errB := os.Stat(filepath.Join(dir, name))
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return fmt.Errorf("-out %s is where %s lies, the case would be overwritten", dir, f)
		}
	}
	if err := writable(dir); err != nil {
		return fmt.Errorf("cannot write to -out %s: %w", dir, err)
	}
	return nil
}

// writable reports why no file can be made in a directory, before much work is
// done for one.
func writable(dir string) error {
	probe, err := os.CreateTemp(dir, ".convbench-*")
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return path.Err
		}
		return err
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// checker runs cases and remembers what came out.
type checker struct {
	e                 *env
	gpu, cpu          *vkconv.Engine
	out               string
	width             int // of the column of names
	cases, wrong, bad int
	worst             float64
}

func checkFiles(ctx context.Context, e *env, device, out string, args []string) (err error) {
	files, err := caseFiles(args)
	if err != nil {
		return badInput(err)
	}
	if err := prepareOut(out, files); err != nil {
		return badInput(err)
	}
	gpu, cpu, why, err := engines(device)
	if err != nil {
		return err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	introduce(e, gpu, cpu, why)
	k := checker{e: e, gpu: gpu, cpu: cpu, out: out, width: 4}
	for _, f := range files {
		k.width = max(k.width, len([]rune(strings.TrimSuffix(filepath.Base(f), ".npz"))))
	}
	for i, f := range files {
		e.progress("%d of %d: %s", i+1, len(files), f)
		c, err := tensorio.ReadCase(f)
		if err != nil {
			k.bad++
			e.complain(err)
			continue
		}
		if err := k.check(ctx, c); err != nil {
			return err
		}
	}
	e.progress("")
	if k.cases > 0 {
		fmt.Fprintf(e.stdout, "\n%s\n", verdict(k.cases, k.wrong, k.worst))
	}
	switch {
	case k.wrong > 0:
		return &failure{status: statusWrong}
	case k.bad > 0:
		return &failure{status: statusBadInput}
	}
	return nil
}

func (k *checker) line(name, kind, shape, gpu, cpu, note string) {
	k.e.progress("")
	fmt.Fprintln(k.e.stdout, strings.TrimRight(fmt.Sprintf("%-*s  %-9s  %-26s  %6s  %6s  %s", k.width, name, kind, shape, gpu, cpu, note), " "))
}

// kind names what sort of convolution a problem is.
func kind(p conv.Problem) string {
	switch {
	case p.Mask:
		return "deform v2"
	case p.Deformable():
		return "deform v1"
	case p.DilationY > 1 || p.DilationX > 1:
		return "dilated"
	}
	return "conv"
}

// check runs one case. It returns an error only where there is no point in
// going on.
func (k *checker) check(ctx context.Context, c tensorio.Case) error {
	op := operation{c.Problem, c.X, c.Weight, c.Bias, c.Offset, c.Mask}
	sums := op.oracle()
	var problems []string // sentences about what is wrong
	shares := [2]string{"–", "–"}
	var result []float32
	for i, engine := range []*vkconv.Engine{k.gpu, k.cpu} {
		if engine == nil {
			continue
		}
		y, _, err := op.forward(ctx, engine)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			shares[i] = "FAILED"
			problems = append(problems, fmt.Sprintf("%s: %v", engine.Name(), err))
			continue
		}
		if result == nil {
			result = y
		}
		v := judge(y, sums, c, op.roundings())
		shares[i] = share(v.Worst)
		if v.OK() {
			k.worst = max(k.worst, v.Worst)
		} else {
			problems = append(problems, fmt.Sprintf("%s: y[%d] is %g, must be %g within %.3g", engine.Name(), v.Index, v.Got, v.Want, v.Bound))
		}
	}
	if i, off := oracleOff(sums, c, op.roundings()); off {
		problems = append(problems, fmt.Sprintf("the oracle: y[%d] is %g, the file expects %g", i, sums[i].Value, c.Y[i]))
	}

	var notes []string
	if len(problems) > 0 {
		k.wrong++
		notes = append(notes, "WRONG")
	}
	if c.Y == nil {
		notes = append(notes, "no y, against the oracle")
	}
	if c.HasBackward() {
		notes = append(notes, "backward: not in this version")
	}
	if len(c.Ignored) > 0 {
		notes = append(notes, "ignored: "+strings.Join(c.Ignored, ", "))
	}
	if k.cases == 0 {
		fmt.Fprintln(k.e.stdout)
		k.line("case", "kind", "shape", "gpu", "cpu", "")
	}
	k.cases++
	k.line(c.Name, kind(c.Problem), bench.ShapeOf([]conv.Problem{c.Problem}), shares[0], shares[1], strings.Join(notes, "; "))
	for _, p := range problems {
		fmt.Fprintf(k.e.stdout, "    %s\n", p)
	}
	if k.out != "" && result != nil {
		s := c.Problem.Output()
		err := tensorio.WriteNPZ(filepath.Join(k.out, filepath.Base(c.Path)), map[string]tensorio.Array{"y": {Shape: s[:], Data: result}})
		if err != nil {
			return badInput(err)
		}
	}
	return nil
}

// share writes a share of a bound in few characters.
func share(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.3f", s)
	}
	return fmt.Sprintf("%.2g", s)
}

// judge is conv.Judge with the case's own tolerance added to every bound.
func judge(y []float32, sums []conv.Sum, c tensorio.Case, roundings int) conv.Verdict {
	v := conv.Judge(y, sums, c.Y, roundings)
	if c.Tolerance == 0 || c.Y == nil || len(y) != len(sums) {
		return v
	}
	v = conv.Verdict{Index: -1}
	for i, s := range sums {
		bound := s.Bound(roundings) + c.Tolerance
		if share := conv.Share(y[i], c.Y[i], bound); v.Index < 0 || share > v.Worst {
			v = conv.Verdict{Worst: share, Index: i, Got: y[i], Want: c.Y[i], Bound: bound}
		}
	}
	return v
}

// oracleOff finds an expected value that the oracle itself, in float64, is
// farther from than a float32 computation may be.
func oracleOff(sums []conv.Sum, c tensorio.Case, roundings int) (int, bool) {
	for i, w := range c.Y {
		bound := sums[i].Bound(roundings) + c.Tolerance
		if d := sums[i].Value - w; d > bound || -d > bound {
			return i, true
		}
	}
	return 0, false
}
