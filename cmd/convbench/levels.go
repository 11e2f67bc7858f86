package main

import (
	"flag"
	"fmt"
	"math"
	"strings"

	"vkconv/conv"
	"vkconv/explain"
	"vkconv/tensorio"
	"vkconv/vis"
)

// sampling is how a stack of layers samples a picture: its layers, and what
// displaces their taps.
type sampling struct {
	jump, group int
	deform      string
	amplitude   float64
	seed        uint64
	files       texts
}

// texts is a flag that may be given several times.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, " ") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

func (s *sampling) flags(flags *flag.FlagSet) {
	flags.IntVar(&s.jump, "jump", 1, "the layers' input is a feature map: so many `pixels` of the picture lie between\n        neighbouring cells of it")
	flags.StringVar(&s.deform, "deform", "", "displace the taps of the deformable layers by this field, a `name`")
	flags.Float64Var(&s.amplitude, "amplitude", nan, "how strong the deformation is, a `number` of the field's own unit")
	flags.Uint64Var(&s.seed, "seed", 1, "the `number` that -deform random follows from")
	flags.Var(&s.files, "offsets", "displace them by offset, and mask if it is there, from this .npz `file`, or by offset1,\n        mask1, offset2, … for several layers, from the picture on; may be given several times")
	flags.IntVar(&s.group, "group", 0, "the `number` of the offset group that is shown, from 0")
}

// displaced is what a file holds for one deformable layer.
type displaced struct {
	file, name          string
	offset, mask        []float32
	offsetShape, shapeM conv.Shape
}

// levels follows the layers of a text over a picture. what says in words what
// they are.
func (s *sampling) levels(text string, rows, columns int) (levels []vis.Level, what string, err error) {
	stack, err := explain.Parse(text)
	if err != nil {
		return nil, "", err
	}
	moves := s.deform != "" || len(s.files) > 0
	switch {
	case s.jump < 1:
		return nil, "", fmt.Errorf("-jump is %d, must be at least 1", s.jump)
	case s.deform != "" && len(s.files) > 0:
		return nil, "", fmt.Errorf("-deform and -offsets are two deformations, give one")
	case !math.IsNaN(s.amplitude) && s.deform == "":
		return nil, "", fmt.Errorf("-amplitude belongs to -deform")
	case s.group < 0 || s.group > 0 && len(s.files) == 0:
		return nil, "", fmt.Errorf("-group is %d, must be 0 or the number of an offset group in -offsets", s.group)
	}
	marked := false
	for i, stage := range stack {
		if len(stage) > 1 {
			return nil, "", fmt.Errorf("layer %d has %d branches; samples are followed through one layer after the other", i+1, len(stage))
		}
		marked = marked || stage[0].Deforms
	}
	if marked && !moves {
		return nil, "", fmt.Errorf("a layer is deformable, but nothing displaces it: give -deform or -offsets")
	}
	files, err := s.read()
	if err != nil {
		return nil, "", err
	}
	size := [2]int{(rows + s.jump - 1) / s.jump, (columns + s.jump - 1) / s.jump}
	deformed, total := 0, int64(0)
	for i, stage := range stack {
		l := stage[0]
		fail := func(err error) error { return fmt.Errorf("layer %d, %v: %w", i+1, l, err) }
		groups := 1
		var d displaced
		// Where no layer is marked, all are deformable that have more than one tap.
		moved := moves && (l.Deforms || !marked && !l.Pools && l.Kernel != [2]int{1, 1})
		if moved && len(s.files) > 0 {
			if deformed == len(files) {
				return nil, "", fmt.Errorf("-offsets are for %s, but layer %d, %v, is deformable, too", plural(len(files), "layer"), i+1, l)
			}
			d = files[deformed]
			if groups, err = conv.OffsetGroupsOf(d.offsetShape, l.Kernel[0]*l.Kernel[1]); err != nil {
				return nil, "", fail(fmt.Errorf("%s: %s: %w", d.file, d.name, err))
			}
			if s.group >= groups {
				return nil, "", fail(fmt.Errorf("-group is %d, %s has %s, from 0", s.group, d.file, plural(groups, "offset group")))
			}
		}
		params := conv.Params{Stride: l.Stride, Dilation: l.Dilation,
			Padding: conv.Padding{Top: l.Padding[0], Left: l.Padding[1], Bottom: l.Padding[0], Right: l.Padding[1]}}
		p, err := params.DeformProblem(conv.Deform{OffsetGroups: groups, Mask: d.mask != nil}, conv.Shape{1, groups, size[0], size[1]},
			conv.Shape{1, groups, l.Kernel[0], l.Kernel[1]}, false)
		if err != nil {
			return nil, "", fail(err)
		}
		level := vis.LevelOf(p, nil, nil, 0)
		switch {
		case !moved:
		case s.deform != "":
			field, err := vis.NewField(s.deform, s.amplitude, s.seed)
			if err != nil {
				return nil, "", err
			}
			if total += 4 * int64(p.Offset().Len()); total > maxOffsets {
				return nil, "", fail(fmt.Errorf("offsets up to here take %s, must be at most %s: take a smaller picture or a larger -jump", bytesText(total), bytesText(maxOffsets)))
			}
			level = vis.LevelOf(p, field.Offsets(p), nil, 0)
			what = fmt.Sprintf("%s by %g %s", field.Name, field.Amplitude, field.Unit)
		default:
			if err := p.CheckOffset(d.offsetShape, d.shapeM); err != nil {
				return nil, "", fail(fmt.Errorf("%s: %s: %w", d.file, d.name, err))
			}
			level = vis.LevelOf(p, d.offset, d.mask, s.group)
			what = "offsets from " + strings.Join(s.files, ", ")
		}
		if moved {
			deformed++
		}
		levels = append(levels, level)
		size = [2]int{p.Ho, p.Wo}
	}
	if len(s.files) > 0 && deformed < len(files) {
		return nil, "", fmt.Errorf("-offsets are for %s, the stack has %d deformable", plural(len(files), "layer"), deformed)
	}
	if moves && deformed == 0 {
		return nil, "", fmt.Errorf("there is nothing to displace: every layer is a pooling or has a single tap")
	}
	return levels, what, nil
}

// read reads the files of offsets, in their order.
func (s *sampling) read() (all []displaced, err error) {
	for _, file := range s.files {
		archive, err := tensorio.OpenNPZ(file)
		if err != nil {
			return nil, err
		}
		all, err = readDisplaced(all, archive)
		archive.Close()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func readDisplaced(all []displaced, archive *tensorio.Archive) ([]displaced, error) {
	one := func(name, mask string) error {
		d := displaced{file: archive.Path(), name: name}
		var err error
		if d.offset, d.offsetShape, err = readTensor(archive, name); err == nil && archive.Has(mask) {
			d.mask, d.shapeM, err = readTensor(archive, mask)
		}
		if err == nil && d.offsetShape[0] != 1 {
			err = fmt.Errorf("%s: %s is of %d pictures, must be of 1", archive.Path(), name, d.offsetShape[0])
		}
		all = append(all, d)
		return err
	}
	if archive.Has("offset") || !archive.Has("offset1") {
		return all, one("offset", "mask")
	}
	for n := 1; archive.Has(fmt.Sprintf("offset%d", n)); n++ {
		if err := one(fmt.Sprintf("offset%d", n), fmt.Sprintf("mask%d", n)); err != nil {
			return all, err
		}
	}
	return all, nil
}
