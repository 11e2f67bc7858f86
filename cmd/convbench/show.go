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
	short: "draw what a stack of layers, or a trained network, samples on a photograph",
	long: `Draws the places of a picture that an output of a stack samples, through every tap of every
layer: 9³ = 729 through three of 3×3, as in figure 6 of Dai et al. 2017. Layers are written as
for convbench explain. Deformable are those with the word deform, or without any such word all
that have more than one tap. A place between the outputs of a layer has offsets blended of its
neighbours'.

The offsets come from a file (-offsets) or from a field (-deform); without either, the layers
are what they are: dilated. Arrows run from the regular grid to where the offsets lead. Colours
show the masks, multiplied along the way, or where there are none how many ways lead to a place.

With -jump 16 the layers work on a feature map of a sixteenth of the picture's size.

With -net the points are what a network that convbench learn trained makes of the picture, which
it looks at as a whole, brought to the size that it was trained on; it says which class it sees.

Deformations: ` + strings.Join(vis.Fields(), ", "),
	examples: `
  convbench show photo.jpg -o points.png -layers "3x3 d4 *3"
  convbench show photo.jpg -o points.svg -deform swirl -jump 16 -at 320,200 -at 90,400
  convbench show photo.jpg -o points.png -layers "3x3 d2, 3x3 deform" -offsets trained.npz -crop 40
  convbench show learned/held-out-1.png -o points.svg -net learned/weights.safetensors`,
	setup: func(flags *flag.FlagSet) action {
		s := show{pixels: texts{}}
		flags.StringVar(&s.out, "o", "", "draw to this `file`, .png or .svg")
		flags.StringVar(&s.layers, "layers", "3x3, 3x3, 3x3", "the `layers`, from the picture on")
		flags.Var(&s.pixels, "at", "show what the output over this pixel samples, `x,y` from the upper left; may be given\n        several times; without it the middle")
		flags.BoolVar(&s.plain, "plain", false, "without arrows")
		flags.IntVar(&s.crop, "crop", 0, "show only so many `pixels` each way from the outputs; 0 means the whole picture")
		s.sampling.flags(flags)
		flags.StringVar(&s.net, "net", "", "show where the network of this .safetensors `file` of convbench learn samples")
		device := deviceFlag(flags)
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) != 1 {
				return badInputf("show needs one picture, not %d (convbench show -h says more)", len(args))
			}
			s.image, s.device = args[0], *device
			if s.net != "" {
				return s.runNet(ctx, e, flags)
			}
			if s.device != "" {
				return badInputf("-device belongs to -net: without a network nothing is computed")
			}
			return badInput(s.run(e))
		}
	},
}

// show is what the flags ask for.
type show struct {
	sampling
	image, out, layers string
	net, device        string
	pixels             texts
	plain              bool
	crop               int
}

// open reads the picture, when all that is asked for can be drawn.
func (s *show) open() (photo tensorio.Image, err error) {
	extension := strings.ToLower(filepath.Ext(s.out))
	switch {
	case s.out == "":
		return photo, fmt.Errorf("show needs -o OUT.png")
	case extension != ".png" && extension != ".svg":
		return photo, fmt.Errorf("-o is %q, must end in .png or .svg", s.out)
	case s.crop < 0:
		return photo, fmt.Errorf("-crop is %d, must be at least 0", s.crop)
	}
	if err := writable(s.out); err != nil {
		return photo, fmt.Errorf("cannot write -o %s: %w", s.out, err)
	}
	return tensorio.ReadImage(s.image)
}

// write draws to the file, as its name says.
func (s *show) write(e *env, points vis.Points) error {
	err := error(nil)
	if strings.ToLower(filepath.Ext(s.out)) == ".svg" {
		err = tensorio.WriteFile(s.out, points.SVG)
	} else {
		var m image.Image
		if m, err = points.Image(); err == nil {
			err = tensorio.WriteFile(s.out, func(w io.Writer) error { return png.Encode(w, m) })
		}
	}
	if err == nil {
		fmt.Fprintf(e.stdout, "%s: %s\n", s.out, points.Note)
	}
	return err
}

func (s *show) run(e *env) error {
	photo, err := s.open()
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
	points := vis.Points{Picture: photo.Picture(), Levels: levels, Cells: vis.Every(s.jump), Arrows: !s.plain, Crop: image.Pt(s.crop, s.crop)}
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
			far, mean := displacement(points.Spots(o))
			if what != "" {
				fmt.Fprintf(e.stdout, ", displaced by %.1f pixels on average, %.1f at most", mean, far)
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
	return s.write(e, points)
}

// displacement tells how far from the regular grid samples lie, in pixels.
func displacement(spots []vis.Spot) (far, mean float64) {
	paths := 0
	for _, s := range spots {
		d := math.Hypot(s.Y-s.FromY, s.X-s.FromX)
		far, mean, paths = max(far, d), mean+d*float64(s.Paths), paths+s.Paths
	}
	return far, mean / float64(max(paths, 1))
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
