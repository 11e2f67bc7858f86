// Command peers times this library and others on the same layers, in turns, and
// prints their ratios.
//
//	go run ./bench/peers                              # the CPU path against PyTorch on the CPU
//	go run ./bench/peers -device llvmpipe -backward
//	go run ./bench/peers -python '/opt/venv/bin/python' -o bench/results/cpu.md
//	go run ./bench/peers -device llvmpipe -ncnn ./ncnn_peer -ggml ./ggml_peer -burn ./burn_peer -shapes bench/peers/vulkan.json
//	go run ./bench/peers -python python3 -ncnn-cpu python3 -ort python3 -shapes bench/sets.json -set aspp
//	go run ./bench/peers -device NVIDIA -cuda -clock device -type float16 -shapes bench/peers/vulkan.json
//
// The peers are PyTorch with torchvision (torch_peer.py), where they are named
// ncnn's CPU layers and ONNX Runtime (ncnn_cpu.py, ort_cpu.py), and on the same
// Vulkan device ncnn, ggml and burn: programs made of ncnn/peer.cpp, ggml/peer.cpp
// and burn, whose heads say how, and whose paths are given by flag or environment.
// Without any of them the peer is PyTorch.
//
// A turn runs every layer here and there, so that a machine whose speed drifts
// drifts for all. A figure is the median over the turns of the medians of single
// calls; ± is half the distance between the smallest and the largest turn. All
// sides keep inputs and outputs where they compute.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"vkconv"
	"vkconv/conv"
)

// run is one side's figures: milliseconds of every turn, by layer.
type run map[string][]float64

// settings are the flags.
type settings struct {
	device, python, shapes, only, set, out string
	ncnn, ggml, burn, ncnnCPU, ort, clock  string
	typ                                    conv.Type
	backward, cuda, winograd, split        bool
	threads, turns                         int
	limit                                  time.Duration
	seconds                                float64
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("peers: ")
	var s settings
	flag.StringVar(&s.device, "device", "cpu", "our `device`, as convbench takes it")
	flag.StringVar(&s.python, "python", "", "the `command` that runs Python with torch and torchvision; python3 where no other peer is named")
	flag.StringVar(&s.ncnn, "ncnn", os.Getenv("VKCONV_NCNN"), "the `command` made of ncnn/peer.cpp; $VKCONV_NCNN")
	flag.StringVar(&s.ggml, "ggml", os.Getenv("VKCONV_GGML"), "the `command` made of ggml/peer.cpp; $VKCONV_GGML")
	flag.StringVar(&s.burn, "burn", os.Getenv("VKCONV_BURN"), "the `command` made of burn; $VKCONV_BURN")
	flag.StringVar(&s.ncnnCPU, "ncnn-cpu", "", "the `command` that runs Python with ncnn, for its CPU layers")
	flag.StringVar(&s.ort, "ort", "", "the `command` that runs Python with onnxruntime and onnx")
	flag.StringVar(&s.shapes, "shapes", "bench/peers/shapes.json", "the layers, a JSON `file`")
	flag.BoolVar(&s.backward, "backward", false, "time all gradients instead of the forward pass")
	flag.StringVar(&s.clock, "clock", wall, "which `clock`: wall; processor, the time of all threads, for software drivers on a machine that does other work too; device, a GPU's own")
	flag.BoolVar(&s.cuda, "cuda", false, "PyTorch on its CUDA device instead of the CPU")
	flag.Func("type", "how tensors are stored: float32, float16 or bfloat16, on both sides; PyTorch and we alone (default float32)", func(name string) error {
		for _, t := range []conv.Type{conv.Float32, conv.Float16, conv.BFloat16} {
			if t.String() == name {
				s.typ = t
				return nil
			}
		}
		return errors.New("has to be float32, float16 or bfloat16")
	})
	flag.BoolVar(&s.split, "split", false, "allow us matrix units for float32, vkconv.SplitFloat32; a device without them for bfloat16 refuses that")
	flag.BoolVar(&s.winograd, "winograd", false, "allow us Winograd's algorithm, vkconv.AllowWinograd, as ncnn's default does")
	flag.IntVar(&s.threads, "threads", runtime.GOMAXPROCS(0), "threads of either side")
	flag.IntVar(&s.turns, "turns", 3, "how often each side runs")
	flag.Float64Var(&s.seconds, "seconds", 0.6, "how long a layer runs in a turn")
	flag.DurationVar(&s.limit, "limit", 0, "begin no layer after so long, and say which were left out; 0 is no limit")
	flag.StringVar(&s.only, "only", "", "layers whose name contains this `text`")
	flag.StringVar(&s.set, "set", "", "layers whose set's name contains this `text`")
	flag.StringVar(&s.out, "o", "", "write the table to this `file` as well")
	flag.Parse()
	if err := s.compare(); err != nil {
		log.Fatal(err)
	}
}

// read picks the layers.
func (s *settings) read() (layers []layer, err error) {
	data, err := os.ReadFile(s.shapes)
	if err != nil {
		return nil, err
	}
	var all []layer
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", s.shapes, err)
	}
	for _, l := range all {
		if strings.Contains(l.Name, s.only) && strings.Contains(l.Set, s.set) && l.Op == "" {
			if l.Set != "" { // sets name their layers alike
				l.Name = l.Set + " " + l.Name
			}
			layers = append(layers, l)
		}
	}
	if len(layers) == 0 || s.turns < 1 || s.threads < 1 {
		return nil, fmt.Errorf("nothing to do: %d layers named like %q of sets like %q, %d turns, %d threads", len(layers), s.only, s.set, s.turns, s.threads)
	}
	return layers, nil
}

// The clocks.
const wall, processor, device = "wall", "processor", "device"

// check says what of the settings does not go together.
func (s *settings) check() error {
	others := s.ncnn + s.ggml + s.ncnnCPU + s.ort
	switch {
	case s.clock != wall && s.clock != processor && s.clock != device:
		return fmt.Errorf("-clock is %q, has to be %s, %s or %s", s.clock, wall, processor, device)
	case s.backward && others != "":
		return errors.New("-backward is for PyTorch and burn alone")
	case (s.typ != conv.Float32 || s.cuda) && others+s.burn != "":
		return errors.New("-type and -cuda are for PyTorch alone")
	case s.clock == processor && s.python+s.ncnnCPU+s.ort != "":
		return errors.New("-clock processor is for Vulkan peers alone")
	case (s.clock == device) != s.cuda:
		return errors.New("-clock device and -cuda go together")
	case s.split && (s.backward || s.typ != conv.Float32):
		return errors.New("-split is for forward passes in float32")
	case s.winograd && (s.backward || s.typ != conv.Float32):
		return errors.New("-winograd is for forward passes in float32")
	case s.clock == processor && processorTime() == 0:
		return errors.New("-clock processor: processor time is not known on this system")
	}
	return nil
}

// arguments are what a peer in Python is told.
func (s *settings) arguments() []string {
	args := []string{"--lines", "--threads", strconv.Itoa(s.threads)}
	if s.backward {
		args = append(args, "--backward")
	}
	if s.cuda {
		args = append(args, "--device", "cuda")
	}
	if s.typ != conv.Float32 {
		args = append(args, "--type", s.typ.String())
	}
	return args
}

func (s *settings) compare() (err error) {
	layers, err := s.read()
	if err != nil {
		return err
	}
	if s.ncnn+s.ggml+s.burn+s.ncnnCPU+s.ort+s.python == "" {
		s.python = "python3"
	}
	if err := s.check(); err != nil {
		return err
	}
	e, err := vkconv.Open(vkconv.Options{Device: s.device, Threads: s.threads})
	if err != nil {
		return err
	}
	defer e.Close()
	r := report{settings: s, engine: e, layers: layers, ours: run{}}
	var lines []*linePeer
	for _, c := range []struct {
		name, command string
		json          bool
	}{{"ncnn", s.ncnn, false}, {"ggml", s.ggml, false}, {"burn", s.burn, true}} {
		if c.command == "" {
			continue
		}
		p, err := startPeer(c.name, c.command, c.json, s)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		lines = append(lines, p)
	}
	for _, c := range []struct{ name, python, script string }{
		{"PyTorch", s.python, "torch_peer.py"}, {"ncnn CPU", s.ncnnCPU, "ncnn_cpu.py"}, {"ONNX Runtime", s.ort, "ort_cpu.py"},
	} {
		if c.python == "" {
			continue
		}
		p, err := startPython(c.name, c.python, c.script, s.arguments())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		lines = append(lines, p)
	}
	for _, p := range lines {
		r.peers = append(r.peers, peerRun{p.name, p.about, run{}, run{}, map[string]string{}, map[string]string{}})
	}
	begin := time.Now()
	for turn := range s.turns {
		for _, l := range layers {
			if s.limit > 0 && time.Since(begin) > s.limit {
				break
			}
			fmt.Fprintf(os.Stderr, "\rturn %d: %-50s", turn+1, l.Name)
			ms, err := l.time(e, s)
			if err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
			r.ours[l.Name] = append(r.ours[l.Name], ms)
			for i, p := range lines {
				a, err := p.time(l, s.seconds)
				if err != nil {
					return err
				}
				r.peers[i].add(l.Name, a)
			}
		}
	}
	fmt.Fprintf(os.Stderr, "\r%60s\r", "")
	r.leaveOut()
	var b bytes.Buffer
	r.write(&b)
	os.Stdout.Write(b.Bytes())
	if s.out != "" {
		return os.WriteFile(s.out, b.Bytes(), 0o666)
	}
	return nil
}

func (p *peerRun) add(name string, a answer) {
	if a.Error != "" {
		p.missing[name] = a.Error
		return
	}
	p.times[name] = append(p.times[name], a.Median)
	if a.Direct > 0 {
		p.direct[name] = append(p.direct[name], a.Direct)
	}
	p.ways[name] = a.Way
}
