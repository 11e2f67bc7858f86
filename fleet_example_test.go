package vkconv_test

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

// A batch of six images over two devices, here the CPU path twice, so that it runs
// everywhere: with cards these are OpenFleet(Options{}) for all there are, or their
// names. The shares are fixed; without FixShares they follow measured speed.
func ExampleOpenFleet() {
	f, err := vkconv.OpenFleet(vkconv.Options{Threads: 1}, "cpu", "cpu")
	must(err)
	defer f.Close()
	must(f.FixShares(2, 1))

	x, w := conv.Shape{6, 1, 5, 5}, conv.Shape{1, 1, 3, 3}
	l, err := f.NewConv2D(x, repeat(w.Len(), 1), nil, w, conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}})
	must(err)
	y := make([]float32, l.Problem().Output().Len())
	must(l.Run(context.Background(), y, repeat(x.Len(), 1)))
	for _, s := range l.Shares() {
		fmt.Println(s.Device, "computed", s.Images)
	}
	fmt.Println(l.Problem().Output(), y[0], y[12])
	// Output:
	// CPU, 1 threads computed 4
	// CPU, 1 threads computed 2
	// 6×1×5×5 4 9
}

// Gradients over several devices: those by the weight and the bias are sums over the
// batch, whoever computed which image.
func ExampleFleet_NewConv2DBackward() {
	f, err := vkconv.OpenFleet(vkconv.Options{Threads: 1}, "cpu", "cpu")
	must(err)
	defer f.Close()

	x, w := conv.Shape{6, 1, 2, 2}, conv.Shape{1, 1, 1, 1}
	l, err := f.NewConv2DBackward(x, []float32{3}, w, conv.Params{})
	must(err)
	g := vkconv.FleetGradients{X: make([]float32, x.Len()), Weight: make([]float32, 1), Bias: make([]float32, 1)}
	must(l.Run(context.Background(), g, repeat(x.Len(), 2), repeat(x.Len(), 1)))
	fmt.Println(g.X[0], g.Weight[0], g.Bias[0])
	// Output: 3 48 24
}
