package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"vkconv/tensorio"
	"vkconv/vis"
)

var viewCommand = command{
	name: "view", args: "IMAGE",
	short: "open a window on a photograph where points, field and response follow the pointer",
	long: `Opens a window: the photograph, over it what the output under the pointer samples through a stack
of layers, with the field that it would have without offsets; beside it the stack's response. A
compute shader draws every frame. Needs a build with the tag window (and without, says how).

Keys:
  up, down      the rate (dilation)
  left, right   the strength of the offsets
  1, 2, 3       so many layers, one on the other
  k             the next kernel, s the next size of it
  d             the next deformation, or none
  space         the output stays where it is, or follows the pointer again
  escape, q     ends

Kernels:      ` + strings.Join(vis.Kernels(), ", ") + `
Deformations: ` + strings.Join(vis.Fields(), ", "),
	examples: `
  convbench view photo.jpg
  convbench view photo.jpg -kernel gaussian -layers 3 -rate 4 -deform turn`,
	setup: func(flags *flag.FlagSet) action {
		var v view
		device := deviceFlag(flags)
		flags.StringVar(&v.kernel, "kernel", "laplacian", "begin with this filter, a `name`")
		flags.StringVar(&v.deform, "deform", "swirl", "begin with this deformation, a `name`, or none")
		flags.IntVar(&v.size, "size", 3, "begin with a filter of so many `taps` each way: 3, 5 or 7")
		flags.IntVar(&v.layers, "layers", 3, "begin with this `number` of layers, 1 to 3")
		flags.IntVar(&v.rate, "rate", 4, "begin with so many `pixels` between neighbouring taps, 1 to 32")
		flags.IntVar(&v.most, "pixels", 256, "make the picture smaller, so that its longer side has at most so many `pixels`")
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) != 1 {
				return badInputf("view needs one picture, not %d (convbench view -h says more)", len(args))
			}
			s, err := v.scene(args[0])
			if err != nil {
				return badInput(err)
			}
			return openWindow(ctx, e, *device, args[0], s)
		}
	},
}

// view is what the flags ask for.
type view struct {
	kernel, deform           string
	size, layers, rate, most int
}

// scene reads the picture and takes the flags for a beginning.
func (v view) scene(path string) (*scene, error) {
	if v.most < 16 || v.most > 4096 {
		return nil, fmt.Errorf("-pixels is %d, must be between 16 and 4096", v.most)
	}
	photo, err := tensorio.ReadImage(path)
	if err != nil {
		return nil, err
	}
	s := newScene(photo, v.most)
	s.size, s.layers, s.rate = v.size, v.layers, v.rate
	if s.kernel, err = find("-kernel", v.kernel, s.kernels); err != nil {
		return nil, err
	}
	if s.deform, err = find("-deform", v.deform, s.deforms); err != nil {
		return nil, err
	}
	for _, limit := range []struct {
		flag       string
		value      int
		least, top int
	}{{"-size", v.size, 3, 7}, {"-layers", v.layers, 1, mostLayers}, {"-rate", v.rate, 1, mostRate}} {
		if limit.value < limit.least || limit.value > limit.top {
			return nil, fmt.Errorf("%s is %d, must be between %d and %d", limit.flag, limit.value, limit.least, limit.top)
		}
	}
	if v.size%2 == 0 {
		return nil, fmt.Errorf("-size is %d, must be odd", v.size)
	}
	return s, nil
}

func find(flag, name string, names []string) (int, error) {
	for i, n := range names {
		if n == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s is %q, must be one of %s", flag, name, strings.Join(names, ", "))
}
