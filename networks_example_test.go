package vkconv_test

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

// The gradient by an offset is the slope of the image there; that by the input goes
// to the pixels that were sampled, by their shares.
func ExampleEngine_NewDeformConv2DBackward() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 4}, conv.Shape{1, 1, 1, 1}
	layer, err := e.NewDeformConv2DBackward(x, []float32{1}, w, conv.Params{}, conv.Deform{})
	must(err)
	p := layer.Problem()
	in, err := e.TensorOf(x, []float32{10, 20, 30, 40})
	must(err)
	offset, err := e.TensorOf(p.Offset(), []float32{0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5}) // Δy of all pixels, then Δx
	must(err)
	g := vkconv.Gradients{X: fill(e, x, 0), Offset: fill(e, p.Offset(), 0)} // no other gradient is computed
	must(layer.Run(context.Background(), g, in, offset, nil, fill(e, p.Output(), 1)))
	fmt.Println("by the input", values(g.X))
	fmt.Println("by Δx", values(g.Offset)[4:])
	// Output:
	// by the input [0.5 1 1 1]
	// by Δx [10 10 10 -40]
}

// What went out two ways comes back from both.
func ExampleEngine_NewConvTranspose2DBackward() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 2}, conv.Shape{1, 1, 1, 2} // inputs × outputs × rows × columns
	layer, err := e.NewConvTranspose2DBackward(x, []float32{1, 10}, w, conv.Params{Stride: [2]int{1, 2}}, [2]int{})
	must(err)
	g := vkconv.Gradients{X: fill(e, x, 0)}
	must(layer.Run(context.Background(), g, fill(e, x, 0), fill(e, conv.Shape{1, 1, 1, 4}, 1)))
	fmt.Println(values(g.X))
	// Output: [11 11]
}

// Training starts from an offset convolution of zeros: the regular grid, so that the
// layer is an ordinary convolution at first.
func ExampleEngine_NewDeformPack() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 4}, conv.Shape{1, 1, 1, 1}
	weights := vkconv.PackWeights{Weight: []float32{2}, Offset: make([]float32, 2), OffsetBias: make([]float32, 2)}
	layer, err := e.NewDeformPack(x, weights, w, conv.Params{}, conv.Deform{})
	must(err)
	in, err := e.TensorOf(x, []float32{10, 20, 30, 40})
	must(err)
	y := fill(e, layer.Problem().Output(), 0)
	must(layer.Run(context.Background(), y, in))
	fmt.Println(values(y))
	// Output: [20 40 60 80]
}

// Each of 2×2 bins holds the mean of what it covers.
func ExampleEngine_NewDeformRoIPool() {
	e := device()
	defer e.Close()
	layer, err := e.NewDeformRoIPool(conv.Shape{1, 1, 8, 8}, 1, conv.RoIPoolParams{Bins: [2]int{2, 2}})
	must(err)
	q := layer.Problem()
	rois, err := e.TensorOf(q.RoIShape(), []float32{0, 1, 1, 5, 5}) // image, x1, y1, x2, y2
	must(err)
	y := fill(e, q.Output(), 0)
	must(layer.Run(context.Background(), y, fill(e, q.Input(), 3), rois, nil, nil))
	fmt.Println(y.Shape(), values(y))
	// Output: 1×1×2×2 [3 3 3 3]
}

// On a picture of ones the branch of rate 2 counts the taps that lie inside; the 1×1
// branch and the mean add 1 each.
func ExampleEngine_NewASPP() {
	e := device()
	defer e.Close()
	layer, err := e.NewASPP(conv.Shape{1, 1, 3, 3}, vkconv.ASPPParams{Channels: 1, Out: 1, Rates: []int{2}}, vkconv.ASPPWeights{
		Point:   vkconv.Filter{Weight: []float32{1}},
		Dilated: []vkconv.Filter{{Weight: repeat(9, 1)}},
		Pool:    vkconv.Filter{Weight: []float32{1}},
		Project: vkconv.Filter{Weight: []float32{1, 1, 1}},
	})
	must(err)
	y := fill(e, layer.Output(), 0)
	must(layer.Run(context.Background(), y, fill(e, conv.Shape{1, 1, 3, 3}, 1)))
	fmt.Println(values(y))
	// Output: [6 4 6 4 3 4 6 4 6]
}

// A residual connection: what a layer gave and what went into it, and ReLU behind.
func ExampleEngine_NewAdd() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 3}
	add, err := e.NewAdd(shape)
	must(err)
	relu, err := e.NewActivation(shape, conv.Activation{Kind: conv.ReLU})
	must(err)
	x, err := e.TensorOf(shape, []float32{1, -5, 2})
	must(err)
	sum, y := fill(e, shape, 0), fill(e, shape, 0)
	must(add.Run(context.Background(), sum, x, fill(e, shape, 2)))
	must(relu.Run(context.Background(), y, sum)) // still one submission
	fmt.Println(values(y))
	// Output: [3 0 4]
}

// The gradient of a maximum goes to the first of the largest.
func ExampleEngine_NewMaxPool() {
	e := device()
	defer e.Close()
	shape, params := conv.Shape{1, 1, 1, 4}, conv.PoolParams{Kernel: [2]int{1, 2}}
	pool, err := e.NewMaxPool(shape, params)
	must(err)
	back, err := e.NewMaxPoolBackward(shape, params)
	must(err)
	x, err := e.TensorOf(shape, []float32{3, 1, 7, 7})
	must(err)
	y, dx := fill(e, pool.Problem().Output(), 0), fill(e, shape, 0)
	must(pool.Run(context.Background(), y, x))
	must(back.Run(context.Background(), dx, x, fill(e, y.Shape(), 1)))
	fmt.Println(values(y), values(dx))
	// Output: [3 7] [1 0 1 0]
}

// A step of gradient descent on the device: the parameter moves against its gradient.
func ExampleEngine_NewSGD() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 1}
	step, err := e.NewSGD(shape, conv.SGD{})
	must(err)
	parameter, velocity := fill(e, shape, 1), fill(e, shape, 0)
	must(step.Run(context.Background(), parameter, velocity, fill(e, shape, 2), 0.25))
	fmt.Println(values(parameter))
	// Output: [0.5]
}

// The mean of windows of two pixels.
func ExampleEngine_NewAvgPool() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 4}
	pool, err := e.NewAvgPool(shape, conv.PoolParams{Kernel: [2]int{1, 2}})
	must(err)
	x, err := e.TensorOf(shape, []float32{1, 3, 5, 9})
	must(err)
	y := fill(e, pool.Problem().Output(), 0)
	must(pool.Run(context.Background(), y, x))
	fmt.Println(values(y))
	// Output: [2 7]
}

// With given moments a batch normalization is a scale and a shift of each channel.
func ExampleEngine_NewBatchNorm() {
	e := device()
	defer e.Close()
	shape, channel := conv.Shape{1, 1, 1, 3}, conv.Shape{1, 1, 1, 1}
	norm, err := e.NewBatchNorm(shape, conv.BatchNormParams{Eps: 1})
	must(err)
	x, err := e.TensorOf(shape, []float32{1, 5, 9})
	must(err)
	y, moments := fill(e, shape, 0), vkconv.Moments{Mean: fill(e, channel, 5), Var: fill(e, channel, 3)} // √(3 + Eps) is 2
	must(norm.Run(context.Background(), y, x, fill(e, channel, 1), fill(e, channel, 10), moments))
	fmt.Println(values(y))
	// Output: [8 10 12]
}

// Every level has half the extents of the one before; the filter keeps what is constant.
func ExampleEngine_NewPyramid() {
	e := device()
	defer e.Close()
	pyramid, err := e.NewPyramid(conv.Shape{1, 1, 4, 7}, 2)
	must(err)
	var levels []*vkconv.Tensor
	for _, s := range pyramid.Shapes() {
		levels = append(levels, fill(e, s, 0))
	}
	must(pyramid.Run(context.Background(), levels, fill(e, conv.Shape{1, 1, 4, 7}, 1)))
	for _, l := range levels {
		fmt.Println(l.Shape(), values(l))
	}
	// Output:
	// 1×1×2×4 [1 1 1 1 1 1 1 1]
	// 1×1×1×2 [1 1]
}
