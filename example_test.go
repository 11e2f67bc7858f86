package vkconv_test

import (
	"context"
	"fmt"
	"log"

	"vkconv"
	"vkconv/conv"
)

// A dilated 3×3 convolution on the best device there is. The sum of a 5×5 field
// with holes, in the middle of an image of ones, is 9.
func Example() {
	engine, err := vkconv.Open(vkconv.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	shape, ones := conv.Shape{1, 1, 5, 5}, make([]float32, 25)
	for i := range ones {
		ones[i] = 1
	}
	layer, err := engine.NewConv2D(shape, ones[:9], nil, conv.Shape{1, 1, 3, 3},
		conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}})
	if err != nil {
		log.Fatal(err)
	}
	x, _ := engine.TensorOf(shape, ones)
	y, _ := engine.NewTensor(layer.Problem().Output())
	if err := layer.Run(context.Background(), y, x); err != nil { // only queues
		log.Fatal(err)
	}
	out := make([]float32, y.Shape().Len())
	if err := y.Download(context.Background(), out); err != nil { // waits
		log.Fatal(err)
	}
	fmt.Println(y.Shape(), out[0], out[12])
	// Output: 1×1×5×5 4 9
}
