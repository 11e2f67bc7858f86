package vkconv_test

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

// Differences of neighbours, two pixels apart, with a bias and an activation in the
// same layer.
func ExampleEngine_NewConv2D() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 4}, conv.Shape{1, 1, 1, 2} // w: outputs × inputs a group × rows × columns
	layer, err := e.NewConv2D(x, []float32{-1, 1}, []float32{0.5}, w,
		conv.Params{Stride: [2]int{1, 2}, Activation: conv.Activation{Kind: conv.ReLU}})
	must(err)
	in, err := e.TensorOf(x, []float32{1, 3, 9, 4})
	must(err)
	y := fill(e, layer.Problem().Output(), 0)
	must(layer.Run(context.Background(), y, in))
	fmt.Println(values(y))
	// Output: [2.5 0]
}

// What is negative goes through by half.
func ExampleEngine_NewActivation() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 2}
	layer, err := e.NewActivation(shape, conv.Activation{Kind: conv.LeakyReLU, Slope: 0.5})
	must(err)
	x, err := e.TensorOf(shape, []float32{-2, 3})
	must(err)
	y := fill(e, shape, 0)
	must(layer.Run(context.Background(), y, x))
	fmt.Println(values(y))
	// Output: [-1 3]
}

// And so does the gradient.
func ExampleEngine_NewActivationBackward() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 2}
	layer, err := e.NewActivationBackward(shape, conv.Activation{Kind: conv.LeakyReLU, Slope: 0.5})
	must(err)
	x, err := e.TensorOf(shape, []float32{-2, 3})
	must(err)
	dx := fill(e, shape, 0)
	must(layer.Run(context.Background(), dx, x, fill(e, shape, 10)))
	fmt.Println(values(dx))
	// Output: [5 10]
}

// Two classes with equal scores: the loss is ln 2, and the gradient raises the score
// of the right one, the second here.
func ExampleEngine_NewCrossEntropy() {
	e := device()
	defer e.Close()
	scores, place := conv.Shape{1, 2, 1, 1}, conv.Shape{1, 1, 1, 1}
	entropy, err := e.NewCrossEntropy(scores)
	must(err)
	loss, dx := fill(e, place, 0), fill(e, scores, 0)
	must(entropy.Run(context.Background(), loss, dx, fill(e, scores, 3), fill(e, place, 1)))
	fmt.Printf("%.3f %.3f\n", values(loss), values(dx))
	// Output: [0.693] [0.500 -0.500]
}

// Adam's first step is as long as the rate, whatever the gradient.
func ExampleEngine_NewAdam() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 2}
	adam, err := e.NewAdam(shape, conv.Adam{})
	must(err)
	gradient, err := e.TensorOf(shape, []float32{2, -300})
	must(err)
	parameters, first, second := fill(e, shape, 1), fill(e, shape, 0), fill(e, shape, 0)
	must(adam.Run(context.Background(), parameters, first, second, gradient, 0.25, 1))
	fmt.Printf("%.3f\n", values(parameters))
	// Output: [0.750 1.250]
}

// In training the batch's own moments are used, and the running ones moved by a tenth.
func ExampleEngine_NewBatchNormTraining() {
	e := device()
	defer e.Close()
	shape, channel := conv.Shape{1, 1, 1, 2}, conv.Shape{1, 1, 1, 1}
	norm, err := e.NewBatchNormTraining(shape, conv.BatchNormParams{Eps: 9})
	must(err)
	x, err := e.TensorOf(shape, []float32{1, 9}) // mean 5, variance 16, √(16 + Eps) is 5
	must(err)
	y := fill(e, shape, 0)
	batch := vkconv.Moments{Mean: fill(e, channel, 0), Var: fill(e, channel, 0)}
	running := vkconv.Moments{Mean: fill(e, channel, 0), Var: fill(e, channel, 1)}
	must(norm.Run(context.Background(), y, batch, running, x, fill(e, channel, 10), fill(e, channel, 0)))
	fmt.Println(values(y), values(batch.Mean), values(batch.Var))
	fmt.Printf("%.2f %.2f\n", values(running.Mean), values(running.Var)) // of the sample's variance, 32
	// Output:
	// [-8 8] [5] [16]
	// [0.50] [4.10]
}

// What moves all pixels alike is normalized away; the bias sees it.
func ExampleEngine_NewBatchNormBackward() {
	e := device()
	defer e.Close()
	shape, channel := conv.Shape{1, 1, 1, 2}, conv.Shape{1, 1, 1, 1}
	norm, err := e.NewBatchNormBackward(shape, conv.BatchNormParams{Eps: 9})
	must(err)
	x, err := e.TensorOf(shape, []float32{1, 9})
	must(err)
	batch := vkconv.Moments{Mean: fill(e, channel, 5), Var: fill(e, channel, 16)}
	g := vkconv.Gradients{X: fill(e, shape, 7), Bias: fill(e, channel, 0)}
	must(norm.Run(context.Background(), g, x, fill(e, shape, 1), fill(e, channel, 10), batch))
	fmt.Println(values(g.X), values(g.Bias))
	// Output: [0 0] [2]
}

// Each bin reads a channel of its own.
func ExampleEngine_NewDeformPSRoIPool() {
	e := device()
	defer e.Close()
	layer, err := e.NewDeformPSRoIPool(conv.Shape{1, 4, 8, 8}, 1, conv.PSRoIPoolParams{OutputChannels: 1, PooledSize: 2})
	must(err)
	q := layer.Problem()
	rois, err := e.TensorOf(q.RoIShape(), []float32{0, 1, 1, 5, 5}) // image, x1, y1, x2, y2
	must(err)
	maps := make([]float32, q.Input().Len())
	for i := range maps {
		maps[i] = float32(1 + i/64) // the channel's number
	}
	x, err := e.TensorOf(q.Input(), maps)
	must(err)
	y := fill(e, q.Output(), 0)
	must(layer.Run(context.Background(), y, x, rois, nil, nil))
	fmt.Println(y.Shape(), values(y))
	// Output: 1×1×2×2 [1 2 3 4]
}

// Every pixel of a window has its share.
func ExampleEngine_NewAvgPoolBackward() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 4}
	layer, err := e.NewAvgPoolBackward(shape, conv.PoolParams{Kernel: [2]int{1, 2}})
	must(err)
	dy, err := e.TensorOf(layer.Problem().Output(), []float32{4, 8})
	must(err)
	dx := fill(e, shape, 0)
	must(layer.Run(context.Background(), dx, dy))
	fmt.Println(values(dx))
	// Output: [2 2 4 4]
}

// The gradient of a maximum goes to where it was found, the first of equals.
func ExampleEngine_NewMaxPoolBackward() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 4}
	layer, err := e.NewMaxPoolBackward(shape, conv.PoolParams{Kernel: [2]int{1, 2}})
	must(err)
	x, err := e.TensorOf(shape, []float32{3, 1, 7, 7})
	must(err)
	dx := fill(e, shape, 0)
	must(layer.Run(context.Background(), dx, x, fill(e, layer.Problem().Output(), 1)))
	fmt.Println(values(dx))
	// Output: [1 0 1 0]
}

// A mean of four pixels moves by a quarter of what each moves.
func ExampleEngine_NewGlobalPoolBackward() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 2, 2}
	layer, err := e.NewGlobalPoolBackward(shape)
	must(err)
	dx := fill(e, shape, 0)
	must(layer.Run(context.Background(), dx, fill(e, layer.Problem().Output(), 8)))
	fmt.Println(values(dx))
	// Output: [2 2 2 2]
}

// One pixel spread over four takes the gradients of all.
func ExampleEngine_NewResizeBackward() {
	e := device()
	defer e.Close()
	layer, err := e.NewResizeBackward(conv.Shape{1, 1, 1, 1}, 1, 4, false)
	must(err)
	dx := fill(e, conv.Shape{1, 1, 1, 1}, 0)
	must(layer.Run(context.Background(), dx, fill(e, conv.Shape{1, 1, 1, 4}, 1)))
	fmt.Println(values(dx))
	// Output: [4]
}

// A level keeps what is constant, so that the pixels share the whole of its gradient.
func ExampleEngine_NewPyramidBackward() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 2, 2}
	layer, err := e.NewPyramidBackward(shape, 1)
	must(err)
	dx := fill(e, shape, 0)
	must(layer.Run(context.Background(), dx, []*vkconv.Tensor{fill(e, conv.Shape{1, 1, 1, 1}, 1)}))
	sum := float32(0)
	for _, v := range values(dx) {
		sum += v
	}
	fmt.Printf("%.3f\n", sum)
	// Output: 1.000
}

// On one pixel the branches are factors: 2, the middle tap's 3, and 5 behind the mean.
func ExampleEngine_NewASPPBackward() {
	e := device()
	defer e.Close()
	shape := conv.Shape{1, 1, 1, 1}
	layer, err := e.NewASPPBackward(shape, vkconv.ASPPParams{Channels: 1, Out: 1, Rates: []int{2}}, vkconv.ASPPWeights{
		Point:   vkconv.Filter{Weight: []float32{2}},
		Dilated: []vkconv.Filter{{Weight: []float32{0, 0, 0, 0, 3, 0, 0, 0, 0}}},
		Pool:    vkconv.Filter{Weight: []float32{5}},
		Project: vkconv.Filter{Weight: []float32{1, 1, 1}},
	})
	must(err)
	g := vkconv.ASPPGradients{X: fill(e, shape, 0), Point: vkconv.FilterGradients{Weight: fill(e, shape, 0)}}
	must(layer.Run(context.Background(), g, fill(e, shape, 7), fill(e, shape, 1)))
	fmt.Println(values(g.X), values(g.Point.Weight))
	// Output: [10] [7]
}

// Before training no offset depends on the input: its gradient is a convolution's.
func ExampleEngine_NewDeformPackBackward() {
	e := device()
	defer e.Close()
	x, w := conv.Shape{1, 1, 1, 4}, conv.Shape{1, 1, 1, 1}
	weights := vkconv.PackWeights{Weight: []float32{2}, Offset: make([]float32, 2), OffsetBias: make([]float32, 2)}
	layer, err := e.NewDeformPackBackward(x, weights, w, conv.Params{}, conv.Deform{})
	must(err)
	in, err := e.TensorOf(x, []float32{10, 20, 30, 40})
	must(err)
	g := vkconv.PackGradients{X: fill(e, x, 0), Weight: fill(e, w, 0)}
	must(layer.Run(context.Background(), g, in, fill(e, x, 1)))
	fmt.Println(values(g.X), values(g.Weight))
	// Output: [2 2 2 2] [100]
}
