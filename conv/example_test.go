package conv_test

import (
	"errors"
	"fmt"
	"log"

	"vkconv/conv"
)

// What a layer makes of its input, and what it costs.
func ExampleParams_Problem() {
	params := conv.Params{Stride: [2]int{2, 2}, Padding: conv.Pad(3)}
	p, err := params.Problem(conv.Shape{1, 3, 224, 224}, conv.Shape{64, 3, 7, 7}, false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Output(), p.Cost().MACs)

	_, err = params.Problem(conv.Shape{1, 3, 224, 224}, conv.Shape{64, 4, 7, 7}, false)
	fmt.Println(errors.Is(err, conv.ErrShape))
	// Output:
	// 1×64×112×112 118013952
	// true
}

// Three 3×3 of dilations 1, 2 and 4 see 15 pixels; the parameters are those of three 3×3.
func ExampleReceptiveField() {
	f := conv.ReceptiveField(conv.Layer{Kernel: 3}, conv.Layer{Kernel: 3, Dilation: 2}, conv.Layer{Kernel: 3, Dilation: 4})
	fmt.Println(f.Size)
	// Output: 15
}

// A sum of two products in float32, 1/3 of which is rounded: right, but not exact.
func ExampleJudge() {
	third := float32(1) / 3
	terms := []float64{float64(third), float64(third)}
	sum := conv.Sum{Value: terms[0] + terms[1], Abs: terms[0] + terms[1], Terms: len(terms)}
	fmt.Println(conv.Judge([]float32{third + third}, []conv.Sum{sum}, nil, conv.ProductRoundings).OK())
	fmt.Println(conv.Judge([]float32{0.6667}, []conv.Sum{sum}, nil, conv.ProductRoundings).OK())
	// Output:
	// true
	// false
}
