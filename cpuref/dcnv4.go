package cpuref

import "vkconv/conv"

// DCNv4 computes the core operator of DCNv4 (Xiong et al. 2024): [DCNv3] with
// offsets and masks packed in one tensor, see [conv.DCNParams.V4]. Errors of a
// float32 computation are bounded with [conv.DCNRoundings].
func DCNv4[T Float](d conv.DCN, x, packed []T) []conv.Sum {
	return DCNv3(d, x, packed, packed)
}

// DCNv4Backward differentiates [DCNv4]; the gradient of the packed tensor, 0 in
// the channels that fill it up, is in Offset.
func DCNv4Backward[T Float](d conv.DCN, x, packed, dy []T) Gradients {
	check("dy", dy, d.Output())
	g := Gradients{X: make([]conv.Sum, len(x)), Offset: make([]conv.Sum, len(packed))}
	newDCN(d, x, packed, packed).backward(g.X, g.Offset, g.Offset, dy)
	return g
}
