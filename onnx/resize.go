package onnx

import (
	"math"

	"vkconv/conv"
	"vkconv/cpuref"
)

// inferResize plans a Resize or Upsample of rows and columns.
func inferResize(p *planner, n *node) (*planned, error) {
	x, s, err := p.images(n)
	if err != nil {
		return nil, err
	}
	scale, out, err := p.resized(n, x.dims)
	if err != nil {
		return nil, err
	}
	if err := p.affordable(n, out); err != nil { // before anything counts its pixels
		return nil, err
	}
	rank := len(x.dims)
	place, nearest := n.text("coordinate_transformation_mode", "half_pixel"), n.text("nearest_mode", "round_prefer_floor")
	if n.opset < 11 { // before, nothing could be chosen
		place, nearest = "asymmetric", "floor"
	}
	scale4, y := [2]float64{1, scale[rank-1]}, shape4(out)
	if rank == 4 {
		scale4[0] = scale[2]
	}
	if n.text("mode", "nearest") == "nearest" {
		return p.nearest(n, x, s, y, scale4, place, nearest)
	}
	aligned := place == "align_corners"
	for axis := range 2 {
		in, m := s[2+axis], y[2+axis]
		switch {
		case place == "pytorch_half_pixel" && m == 1 && in > 1:
			return nil, unsupported("%v makes one pixel of %d by pytorch_half_pixel", n, in)
		// The scale counts, not the rounded size; float32 holds few scales exactly.
		case math.Abs(float64(m)-float64(in)*scale4[axis]) > 1e-4*float64(m):
			return nil, unsupported("%v scales %d pixels by %g, which is no whole number of pixels", n, in, scale4[axis])
		}
	}
	r, err := conv.NewResize(s, y[2], y[3], aligned)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, dims: out,
		make: func() (layer, error) {
			l, err := p.e.NewResize(s, y[2], y[3], aligned)
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.Resize(r, in[0]), conv.ResizeRoundings }}, nil
}

// resized reads the factors and the extents of the output. Extents come from sizes or, rounded
// down, from scales.
func (p *planner) resized(n *node, dims []int) (scale []float64, out []int, err error) {
	rank := len(dims)
	axes := n.ints("axes")
	if axes == nil {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	if _, err := n.axesOf(axes, rank); err != nil {
		return nil, nil, err
	}
	scale, out = make([]float64, rank), append([]int{}, dims...)
	for i := range scale {
		scale[i] = 1
	}
	scalesAt := 2 // behind roi
	if n.op == "Upsample" || n.opset < 11 {
		scalesAt = 1
	}
	set := func(i int, factor float64, size int) {
		a := axes[i]
		if a < 0 {
			a += rank
		}
		scale[a], out[a] = factor, size
	}
	var factors []float32
	if a := n.attrs["scales"]; a != nil && n.opset < 9 {
		factors = a.GetFloats()
	} else if n.has(scalesAt) {
		c, err := p.constant(n, scalesAt)
		if err != nil {
			return nil, nil, err
		}
		if factors, err = c.float32s(); err != nil {
			return nil, nil, n.in(scalesAt, err)
		}
	}
	sizes, err := p.integers(n, 3, "sizes", 11)
	switch {
	case err != nil:
		return nil, nil, err
	case len(factors) > 0 && len(sizes) > 0, len(factors) == 0 && len(sizes) == 0, max(len(factors), len(sizes)) != len(axes):
		return nil, nil, misfit("%v has scales %v and sizes %v, must have one of them with %d entries", n, factors, sizes, len(axes))
	}
	for i := range axes {
		a := axes[i]
		if a < 0 {
			a += rank
		}
		in := float64(dims[a])
		if len(sizes) > 0 {
			set(i, float64(sizes[i])/in, sizes[i])
			continue
		}
		f := float64(factors[i])
		if !(f > 0) || in*f > conv.MaxExtent {
			return nil, nil, misfit("%v has scale %g for an axis of %d", n, factors[i], dims[a])
		}
		set(i, f, int(math.Floor(in*f)))
	}
	for a, d := range out {
		if d < 1 || d > conv.MaxExtent {
			return nil, nil, misfit("%v makes %s of %s", n, Extents(out), Extents(dims))
		}
		if a < 2 && (d != dims[a] || scale[a] != 1) {
			return nil, nil, unsupported("%v resizes images or channels, %s to %s", n, Extents(dims), Extents(out))
		}
	}
	return scale, out, nil
}

// nearest plans what repeats every pixel a whole number of times, a transposed
// depthwise convolution of ones, or takes one pixel in so many, a strided one.
func (p *planner) nearest(n *node, x *value, s, y conv.Shape, scale [2]float64, place, nearest string) (*planned, error) {
	var repeat, skip [2]int
	for axis := range 2 {
		in, m := s[2+axis], y[2+axis]
		factor, step := m/in, in // pixels made of one, and between those taken
		if m > 1 {
			step = max(nearestPixel(1, in, m, scale[axis], place, nearest), 1)
		}
		up, down := m%in == 0, (in-1)/step+1 == m
		for i := 0; i < m && (up || down); i++ {
			at := nearestPixel(i, in, m, scale[axis], place, nearest)
			up, down = up && at == i/factor, down && at == i*step
		}
		switch {
		case up:
			repeat[axis], skip[axis] = factor, 1
		case down:
			repeat[axis], skip[axis] = 1, step
		default:
			return nil, unsupported("%v takes the nearest of %d pixels for %d by %s and %s; whole factors are here", n, in, m, place, nearest)
		}
	}
	if repeat != [2]int{1, 1} && skip != [2]int{1, 1} {
		return nil, unsupported("%v enlarges one axis and shrinks the other by the nearest pixel", n)
	}
	w := conv.Shape{s[1], 1, repeat[0], repeat[1]}
	ones := make([]float32, w.Len())
	for i := range ones {
		ones[i] = 1
	}
	exact := wide(ones)
	rank := len(x.dims)
	if repeat == [2]int{1, 1} {
		params := conv.Params{Groups: s[1], Stride: skip}
		problem, err := params.Problem(s, w, false)
		if err != nil {
			return nil, n.wrap(err)
		}
		return &planned{in: []*value{x}, dims: from4(problem.Output(), rank),
			make: func() (layer, error) {
				l, err := p.e.NewConv2D(s, ones, nil, w, params)
				return single(l, err)
			},
			oracle: func(in [][]float32) ([]conv.Sum, int) {
				return cpuref.Conv2D(problem, wide(in[0]), exact, nil), conv.ProductRoundings
			}}, nil
	}
	params := conv.Params{Groups: s[1], Stride: repeat}
	t, err := params.TransposedProblem(s, w, [2]int{}, false)
	if err != nil {
		return nil, n.wrap(err)
	}
	return &planned{in: []*value{x}, whole: 1, outWhole: true, dims: from4(t.Output(), rank),
		make: func() (layer, error) {
			l, err := p.e.NewConvTranspose2D(s, ones, nil, w, params, [2]int{})
			return single(l, err)
		},
		oracle: func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.ConvTranspose2D(t, wide(in[0]), exact, nil), conv.ProductRoundings
		}}, nil
}

// nearestPixel is the pixel of in that output i of m takes, by ONNX's formulas.
func nearestPixel(i, in, m int, scale float64, place, nearest string) int {
	at := (float64(i)+0.5)/scale - 0.5
	switch place {
	case "asymmetric":
		at = float64(i) / scale
	case "align_corners":
		at = 0
		if m > 1 {
			at = float64(i) * float64(in-1) / float64(m-1)
		}
	case "pytorch_half_pixel":
		if m == 1 {
			at = 0
		}
	}
	switch nearest {
	case "floor":
		at = math.Floor(at)
	case "ceil":
		at = math.Ceil(at)
	case "round_prefer_ceil":
		at = math.Floor(at + 0.5)
	default:
		at = math.Ceil(at - 0.5)
	}
	return int(min(max(at, 0), float64(in-1)))
}
