package vkconv_test

import (
	"context"
	"fmt"
	"log"

	"vkconv"
	"vkconv/conv"
)

// DCNv3 with raw masks that are all alike: the softmax makes each ninth part, so
// without offsets it is the mean over 3×3 pixels. One offset, of the middle
// point of the first output pixel, is 2 pixels to the right.
func ExampleEngine_NewDCNv3() {
	engine, err := vkconv.Open(vkconv.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	shape := conv.Shape{1, 1, 4, 4}
	layer, err := engine.NewDCNv3(shape, conv.DCNParams{Padding: conv.Pad(1), Softmax: true})
	if err != nil {
		log.Fatal(err)
	}
	p := layer.Problem()
	pixels, offsets := make([]float32, shape.Len()), make([]float32, p.Offset().Len())
	for i := range pixels {
		pixels[i] = float32(9 * i)
	}
	offsets[p.OffsetChannel(0, 4)*16] = 2 // Δx of point 4 of group 0 at pixel (0, 0)
	x, _ := engine.TensorOf(shape, pixels)
	offset, _ := engine.TensorOf(p.Offset(), offsets)
	mask, _ := engine.TensorOf(p.MaskShape(), make([]float32, p.MaskShape().Len()))
	y, _ := engine.NewTensor(p.Output())
	if err := layer.Run(context.Background(), y, x, offset, mask); err != nil {
		log.Fatal(err)
	}
	out := make([]float32, 16)
	if err := y.Download(context.Background(), out); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f %.2f\n", out[0], out[5])
	// Output: 12.00 45.00
}
