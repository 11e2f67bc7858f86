package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/tensorio"
)

const outsideCases = "../../convtest/testdata/cases"

// must runs a command and wants this status and these words in what it shows.
func must(t *testing.T, status int, words []string, args ...string) string {
	t.Helper()
	shown, got := convbench(args...)
	if got != status {
		t.Errorf("status %d, want %d:\n%s", got, status, shown)
	}
	for _, w := range words {
		if !strings.Contains(shown, w) {
			t.Errorf("does not say %q:\n%s", w, shown)
		}
	}
	return shown
}

// Every device, and the CPU, against PyTorch's answers, random cases and a picture.
func TestEveryDevice(t *testing.T) {
	cases, err := filepath.Abs(outsideCases)
	if err != nil {
		t.Fatal(err)
	}
	files(t)
	names := []string{"cpu"}
	infos, err := vkconv.Devices()
	if err != nil {
		t.Logf("the CPU alone: %v", err)
	}
	for _, i := range infos {
		if i.Unusable == "" {
			names = append(names, fmt.Sprint(i.Index))
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			must(t, 0, []string{"conv_3x3 ", "none outside its bound"}, "check", "-device", name, "-out", out, cases)
			inputs, _ := filepath.Glob(filepath.Join(cases, "*.npz"))
			if len(inputs) < 100 {
				t.Fatalf("only %d cases in %s", len(inputs), cases)
			}
			for _, in := range inputs {
				c, err := tensorio.ReadCase(in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := tensorio.ReadNPZ(filepath.Join(out, filepath.Base(in)))
				if err != nil {
					t.Fatal(err)
				}
				s, n := c.Output(), 0
				for name, want := range map[string][]float64{"y": c.Y, "dx": c.DX, "dweight": c.DWeight, "dbias": c.DBias, "doffset": c.DOffset, "dmask": c.DMask} {
					a, ok := got[name]
					if data, isFloat := a.Data.([]float32); ok != (want != nil) || ok && (!isFloat || len(data) != len(want)) {
						t.Errorf("%s: wrote %s %v, the file expects %d elements", in, name, a.Shape, len(want))
					}
					if ok {
						n++
					}
				}
				if !slices.Equal(got["y"].Shape, s[:]) || n != len(got) {
					t.Errorf("%s: wrote %v, want y %v", in, got, s)
				}
			}
			must(t, 0, []string{"t_s3x2_op2x1 ", "mmcv_deform_pack_v1", "mmcv_deform_roi_pool_2x2 ", "none outside its bound"},
				"check", "-device", name, filepath.Join(cases, "../transposed"), filepath.Join(cases, "../known"))
			must(t, 0, []string{"dcnv4_oob ", "psroipool_mask ", "aspp_rates ", "pyramid_2x2x1x5 ", "act_gelu ", "norm_2 ", "none outside its bound"},
				"check", "-device", name, filepath.Join(cases, "../dcn"), filepath.Join(cases, "../scales"), filepath.Join(cases, "../layers"))
			must(t, 0, []string{"deformable v2 ", "transposed ", "psroi pool ", "aspp ", "window pool ", "batch norm "}, "check", "-device", name, "-random", "6")
			tuned, none := "measured", "There is nothing to choose from"
			if name == "cpu" {
				tuned = none
			}
			must(t, 0, []string{tuned}, "tune", "-device", name, "-x", "1x3x9x8", "-k", "4", "-budget", "1ns", "-again")
			must(t, 0, []string{"all values compared"}, "apply", "-device", name, "photo.png", "-o", "swirl.png", "-deform", "swirl")
			must(t, 0, []string{"all values compared"}, "apply", "-device", name, "photo.png", "-o", "edges.png", "-dilation", "4")
			if infos != nil {
				must(t, 0, []string{"4 cases, none outside"}, "check", "-device", name, "cases")
				must(t, 0, []string{"3 cases, none outside"}, "check", "-device", name, "operators")
			}
		})
	}
}

func TestNoDriver(t *testing.T) {
	files(t)
	t.Setenv("VK_DRIVER_FILES", "/nonexistent/driver.json")
	t.Setenv("VK_ICD_FILENAMES", "/nonexistent/driver.json")
	must(t, 0, []string{"No Vulkan device: ", "used    CPU, # threads", "the CPU, because "}, "devices")
	must(t, 0, []string{"the CPU, because ", "none outside its bound"}, "-run", "stacked 3×3$", "-budget", "1ms")
	must(t, 0, []string{"the CPU, because ", "4 cases, none outside its bound"}, "check", "cases")
	must(t, 0, []string{"the CPU, because "}, "apply", "photo.png", "-o", "a.png")
	for _, args := range [][]string{{"-device", "llvmpipe"}, {"devices", "-device", "0"}, {"check", "cases", "-device", "0"}, {"check", "-random", "3", "-device", "0"}} {
		if shown := must(t, 2, []string{"stderr: convbench: "}, args...); strings.Count(shown, "stderr: ") != 1 {
			t.Errorf("more than one sentence:\n%s", shown)
		}
	}
	t.Setenv("VKCONV_DEVICE", "llvmpipe")
	must(t, 2, []string{"stderr: convbench: "}, "check", "cases")
}

// A network trained on the spot is shown what it was trained on, and a photograph.
func TestShowTrained(t *testing.T) {
	files(t)
	must(t, 0, []string{"of the grid's"}, "learn", "-device", "cpu", "-steps", "80", "-seeds", "1", "-kinds", "deformable", "-o", "learned")
	net := []string{"-device", "cpu", "-net", "learned/weights.safetensors"}
	must(t, 0, []string{"26×26 pixels, class ", "% sure", "lie on its map", "displaced by"}, append([]string{"show", "learned/held-out-4.png", "-o", "p.svg"}, net...)...)
	must(t, 0, []string{"60×40 pixels, class "}, append([]string{"show", "photo.png", "-o", "p.png"}, net...)...)
	drawn, err := os.ReadFile("p.svg")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(drawn), "<title>row "); n < 1 || n > 9 {
		t.Errorf("%d points are drawn", n)
	}
}

func TestInterrupted(t *testing.T) {
	files(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range [][]string{{"-device", "cpu", "-run", "stacked 3×3$"}, {"check", "-device", "cpu", "cases"},
		{"check", "-device", "cpu", "-random", "3"}, {"apply", "-device", "cpu", "photo.png", "-o", "a.png"}} {
		var out, complaint bytes.Buffer
		if status := run(ctx, args, nil, &out, &complaint); status != statusWrong || complaint.String() != "convbench: interrupted\n" {
			t.Errorf("%v: status %d, %s", args, status, &complaint)
		}
	}
	if _, err := os.Stat("a.png"); err == nil {
		t.Error("interrupted, but there is a picture")
	}
}

func TestFlagsAnywhere(t *testing.T) {
	for _, c := range []struct{ args, rest, device string }{
		{"a b", "a b", ""}, {"-device x a b", "a b", "x"}, {"a -device x b", "a b", "x"}, {"a b --device=x", "a b", "x"},
		{"-- -device x", "-device x", ""}, {"a -- -device x", "a -device x", ""}, {"a -device x -- -b", "a -b", "x"}, {"", "", ""},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		device := flags.String("device", "", "")
		rest, err := parse(flags, strings.Fields(c.args))
		if err != nil || strings.Join(rest, " ") != c.rest || *device != c.device {
			t.Errorf("%q: %q, device %q, %v", c.args, rest, *device, err)
		}
	}
}

// Progress belongs on terminals, and is gone before anything else is written.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	e := &env{stdout: &out, stderr: &out, terminal: true}
	e.progress("working")
	e.complain(fmt.Errorf("two\nlines."))
	if got := out.String(); got != "\r\x1b[Kworking\r\x1b[Kconvbench: two lines\n" {
		t.Errorf("%q", got)
	}
	if null, err := os.Open(os.DevNull); err != nil || isTerminal(null) || isTerminal(&out) {
		t.Error("/dev/null or a buffer is taken for a terminal")
	}
}

// Too large to compare whole, a result is compared in samples, and a mistake
// in a sampled place is found.
func TestCompareSamples(t *testing.T) {
	files(t)
	c, err := tensorio.ReadCase("cases/dilated.npz")
	if err != nil {
		t.Fatal(err)
	}
	op := operationOf(c)
	want := op.oracle()[0].sums
	y := make([]float32, len(want))
	for i, s := range want {
		y[i] = float32(s.Value)
	}
	v, every, err := op.compare(context.Background(), y)
	if err != nil || !v.OK() || every != 1 {
		t.Errorf("the oracle's own: %+v, every %d, %v", v, every, err)
	}
	y[17] += 1
	if v, _, _ := op.compare(context.Background(), y); v.OK() || v.Index != 17 {
		t.Errorf("element 17 is wrong: %+v", v)
	}
}

// The bound of a layer that predicts its offsets is not so wide that mistakes
// in its weights pass: the predictor's and its own.
func TestPackMistakes(t *testing.T) {
	files(t)
	cpu, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	for _, name := range []string{"operators/pack1.npz", "operators/pack2.npz"} {
		c, err := tensorio.ReadCase(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.OffsetWeight { // so that offsets are no whole numbers
			c.OffsetWeight[i] *= 0.0123
		}
		op := subjectOf(c, false).(pack)
		right := op.oracle()
		for what, change := range map[string]func(){"nothing": func() {}, "a weight": func() { op.weight[5] *= 1.001 },
			"the predictor": func() { op.offsetWeight[7] += 1e-3 }, "its last bias": func() { op.offsetBias[len(op.offsetBias)-1] += 1e-3 }} {
			op = subjectOf(c, false).(pack)
			op.weight, op.offsetWeight, op.offsetBias = slices.Clone(c.Weight), slices.Clone(c.OffsetWeight), slices.Clone(c.OffsetBias)
			change()
			got, err := op.compute(context.Background(), cpu)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range right {
				if v := judge(got[w.name], w.sums, nil, 0, w.roundings); v.OK() != (what == "nothing") {
					t.Errorf("%s: %s of %s changed: %+v", name, w.name, what, v)
				}
			}
		}
	}
}

// The examples in the help texts and in the package comment are commands that
// the flags accept.
func TestExamples(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for line := range strings.Lines(string(source)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			texts = append(texts, code)
		}
	}
	for _, c := range commands() {
		texts = append(texts, c.examples)
	}
	seen := 0
	for _, text := range texts {
		for line := range strings.Lines(text) {
			_, line, ok := strings.Cut(" "+strings.TrimSpace(line)+"  ", " convbench ")
			if !ok || strings.Contains(line, " -h ") {
				continue
			}
			line, _, _ = strings.Cut(" "+line, "   ") // what it does
			args := strings.Fields(line)
			c := commands()[0]
			if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				i := slices.IndexFunc(commands(), func(c command) bool { return c.name == args[0] })
				if i < 0 {
					t.Errorf("there is no command %q in %q", args[0], line)
					continue
				}
				c, args = commands()[i], args[1:]
			}
			flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
			c.setup(flags)
			if _, err := parse(flags, args); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			seen++
		}
	}
	if seen < 15 {
		t.Errorf("only %d examples found", seen)
	}
}
