package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"vkconv"
)

// Exit statuses.
const (
	statusWrong    = 1 // a result is outside its bound, or a device failed
	statusBadInput = 2 // the caller's files or arguments are at fault
	statusSlower   = 3 // bench -compare found a regression
)

// env is what a command may touch.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool // stderr is one, and progress is welcome
	progressShown  bool
}

// output is stdout, which keeps the first error: most of what is printed is printed without a look back.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.Writer.Write(b)
	o.err = err
	return n, err
}

// failure is an error with an exit status; a nil err has been reported already.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit status %d", f.status)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// badInput marks an error as the caller's; nil stays nil.
func badInput(err error) error {
	if err == nil {
		return nil
	}
	return &failure{statusBadInput, err}
}

// badInputf is badInput for a sentence of our own.
func badInputf(format string, args ...any) error {
	return &failure{statusBadInput, fmt.Errorf(format, args...)}
}

// finish reports an error, if there is one, and returns the exit status.
func (e *env) finish(err error) int {
	e.progress("")
	if err == nil {
		return 0
	}
	status := statusWrong
	var f *failure
	if errors.As(err, &f) {
		status = f.status
		if f.err == nil {
			return status
		}
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	e.complain(err)
	return status
}

// complain writes an error as one line on stderr.
func (e *env) complain(err error) {
	e.progress("")
	fmt.Fprintf(e.stderr, "convbench: %s\n", strings.TrimSuffix(strings.Join(strings.Fields(err.Error()), " "), "."))
}

// progress shows what is being done, on a terminal only; "" takes it away.
func (e *env) progress(format string, args ...any) {
	if !e.terminal || format == "" && !e.progressShown {
		return
	}
	const erase = "\r\x1b[K"
	fmt.Fprint(e.stderr, erase+fmt.Sprintf(format, args...))
	e.progressShown = format != ""
}

// isTerminal tells a terminal from files, pipes and /dev/null.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// command is one of convbench's commands.
type command struct {
	name, args string // args as the help shows them
	short      string
	long       string // what -h says below the usage line
	examples   string
	values     map[string]func() []string // what a shell may complete a flag's value to
	operands   func() []string            // and an argument; nil means files where there are arguments
	hidden     bool                       // not in the help
	raw        bool                       // takes its arguments as they are, flags too
	setup      func(*flag.FlagSet) action // declares the flags
}

// words is a list of values for completion.
func words(w ...string) func() []string { return func() []string { return w } }

// action runs a command whose flags have been parsed.
type action func(ctx context.Context, e *env, args []string) error

// commands lists them in the order of the help; the first has no name.
func commands() []command {
	return []command{mainCommand, benchCommand, tuneCommand, severalCommand, rooflineCommand, devicesCommand, doctorCommand, checkCommand, applyCommand, explainCommand, showCommand, viewCommand, learnCommand, onnxCommand, reportCommand, completionCommand(), referenceCommand(), completeCommand()}
}

func (e *env) dispatch(ctx context.Context, args []string) error {
	all := commands()
	c := all[0]
	switch {
	case len(args) == 0:
	case args[0] == "help" && len(args) > 1:
		args = []string{args[1], "-h"}
		return e.dispatch(ctx, args)
	case args[0] == "help":
		args = []string{"-h"}
	case !strings.HasPrefix(args[0], "-"):
		i := slices.IndexFunc(all[1:], func(c command) bool { return c.name == args[0] })
		if i < 0 {
			var names []string
			for _, c := range shown()[1:] {
				names = append(names, c.name)
			}
			return badInputf("there is no command %q; there are %s, and without a command the built-in set is run (convbench -h says more)",
				args[0], strings.Join(names, ", "))
		}
		c, args = all[i+1], args[1:]
	}
	flags := flag.NewFlagSet(strings.TrimSpace("convbench "+c.name), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	act := c.setup(flags)
	if c.raw {
		return act(ctx, e, args)
	}
	rest, err := parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		c.help(e.stdout, flags)
		return nil
	}
	if err != nil {
		return badInputf("%v (%s -h says more)", err, flags.Name())
	}
	return act(ctx, e, rest)
}

// parse is flags.Parse for flags that may stand before and after the other
// arguments, which it returns. After -- nothing is a flag.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		left := flags.Args()
		if ended := len(args) - len(left); ended > 0 && args[ended-1] == "--" || len(left) == 0 {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// help writes a command's help.
func (c command) help(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprintf(w, "usage: %s\n\n%s\n", c.usage(), strings.TrimSpace(c.long))
	if c.name == "" {
		fmt.Fprintf(w, "\nCommands (convbench COMMAND -h says more):\n")
		for _, c := range shown()[1:] {
			fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
		}
	}
	if c.flagged() {
		fmt.Fprintf(w, "\nFlags:\n")
	}
	flags.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		line := "  -" + f.Name
		if kind != "" {
			line += " " + kind
		}
		def := ""
		switch f.DefValue {
		case "", "0", "false", "NaN", "0s":
		default:
			def = fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(w, "%s\n        %s%s\n", line, usage, def)
	})
	if c.examples != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.Trim(c.examples, "\n"))
	}
	slower := ""
	if c.name == "bench" {
		slower = fmt.Sprintf(", %d if -compare found a layer slower", statusSlower)
	}
	fmt.Fprintf(w, "\nThe exit status is 0 if all is well, %d if a result is wrong or a device fails, %d if the input\nis at fault%s.\n", statusWrong, statusBadInput, slower)
}

// nan is the default of a number that is not given.
var nan = math.NaN()

// deviceFlag declares -device.
func deviceFlag(flags *flag.FlagSet) *string {
	return flags.String("device", "", "run on this device: `name` is cpu, an index of convbench devices, or a part of a\n"+
		"        device's or driver's name; without it $VKCONV_DEVICE, else the best there is")
}

// tuneFlag declares -tune.
func tuneFlag(flags *flag.FlagSet) *time.Duration {
	return flags.Duration("tune", 0, "first measure for this `duration` a shape which kernel is the fastest, and keep the\n"+
		"        answer (convbench tune -h says more); 0 leaves it to the cost model")
}

// engines opens the device that was asked for and the CPU path beside it. gpu
// is nil where the device is the CPU; why says how that came.
func engines(device string) (gpu, cpu *vkconv.Engine, why string, err error) {
	return enginesWith(vkconv.Options{Device: device})
}

// enginesWith is engines with other options for the device.
func enginesWith(o vkconv.Options) (gpu, cpu *vkconv.Engine, why string, err error) {
	first, err := vkconv.Open(o)
	if err != nil {
		return nil, nil, "", badInput(err)
	}
	if !first.OnGPU() {
		return nil, first, first.Why(), nil
	}
	cpu, err = vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		first.Close()
		return nil, nil, "", err
	}
	return first, cpu, first.Why(), nil
}

// shut closes the engines that are there and returns err, or where err is nil
// what the validation layer, if it was switched on, had to say.
func (e *env) shut(err error, engines ...*vkconv.Engine) error {
	for _, engine := range engines {
		if engine == nil {
			continue
		}
		if closing := engine.Close(); err == nil {
			err = closing
		}
		for _, message := range engine.Messages() {
			e.complain(fmt.Errorf("validation: %s", message))
			if err == nil {
				err = &failure{status: statusWrong}
			}
		}
	}
	return err
}
