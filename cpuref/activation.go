package cpuref

import "vkconv/conv"

// Activation computes an activation of every element; of the input, nothing is
// rounded before.
func Activation[T Float](a conv.Activation, x []T) []conv.Sum {
	y := make([]conv.Sum, len(x))
	for i, v := range x {
		y[i] = a.Apply(conv.Sum{Value: float64(v)})
	}
	return y
}

// ActivationBackward differentiates [Activation]. Errors of a float32 computation
// are bounded with [conv.ProductRoundings].
func ActivationBackward[T Float](a conv.Activation, x, dy []T) []conv.Sum {
	same(len(x), len(dy))
	dx := make([]conv.Sum, len(x))
	for i, v := range x {
		dx[i] = a.ApplyBackward(float64(v), float64(dy[i]))
	}
	return dx
}
