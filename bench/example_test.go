package bench_test

import (
	"fmt"
	"log"

	"vkconv/bench"
)

// The dilation in oneDNN's descriptors counts from 0: dh11 is a dilation of 12.
func ExampleParseDescriptor() {
	c, err := bench.ParseDescriptor(`g1mb2ic256ih33oc256kh3ph12dh11n"aspp"`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Layers[0].Params.Dilation)
	// Output: [12 12]
}
