// Package vis is what pictures need: filters by name, displacement fields for
// deformable convolution, and responses mapped to brightness. It works on
// planar float32 pictures and knows no file formats.
package vis
