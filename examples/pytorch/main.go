// Command pytorch runs a network with a DeformConv2d on weights that PyTorch saved,
// and compares its answer with PyTorch's: the tutorial in README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// dir is where export.py left its files.
var dir = "examples/pytorch"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pytorch:", err)
		os.Exit(1)
	}
}

func run() error {
	weights, err := tensorio.ReadSafetensors(dir + "/weights.safetensors")
	if err != nil {
		return err
	}
	answer, err := tensorio.ReadSafetensors(dir + "/answer.safetensors")
	if err != nil {
		return err
	}
	engine, err := vkconv.Open(vkconv.Options{}) // a Vulkan device, or the CPU
	if err != nil {
		return err
	}
	defer engine.Close()

	// A parameter, its values and its shape. (Real programs return the error.)
	param := func(name string) ([]float32, conv.Shape) {
		a, ok := weights[name]
		if !ok {
			log.Fatalf("pytorch: no %s in the file", name)
		}
		v, err := a.Float32()
		if err != nil {
			log.Fatal("pytorch: ", err)
		}
		s := conv.Shape{1, 1, 1, 1}
		copy(s[:], a.Shape)
		return v, s
	}
	x := answer["x"]
	in := conv.Shape(x.Shape)
	relu := conv.Activation{Kind: conv.ReLU}

	// stem = Conv2d(3, 8, 3, stride=2, padding=1), and the ReLU behind it.
	w, s := param("stem.weight")
	b, _ := param("stem.bias")
	stem, err := engine.NewConv2D(in, w, b, s, conv.Params{Stride: [2]int{2, 2}, Padding: conv.Pad(1), Activation: relu})
	if err != nil {
		return err
	}
	features := stem.Problem().Output()

	// predict = Conv2d(8, 27, 3, padding=1): its first 18 channels are the offsets,
	// the other 9 behind a sigmoid the mask. Two layers share its weight.
	w, s = param("predict.weight")
	b, _ = param("predict.bias")
	cut := 18 * s[1] * s[2] * s[3]
	offsets, err := engine.NewConv2D(features, w[:cut], b[:18], conv.Shape{18, s[1], s[2], s[3]}, conv.Params{Padding: conv.Pad(1)})
	if err != nil {
		return err
	}
	masks, err := engine.NewConv2D(features, w[cut:], b[18:], conv.Shape{9, s[1], s[2], s[3]},
		conv.Params{Padding: conv.Pad(1), Activation: conv.Activation{Kind: conv.Sigmoid}})
	if err != nil {
		return err
	}

	// deform = DeformConv2d(8, 16, 3, padding=1) with a mask, and the ReLU.
	w, s = param("deform.weight")
	b, _ = param("deform.bias")
	deform, err := engine.NewDeformConv2D(features, w, b, s, conv.Params{Padding: conv.Pad(1), Activation: relu}, conv.Deform{Mask: true})
	if err != nil {
		return err
	}

	// head = Conv2d(16, 4, 1).
	w, s = param("head.weight")
	b, _ = param("head.bias")
	head, err := engine.NewConv2D(deform.Problem().Output(), w, b, s, conv.Params{})
	if err != nil {
		return err
	}

	// Tensors for what lies between the layers; it never leaves the device.
	var t [6]*vkconv.Tensor
	for i, shape := range []conv.Shape{in, features, offsets.Problem().Output(), masks.Problem().Output(), deform.Problem().Output(), head.Problem().Output()} {
		if t[i], err = engine.NewTensor(shape); err != nil {
			return err
		}
	}
	ctx := context.Background()
	if err := t[0].Upload(x.Data.([]float32)); err != nil {
		return err
	}
	for _, layer := range []func() error{
		func() error { return stem.Run(ctx, t[1], t[0]) },
		func() error { return offsets.Run(ctx, t[2], t[1]) },
		func() error { return masks.Run(ctx, t[3], t[1]) },
		func() error { return deform.Run(ctx, t[4], t[1], t[2], t[3]) },
		func() error { return head.Run(ctx, t[5], t[4]) },
	} {
		if err := layer(); err != nil { // queued; nothing waits yet
			return err
		}
	}
	y := make([]float32, t[5].Shape().Len())
	if err := t[5].Download(ctx, y); err != nil {
		return err
	}

	exact := answer["exact"].Data.([]float64)
	theirs := answer["y"].Data.([]float32)
	var ours, own, largest float64
	for i, want := range exact {
		ours = max(ours, math.Abs(float64(y[i])-want))
		own = max(own, math.Abs(float64(theirs[i])-want))
		largest = max(largest, math.Abs(want))
	}
	fmt.Printf("%s: y is %v, up to %.3g\n", engine.Name(), t[5].Shape(), largest)
	fmt.Printf("off by at most %.1e of PyTorch in float64, PyTorch in float32 by %.1e\n", ours, own)
	if !(ours <= 8*own) {
		return fmt.Errorf("that is more than another order of additions explains")
	}
	return nil
}
