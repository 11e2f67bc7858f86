// Package fast computes the convolutions of package cpuref in float32 at the
// speed of the machine, in pure Go and Go assembly, without cgo.
//
// A [Pool] holds the worker goroutines and their buffers. A plan ([Conv2D],
// [DeformConv2D]) is made once for a [conv.Problem]: it packs the weights and
// chooses kernels; then it runs any number of times, from any number of
// goroutines, without allocating.
//
// # How
//
// Every operator is an implicit matrix product. A work unit is a tile of output
// pixels of one image; its input is packed, a block of the reduction at a time,
// into panels that fit the cache, and multiplied by weights that were packed
// when the plan was made:
//
//	         a sub-panel: nv vectors of pixels
//	         ├──────────────────────────────┤
//	       ┌ x[c0,  tap 0] for every pixel        ┐
//	       │ x[c0+1,tap 0]                        │ one row is one term of the
//	panel  │ …                                    │ sum; padding, stride, dilation
//	       │ x[c0,  tap 1]                        │ are folded in when it is packed
//	       └ …                                    ┘
//
//	micro-kernel: mr output channels × nv vectors of pixels in registers;
//	per row nv loads and mr broadcast weights make mr·nv FMAs
//
// Vectors run along pixels, so that NCHW needs no transposition on either side.
// A tap that meets only padding in a tile is skipped. A deformable tile has a
// sampling plan (addresses, weights·mask) per tap, which serves all channels of
// its offset group; samples go straight into the panel. Memory beyond inputs,
// outputs and packed weights is the workers' panels: see [Conv2D.Workspace].
//
// Each output element is one chain of multiply-adds in an order that depends
// only on the problem, so results are the same bits for any number of workers;
// they differ between instruction sets, always within [conv.Sum.Bound].
//
// An infinite or NaN weight makes NaN at output pixels where its tap lies in
// zero padding but a neighbour's does not: padding is multiplied, as zeros.
package fast
