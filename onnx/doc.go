// Package onnx reads ONNX models made of this family's layers and runs them on a
// Vulkan device or the CPU.
//
//	model, err := onnx.Open("net.onnx")
//	plan, err := model.Plan(ctx, engine, feed, onnx.Options{}) // once
//	out, err := plan.Run(ctx, feed)                       // many times
//
// [Model.Plan] works out every shape, folds batch normalizations into the weights
// before them, fuses activations behind them, makes layers write the channels that a
// concatenation would copy, and uploads all weights. A run uploads the inputs,
// queues the layers and downloads the outputs; between the layers data stays on the
// device.
//
// What is here of ONNX's operators (domain ai.onnx, up to opset 28), in float32:
//
//	Conv ConvTranspose DeformConv           1-D, 2-D and 3-D (DeformConv 2-D), everything but
//	                                        negative padding; weights known when planned; in
//	                                        3-D the work is by planes over taps more
//	BatchNormalization                      of inference
//	Relu LeakyRelu Clip Sigmoid Gelu Swish  Gelu without an approximation; x·Sigmoid(x) is a Swish
//	Add Mul                                 with constants, one or one a channel; Add of equal shapes
//	Concat Slice                            of channels
//	GlobalAveragePool GlobalMaxPool AveragePool MaxPool
//	ReduceMean                              over all pixels
//	Resize Upsample                         bilinear with half_pixel, pytorch_half_pixel or
//	                                        align_corners; nearest by whole factors
//	Gemm                                    with a constant matrix
//	Flatten Reshape Squeeze Unsqueeze Identity Dropout Constant
//
// All else is refused when the model is opened, with one error that names every
// operator, attribute and type that is not here and matches [conv.ErrUnsupported].
//
// Files come from strangers: lengths are checked before anything is allocated,
// external data must lie in the model's folder, and errors about a file's content
// match [tensorio.ErrFormat].
package onnx

import (
	"fmt"

	"vkconv/conv"
	"vkconv/tensorio"
)

// refusal is a sentence of a given kind.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

// damaged is an error about a file that is not what it should be.
func damaged(format string, args ...any) error {
	return &refusal{tensorio.ErrFormat, fmt.Sprintf(format, args...)}
}

// unsupported is an error about what is sound, but not here.
func unsupported(format string, args ...any) error {
	return &refusal{conv.ErrUnsupported, fmt.Sprintf(format, args...)}
}

// misfit is an error about shapes.
func misfit(format string, args ...any) error {
	return &refusal{conv.ErrShape, fmt.Sprintf(format, args...)}
}
