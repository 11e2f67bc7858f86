package main

import (
	"context"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"vkconv/tensorio"
	"vkconv/vis"
)

var showCommand = command{
	name: "show", args: "IMAGE -o OUT.png",
	short: "draw what a stack of layers samples on a photograph",
	long: `Draws the places of a picture that an output of a stack samples, through every tap of every
layer: 9³ = 729 through three of 3×3, as in figure 6 of Dai et al. 2017. Layers are written as
for convbench explain. Deformable are those with the word deform, or without any such word all
that have more than one tap. A place between the outputs of a layer has offsets blended of its
neighbours'.

The offsets come from a file (-offsets) or from a field (-deform); without either, the layers
are what they are: dilated. Arrows run from the regular grid to where the offsets lead. Colours
show the masks, multiplied along the way, or where there are none how many ways lead to a place.

With -jump 16 the layers work on a feature map of a sixteenth of the picture's size.

Deformations: ` + strings.Join(vis.Fields(), ", "),
	examples: `
  convbench show photo.jpg -o points.png -layers "3x3 d4 *3"
  convbench show photo.jpg -o points.svg -deform swirl -jump 16 -at 320,200 -at 90,400
  convbench show photo.jpg -o points.png -layers "3x3 d2, 3x3 deform" -offsets trained.npz -crop 40`,
	setup: func(flags *flag.FlagSet) action {
		s := show{pixels: texts{}}
		flags.StringVar(&s.out, "o", "", "draw to this `file`, .png or .svg")
		flags.StringVar(&s.layers, "layers", "3x3, 3x3, 3x3", "the `layers`, from the picture on")
		flags.Var(&s.pixels, "at", "show what the output over this pixel samples, `x,y` from the upper left; may be given\n        several times; without it the middle")
		flags.BoolVar(&s.plain, "plain", false, "without arrows")
		flags.IntVar(&s.crop, "crop", 0, "show only so many `pixels` each way from the outputs; 0 means the whole picture")
		s.sampling.flags(flags)
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) != 1 {
				return badInputf("show needs one picture, not %d (convbench show -h says more)", len(args))
			}
			s.image = args[0]
			return badInput(s.run(e))
		}
	},
}

// show is what the flags ask for.
type show struct {
	sampling
	image, out, layers string
	pixels             texts
	plain              bool
	crop               int
}

func (s *show) run(e *env) error {
	extension := strings.ToLower(filepath.Ext(s.out))
	switch {
	case s.out == "":
		return fmt.Errorf("show needs -o OUT.png")
	case extension != ".png" && extension != ".svg":
		return fmt.Errorf("-o is %q, must end in .png or .svg", s.out)
	case s.crop < 0:
		return fmt.Errorf("-crop is %d, must be at least 0", s.crop)
	}
	if err := writable(filepath.Dir(s.out)); err != nil {
		return fmt.Errorf("cannot write -o %s: %w", s.out, err)
	}
	photo, err := tensorio.ReadImage(s.image)
	if err != nil {
		return err
	}
	rows, columns := photo.Shape[2], photo.Shape[3]
	levels, what, err := s.levels(s.layers, rows, columns)
	if err != nil {
		return err
	}
	each, err := vis.Samples(levels)
	if err != nil {
		return err
	}
	points := vis.Points{Picture: photo.Picture(), Levels: levels, Jump: s.jump, Arrows: !s.plain, Crop: image.Pt(s.crop, s.crop)}
	outputs, err := s.outputs(levels, rows, columns)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s: %d×%d pixels\n", s.image, columns, rows)
	for _, o := range outputs {
		points.Outputs = append(points.Outputs, o)
		samples := vis.Trace(levels, o[0], o[1])
		fmt.Fprintf(e.stdout, "output at row %d, column %d: %d of %d samples lie on the picture", o[0], o[1], len(samples), each)
		if len(samples) > 0 {
			far, mean := displacement(samples)
			if what != "" {
				fmt.Fprintf(e.stdout, ", displaced by %.1f pixels on average, %.1f at most", mean*float64(s.jump), far*float64(s.jump))
			}
		}
		fmt.Fprintln(e.stdout)
	}
	points.Title = strings.Join(strings.Fields(s.layers), " ")
	points.Note = fmt.Sprintf("%s through %s", plural(each, "sample"), plural(len(levels), "layer"))
	if s.jump > 1 {
		points.Note += fmt.Sprintf(" on a map of one cell for %d×%d pixels", s.jump, s.jump)
	}
	if what != "" {
		points.Note += "; " + what
	}
	if extension == ".svg" {
		err = tensorio.WriteFile(s.out, points.SVG)
	} else {
		var m image.Image
		if m, err = points.Image(); err == nil {
			err = tensorio.WriteFile(s.out, func(w io.Writer) error { return png.Encode(w, m) })
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s: %s\n", s.out, points.Note)
	return nil
}

// displacement tells how far from the regular grid samples lie, in cells.
func displacement(samples []vis.Sample) (far, mean float64) {
	for _, s := range samples {
		d := math.Hypot(s.Y-s.GridY, s.X-s.GridX)
		far, mean = max(far, d), mean+d
	}
	return far, mean / float64(len(samples))
}

// outputs finds the outputs over the pixels that are named.
func (s *show) outputs(levels []vis.Level, rows, columns int) (outputs [][2]int, err error) {
	const most = 100
	if len(s.pixels) > most {
		return nil, fmt.Errorf("-at is given %d times, at most %d outputs are drawn", len(s.pixels), most)
	}
	pixels := [][2]int{{columns / 2, rows / 2}}
	if len(s.pixels) > 0 {
		pixels = nil
	}
	for _, text := range s.pixels {
		left, right, ok := strings.Cut(text, ",")
		x, errX := strconv.Atoi(strings.TrimSpace(left))
		y, errY := strconv.Atoi(strings.TrimSpace(right))
		if !ok || errX != nil || errY != nil {
			return nil, fmt.Errorf("-at is %q, must be a pixel such as 120,80", text)
		}
		if x < 0 || y < 0 || x >= columns || y >= rows {
			return nil, fmt.Errorf("-at is %d,%d, must lie on the picture, between 0,0 and %d,%d", x, y, columns-1, rows-1)
		}
		pixels = append(pixels, [2]int{x, y})
	}
	jump := float64(s.jump)
	for _, p := range pixels {
		row, column := vis.Nearest(levels, (float64(p[1])-(jump-1)/2)/jump, (float64(p[0])-(jump-1)/2)/jump)
		outputs = append(outputs, [2]int{row, column})
	}
	return outputs, nil
}
