// Command peers times this library and PyTorch with torchvision on the same
// layers, in turns, and prints their ratio.
//
//	go run ./bench/peers                              # the CPU path against PyTorch on the CPU
//	go run ./bench/peers -device llvmpipe -backward
//	go run ./bench/peers -python '/opt/venv/bin/python' -o bench/results/cpu.md
//
// A turn runs every layer here and then every layer there, so that a machine
// whose speed drifts drifts for both. A figure is the median over the turns of
// the medians of single calls; ± is half the distance between the smallest and
// the largest turn. Both sides keep inputs and outputs where they compute.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"vkconv"
)

// run is one side's figures: milliseconds of every turn, by layer.
type run map[string][]float64

func main() {
	log.SetFlags(0)
	log.SetPrefix("peers: ")
	var (
		device   = flag.String("device", "cpu", "our `device`, as convbench takes it")
		python   = flag.String("python", "python3", "the `command` that runs Python with torch and torchvision")
		shapes   = flag.String("shapes", "bench/peers/shapes.json", "the layers, a JSON `file`")
		backward = flag.Bool("backward", false, "time all gradients instead of the forward pass")
		threads  = flag.Int("threads", runtime.GOMAXPROCS(0), "threads of either side")
		turns    = flag.Int("turns", 3, "how often each side runs")
		seconds  = flag.Float64("seconds", 0.6, "how long a layer runs in a turn")
		only     = flag.String("only", "", "layers whose name contains this `text`")
		out      = flag.String("o", "", "write the table to this `file` as well")
	)
	flag.Parse()
	if err := compare(*device, *python, *shapes, *only, *out, *backward, *threads, *turns, *seconds); err != nil {
		log.Fatal(err)
	}
}

func compare(device, python, shapes, only, out string, backward bool, threads, turns int, seconds float64) error {
	data, err := os.ReadFile(shapes)
	if err != nil {
		return err
	}
	var all, layers []layer
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("%s: %w", shapes, err)
	}
	for _, l := range all {
		if strings.Contains(l.Name, only) {
			layers = append(layers, l)
		}
	}
	if len(layers) == 0 || turns < 1 || threads < 1 {
		return fmt.Errorf("nothing to do: %d layers named like %q, %d turns, %d threads", len(layers), only, turns, threads)
	}
	e, err := vkconv.Open(vkconv.Options{Device: device, Threads: threads})
	if err != nil {
		return err
	}
	defer e.Close()
	ours, theirs, about := run{}, run{}, ""
	for turn := range turns {
		for _, l := range layers {
			fmt.Fprintf(os.Stderr, "\rturn %d: %-50s", turn+1, l.Name)
			ms, err := l.time(e, backward, time.Duration(seconds*float64(time.Second)))
			if err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
			ours[l.Name] = append(ours[l.Name], ms)
		}
		fmt.Fprintf(os.Stderr, "\rturn %d: %-50s", turn+1, "PyTorch")
		if about, err = torch(python, shapes, only, backward, threads, seconds, theirs); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "\r%60s\r", "")
	var b bytes.Buffer
	table(&b, e, about, layers, ours, theirs, backward, threads)
	os.Stdout.Write(b.Bytes())
	if out != "" {
		return os.WriteFile(out, b.Bytes(), 0o666)
	}
	return nil
}

// torch runs the script beside this file over all layers and adds its medians.
func torch(python, shapes, only string, backward bool, threads int, seconds float64, to run) (about string, err error) {
	args := append(strings.Fields(python), filepath.Join(filepath.Dir(shapes), "torch_cpu.py"), shapes,
		"--threads", strconv.Itoa(threads), "--seconds", fmt.Sprint(seconds), "--only", only)
	if backward {
		args = append(args, "--backward")
	}
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var v struct {
			Name        string
			Median      float64 `json:"median_ms"`
			Torch       string
			Torchvision string
			BLAS        string
			CPU         string
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return "", fmt.Errorf("torch_cpu.py printed %q: %w", lines.Text(), err)
		}
		if v.Name == "" {
			about = fmt.Sprintf("PyTorch %s, torchvision %s, %s; %s", v.Torch, v.Torchvision, v.BLAS, v.CPU)
			continue
		}
		to[v.Name] = append(to[v.Name], v.Median)
	}
	return about, lines.Err()
}

func table(w io.Writer, e *vkconv.Engine, about string, layers []layer, ours, theirs run, backward bool, threads int) {
	pass := "forward"
	if backward {
		pass = "backward, all gradients"
	}
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	fmt.Fprintf(w, "%s, %d threads, float32, %s.\nOurs: %s; %s; commit %s.\nTheirs: %s.\n\n", pass, threads,
		time.Now().UTC().Format("2006-01-02"), e.Name(), e.Driver(), strings.TrimSpace(string(commit)), about)
	fmt.Fprintln(w, "| layer | ours, ms | ± | GFLOP/s | PyTorch, ms | ± | GFLOP/s | PyTorch / ours |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	product := map[bool]float64{}
	count := map[bool]int{}
	for _, l := range layers {
		a, b := ours[l.Name], theirs[l.Name]
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		ratio := median(b) / median(a)
		gflop := l.flops(backward) / 1e6
		fmt.Fprintf(w, "| %s | %.3g | %.2g | %.3g | %.3g | %.2g | %.3g | %.2f |\n", l.Name,
			median(a), spread(a), gflop/median(a), median(b), spread(b), gflop/median(b), ratio)
		product[l.OG > 0] += math.Log(ratio)
		count[l.OG > 0]++
	}
	for _, deform := range []bool{false, true} {
		if n := count[deform]; n > 0 {
			name := map[bool]string{false: "convolution", true: "deformable"}[deform]
			fmt.Fprintf(w, "\nGeometric mean, %s: %.2f × as fast as PyTorch.\n", name, math.Exp(product[deform]/float64(n)))
		}
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func spread(v []float64) float64 { return (slices.Max(v) - slices.Min(v)) / 2 }
