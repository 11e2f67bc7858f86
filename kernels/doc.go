// Package kernels runs the operators on a Vulkan device: it chooses a shader
// and its variant for a problem, packs the weights, and records launches.
//
// A plan such as [Conv2D] is made once and recorded many times; recording
// allocates nothing. plan.go, variants.go and pack.go decide and know no
// device; one file an operator carries the decision out.
package kernels
