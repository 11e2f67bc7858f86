package vkconv_test

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
)

// A layer in float64 keeps what float32 would round away.
func ExampleWeights64() {
	engine, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	shape, w := conv.Shape{1, 1, 1, 3}, conv.Shape{1, 1, 1, 1}
	layer, err := engine.NewConv2D(shape, nil, nil, w, conv.Params{}, vkconv.Stored(conv.Float64), vkconv.Weights64([]float64{1 + 0x1p-40}, nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	x, err1 := engine.TensorOf64(shape, []float64{1, 2, 3})
	y, err2 := engine.NewTensorAs(conv.Float64, shape)
	if err1 != nil || err2 != nil {
		fmt.Println(err1, err2)
		return
	}
	got := make([]float64, 3)
	err1 = layer.Run(context.Background(), y, x)
	err2 = y.Download64(context.Background(), got)
	fmt.Println(got[0]-1 == 0x1p-40, got[2]-3 == 3*0x1p-40, err1, err2)
	// Output: true true <nil> <nil>
}
