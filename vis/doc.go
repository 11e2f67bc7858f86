// Package vis is what pictures need: filters by name, displacement fields for
// deformable convolution, responses mapped to brightness, the places that a
// stack of layers samples, and drawings of all that, as vectors and as pixels,
// on one [Canvas]. It works on planar float32 pictures and reads no files.
package vis
