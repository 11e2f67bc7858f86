package train_test

import (
	"context"
	"fmt"
	"log"

	"vkconv"
	"vkconv/conv"
	"vkconv/train"
)

// A network that tells bright pictures from dark ones.
func Example() {
	engine, err := vkconv.Open(vkconv.Options{Device: "cpu"}) // "" takes a Vulkan device where there is one
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	net, err := train.New(engine, conv.Shape{2, 1, 4, 4}, 1, // batches of two pictures; the seed of the weights
		train.Conv("conv1", 4, 3, conv.Params{Padding: conv.Pad(1)}, true), train.ReLU(),
		train.GlobalPool(), train.Linear("fc", 2))
	if err != nil {
		log.Fatal(err)
	}
	defer net.Close()
	if err := net.UseAdam(conv.Adam{}); err != nil {
		log.Fatal(err)
	}
	images := make([]float32, 2*4*4) // the first dark,
	for i := range images[:16] {
		images[16+i] = 1 // the second bright
	}
	var r train.Result
	for range 100 {
		if r, err = net.Step(context.Background(), images, []int{0, 1}, 0.05); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(r.Right, "of 2 right; the loss is below 0.1:", r.Loss < 0.1)
	// Output: 2 of 2 right; the loss is below 0.1: true
}
