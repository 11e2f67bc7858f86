package vkconv_test

import (
	"fmt"
	"os"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// patch is a few pixels of the output, the only ones there with a gradient, so that the oracle needs no more of the
// image than what lies around.
type patch struct {
	p         conv.Problem // of the patch, without padding
	oy, ox    int
	top, left int // where its input starts in the image, perhaps before it
}

const patchSide, patchMargin = 5, 4

func patchAt(p conv.Problem, oy, ox int) patch {
	q := p
	q.Ho, q.Wo, q.Pad, q.Mode = patchSide, patchSide, conv.Padding{}, conv.Zeros
	q.H = (patchSide-1)*p.StrideY + conv.Reach(p.R, p.DilationY) + 2*patchMargin
	q.W = (patchSide-1)*p.StrideX + conv.Reach(p.S, p.DilationX) + 2*patchMargin
	q.Pad.Top, q.Pad.Left = -patchMargin, -patchMargin
	return patch{q, oy, ox, oy*p.StrideY - p.Pad.Top - patchMargin, ox*p.StrideX - p.Pad.Left - patchMargin}
}

// cut takes the patch out of planes of height × width, 0 beyond.
func cut(from []float32, planes, height, width, top, left, h, w int) []float32 {
	out := make([]float32, planes*h*w)
	for c := range planes {
		for y := range h {
			for x := range w {
				if iy, ix := top+y, left+x; iy >= 0 && iy < height && ix >= 0 && ix < width {
					out[(c*h+y)*w+x] = from[(c*height+iy)*width+ix]
				}
			}
		}
	}
	return out
}

// Gradients of one image whose tensors pass what software drivers bind, with VKCONV_LARGE=1: ordinary convolutions by each
// way of the gradient by the input, and a deformable one whose image, offsets and all are cut. The oracle checks what a few
// patches of the output's gradient come to.
func TestGradientsBeyondABinding(t *testing.T) {
	if os.Getenv("VKCONV_LARGE") == "" {
		t.Skip("takes gigabytes; VKCONV_LARGE=1 runs it")
	}
	x, w := conv.Shape{1, 20, 1400, 1401}, conv.Shape{4, 20, 3, 3}
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !e.OnGPU() {
			return
		}
		for name, params := range map[string]conv.Params{
			"stride 1":   {Padding: conv.Pad(1)},
			"stride 2":   {Padding: conv.Pad(1), Stride: [2]int{2, 2}},
			"circular":   {Padding: conv.Pad(1), Mode: conv.Circular},
			"deformable": {Padding: conv.Pad(1)},
		} {
			p, err := params.Problem(x, w, true)
			if name == "deformable" {
				p, err = params.DeformProblem(conv.Deform{Mask: true}, x, w, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			largeGradient(t, e, name, params, p)
		}
	})
}

func largeGradient(t *testing.T, e *vkconv.Engine, name string, params conv.Params, p conv.Problem) {
	t.Helper()
	x, weight := noise(p.Input().Len()), noise(p.Weight().Len())
	dy, all := make([]float32, p.Output().Len()), noise(p.Output().Len())
	var offset, mask []float32
	if p.Deformable() {
		offset, mask = noise(p.Offset().Len()), noise(p.MaskShape().Len())
	}
	var patches []patch
	for i := range 5 {
		for j := range 3 {
			oy, ox := i*(p.Ho-patchSide-20)/4+10, j*(p.Wo-patchSide-20)/2+10
			if p.Mode == conv.Zeros { // at the edges, too
				oy, ox = i*(p.Ho-patchSide)/4, j*(p.Wo-patchSide)/2
			}
			patches = append(patches, patchAt(p, oy, ox))
			for k := range p.K {
				for y := range patchSide {
					at := (k*p.Ho+oy+y)*p.Wo + ox
					copy(dy[at:][:patchSide], all[at:])
				}
			}
		}
	}
	var layer interface {
		Workspace() int64
		Describe() string
		Close()
	}
	var run func(g vkconv.Gradients, in []*vkconv.Tensor) error
	var err error
	if p.Deformable() {
		var l *vkconv.DeformConv2DBackward
		l, err = e.NewDeformConv2DBackward(p.Input(), weight, p.Weight(), params, conv.Deform{Mask: true})
		layer, run = l, func(g vkconv.Gradients, in []*vkconv.Tensor) error { return l.Run(ctx, g, in[0], in[2], in[3], in[1]) }
	} else {
		var l *vkconv.Conv2DBackward
		l, err = e.NewConv2DBackward(p.Input(), weight, p.Weight(), params)
		layer, run = l, func(g vkconv.Gradients, in []*vkconv.Tensor) error { return l.Run(ctx, g, in[0], in[1]) }
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer layer.Close()
	t.Logf("%s, %d MiB in, %d MiB out: %s; workspace %d MiB", name, p.Input().Len()>>18, p.Output().Len()>>18, layer.Describe(), layer.Workspace()>>20)
	var in []*vkconv.Tensor
	upload := func(shape conv.Shape, v []float32) {
		made, err := e.TensorOf(shape, v)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(made.Free)
		in = append(in, made)
	}
	made := func(shape conv.Shape) *vkconv.Tensor {
		made, err := e.NewTensor(shape)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	upload(p.Input(), x)
	upload(p.Output(), dy)
	g := vkconv.Gradients{X: made(p.Input()), Weight: made(p.Weight()), Bias: made(conv.Shape{1, p.K, 1, 1})}
	if p.Deformable() {
		upload(p.Offset(), offset)
		upload(p.MaskShape(), mask)
		g.Offset, g.Mask = made(p.Offset()), made(p.MaskShape())
	}
	if err := run(g, in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	download := func(from *vkconv.Tensor) []float32 {
		if from == nil {
			return nil
		}
		defer from.Free()
		v := make([]float32, from.Shape().Len())
		if err := from.Download(ctx, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	dx, dw, db, doffset, dmask := download(g.X), download(g.Weight), download(g.Bias), download(g.Offset), download(g.Mask)
	for _, from := range in {
		from.Free()
	}
	judge := func(what string, got []float32, want []conv.Sum) {
		t.Helper()
		roundings := conv.ProductRoundings
		if p.Deformable() {
			roundings = conv.SampleRoundings
		}
		if v := conv.Judge(got, want, nil, roundings); !v.OK() {
			t.Fatalf("%s: %s: %+v", name, what, v)
		}
	}
	var sums cpuref.Gradients
	add := func(to, more []conv.Sum) []conv.Sum {
		if to == nil {
			return more
		}
		for i, s := range more {
			to[i].Value, to[i].Abs, to[i].Slope, to[i].Terms = to[i].Value+s.Value, to[i].Abs+s.Abs, to[i].Slope+s.Slope, to[i].Terms+s.Terms
		}
		return to
	}
	nonzero := 0
	for _, b := range patches {
		q := b.p
		own := cut(x, p.C, p.H, p.W, b.top, b.left, q.H, q.W)
		ownDY := cut(dy, p.K, p.Ho, p.Wo, b.oy, b.ox, q.Ho, q.Wo)
		where := fmt.Sprintf("at %d,%d, ", b.oy, b.ox)
		var want cpuref.Gradients
		if p.Deformable() {
			points := p.OffsetGroups * p.Taps()
			at := func(v []float32, planes int) []float32 { return cut(v, planes, p.Ho, p.Wo, b.oy, b.ox, q.Ho, q.Wo) }
			want = cpuref.DeformConv2DBackward(q, own, at(offset, 2*points), at(mask, points), weight, ownDY)
			judge(where+"doffset", at(doffset, 2*points), want.Offset)
			judge(where+"dmask", at(dmask, points), want.Mask)
		} else {
			want = cpuref.Conv2DBackward(q, own, weight, ownDY)
		}
		got := cut(dx, p.C, p.H, p.W, b.top, b.left, q.H, q.W)
		for i := range got {
			if got[i] != 0 {
				nonzero++
			}
			y, x := i/q.W%q.H+b.top, i%q.W+b.left
			if y < 0 || y >= p.H || x < 0 || x >= p.W { // beyond the image
				want.X[i] = conv.Sum{}
			}
		}
		judge(where+"dx", got, want.X)
		sums.Weight, sums.Bias = add(sums.Weight, want.Weight), add(sums.Bias, want.Bias)
	}
	judge("dweight", dw, sums.Weight)
	judge("dbias", db, sums.Bias)
	for _, v := range dx {
		if v != 0 {
			nonzero--
		}
	}
	if nonzero != 0 {
		t.Errorf("%s: dx is not 0 in %d places beyond the patches", name, -nonzero)
	}
}
