package cpuref

import (
	"fmt"

	"vkconv/conv"
)

// Add computes a + b, element by element. Errors of a float32 computation are
// bounded with no roundings inside a term.
func Add[T Float](a, b []T) []conv.Sum {
	same(len(a), len(b))
	y := make([]conv.Sum, len(a))
	for i := range y {
		y[i].Add(float64(a[i]))
		y[i].Add(float64(b[i]))
	}
	return y
}

// same panics unless lengths agree.
func same(n, m int) {
	if n != m {
		panic(fmt.Sprintf("cpuref: operands have %d and %d elements", n, m))
	}
}
