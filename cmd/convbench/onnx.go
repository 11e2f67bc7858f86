package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/onnx"
	"vkconv/tensorio"
)

var onnxCommand = command{
	name: "onnx", args: "MODEL.onnx | -test DIRECTORY…",
	short: "run an ONNX model made of these layers, or ONNX's backend tests",
	long: `Runs a model on the Vulkan device or the CPU and shows what came out. Every input is given by
-in: NAME=FILE with a .npy file or a picture, or an .npz or .safetensors file whose arrays have
the inputs' names. A picture becomes 1×3×H×W (grey: 1×1×H×W) of values from 0 to 1, from which
-mean is taken and which are divided by -std, and is brought to the size that the model asks for.

Before the model runs as a whole, every layer is held to the float64 oracle, given what the layer
before it made, within its derived error bound; -fast leaves that out.

-test runs directories of ONNX's backend tests (model.onnx with test_data_set_*/input_*.pb and
output_*.pb), or directories of such. Every layer is held to its bound, and the output to the
expected one: for a model of one layer within twice its derived bound, since the expected value is
float32 itself, for any other within ONNX's own 1e-3 of the value + 1e-7. Models that use what is
not here are named at the end, with what that is.`,
	examples: `
  convbench onnx net.onnx -in x=input.npy -o y.npz
  convbench onnx deeplab.onnx -in image=photo.jpg -mean 0.485,0.456,0.406 -std 0.229,0.224,0.225
  convbench onnx net.onnx -in inputs.npz -device cpu -layers -time
  convbench onnx -test onnx/testdata/node onnx/testdata/pytorch`,
	setup: func(flags *flag.FlagSet) action {
		var r onnxRun
		device := deviceFlag(flags)
		flags.Func("in", "give inputs: `NAME=FILE`.npy, .png, .jpg…, or FILE.npz, FILE.safetensors; may be repeated", func(s string) error {
			r.in = append(r.in, s)
			return nil
		})
		flags.StringVar(&r.out, "o", "", "write the outputs to this `file`: .npz, .safetensors, or .npy for a model with one")
		flags.StringVar(&r.mean, "mean", "0", "take this `value`, or one a channel with commas between, from a picture's")
		flags.StringVar(&r.std, "std", "1", "divide a picture's values by this `value`, or one a channel")
		flags.BoolVar(&r.fast, "fast", false, "do not hold the layers to the oracle first")
		flags.BoolVar(&r.layers, "layers", false, "list the layers, what each is and its largest error")
		flags.BoolVar(&r.time, "time", false, "measure the run on the device and on the CPU")
		test := flags.Bool("test", false, "run directories of ONNX's backend tests")
		return func(ctx context.Context, e *env, args []string) error {
			switch {
			case len(args) == 0:
				return badInputf("onnx needs a model, or -test and directories (convbench onnx -h says more)")
			case *test && (len(r.in) > 0 || r.out != "" || r.fast || r.layers || r.time || r.mean != "0" || r.std != "1"):
				return badInputf("-test takes directories and -device, nothing else")
			case *test:
				return onnxTest(ctx, e, *device, args)
			case len(args) > 1:
				return badInputf("onnx needs one model, not %d", len(args))
			}
			r.path = args[0]
			return r.run(ctx, e, *device)
		}
	},
}

// onnxRun is what the flags ask for.
type onnxRun struct {
	path, out, mean, std string
	in                   []string
	fast, layers, time   bool

	pictures bool // an input is one
}

func (r *onnxRun) run(ctx context.Context, e *env, device string) (err error) {
	if err := r.checkOut(); err != nil {
		return badInput(err)
	}
	m, err := onnx.Open(r.path)
	if err != nil {
		return badInput(err)
	}
	if ext := filepath.Ext(r.out); ext == ".npy" && len(m.Outputs()) != 1 {
		return badInputf("-o %s: the model has %d outputs, a .npy file holds one", r.out, len(m.Outputs()))
	}
	all, err := r.feed(m)
	if err != nil {
		return badInput(err)
	}
	gpu, cpu, why, err := engines(device)
	if err != nil {
		return err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	introduce(e, gpu, cpu, why)
	used := []*vkconv.Engine{cpu}
	if gpu != nil {
		used = []*vkconv.Engine{gpu, cpu}
	}
	fmt.Fprintf(e.stdout, "model   %s: %s, opset %d\n", r.path, plural(m.Nodes(), "node"), m.Opset())
	for i, engine := range used {
		if i > 0 && !r.time {
			break
		}
		out, err := r.on(ctx, e, engine, m, all)
		if err != nil || i > 0 {
			return err
		}
		if err := r.show(e, m, out); err != nil {
			return err
		}
	}
	return nil
}

// on plans the model on one engine, holds it to the oracle, runs it and measures it.
func (r *onnxRun) on(ctx context.Context, e *env, engine *vkconv.Engine, m *onnx.Model, all map[string]tensorio.Array) (map[string]tensorio.Array, error) {
	e.progress("planning on %s", engine.Name())
	p, err := m.Plan(ctx, engine, all, onnx.Options{})
	for _, kind := range []error{conv.ErrShape, conv.ErrParams, conv.ErrUnsupported} {
		if errors.Is(err, kind) {
			return nil, badInput(err)
		}
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	fed := map[string]tensorio.Array{}
	for _, in := range m.Inputs() {
		if !in.Planned {
			fed[in.Name] = all[in.Name]
		}
	}
	layers := p.Layers()
	tensors, workspace := p.Memory()
	fmt.Fprintf(e.stdout, "on      %s: %s, %.1f MiB of tensors, %.1f MiB of workspace\n", engine.Name(), plural(len(layers), "layer"),
		float64(tensors)/(1<<20), float64(workspace)/(1<<20))
	if !r.fast {
		e.progress("holding every layer to the oracle")
		if err := r.verify(ctx, e, p, fed, layers); err != nil {
			return nil, err
		}
	} else if r.layers {
		for _, l := range layers {
			fmt.Fprintf(e.stdout, "  %s\n", l)
		}
	}
	e.progress("running")
	out, err := p.Run(ctx, fed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", engine.Name(), err)
	}
	if r.time {
		var device, wall []float64
		for range 5 {
			t, err := engine.Time(ctx, func() error { return p.Queue(ctx) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", engine.Name(), err)
			}
			device, wall = append(device, t.Device.Seconds()), append(wall, t.Wall.Seconds())
		}
		slices.Sort(device)
		slices.Sort(wall)
		fmt.Fprintf(e.stdout, "time    %.3g ms on the device, %.3g ms in all, medians of 5 runs of all layers\n", 1e3*device[2], 1e3*wall[2])
	}
	return out, nil
}

func (r *onnxRun) verify(ctx context.Context, e *env, p *onnx.Plan, fed map[string]tensorio.Array, layers []string) error {
	checked, err := p.Verify(ctx, fed)
	e.progress("")
	worst, every := 0.0, 1
	for i, c := range checked {
		worst, every = max(worst, c.Worst), max(every, c.Every)
		if r.layers {
			fmt.Fprintf(e.stdout, "  %s %s\n", share(c.Worst), layers[i])
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "right   every layer is within its bound, given what the one before made; largest error %s of it\n", share(worst))
	if every > 1 {
		fmt.Fprintf(e.stdout, "        (of large layers one value in up to %d was compared)\n", every)
	}
	return nil
}

// show writes the outputs and what is in them.
func (r *onnxRun) show(e *env, m *onnx.Model, out map[string]tensorio.Array) error {
	e.progress("")
	for _, v := range m.Outputs() {
		a := out[v.Name]
		fmt.Fprintf(e.stdout, "output  %s: %s\n", v.Name, summary(a))
	}
	var err error
	switch filepath.Ext(r.out) {
	case "":
		return nil
	case ".npy":
		err = tensorio.WriteNPY(r.out, out[m.Outputs()[0].Name])
	case ".npz":
		err = tensorio.WriteNPZ(r.out, out)
	case ".safetensors":
		err = tensorio.WriteSafetensors(r.out, out, nil)
	}
	if err != nil {
		return badInput(err)
	}
	fmt.Fprintf(e.stdout, "written to %s\n", r.out)
	return nil
}

// summary is an array's shape and where its values lie.
func summary(a tensorio.Array) string {
	v, err := a.Float64()
	if err != nil || len(v) == 0 {
		return fmt.Sprintf("%s of %T", onnx.Extents(a.Shape), a.Data)
	}
	lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
	for _, x := range v {
		lo, hi, sum = min(lo, x), max(hi, x), sum+x
	}
	return fmt.Sprintf("%s, from %.6g to %.6g, mean %.6g", onnx.Extents(a.Shape), lo, hi, sum/float64(len(v)))
}

func (r *onnxRun) checkOut() error {
	switch ext := filepath.Ext(r.out); ext {
	case "":
		if r.out != "" {
			return fmt.Errorf("-o %s: the name must end in .npz, .safetensors or .npy", r.out)
		}
		return nil
	case ".npz", ".safetensors", ".npy":
		if err := writable(r.out); err != nil {
			return fmt.Errorf("cannot write to -o %s: %w", r.out, err)
		}
		return nil
	default:
		return fmt.Errorf("-o %s: the name must end in .npz, .safetensors or .npy, not %s", r.out, ext)
	}
}

// onnxTest runs directories of backend tests.
func onnxTest(ctx context.Context, e *env, device string, args []string) (err error) {
	dirs, named, err := testDirs(args)
	if err != nil {
		return badInput(err)
	}
	engine, err := vkconv.Open(vkconv.Options{Device: device})
	if err != nil {
		return badInput(err)
	}
	defer func() { err = e.shut(err, engine) }()
	fmt.Fprintf(e.stdout, "device  %s, %s\n", engine.Name(), engine.Driver())
	width := 0
	for _, d := range dirs {
		width = max(width, len(filepath.Base(d)))
	}
	passed, failed, bad := 0, 0, 0
	var left []string
	for i, d := range dirs {
		e.progress("%d of %d: %s", i+1, len(dirs), d)
		r, err := onnx.RunCase(ctx, engine, d)
		e.progress("")
		name := filepath.Base(d)
		switch {
		case err == nil:
			passed++
			what := "of twice its bound"
			if !r.Bound {
				what = "of 1e-3·|y| + 1e-7"
			}
			if r.Layers == 0 {
				fmt.Fprintf(e.stdout, "pass  %-*s  no layer computes, the same bits\n", width, name)
				continue
			}
			fmt.Fprintf(e.stdout, "pass  %-*s  %s %s; %s, largest error %s of its bound\n", width, name, share(r.Worst), what, plural(r.Layers, "layer"), share(r.Oracle))
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, conv.ErrUnsupported) && i >= named:
			left = append(left, fmt.Sprintf("%s: %s", name, strings.TrimPrefix(err.Error(), filepath.Join(d, "model.onnx")+": ")))
		case errors.Is(err, conv.ErrUnsupported), errors.Is(err, tensorio.ErrFormat), errors.Is(err, fs.ErrNotExist):
			bad++
			e.complain(err)
		default:
			failed++
			fmt.Fprintf(e.stdout, "FAIL  %-*s  %v\n", width, name, err)
		}
	}
	fmt.Fprintf(e.stdout, "\n%d passed, %d failed", passed, failed)
	if len(left) > 0 {
		fmt.Fprintf(e.stdout, "; left out, since they use what is not here:\n")
		for _, l := range left {
			fmt.Fprintf(e.stdout, "  %s\n", wrap(l, 96, "    "))
		}
	} else {
		fmt.Fprintln(e.stdout)
	}
	switch {
	case failed > 0:
		return &failure{status: statusWrong}
	case bad > 0:
		return &failure{status: statusBadInput}
	}
	return nil
}

// testDirs replaces directories without a model by those in them; the named ones come first.
func testDirs(args []string) (dirs []string, named int, err error) {
	var inside []string
	for _, arg := range args {
		if _, err := os.Stat(filepath.Join(arg, "model.onnx")); err == nil {
			dirs = append(dirs, arg)
			continue
		}
		found, err := filepath.Glob(filepath.Join(arg, "*", "model.onnx"))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s has no model.onnx, and no directory in it has one", arg)
		}
		if err != nil {
			return nil, 0, err
		}
		for _, f := range found {
			inside = append(inside, filepath.Dir(f))
		}
	}
	return append(dirs, inside...), len(dirs), nil
}
