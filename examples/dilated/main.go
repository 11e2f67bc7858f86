// Command dilated runs one dilated convolution on the best device there is.
package main

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

func main() {
	engine, err := vkconv.Open(vkconv.Options{}) // a Vulkan device, or the CPU
	check(err)
	defer engine.Close()
	x, w := conv.Shape{1, 1, 7, 7}, conv.Shape{1, 1, 3, 3} // images × channels × rows × columns
	image, weight := ones(x.Len()), ones(w.Len())
	layer, err := engine.NewConv2D(x, weight, nil, w, conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}})
	check(err)
	in, err := engine.TensorOf(x, image)
	check(err)
	out, err := engine.NewTensor(layer.Problem().Output())
	check(err)
	check(layer.Run(context.Background(), out, in)) // queued
	y := make([]float32, out.Shape().Len())
	check(out.Download(context.Background(), y)) // waits
	fmt.Println(engine.Name(), "→", out.Shape(), y[:7])
}
