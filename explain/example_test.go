package explain_test

import (
	"fmt"
	"log"

	"vkconv/conv"
	"vkconv/explain"
)

// Two dilations of 2 read only every second pixel of the rows and columns that they span.
func ExampleExplain() {
	stack, err := explain.Parse("3x3 d2, 3x3 d2")
	if err != nil {
		log.Fatal(err)
	}
	r, err := explain.Explain(stack, conv.Shape{1, 16, 32, 32})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range r.Rows {
		fmt.Println(row.Layer, row.Output, row.Stacked)
	}
	fmt.Println(r.Field, "less", r.Unseen)
	// Output:
	// 3x3 d2 p2 1×16×32×32 [5 5]
	// 3x3 d2 p2 1×16×32×32 [9 9]
	// [9 9] less 56
}
