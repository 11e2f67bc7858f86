package main

import (
	"context"
	"image"
	"math"

	"golang.org/x/image/draw"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
	"vkconv/vis"
)

// Ends of what the keys change.
const (
	mostLayers   = 3
	mostRate     = 32
	mostStrength = 2
)

// scene is what a window shows: a picture, a stack of equal layers over it, and
// the output that is looked at.
type scene struct {
	photo   tensorio.Image // of three channels
	kernels []string
	deforms []string // the first is "none"

	kernel, deform, size, layers, rate int
	strength                           float64 // of the deformation's own amplitude
	output                             [2]int  // row, column
	held                               bool    // it does not follow the pointer

	op            operation     // one layer
	at            [2]vis.Points // at rest, and with offsets
	raw, response []float32     // what the stack gives, and that as brightness; shaped like photo
}

// newScene takes a picture, made smaller if its longer side has more pixels.
func newScene(photo tensorio.Image, most int) *scene {
	h, w := photo.Shape[2], photo.Shape[3]
	if long := max(h, w); long > most {
		to := image.NewNRGBA(image.Rect(0, 0, max(w*most/long, 1), max(h*most/long, 1)))
		draw.CatmullRom.Scale(to, to.Rect, photo.Picture(), image.Rect(0, 0, w, h), draw.Src, nil)
		photo = tensorio.FromImage(to)
	} else if photo.Shape[1] == 1 {
		photo.Pix = append(append(append([]float32{}, photo.Pix...), photo.Pix...), photo.Pix...)
		photo.Shape[1] = 3
	}
	return &scene{photo: photo, kernels: vis.Kernels(), deforms: append([]string{"none"}, vis.Fields()...),
		size: 3, layers: 3, rate: 4, strength: 1, output: [2]int{photo.Shape[2] / 2, photo.Shape[3] / 2}}
}

// keys are what scene.press knows.
const (
	keyUp    = "up"
	keyDown  = "down"
	keyLeft  = "left"
	keyRight = "right"
	keySpace = "space"
)

// press does what a key is for; changed tells whether the layers are others.
func (s *scene) press(key string) (changed bool) {
	before := *s
	switch key {
	case keyUp:
		s.rate = min(s.rate+1, mostRate)
	case keyDown:
		s.rate = max(s.rate-1, 1)
	case keyLeft:
		s.strength = max(math.Round(20*s.strength-1)/20, 0)
	case keyRight:
		s.strength = min(math.Round(20*s.strength+1)/20, mostStrength)
	case "1", "2", "3":
		s.layers = int(key[0] - '0')
	case "k":
		s.kernel = (s.kernel + 1) % len(s.kernels)
	case "s":
		s.size = map[int]int{3: 5, 5: 7, 7: 3}[s.size]
	case "d":
		s.deform = (s.deform + 1) % len(s.deforms)
	case keySpace:
		s.held = !s.held
	}
	return s.rate != before.rate || s.strength != before.strength || s.layers != before.layers || s.kernel != before.kernel ||
		s.size != before.size || s.deform != before.deform
}

// point moves the output to a pixel of the picture, if it is one.
func (s *scene) point(row, column float64) (moved bool) {
	y, x := int(math.Floor(row)), int(math.Floor(column))
	if s.held || y < 0 || x < 0 || y >= s.photo.Shape[2] || x >= s.photo.Shape[3] || s.output == [2]int{y, x} {
		return false
	}
	s.output = [2]int{y, x}
	return true
}

// problem is one layer; all are alike, each colour by itself.
func (s *scene) problem() (conv.Problem, error) {
	params := conv.Params{Dilation: [2]int{s.rate, s.rate}, Padding: conv.Pad(s.rate * (s.size - 1) / 2), Groups: 3}
	return params.DeformProblem(conv.Deform{}, s.photo.Shape, conv.Shape{3, 1, s.size, s.size}, false)
}

// sample makes the layers anew, as far as their sampling goes.
func (s *scene) sample() error {
	p, err := s.problem()
	if err != nil {
		return err
	}
	o := operation{p: p, x: s.photo.Pix, offset: make([]float32, p.Offset().Len())}
	if s.deform > 0 {
		field, err := vis.NewField(s.deforms[s.deform], math.NaN(), 1)
		if err != nil {
			return err
		}
		field.Amplitude *= s.strength
		o.offset = field.Offsets(p)
	}
	rest, moved := vis.LevelOf(p, nil, nil, 0), vis.LevelOf(p, o.offset, nil, 0)
	if s.deform == 0 {
		moved = rest
	}
	s.at = [2]vis.Points{}
	for range s.layers {
		s.at[0].Levels = append(s.at[0].Levels, rest)
		s.at[1].Levels = append(s.at[1].Levels, moved)
	}
	s.op = o
	return nil
}

// respond runs the stack.
func (s *scene) respond(ctx context.Context, e *vkconv.Engine) error {
	k, err := vis.NewKernel(s.kernels[s.kernel], s.size)
	if err != nil {
		return err
	}
	s.op.weight = nil
	for range 3 {
		s.op.weight = append(s.op.weight, k.Weight...)
	}
	if s.raw, err = stack(ctx, e, s.op, s.layers); err != nil {
		return err
	}
	s.response = append(s.response[:0], s.raw...)
	mode := "clip"
	if k.Signed {
		mode = "abs"
	}
	return vis.Show(s.response, mode)
}

// stack runs a layer several times, each time on what came out before.
func stack(ctx context.Context, e *vkconv.Engine, o operation, layers int) ([]float32, error) {
	t := tensors{e: e}
	defer t.free()
	x, offset := t.of(o.p.Input(), o.x), t.of(o.p.Offset(), o.offset)
	params, deform := o.params()
	if t.err != nil {
		return nil, t.err
	}
	layer, err := e.NewDeformConv2D(o.p.Input(), o.weight, nil, o.p.Weight(), params, deform)
	if err != nil {
		return nil, err
	}
	defer layer.Close()
	for range layers {
		y := t.blank(o.p.Output())
		if t.err != nil {
			return nil, t.err
		}
		if err := layer.Run(ctx, y, x, offset, nil); err != nil {
			return nil, err
		}
		x = y
	}
	return download(ctx, x)
}
