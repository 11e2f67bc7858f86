package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"strings"

	"vkconv"
	"vkconv/bench"
	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/tensorio"
	"vkconv/vis"
)

var applyCommand = command{
	name: "apply", args: "IMAGE -o OUT.png",
	short: "run a dilated or deformable convolution over a photograph",
	long: `Filters a picture on the Vulkan device and compares the result with the CPU's answer. The
filter is one by name, run over each colour by itself, or weights from an .npz file; its taps
may stand apart (-dilation) or be displaced from pixel to pixel (-deform), which makes it a
deformable convolution. The output is as large as the input divided by the stride.

Kernels:      ` + strings.Join(vis.Kernels(), ", ") + `
Deformations: ` + strings.Join(vis.Fields(), ", ") + `
Ways to show: ` + strings.Join(vis.ModeNames(), ", "),
	examples: `
  convbench apply photo.jpg -o edges.png -kernel laplacian -dilation 4
  convbench apply photo.jpg -o soft.png -kernel gaussian -size 9 -dilation 2
  convbench apply photo.jpg -o swirl.png -deform swirl -amplitude 200
  convbench apply photo.jpg -o slope.png -kernel sobel-x -deform wave -show centre
  convbench apply photo.jpg -o maps.png -weights layer.npz`,
	setup: func(flags *flag.FlagSet) action {
		var a apply
		device := deviceFlag(flags)
		flags.StringVar(&a.out, "o", "", "write the result to this `file`, .png or .jpg")
		flags.StringVar(&a.kernel, "kernel", "", "the filter's `name`; without it laplacian, with -deform or -offsets identity")
		flags.IntVar(&a.size, "size", 0, "the filter's size in `taps` each way, odd; 0 means 3 (1 for identity)")
		flags.StringVar(&a.weights, "weights", "", "take weight, and bias if it is there, from this .npz `file` instead")
		flags.IntVar(&a.dilation, "dilation", 1, "`pixels` between neighbouring taps")
		flags.IntVar(&a.stride, "stride", 1, "`pixels` between neighbouring outputs")
		flags.StringVar(&a.mode, "padding-mode", "", "what lies beyond the edge: a `mode` of zeros, reflect, replicate, circular;\n"+
			"        without it replicate, for deformable convolution zeros")
		flags.StringVar(&a.deform, "deform", "", "displace the taps by this field, a `name`")
		flags.Float64Var(&a.amplitude, "amplitude", nan, "how strong the deformation is, a `number` of the field's own unit (degrees or pixels)")
		flags.StringVar(&a.offsets, "offsets", "", "displace the taps by offset, and mask if it is there, from this .npz `file`")
		flags.Uint64Var(&a.seed, "seed", 1, "the `number` that -deform random follows from")
		flags.StringVar(&a.show, "show", "", "how responses become brightness, a `way`; without it abs for derivatives, else clip")
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) != 1 {
				return badInputf("apply needs one picture, not %d (convbench apply -h says more)", len(args))
			}
			a.image = args[0]
			return a.run(ctx, e, *device)
		}
	},
}

// apply is what the flags ask for.
type apply struct {
	image, out, kernel, weights, mode, deform, offsets, show string
	size, dilation, stride                                   int
	amplitude                                                float64
	seed                                                     uint64

	what string // the filter, in words
}

func (a *apply) run(ctx context.Context, e *env, device string) (err error) {
	op, err := a.prepare()
	if err != nil {
		return badInput(err)
	}
	engine, cpu, why, err := engines(device)
	if err != nil {
		return err
	}
	opened := []*vkconv.Engine{engine, cpu}
	defer func() { err = e.shut(err, opened...) }()
	if engine == nil {
		engine = cpu
	}
	fmt.Fprintf(e.stdout, "%s: %d×%d pixels, %s\n%s\non %s, %s\n", a.image, op.p.W, op.p.H, plural(op.p.C, "channel"), a.what, engine.Name(), engine.Driver())
	if engine == cpu {
		fmt.Fprintf(e.stdout, "    %s\n", wrap(why, 96, "    "))
	}
	e.progress("computing")
	y, timing, err := op.forward(ctx, engine)
	if errors.Is(err, gpu.ErrTooLarge) {
		e.progress("")
		fmt.Fprintf(e.stdout, "%s\n", wrap("on the CPU instead, because "+err.Error(), 96, "    "))
		engine = cpu
		e.progress("computing")
		y, timing, err = op.forward(ctx, engine)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", engine.Name(), err)
	}
	e.progress("comparing with the CPU's answer")
	v, every, err := op.compare(ctx, y)
	if err != nil {
		return err
	}
	e.progress("")
	compared := "all values"
	if every > 1 {
		compared = fmt.Sprintf("one value in %d", every)
	}
	fmt.Fprintf(e.stdout, "computed in %s; %s compared with the CPU's answer, largest error %s of its bound\n",
		bench.Milliseconds(timing.Device), compared, share(v.Worst))
	if !v.OK() {
		return fmt.Errorf("y[%d] is %g on %s, must be %g within %.3g; nothing was written", v.Index, v.Got, engine.Name(), v.Want, v.Bound)
	}
	picture, err := a.picture(op.p, y)
	if err != nil {
		return badInput(err)
	}
	if err := tensorio.WriteImage(a.out, picture); err != nil {
		return badInput(err)
	}
	fmt.Fprintf(e.stdout, "%s: %d×%d pixels, responses %s\n", a.out, picture.Shape[3], picture.Shape[2], vis.Modes[a.show])
	return nil
}

// prepare reads the files and puts together what is to be computed.
func (a *apply) prepare() (operation, error) {
	var op operation
	switch {
	case a.out == "":
		return op, fmt.Errorf("apply needs -o OUT.png")
	case a.kernel != "" && a.weights != "":
		return op, fmt.Errorf("-kernel and -weights are two filters, give one")
	case a.deform != "" && a.offsets != "":
		return op, fmt.Errorf("-deform and -offsets are two deformations, give one")
	case a.weights != "" && a.size != 0:
		return op, fmt.Errorf("-size belongs to -kernel, not to -weights")
	case !math.IsNaN(a.amplitude) && a.deform == "":
		return op, fmt.Errorf("-amplitude belongs to -deform")
	case a.dilation < 1:
		return op, fmt.Errorf("-dilation is %d, must be at least 1", a.dilation)
	case a.stride < 1:
		return op, fmt.Errorf("-stride is %d, must be at least 1", a.stride)
	}
	if err := tensorio.ImageWritable(a.out); err != nil {
		return op, err
	}
	if err := writable(a.out); err != nil {
		return op, fmt.Errorf("cannot write -o %s: %w", a.out, err)
	}
	deformable := a.deform != "" || a.offsets != ""
	if a.mode == "" && !deformable {
		a.mode = "replicate"
	}
	mode, err := conv.ParsePaddingMode(a.mode)
	if err != nil {
		return op, err
	}
	picture, err := tensorio.ReadImage(a.image)
	if err != nil {
		return op, err
	}

	var weight conv.Shape
	groups := 1
	if a.weights != "" {
		weight, groups, err = a.fromFile(&op, &picture)
	} else {
		weight, groups, err = a.byName(&op, picture.Shape[1], deformable)
	}
	if err != nil {
		return op, err
	}
	op.x = picture.Pix
	// As many pixels around as let the output keep the input's size at stride 1.
	reachY, reachX := conv.Reach(weight[2], a.dilation)-1, conv.Reach(weight[3], a.dilation)-1
	params := conv.Params{
		Stride: [2]int{a.stride, a.stride}, Dilation: [2]int{a.dilation, a.dilation}, Groups: groups, Mode: mode,
		Padding: conv.Padding{Top: reachY / 2, Left: reachX / 2, Bottom: reachY - reachY/2, Right: reachX - reachX/2},
	}
	if !deformable {
		op.p, err = params.Problem(picture.Shape, weight, op.bias != nil)
	} else {
		err = a.displace(&op, params, picture.Shape, weight)
	}
	if err != nil {
		return op, err
	}
	if err := vis.Show(nil, a.show); err != nil {
		return op, err
	}
	a.what += fmt.Sprintf(" %d×%d, dilation %d, stride %d, padding %v", weight[2], weight[3], a.dilation, a.stride, mode)
	return op, nil
}

// byName takes a named kernel for each of c channels.
func (a *apply) byName(op *operation, c int, deformable bool) (weight conv.Shape, groups int, err error) {
	if a.kernel == "" {
		a.kernel = "laplacian"
		if deformable {
			a.kernel = "identity"
		}
	}
	k, err := vis.NewKernel(a.kernel, a.size)
	if err != nil {
		return weight, 0, err
	}
	for range c {
		op.weight = append(op.weight, k.Weight...)
	}
	if a.show == "" {
		a.show = "clip"
		if k.Signed {
			a.show = "abs"
		}
	}
	a.what = k.Name
	return conv.Shape{c, 1, k.Size, k.Size}, c, nil
}

// fromFile reads weights. A grey picture is spread to as many channels as they
// take; weights of one channel for one output run over each colour by itself.
func (a *apply) fromFile(op *operation, picture *tensorio.Image) (weight conv.Shape, groups int, err error) {
	archive, err := tensorio.OpenNPZ(a.weights)
	if err != nil {
		return weight, 0, err
	}
	defer archive.Close()
	if op.weight, weight, err = readTensor(archive, "weight"); err != nil {
		return weight, 0, err
	}
	if err := weight.Check("weight"); err != nil || weight.Len() == 0 {
		return weight, 0, fmt.Errorf("%s: weight is %v, every extent must be at least 1", a.weights, weight)
	}
	if archive.Has("bias") {
		array, err := archive.Array("bias")
		if err != nil {
			return weight, 0, err
		}
		if op.bias, err = array.Float32(); err != nil {
			return weight, 0, fmt.Errorf("%s: array \"bias\" %w", a.weights, err)
		}
		if len(op.bias) != weight[0] {
			return weight, 0, fmt.Errorf("%s: bias has %d elements, must have %d, one an output channel", a.weights, len(op.bias), weight[0])
		}
	}
	channels := picture.Shape[1]
	groups = 1
	switch {
	case weight[1] == channels:
	case weight[0] == 1 && weight[1] == 1:
		one, oneBias := op.weight, op.bias
		for range channels - 1 {
			op.weight, op.bias = append(op.weight, one...), append(op.bias, oneBias...)
		}
		weight[0], groups = channels, channels
	case channels == 1:
		grey := picture.Pix
		picture.Pix = nil
		for range weight[1] {
			picture.Pix = append(picture.Pix, grey...)
		}
		picture.Shape[1] = weight[1]
	default:
		return weight, 0, fmt.Errorf("%s: weight is %v and takes %d channels, the picture %s has %d", a.weights, weight, weight[1], a.image, channels)
	}
	if a.show == "" {
		a.show = "stretch"
	}
	a.what = fmt.Sprintf("weight %v from %s,", weight, a.weights)
	return weight, groups, nil
}

// maxOffsets is the most bytes of offsets that are made for a deformation; they
// exist several times over, and 49 taps on 12 megapixels would take 4.4 GiB.
const maxOffsets = 2 << 30

// displace makes the problem a deformable one.
func (a *apply) displace(op *operation, params conv.Params, x, weight conv.Shape) (err error) {
	if a.deform != "" {
		if op.p, err = params.DeformProblem(conv.Deform{}, x, weight, op.bias != nil); err != nil {
			return err
		}
		field, err := vis.NewField(a.deform, a.amplitude, a.seed)
		if err != nil {
			return err
		}
		if size := 4 * int64(op.p.Offset().Len()); size > maxOffsets {
			return fmt.Errorf("offsets for %d taps at each of %d×%d pixels take %s, must be at most %s: take a smaller picture, a smaller kernel or a larger stride",
				op.p.Taps(), op.p.Wo, op.p.Ho, bytesText(size), bytesText(maxOffsets))
		}
		op.offset = field.Offsets(op.p)
		a.what = fmt.Sprintf("%s by %g %s, then %s", field.Name, field.Amplitude, field.Unit, a.what)
		return nil
	}
	archive, err := tensorio.OpenNPZ(a.offsets)
	if err != nil {
		return err
	}
	defer archive.Close()
	var offset, mask conv.Shape
	if op.offset, offset, err = readTensor(archive, "offset"); err != nil {
		return err
	}
	deform := conv.Deform{Mask: archive.Has("mask")}
	if deform.Mask {
		if op.mask, mask, err = readTensor(archive, "mask"); err != nil {
			return err
		}
	}
	if deform.OffsetGroups, err = conv.OffsetGroupsOf(offset, weight[2]*weight[3]); err == nil {
		op.p, err = params.DeformProblem(deform, x, weight, op.bias != nil)
	}
	if err == nil {
		err = op.p.CheckOffset(offset, mask)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.offsets, err)
	}
	a.what = fmt.Sprintf("offsets from %s, then %s", a.offsets, a.what)
	return nil
}

// readTensor reads an array of four extents.
func readTensor(archive *tensorio.Archive, name string) ([]float32, conv.Shape, error) {
	array, err := archive.Array(name)
	if err != nil {
		return nil, conv.Shape{}, err
	}
	if len(array.Shape) != 4 {
		return nil, conv.Shape{}, fmt.Errorf("%s: array %q has shape %v, must have four extents", archive.Path(), name, array.Shape)
	}
	data, err := array.Float32()
	if err != nil {
		return nil, conv.Shape{}, fmt.Errorf("%s: array %q %w", archive.Path(), name, err)
	}
	return data, conv.Shape(array.Shape), nil
}

// picture makes an output of one or three channels a picture, and of any other
// number a grey mosaic of its channels.
func (a *apply) picture(p conv.Problem, y []float32) (tensorio.Image, error) {
	if err := vis.Show(y, a.show); err != nil {
		return tensorio.Image{}, err
	}
	if p.K == 1 || p.K == 3 {
		return tensorio.Image{Shape: conv.Shape{1, p.K, p.Ho, p.Wo}, Pix: y}, nil
	}
	pix, h, w := vis.Grid(y, p.K, p.Ho, p.Wo)
	return tensorio.Image{Shape: conv.Shape{1, 1, h, w}, Pix: pix}, nil
}
