package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"vkconv/tensorio"
)

var checkCommand = command{
	name: "check", args: "FILE.npz|DIRECTORY…",
	short: "run cases made by another program, or at random",
	long: `Runs operators as another program ran them, forward and backward, on the Vulkan device and on
the CPU and compares every element with the expected result. A line a case shows the largest
error of the output and all gradients as a share of its bound, which follows from the number
of roundings: up to 1 is right. A directory stands for all .npz files in it, of which those of
operators that are not known are left out and named at the end.

A case is an .npz file (numpy.savez) with x [N,C,H,W] and weight [K,C/groups,R,S]; optionally
bias [K]; offset [N,2·og·R·S,Ho,Wo], which makes it deformable, and mask [N,og·R·S,Ho,Wo];
stride [2], padding [4] (top, left, bottom, right), dilation [2], groups [1]; padding_mode as
ASCII bytes; and the expected y in float64, with a tolerance atol [1] besides the bound if its
digits are few. With dy, the gradient by the output, the backward pass runs, too, against the
expected dx, dweight, dbias, doffset and dmask. What the file does not expect is compared with
the float64 oracle. op, as ASCII bytes, may name another operator: conv_transpose, with
weight [C,K/groups,R,S] and output_padding [2], deform_pack, with offset_weight, offset_bias
and modulated [1], and the others of this library: go doc vkconv/tensorio.ReadCase has what
each holds.

-random makes its own cases, as many of every operator, and compares output and gradients with
the oracle.`,
	examples: `
  convbench check convtest/testdata/cases
  convbench check -device cpu a.npz b.npz
  convbench check -out results/ a.npz
  convbench check -random 1000 -seed 7
  convbench check -random 100 -op 'dcn|roi'`,
	setup: func(flags *flag.FlagSet) action {
		device := deviceFlag(flags)
		out := flags.String("out", "", "write what was computed to this `directory`, as .npz files of the same names")
		random := flags.Int("random", 0, "run this `number` of random cases on every device")
		seed := flags.Uint64("seed", 1, "the `number` that the random cases follow from")
		only := flags.String("op", "", "with -random, only operators whose name matches this `regexp`")
		forward := flags.Bool("forward", false, "leave the backward passes out")
		return func(ctx context.Context, e *env, args []string) error {
			match, err := regexp.Compile(*only)
			switch {
			case err != nil:
				return badInputf("-op: %v", err)
			case *only != "" && *random == 0:
				return badInputf("-op belongs to -random")
			case !slices.ContainsFunc(randomOperators, func(o randomOperator) bool { return match.MatchString(o.name) }):
				return badInputf("-op %s matches no operator", *only)
			case *random < 0:
				return badInputf("-random is %d, must be at least 1", *random)
			case *random > 0 && (len(args) > 0 || *out != ""):
				return badInputf("-random makes its own cases and takes neither files nor -out")
			case *random > 0:
				return checkRandom(ctx, e, *device, *random, *seed, match, !*forward)
			case len(args) == 0:
				return badInputf("check needs .npz files, directories with such, or -random (convbench check -h says more)")
			}
			return checkFiles(ctx, e, *device, *out, !*forward, args)
		}
	},
}

// caseFiles replaces directories by the .npz files in them, and tells how many
// files were named by themselves, which come first.
func caseFiles(args []string) (files []string, named int, err error) {
	var dirs []string
	for _, arg := range args {
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			dirs = append(dirs, arg)
		} else { // a missing file gets its own line later
			files = append(files, arg)
		}
	}
	named = len(files)
	for _, arg := range dirs {
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, 0, err
		}
		before := len(files)
		for _, entry := range entries {
			if !entry.IsDir() && strings.HasSuffix(entry.Name(), ".npz") {
				files = append(files, filepath.Join(arg, entry.Name()))
			}
		}
		if len(files) == before {
			return nil, 0, fmt.Errorf("directory %s has no .npz files", arg)
		}
	}
	return files, named, nil
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
	if err := writable(filepath.Join(dir, "y.npz")); err != nil {
		return fmt.Errorf("cannot write to -out %s: %w", dir, err)
	}
	return nil
}

// save writes a file whole or not at all; what is there and no file, such as a terminal, is written to.
func save(path string, write func(io.Writer) error) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() || info.IsDir() {
		return tensorio.WriteFile(path, write)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = write(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// writable reports why there cannot be a file of this name, before much work is
// done for one.
func writable(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("it is a directory")
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".convbench-*")
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
