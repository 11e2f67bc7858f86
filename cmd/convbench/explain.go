package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/explain"
	"vkconv/tensorio"
	"vkconv/vis"
)

var explainCommand = command{
	name: "explain", args: "LAYERS|NETWORK|FILE",
	short: "say what a stack of layers sees and costs",
	long: `Follows a stack of convolutions and says for each layer its output, its receptive field alone
and stacked, how far apart neighbouring fields lie (jump), which share of the field is never
read (the gridding of dilation), its weights and multiply-adds; whether rates of dilation leave
holes; and what else would see as far at what cost. Only -effective computes anything: by the
input gradient, how much an output depends on each pixel of its field.

Layers are separated by commas, or in a file by lines; # begins a comment. A layer is a kernel,
3x3, and what differs from the usual: s2 stride; d4 dilation; p1 padding, without which the size
is kept at stride 1; c64 channels that come out, without which there are as many as come in; g32
groups, dw depthwise; b with a bias; *4 four times; a name and a colon before all. "2x2 pool s2"
is a pooling, [1x1 | 3x3 d6 | 3x3 d12] are layers side by side.

Networks: ` + wrap(strings.Join(explainNames(), ", "), 82, "          ") + `

The picture (-o) shows how often one output reads each pixel of its field, beside it with
-effective how strong the gradient is there.`,
	examples: `
  convbench explain "3x3 d1, 3x3 d2, 3x3 d4"
  convbench explain "3x3 d2 *3" -o gridding.png
  convbench explain resnet50 -input 3x512x512
  convbench explain deeplabv3-aspp -json
  convbench explain layers.txt -o field.svg
  convbench explain "3x3 *8" -effective 20 -o both.png`,
	setup: func(flags *flag.FlagSet) action {
		input := flags.String("input", "", "the input as `CxHxW`; without it the network's own, else 64x56x56")
		out := flags.String("o", "", "draw the field to this `file`, .png or .svg")
		asJSON := flags.Bool("json", false, "write JSON")
		effective := flags.Int("effective", 0, "measure the effective field through this `number` of random networks")
		seed := flags.Uint64("seed", 1, "the `number` that their weights follow from")
		device := deviceFlag(flags)
		return func(ctx context.Context, e *env, args []string) error {
			switch {
			case len(args) == 0:
				return badInputf("explain needs layers, a network's name or a file (convbench explain -h says more)")
			case *effective < 0 || *effective > 10000:
				return badInputf("-effective is %d, must be between 0 and 10000", *effective)
			}
			x := explanation{what: strings.Join(args, " "), out: *out, device: *device, asJSON: *asJSON, effective: *effective, seed: *seed}
			return x.run(ctx, e, *input)
		}
	},
}

// explainNames are the names of the known networks.
func explainNames() (names []string) {
	for _, n := range explain.Known() {
		names = append(names, n.Name)
	}
	return names
}

// explanation is what the flags ask for.
type explanation struct {
	what, out, device string
	asJSON            bool
	effective         int
	seed              uint64
}

func (x explanation) run(ctx context.Context, e *env, input string) error {
	extension := strings.ToLower(filepath.Ext(x.out))
	if x.out != "" && extension != ".png" && extension != ".svg" {
		return badInputf("-o is %q, must end in .png or .svg", x.out)
	}
	network, err := findNetwork(x.what)
	if err != nil {
		return badInput(err)
	}
	if input != "" {
		if network.Input, err = parseInput(input); err != nil {
			return badInput(err)
		}
	}
	stack, err := explain.Parse(network.Text)
	if err != nil && network.Name != "" {
		err = fmt.Errorf("%s: %w", network.Name, err)
	}
	if err != nil {
		return badInput(err)
	}
	report, err := explain.Explain(stack, network.Input)
	if err != nil {
		return badInput(err)
	}
	report.Name, report.About = network.Name, network.About
	if x.effective > 0 {
		if err := x.measure(ctx, e, stack, report); err != nil {
			return err
		}
	}
	if x.out != "" {
		if err := x.draw(report, extension); err != nil {
			return badInput(err)
		}
	}
	if x.asJSON {
		encoder := json.NewEncoder(e.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	if err := report.WriteText(e.stdout); err != nil {
		return err
	}
	if x.out != "" {
		fmt.Fprintf(e.stdout, "%s: how often each of the %d×%d pixels is read\n", x.out, report.Field[0], report.Field[1])
	}
	return nil
}

// measure adds the effective field.
func (x explanation) measure(ctx context.Context, e *env, stack explain.Stack, report *explain.Report) (err error) {
	engine, err := vkconv.Open(vkconv.Options{Device: x.device})
	if err != nil {
		return badInput(err)
	}
	defer func() { err = e.shut(err, engine) }()
	e.progress("measuring gradients on %s", engine.Name())
	report.Effective, err = explain.MeasureEffective(ctx, engine, stack, x.effective, x.seed)
	e.progress("")
	if errors.Is(err, explain.ErrText) {
		err = badInput(err)
	}
	return err
}

// findNetwork takes what was asked for as a known network's name, a file's
// path, or layers.
func findNetwork(what string) (explain.Network, error) {
	if n, ok := explain.Named(what); ok {
		return n, nil
	}
	n := explain.Network{Input: conv.Shape{1, 64, 56, 56}, Text: what}
	info, err := os.Stat(what)
	if err != nil { // layers, then; they begin with a kernel, a name or a bracket
		if what = strings.TrimSpace(what); !strings.ContainsAny(what, " ,:[|\n") && !strings.ContainsAny(what[:min(1, len(what))], "0123456789") {
			return n, fmt.Errorf("there is neither a network nor a file %q, and no layer is written like that; networks are %s", what, strings.Join(explainNames(), ", "))
		}
		return n, nil
	}
	const longest = 1 << 20
	if !info.Mode().IsRegular() || info.Size() > longest {
		return n, fmt.Errorf("%s is no text of at most %d bytes", what, longest)
	}
	text, err := os.ReadFile(what)
	n.Name, n.About, n.Text = filepath.Base(what), "layers from a file", string(text)
	return n, err
}

// parseInput reads CxHxW.
func parseInput(text string) (conv.Shape, error) {
	shape := conv.Shape{1}
	parts := strings.Split(strings.ReplaceAll(text, "×", "x"), "x")
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || len(parts) != 3 || n < 1 || n > 1<<20 {
			return shape, fmt.Errorf("-input is %q, must be channels, rows and columns such as 3x224x224", text)
		}
		shape[1+i] = n
	}
	return shape, nil
}

// draw writes the heat map, or both side by side.
func (x explanation) draw(r *explain.Report, extension string) error {
	title := []rune(strings.Join(strings.Fields(x.what), " "))
	if len(title) > 80 {
		title = append(title[:79], '…')
	}
	seen := "each of them read"
	if r.Unseen > 0 {
		seen = fmt.Sprintf("%d of %d never read", r.Unseen, r.Field[0]*r.Field[1])
	}
	maps := []vis.HeatMap{{Title: string(title), Rows: r.Field[0], Columns: r.Field[1], At: r.Reads.At,
		Note: fmt.Sprintf("how often one output reads its %d×%d pixels; %s", r.Field[0], r.Field[1], seen)}}
	if m := r.Effective; m != nil {
		maps = append(maps, vis.HeatMap{Title: "Effective field", Rows: m.Rows, Columns: m.Columns, Linear: true, Outline: explain.Faint,
			Note: fmt.Sprintf("gradient through %s, root mean square; outlined: more than 4.55%%", plural(m.Draws, "random network")),
			Unit: "of the strongest", Nothing: "no gradient",
			At: func(row, column int) float64 { return m.Size[row*m.Columns+column] }})
	}
	if extension == ".svg" {
		return tensorio.WriteFile(x.out, func(w io.Writer) error { return vis.BesideSVG(w, maps...) })
	}
	picture, err := vis.BesideImage(maps...)
	if err != nil {
		return err
	}
	return tensorio.WriteFile(x.out, func(w io.Writer) error { return png.Encode(w, picture) })
}
