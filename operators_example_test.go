package vkconv_test

import (
	"context"
	"fmt"
	"log"

	"vkconv"
	"vkconv/conv"
)

// must ends the program on an error.
func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// device opens the best device there is, or the CPU.
func device() *vkconv.Engine {
	e, err := vkconv.Open(vkconv.Options{})
	must(err)
	return e
}

// fill returns a tensor of one value; the engine's Close frees it.
func fill(e *vkconv.Engine, s conv.Shape, v float32) *vkconv.Tensor {
	t, err := e.TensorOf(s, repeat(s.Len(), v))
	must(err)
	return t
}

// repeat returns n values that are all v.
func repeat(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// values downloads a tensor.
func values(t *vkconv.Tensor) []float32 {
	v := make([]float32, t.Shape().Len())
	must(t.Download(context.Background(), v))
	return v
}

// Offsets are pairs (Δy, Δx) for each tap and output pixel. Here one tap looks one
// pixel to the right of where it stands, halfway.
func ExampleEngine_NewDeformConv2D() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 4}, conv.Shape{1, 1, 1, 1}
	layer, err := e.NewDeformConv2D(x, []float32{1}, nil, w, conv.Params{}, conv.Deform{})
	must(err)
	p := layer.Problem()
	in, err := e.TensorOf(x, []float32{10, 20, 30, 40})
	must(err)
	offset, err := e.TensorOf(p.Offset(), []float32{0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5}) // Δy of all pixels, then Δx
	must(err)
	y := fill(e, p.Output(), 0)
	must(layer.Run(context.Background(), y, in, offset, nil)) // no mask: version 1
	fmt.Println(values(y))                                    // the last one fades over the edge
	// Output: [15 25 35 20]
}

// A transposed convolution with stride 2 doubles an image.
func ExampleEngine_NewConvTranspose2D() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 2}, conv.Shape{1, 1, 1, 2} // inputs × outputs × rows × columns
	layer, err := e.NewConvTranspose2D(x, []float32{1, 10}, nil, w, conv.Params{Stride: [2]int{1, 2}}, [2]int{})
	must(err)
	in, err := e.TensorOf(x, []float32{3, 4})
	must(err)
	y := fill(e, layer.Problem().Output(), 0)
	must(layer.Run(context.Background(), y, in))
	fmt.Println(y.Shape(), values(y))
	// Output: 1×1×1×4 [3 30 4 40]
}

// Gradients that have no tensor are not computed.
func ExampleEngine_NewConv2DBackward() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 3}, conv.Shape{1, 1, 1, 2}
	layer, err := e.NewConv2DBackward(x, []float32{2, 5}, w, conv.Params{})
	must(err)
	in, err := e.TensorOf(x, []float32{1, 2, 3})
	must(err)
	dy := fill(e, layer.Problem().Output(), 1)
	dx, dw := fill(e, x, 0), fill(e, w, 0)
	must(layer.Run(context.Background(), vkconv.Gradients{X: dx, Weight: dw}, in, dy))
	fmt.Println(values(dx), values(dw))
	// Output: [2 7 5] [3 5]
}

// DCNv4 packs offsets and masks in one tensor and uses the masks as they are.
func ExampleEngine_NewDCNv4() {
	e := device()
	defer e.Close()
	x := conv.Shape{1, 16, 3, 3}
	layer, err := e.NewDCNv4(x, conv.DCNParams{Padding: conv.Pad(1)})
	must(err)
	p := layer.Problem()
	packed := make([]float32, p.Offset().Len())
	plane := p.Ho * p.Wo
	for point := range p.Points() { // offsets stay 0; every mask is 1
		copy(packed[p.MaskChannel(0, point)*plane:][:plane], repeat(plane, 1))
	}
	in, y := fill(e, x, 1), fill(e, p.Output(), 0)
	at, err := e.TensorOf(p.Offset(), packed)
	must(err)
	must(layer.Run(context.Background(), y, in, at))
	fmt.Println(values(y)[:plane]) // how many of the 3×3 points lie inside
	// Output: [4 6 4 6 9 6 4 6 4]
}

// Corner pixels stay corner pixels with alignCorners.
func ExampleEngine_NewResize() {
	e := device()
	defer e.Close()
	x := conv.Shape{1, 1, 1, 2}
	layer, err := e.NewResize(x, 1, 5, true)
	must(err)
	in, err := e.TensorOf(x, []float32{0, 8})
	must(err)
	y := fill(e, layer.Problem().Output(), 0)
	must(layer.Run(context.Background(), y, in))
	fmt.Println(values(y))
	// Output: [0 2 4 6 8]
}

// The mean of every channel.
func ExampleEngine_NewGlobalPool() {
	e := device()
	defer e.Close()
	x := conv.Shape{1, 2, 1, 2}
	layer, err := e.NewGlobalPool(x)
	must(err)
	in, err := e.TensorOf(x, []float32{1, 3, 10, 30})
	must(err)
	y := fill(e, layer.Problem().Output(), 0)
	must(layer.Run(context.Background(), y, in))
	fmt.Println(y.Shape(), values(y))
	// Output: 1×2×1×1 [2 20]
}

// A layer writes into channels of a wider tensor: a concatenation without a copy.
func ExampleTensor_Channels() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 2}, conv.Shape{1, 1, 1, 1}
	in := fill(e, x, 1)
	both := fill(e, conv.Shape{1, 2, 1, 2}, 0)
	for c, factor := range []float32{3, 7} {
		layer, err := e.NewConv2D(x, []float32{factor}, nil, w, conv.Params{})
		must(err)
		half, err := both.Channels(c, c+1)
		must(err)
		must(layer.Run(context.Background(), half, in))
	}
	fmt.Println(values(both))
	// Output: [3 3 7 7]
}
