// Command peers times this library and others on the same layers, in turns, and
// prints their ratios.
//
//	go run ./bench/peers                              # the CPU path against PyTorch on the CPU
//	go run ./bench/peers -device llvmpipe -backward
//	go run ./bench/peers -python '/opt/venv/bin/python' -o bench/results/cpu.md
//	go run ./bench/peers -device llvmpipe -ncnn ./ncnn_peer -shapes bench/peers/vulkan.json
//	go run ./bench/peers -python python3 -ncnn-cpu python3 -ort python3 -shapes bench/sets.json -set aspp
//
// The peers are PyTorch with torchvision (torch_cpu.py), where they are named
// ncnn's CPU layers and ONNX Runtime (ncnn_cpu.py, ort_cpu.py), and ncnn's
// Vulkan backend on the same device: a program made of ncnn/peer.cpp, whose head
// says how, and whose path is given by flag or environment. Without any of them
// the peer is PyTorch.
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
	"strings"
	"time"

	"vkconv"
)

// run is one side's figures: milliseconds of every turn, by layer.
type run map[string][]float64

// settings are the flags.
type settings struct {
	device, python, shapes, only, set, out string
	ncnn, ncnnCPU, ort                     string
	backward, cpu, winograd                bool
	threads, turns                         int
	seconds                                float64
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("peers: ")
	var s settings
	flag.StringVar(&s.device, "device", "cpu", "our `device`, as convbench takes it")
	flag.StringVar(&s.python, "python", "", "the `command` that runs Python with torch and torchvision; python3 where no other peer is named")
	flag.StringVar(&s.ncnn, "ncnn", os.Getenv("VKCONV_NCNN"), "the `command` made of ncnn/peer.cpp; $VKCONV_NCNN")
	flag.StringVar(&s.ncnnCPU, "ncnn-cpu", "", "the `command` that runs Python with ncnn, for its CPU layers")
	flag.StringVar(&s.ort, "ort", "", "the `command` that runs Python with onnxruntime and onnx")
	flag.StringVar(&s.shapes, "shapes", "bench/peers/shapes.json", "the layers, a JSON `file`")
	flag.BoolVar(&s.backward, "backward", false, "time all gradients instead of the forward pass")
	flag.BoolVar(&s.cpu, "cpu", false, "time processors instead of the clock (not PyTorch), for software drivers on a machine that does other work too")
	flag.BoolVar(&s.winograd, "winograd", false, "allow us Winograd's algorithm, vkconv.AllowWinograd, as ncnn's default does")
	flag.IntVar(&s.threads, "threads", runtime.GOMAXPROCS(0), "threads of either side")
	flag.IntVar(&s.turns, "turns", 3, "how often each side runs")
	flag.Float64Var(&s.seconds, "seconds", 0.6, "how long a layer runs in a turn")
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

func (s *settings) compare() (err error) {
	layers, err := s.read()
	if err != nil {
		return err
	}
	if s.ncnn+s.ncnnCPU+s.ort+s.python == "" {
		s.python = "python3"
	}
	if s.backward && s.ncnn+s.ncnnCPU+s.ort != "" {
		return errors.New("only PyTorch has gradients; -backward is for it alone")
	}
	if s.cpu && s.python+s.ncnnCPU+s.ort != "" {
		return errors.New("-cpu is for Vulkan peers alone")
	}
	if s.cpu && processorTime() == 0 {
		return errors.New("-cpu: processor time is not known on this system")
	}
	e, err := vkconv.Open(vkconv.Options{Device: s.device, Threads: s.threads})
	if err != nil {
		return err
	}
	defer e.Close()
	r := report{engine: e, layers: layers, ours: run{}, backward: s.backward, cpu: s.cpu, winograd: s.winograd, threads: s.threads}
	var lines []*linePeer
	for _, c := range []struct{ name, command string }{{"ncnn", s.ncnn}} {
		if c.command == "" {
			continue
		}
		p, err := startPeer(c.name, c.command, s.device, s.cpu)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		lines = append(lines, p)
	}
	for _, c := range []struct{ name, python, script string }{
		{"PyTorch", s.python, "torch_cpu.py"}, {"ncnn CPU", s.ncnnCPU, "ncnn_cpu.py"}, {"ONNX Runtime", s.ort, "ort_cpu.py"},
	} {
		if c.python == "" {
			continue
		}
		p, err := startPython(c.name, c.python, c.script, s.threads, s.backward)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.close()) }()
		lines = append(lines, p)
	}
	for _, p := range lines {
		r.peers = append(r.peers, peerRun{p.name, p.about, run{}, run{}, map[string]string{}})
	}
	for turn := range s.turns {
		for _, l := range layers {
			fmt.Fprintf(os.Stderr, "\rturn %d: %-50s", turn+1, l.Name)
			ms, err := l.time(e, s.backward, s.cpu, s.winograd, time.Duration(s.seconds*float64(time.Second)))
			if err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
			r.ours[l.Name] = append(r.ours[l.Name], ms)
			for i, p := range lines {
				a, err := p.time(l, s.seconds)
				if err != nil {
					return err
				}
				if a.Error == "" {
					r.peers[i].add(l.Name, a)
				}
			}
		}
	}
	fmt.Fprintf(os.Stderr, "\r%60s\r", "")
	var b bytes.Buffer
	r.write(&b)
	os.Stdout.Write(b.Bytes())
	if s.out != "" {
		return os.WriteFile(s.out, b.Bytes(), 0o666)
	}
	return nil
}

func (p *peerRun) add(name string, a answer) {
	p.times[name] = append(p.times[name], a.Median)
	if a.Direct > 0 {
		p.direct[name] = append(p.direct[name], a.Direct)
	}
	p.ways[name] = a.Way
}
