package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vkconv"
	"vkconv/tensorio"
	"vkconv/train/learn"
)

var learnCommand = command{
	name: "learn", args: "[-images FILE [-labels FILE]]",
	short: "train a small network and watch its sampling points find the object",
	long: `Trains a network whose last layer samples the picture at 3×3 points, deformable, dilated and
plain, each from several seeds, and says which told held-out pictures best. Of the deformable
one it measures how far the sampling points are from the object, against the regular grid.

The pictures are drawn by the program: a bar, corner, tee or cross of any rotation and size in
one of three colours, among dots of random colours and noise; the class is the stroke's colour.
With -images they come from files: IDX (as MNIST's, .gz or not) with -labels, or one .npz with
the arrays images and labels.

Ctrl-C keeps the state; the same command goes on from there, to the same bits as if nothing had
happened. Written to the directory of -o: points.gif, the points of four held-out pictures as
they learn; those pictures, held-out-1.png to -4; mistakes.svg and loss.svg; weights.safetensors
of the first deformable network, for convbench show -net; state.npz to go on from.`,
	examples: `
  convbench learn -o learned
  convbench learn -steps 300 -seeds 1 -kinds deformable -device cpu
  convbench learn -images train-images-idx3-ubyte.gz -labels train-labels-idx1-ubyte.gz`,
	setup: func(flags *flag.FlagSet) action {
		l := learning{}
		flags.StringVar(&l.out, "o", "learned", "write to this `directory`")
		flags.StringVar(&l.images, "images", "", "pictures from this `file`")
		flags.StringVar(&l.labels, "labels", "", "their classes from this `file`")
		flags.IntVar(&l.steps, "steps", 2500, "the `number` of steps of each network, 16 pictures each")
		flags.IntVar(&l.seeds, "seeds", 3, "the `number` of networks of each kind")
		kinds := flags.String("kinds", strings.Join(learn.Kinds, ","), "`kinds` of the layer, by commas")
		flags.Uint64Var(&l.seed, "seed", 1, "the `number` that the pictures follow from")
		device := deviceFlag(flags)
		return func(ctx context.Context, e *env, args []string) error {
			switch {
			case len(args) > 0:
				return badInputf("learn takes no arguments but flags, not %q", args[0])
			case l.steps < learn.Looks || l.steps > 1_000_000:
				return badInputf("-steps is %d, must be between %d and 1000000", l.steps, learn.Looks)
			case l.seeds < 1 || l.seeds > 1000:
				return badInputf("-seeds is %d, must be between 1 and 1000", l.seeds)
			case l.labels != "" && l.images == "":
				return badInputf("-labels is given without -images")
			}
			for _, k := range strings.Split(*kinds, ",") {
				if !slices.Contains(learn.Kinds, k) {
					return badInputf("-kinds has %q, must be some of %s", k, strings.Join(learn.Kinds, ", "))
				}
				l.kinds = append(l.kinds, k)
			}
			l.device = *device
			return l.run(ctx, e)
		}
	},
}

// learning is what the flags ask for.
type learning struct {
	out, images, labels, device string
	steps, seeds                int
	seed                        uint64
	kinds                       []string
}

func (l learning) run(ctx context.Context, e *env) error {
	o := learn.Options{Data: learn.Drawn{Seed: l.seed}, Name: fmt.Sprintf("drawn %d", l.seed), Steps: l.steps, Seeds: l.seeds, Kinds: l.kinds}
	if l.images != "" {
		set, err := learn.ReadSet(l.images, l.labels, l.seed)
		if err != nil {
			return badInput(err)
		}
		o.Data, o.Name = set, fmt.Sprintf("%s %d", l.images, l.seed)
	}
	if err := os.MkdirAll(l.out, 0o755); err != nil {
		return badInput(err)
	}
	o.State, o.Weights = filepath.Join(l.out, "state.npz"), filepath.Join(l.out, "weights.safetensors")
	engine, err := vkconv.Open(vkconv.Options{Device: l.device})
	if err != nil {
		return badInput(err)
	}
	defer engine.Close()
	fmt.Fprintf(e.stdout, "device  %s\n", engine.Name())
	start, made := time.Now(), 0
	total := len(l.kinds) * l.seeds * l.steps
	o.Progress = func(kind string, seed, step int, loss, accuracy float64) {
		done := step
		for i, k := range l.kinds {
			if k == kind {
				done += ((seed-1)*len(l.kinds) + i) * l.steps
			}
		}
		made++
		left := time.Duration(float64(time.Since(start)) / float64(made) * float64(total-done)).Round(time.Second)
		const wide = 24
		e.progress("[%-*s] %s %d, step %d of %d: loss %.3f, held out %.1f %% right; %v left", wide,
			strings.Repeat("=", wide*done/total), kind, seed, step, l.steps, loss, 100*accuracy, left)
	}
	curves, err := learn.Run(ctx, engine, o)
	e.progress("")
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted; the state is kept in %s, the same command goes on from there", o.State)
	}
	if err != nil {
		return err
	}
	l.tell(e.stdout, curves)
	return l.draw(o.Data, curves)
}

// tell prints what came out.
func (l learning) tell(w io.Writer, curves []learn.Curve) {
	fmt.Fprintf(w, "\non the test's pictures, told right   worst   mean   best   points' distance\n")
	summaries := learn.Summaries(curves, l.kinds)
	for _, s := range summaries {
		fmt.Fprintf(w, "  %-12s %2d networks           %6.1f %6.1f %6.1f", s.Kind, s.Nets, 100*s.Least, 100*s.Mean, 100*s.Most)
		if s.Kind == "deformable" {
			fmt.Fprintf(w, "   %.2f of the grid's (standing still where they are on average: %.2f)", s.Distance, s.Pattern)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%s\n", learn.Verdict(summaries))
}

// draw writes the animation and the curves.
func (l learning) draw(d learn.Data, curves []learn.Curve) error {
	write := func(name string, f func(io.Writer) error) error {
		return tensorio.WriteFile(filepath.Join(l.out, name), f)
	}
	for _, c := range curves {
		if c.Kind == "deformable" {
			if err := write("points.gif", func(w io.Writer) error { return learn.Animate(w, d, c) }); err != nil {
				return err
			}
			for i := range learn.Shown {
				if err := tensorio.WriteImage(filepath.Join(l.out, fmt.Sprintf("held-out-%d.png", i+1)), learn.Picture(d, i)); err != nil {
					return err
				}
			}
			break
		}
	}
	return errors.Join(write("mistakes.svg", func(w io.Writer) error { return learn.PlotMistakes(w, curves, l.kinds, l.steps) }),
		write("loss.svg", func(w io.Writer) error { return learn.PlotLoss(w, curves, l.kinds, l.steps) }))
}
