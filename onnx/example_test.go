package onnx_test

import (
	"context"
	"fmt"
	"log"

	"vkconv"
	"vkconv/onnx"
	"vkconv/tensorio"
)

// A model planned once, for the sizes of what it is fed, and run.
func ExampleModel_Plan() {
	engine, err := vkconv.Open(vkconv.Options{Device: "cpu"}) // leave Device out for the best there is
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	model, err := onnx.Open("testdata/networks/residual/model.onnx")
	if err != nil {
		log.Fatal(err) // names everything that the model uses and this package has not
	}
	fmt.Println(model.Inputs())
	feed := map[string]tensorio.Array{"x": {Shape: []int{2, 6, 9, 7}, Data: make([]float32, 2*6*9*7)}}
	plan, err := model.Plan(context.Background(), engine, feed, onnx.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer plan.Close()
	out, err := plan.Run(context.Background(), feed)
	if err != nil {
		log.Fatal(err)
	}
	for name, y := range out {
		fmt.Println(name, y.Shape)
	}
	// Output:
	// [x, ?×6×9×7]
	// relu8 [2 8 5 4]
}
