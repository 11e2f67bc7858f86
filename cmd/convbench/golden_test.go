package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vkconv/bench"
	"vkconv/tensorio"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// masks hide what differs from machine to machine.
var masks = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`CPU, \d+ threads?`), "CPU, # threads"},
	// a row of the table of times, from the device's time on
	{regexp.MustCompile(`(→ [\d×]+) +[\d.]+ +\d+% +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+% +\S+ +[\d.]+`), "$1 # #% # # # #% # #"},
	// the same of bench, which keeps more times apart, up to the error's share
	{regexp.MustCompile(`(→ [\d×]+) +[\d.]+ +[\d.]+ +\d+% +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+`), "$1 # # #% # # # # # # #"},
	{regexp.MustCompile(`(→ [\d× #%]+#) +[\d.]+% of (FMA|memory)`), "$1 #% of its roof"},
	{regexp.MustCompile(`(?m)^(roof   |  roofline:) .*`), "$1 #"},
	{regexp.MustCompile(`(?m)^(  [a-z0-9]+(?: [a-z]+)?) +[\d.]+ (GFLOP/s|GB/s)`), "$1 # $2"},
	{regexp.MustCompile(`take .* together, .* GFLOP/s`), "take # together, # GFLOP/s"},
	{regexp.MustCompile(`pure Go, [\w ]+`), "pure Go, #"},
	{regexp.MustCompile(` *\d+(\.\d+)? ms\b`), " # ms"},
	{regexp.MustCompile(` *\d+\.\d+ s\b`), " # s"},
	{regexp.MustCompile(` +(– +)?\d\.\d{3}\b`), " #"},
	{regexp.MustCompile(`share of the bound: .*`), "share of the bound: #"},
}

// files makes the inputs that the golden commands read, in an empty directory
// that becomes the working directory.
func files(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("VKCONV_DEVICE", "")
	ramp := func(shape ...int) tensorio.Array {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(i%7) - 3
		}
		return tensorio.Array{Shape: shape, Data: v}
	}
	ints := func(v ...int64) tensorio.Array { return tensorio.Array{Shape: []int{len(v)}, Data: v} }
	text := func(v string) tensorio.Array { return tensorio.Array{Shape: []int{len(v)}, Data: []uint8(v)} }
	with := func(arrays map[string]tensorio.Array, name string, a tensorio.Array) map[string]tensorio.Array {
		out := map[string]tensorio.Array{}
		for k, v := range arrays {
			out[k] = v
		}
		if out[name] = a; a.Data == nil {
			delete(out, name)
		}
		return out
	}
	// Ones over ones: each output is the number of pixels under the kernel.
	ones := tensorio.Array{Shape: []int{1, 1, 3, 3}, Data: []float32{1, 1, 1, 1, 1, 1, 1, 1, 1}}
	counts := map[string]tensorio.Array{"x": ones, "weight": ones, "padding": ints(1, 1, 1, 1),
		"y": {Shape: []int{1, 1, 3, 3}, Data: []float64{4, 6, 4, 6, 9, 6, 4, 6, 4}}}
	plain := map[string]tensorio.Array{"x": ramp(1, 4, 6, 6), "weight": ramp(6, 2, 3, 3), "groups": ints(2)}
	deform := map[string]tensorio.Array{"x": ramp(1, 2, 5, 5), "weight": ramp(3, 2, 3, 3), "offset": ramp(1, 18, 3, 3)}
	if err := os.Mkdir("cases", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("operators", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("empty", 0o777); err != nil {
		t.Fatal(err)
	}
	for name, arrays := range map[string]map[string]tensorio.Array{
		"cases/counts.npz":   counts,
		"cases/dilated.npz":  with(with(plain, "dilation", ints(2, 1)), "seed", ints(7)),
		"cases/deform.npz":   deform,
		"cases/backward.npz": with(counts, "dy", ones),
		"wrong.npz":          with(counts, "y", tensorio.Array{Shape: []int{1, 1, 3, 3}, Data: []float64{4, 6, 4, 6, 9, 6, 4, 6.5, 4}}),
		"tolerant.npz": with(with(counts, "y", tensorio.Array{Shape: []int{1, 1, 3, 3}, Data: []float64{4, 6, 4, 6, 9, 6, 4, 6.5, 4}}),
			"atol", tensorio.Array{Shape: []int{1}, Data: []float64{0.6}}),
		// Ones through ones again: the gradient counts, too.
		"wrongdx.npz": with(with(counts, "dy", ones), "dx", tensorio.Array{Shape: []int{1, 1, 3, 3}, Data: []float64{4, 6, 4, 6, 9, 6, 4, 6, 5}}),
		"nody.npz":    with(counts, "dx", tensorio.Array{Shape: []int{1, 1, 3, 3}, Data: []float64{4, 6, 4, 6, 9, 6, 4, 6, 5}}),
		"operators/transposed.npz": {"op": text("conv_transpose"), "x": ones, "weight": ones, "stride": ints(2, 2), "padding": ints(1),
			"output_padding": ints(1, 1), "dy": {Shape: []int{1, 1, 6, 6}, Data: ramp(36).Data}},
		"operators/gemm.npz": with(counts, "op", text("gemm")),
		"operators/pack1.npz": {"op": text("deform_pack"), "x": ramp(1, 2, 6, 6), "weight": ramp(3, 2, 3, 3), "offset_weight": ramp(18, 2, 3, 3),
			"offset_bias": ramp(18), "dy": ramp(1, 3, 4, 4)},
		"operators/pack2.npz": {"op": text("deform_pack"), "x": ramp(1, 2, 6, 6), "weight": ramp(3, 2, 3, 3), "offset_weight": ramp(27, 2, 3, 3),
			"offset_bias": ramp(27), "modulated": ints(1)},
		"op.npz":        with(counts, "op", text("gemm")),
		"no_weight.npz": with(counts, "weight", tensorio.Array{}),
		"shapes.npz":    with(plain, "weight", ramp(6, 3, 3, 3)),
		"stride0.npz":   with(plain, "stride", ints(0, 1)),
		"stride-1.npz":  with(plain, "stride", ints(-1, 1)),
		"large.npz":     with(plain, "weight", ramp(6, 2, 7, 7)),
		"groups.npz":    with(plain, "groups", ints(3)),
		"offset.npz":    with(deform, "offset", ramp(1, 20, 3, 3)),
		"offset5.npz":   {"offset": ramp(1, 50, 40, 60)},
		"two.npz":       {"offset1": ramp(1, 36, 4, 6), "mask1": ramp(1, 18, 4, 6), "offset2": ramp(1, 36, 4, 6)},
		"batch.npz":     {"offset": ramp(2, 18, 40, 60)},
		"maps.npz":      {"weight": ramp(5, 3, 3, 3), "bias": ramp(5)},
		"one.npz":       {"weight": ramp(1, 1, 3, 3)},
	} {
		if err := tensorio.WriteNPZ(name, arrays); err != nil {
			t.Fatal(err)
		}
	}
	for name, times := range map[string][2][]int64{
		"old.json":    {{2_000_000, 2_010_000, 2_020_000, 2_030_000}, {5_000_000, 5_010_000, 5_020_000, 5_030_000}},
		"slower.json": {{2_400_000, 2_410_000, 2_420_000, 2_430_000}, {5_000_000, 5_005_000, 5_020_000, 5_040_000}},
	} {
		report := bench.Report{Go: "go1.26.0 linux/amd64", CPU: "a processor", Cores: 2, Offsets: "zero"}
		for i, layer := range []string{"rate 6", "rate 12"} {
			report.Rows = append(report.Rows, bench.Row{Set: "aspp16", Name: layer, Pass: "forward", Kind: "conv", Shape: "2048×33×33 → 256", Times: 1, Device: "a GPU",
				Driver: "its driver", FLOPs: 10_277_093_376, Bytes: 28_911_616, Worst: 0.125, Every: 13, DeviceNS: times[i], WallNS: times[i], PlanNS: 7_000_000,
				UploadNS: 300_000, DownloadNS: 40_000})
		}
		var text bytes.Buffer
		if err := report.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile("cases/counts.npz")
	if err != nil {
		t.Fatal(err)
	}
	m := image.NewNRGBA(image.Rect(0, 0, 60, 40))
	for y := range 40 {
		for x := range 60 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(4 * x), uint8(6 * y), uint8(x * y), 255})
		}
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, m); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"half.npz": whole[:len(whole)/2], "text.png": []byte("not a picture, just text"), "photo.png": picture.Bytes(), "file": nil,
		"layers.bench": []byte("# three\nmb2ic3ih9oc4kh3ph1n\"first\"\n--dir=BWD_W ic3ih9oc4kh3ph1n\"second\"\n--reset --deform=v1 ic3ih9oc4kh3ph1n\"third\"\n"),
		"layers.txt":   []byte("# a pyramid\nfirst: 3x3 s2 c32 b\n2x2 pool s2\n[1x1 | wide: 3x3 d3 c8 | 3x3 d6 c8]\nlast: 3x3 dw"),
	} {
		if err := os.WriteFile(name, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// convbench runs the command and shows everything it did, masked.
func convbench(args ...string) (shown string, status int) {
	var stdout, stderr bytes.Buffer
	status = run(context.Background(), args, strings.NewReader(""), &stdout, &stderr)
	shown = stdout.String()
	for line := range strings.Lines(stderr.String()) {
		shown += "stderr: " + line
	}
	for _, m := range masks {
		shown = m.find.ReplaceAllString(shown, m.put)
	}
	return fmt.Sprintf("$ convbench %s\n%sstatus %d\n", strings.Join(args, " "), shown, status), status
}

// The golden files: each a list of commands. They run on the CPU, whose
// answers are the same everywhere once times and shares are masked.
var golden = map[string][]string{
	"help": {"-h", "help", "help check", "devices -h", "check -h", "apply --help"},
	"usage": {"frobnicate", "-frobnicate", "check -frobnicate x.npz", "devices now", "-run nosuchcase", "-run (", "-budget 0s", "check",
		"check -random 5 x.npz", "check -random -1", "check -random 5 -op [", "check -random 5 -op gemm", "check -op conv x.npz", "apply", "apply photo.png photo.png -o a.png", "-device cpu now"},
	"explain": {
		"explain 3x3 d1, 3x3 d2, 3x3 d4", "explain 9x9 -input 3x32x48", "explain 3x3 d2 *3 -o field.png", "explain vgg16 -o field.svg",
		"explain DeepLabV3-ASPP", "explain layers.txt", "explain 3x3 d1, 1x7 s2x1 c32 -json", "explain 3x3 d2, 3x3 -device cpu -effective 2 -o both.svg",
		"explain 3x3 deform",
	},
	"badexplain": {
		"explain", "explain 3x3 q5", "explain vgg17", "explain 3x3 -input 64", "explain 3x3 -input 0x5x5", "explain 3x3 -o field.jpg",
		"explain 3x3 -o nosuch/field.png", "explain cases", "explain text.png", "explain 3x3 d5000 -o field.png", "explain 7x7 p0 -input 1x5x5",
		"explain 3x3 pool deform", "explain 3x3 d90000", "explain 3x3 *2000", "explain file", "explain 3x3 -effective -1", "explain 3x3 d1500 -effective 1 -device cpu",
	},
	"bench": {"-device cpu -run stacked.3×3$ -budget 1ms"},
	"benchlayers": {
		"bench -set list", "bench -device cpu mb1ic3ih9oc4kh3ph2dh1ntiny -reps 3", "bench -device cpu -x 1x4x9x9 -k 6 -kernel 3 -pad 1 -deform v2 -og 2 -backward -reps 3",
		"bench -device cpu -set aspp16 -match nothing|project -budget 1ms -dir BWD_D", "bench -device cpu -set main -match main.dilation.1 -budget 1ms",
		"bench -device cpu -batch layers.bench -reps 3 -mb 1", "bench -load old.json", "bench -load old.json -format csv", "bench -load old.json -format go",
		"bench -load old.json -compare old.json", "bench -load slower.json -compare old.json", "bench -load slower.json -compare old.json -threshold 0.3",
		"bench -load slower.json -compare old.json -format csv",
	},
	"roofline": {"roofline -device cpu", "roofline now", "roofline -device nosuchdevice"},
	"badbench": {
		"bench", "bench -set nosuch", "bench -set resnet50 -batch layers.bench", "bench -set resnet50 -match nosuchlayer", "bench -set resnet50 -match (",
		"bench ic3ih8oc4", "bench ic3ih8oc4kh9", "bench -batch nosuch.bench", "bench -batch text.png", "bench -x 1x4x9 -k 6", "bench -x 1x4x9x9", "bench -x 1x4x9x9 -k 6 -pad -1",
		"bench -set dcnv4 -dir BWD_W", "bench -set dcnv2 -dir UP", "bench -set dcnv2 -offsets wide", "bench -set dcnv2 -outside 2", "bench -set vgg16 -deform v3",
		"bench -load nosuch.json", "bench -load text.png", "bench -load old.json -compare text.png", "bench -load old.json -format xml", "bench -set vgg16 -reps 0",
		"bench -set vgg16 -save nosuch/new.json", "bench -set vgg16 -backward -dir FWD_B", "bench -load old.json -save new.json", "bench -set vgg16 -budget 0s",
		"bench -set vgg16 -tune -1s", "-tune -1s", "tune", "tune -set vgg16 -budget -1s", "tune -set vgg16 -x 1x4x9x9", "tune ic3ih8oc4", "tune -set vgg16 -device nosuchdevice", "tune -device cpu -set vgg16",
	},
	"check": {
		"check -device cpu cases",
		"check cases/counts.npz -device cpu -out results",
		"check -device cpu wrong.npz cases/counts.npz",
		"check -device cpu -- cases/counts.npz tolerant.npz",
		"check -device cpu wrongdx.npz nody.npz operators",
		"check -device cpu -forward cases/backward.npz wrongdx.npz",
		"check -device cpu -random 5 -seed 3",
		"check -device cpu -random 4 -op ^(conv|dcn) -forward",
	},
	"badcases": {
		"check -device cpu half.npz no_weight.npz shapes.npz stride0.npz stride-1.npz large.npz groups.npz offset.npz op.npz nosuch.npz text.png",
		"check -device cpu half.npz cases/counts.npz",
		"check -device cpu half.npz wrong.npz",
		"check -device cpu empty",
		"check -device cpu -out file/results cases",
		"check -device cpu -out cases cases",
		"check -device cpu -out results cases/counts.npz ./cases/../cases/counts.npz",
		"check -device nosuchdevice cases",
	},
	"apply": {
		"apply photo.png -o out.png -device cpu -dilation 3",
		"apply -device cpu -kernel gaussian -size 5 -stride 2 -o out.png photo.png",
		"apply -device cpu photo.png -o out.jpg -deform swirl -amplitude 90",
		"apply -device cpu photo.png -o out.png -deform random -kernel sobel-x -show centre",
		"apply -device cpu photo.png -o out.png -weights maps.npz -dilation 2",
		"apply -device cpu photo.png -o out.png -weights one.npz -padding-mode reflect",
		"apply -device cpu photo.png -o out.png -kernel box -size 5 -offsets offset5.npz",
	},
	"badlearn": {
		"learn photo.png", "learn -steps 3", "learn -seeds 0", "learn -kinds deformable,square", "learn -labels x.idx", "learn -images nosuch.npz", "learn -images text.png -labels text.png",
	},
	"show": {
		"show photo.png -o points.png", "show photo.png -o points.svg -layers 3x3~d2~*2 -at 0,0 -at 59,39 -crop 9",
		"show photo.png -o points.png -layers 5x5 -offsets offset5.npz -at 30,20", "show photo.png -o points.png -offsets two.npz -offsets two.npz -layers 3x3~*4 -jump 10 -group 1",
		"show photo.png -o points.svg -layers 3x3~s2,2x2~pool~s2,3x3~deform,1x1 -deform spread -plain",
	},
	"badshow": {
		"show", "show photo.png", "show photo.png -o out.jpg", "show photo.png -o nosuch/out.png", "show text.png -o out.png", "show nosuch.png -o out.png",
		"show photo.png -o out.png -layers 3x3~q2", "show photo.png -o out.png -layers [3x3|3x3~d2]", "show photo.png -o out.png -layers 99x99~p0",
		"show photo.png -o out.png -layers 3x3~*6", "show photo.png -o out.png -at 60,5", "show photo.png -o out.png -at 5", "show photo.png -o out.png -crop -1",
		"show photo.png -o out.png -jump 0", "show photo.png -o out.png -deform melt", "show photo.png -o out.png -deform wave -amplitude inf",
		"show photo.png -o out.png -amplitude 3", "show photo.png -o out.png -deform wave -offsets two.npz",
		"show photo.png -o out.png -layers 3x3~deform", "show photo.png -o out.png -layers 1x1,2x2~pool -deform wave",
		"show photo.png -o out.png -offsets nosuch.npz", "show photo.png -o out.png -offsets half.npz", "show photo.png -o out.png -offsets one.npz",
		"show photo.png -o out.png -offsets two.npz", "show photo.png -o out.png -offsets two.npz -layers 3x3~*2", "show photo.png -o out.png -offsets two.npz -layers 3x3 -jump 10",
		"show photo.png -o out.png -offsets two.npz -layers 3x3~*2 -jump 10 -group 2", "show photo.png -o out.png -group 1", "show photo.png -o out.png -offsets batch.npz -layers 3x3",
		"show photo.png -o out.png -net nosuch.safetensors", "show photo.png -o out.png -net two.npz", "show photo.png -o out.png -net w.safetensors -at 3,3",
		"show photo.png -o out.jpg -net w.safetensors", "show photo.png -o out.png -device cpu",
	},
	"badview": {
		"view", "view photo.png photo.png", "view nosuch.png", "view text.png", "view photo.png -kernel blur", "view photo.png -deform melt",
		"view photo.png -size 4", "view photo.png -size 9", "view photo.png -layers 4", "view photo.png -rate 0", "view photo.png -pixels 5",
	},
	"badreport": {
		"report", "report now -o r.html", "report -o r.pdf", "report -o nosuch/r.html", "report -o r.html -budget 0s", "report -o r.html -run (",
		"report -o r.html -run nosuchcase", "report -o r.html -gflops 5", "report -o r.html -gflops -5 -gbs 5", "report -o r.html -device nosuchdevice",
	},
	"badapply": {
		"apply -device cpu text.png -o out.png", "apply -device cpu nosuch.png -o out.png", "apply -device cpu photo.png",
		"apply -device cpu photo.png -o out.txt", "apply -device cpu photo.png -o nosuch/out.png",
		"apply -device cpu photo.png -o out.png -kernel blur", "apply -device cpu photo.png -o out.png -size 4",
		"apply -device cpu photo.png -o out.png -stride 0", "apply -device cpu photo.png -o out.png -dilation -2",
		"apply -device cpu photo.png -o out.png -deform melt", "apply -device cpu photo.png -o out.png -show loud",
		"apply -device cpu photo.png -o out.png -padding-mode edge", "apply -device cpu photo.png -o out.png -padding-mode reflect -deform wave",
		"apply -device cpu photo.png -o out.png -padding-mode reflect -dilation 50", "apply -device cpu photo.png -o out.png -amplitude 3",
		"apply -device cpu photo.png -o out.png -weights cases/dilated.npz", "apply -device cpu photo.png -o out.png -weights half.npz",
		"apply -device cpu photo.png -o out.png -weights cases/counts.npz -kernel box", "apply -device cpu photo.png -o out.png -offsets offset5.npz",
		"apply -device nosuchdevice photo.png -o out.png",
	},
}

func TestGolden(t *testing.T) {
	where, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for name, commands := range golden {
		t.Run(name, func(t *testing.T) {
			files(t)
			t.Setenv("VK_DRIVER_FILES", "/nonexistent/driver.json") // the same everywhere
			var got strings.Builder
			for _, c := range commands {
				args := strings.Fields(c)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "~", " ")
				}
				shown, _ := convbench(args...)
				if strings.Contains(c, "nosuchdevice") { // with and without cgo it cannot be opened for different reasons
					shown = regexp.MustCompile(`(?m)^stderr: convbench: .*$`).ReplaceAllString(shown, "stderr: convbench: #")
				}
				got.WriteString(shown + "\n")
			}
			path := filepath.Join(where, name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got.String()), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			g, w := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
			for i := range max(len(g), len(w)) {
				a, b := "(end)", "(end)"
				if i < len(g) {
					a = g[i]
				}
				if i < len(w) {
					b = w[i]
				}
				if a != b {
					t.Fatalf("line %d of %s.golden:\n got: %s\nwant: %s\n(go test -update rewrites it)\n\n%s", i+1, name, a, b, got.String())
				}
			}
		})
	}
}
