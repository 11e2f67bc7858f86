package cpuref

import "vkconv/conv"

// GlobalPool computes the mean of every channel of every image. Errors of a
// float32 computation are bounded with [conv.PoolRoundings].
func GlobalPool[T Float](p conv.GlobalPool, x []T) []conv.Sum {
	check("x", x, p.Input())
	y := make([]conv.Sum, p.N*p.C)
	plane := p.H * p.W
	parallel(len(y), func(i int) {
		for _, v := range x[i*plane:][:plane] {
			y[i].Add(float64(v) / float64(plane))
		}
	})
	return y
}

// GlobalPoolBackward differentiates [GlobalPool]: every pixel gets its share of dy.
func GlobalPoolBackward[T Float](p conv.GlobalPool, dy []T) []conv.Sum {
	check("dy", dy, p.Output())
	plane := p.H * p.W
	dx := make([]conv.Sum, p.Input().Len())
	for i := range dx {
		dx[i].Add(float64(dy[i/plane]) / float64(plane))
	}
	return dx
}
