package main

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// Result is how one layer compares with PyTorch's.
type Result struct {
	Layer string
	Every int // one element in so many was compared
	conv.Verdict
}

// Compare runs every layer on what PyTorch's layers before it made, in float64 and
// rounded to float32, and holds it to PyTorch's answer within the derived bound; the
// roundings of what goes in and of the answer count, one each.
func Compare(ctx context.Context, n *Network, layers *tensorio.Safetensors) ([]Result, error) {
	var results []Result
	for _, s := range n.Steps {
		var in [][]float32
		for _, name := range s.In {
			data, err := recorded(layers, name, n.Shape(name))
			if err != nil {
				return results, err
			}
			in = append(in, data)
		}
		want, err := recorded(layers, s.Out, n.Shape(s.Out))
		if err != nil {
			return results, err
		}
		v, err := n.Check(ctx, s, in, wide(want), 2)
		if err != nil {
			return results, fmt.Errorf("%s: %w", s.Out, err)
		}
		results = append(results, Result{s.Out, s.every, v})
	}
	return results, nil
}

// recorded returns what PyTorch made.
func recorded(layers *tensorio.Safetensors, name string, s conv.Shape) ([]float32, error) {
	a, err := layers.Array(name)
	if err != nil {
		return nil, err
	}
	if len(a.Shape) != 4 || conv.Shape(a.Shape) != s {
		return nil, fmt.Errorf("%s is %v, PyTorch's is %v", name, s, a.Shape)
	}
	return a.Float32()
}

// End is how the output of the whole network compares with PyTorch's in float64.
type End struct {
	Ours, Theirs float64 // largest error, and that of PyTorch's own float32
	Largest      float64 // value
	Same         float64 // pixels of the same class, in a hundred
}

// EndToEnd runs the whole network on PyTorch's input.
func EndToEnd(ctx context.Context, n *Network, layers *tensorio.Safetensors) (end End, err error) {
	x, err := recorded(layers, "input", n.Shape("input"))
	if err != nil {
		return End{}, err
	}
	want, err := recorded(layers, "out", n.Shape("out"))
	if err != nil {
		return End{}, err
	}
	if err := n.Upload(x); err != nil {
		return End{}, err
	}
	if err := n.Run(ctx); err != nil {
		return End{}, err
	}
	got, err := n.Read(ctx, "out")
	if err != nil {
		return End{}, err
	}
	for i, v := range got {
		w := float64(want[i])
		end.Ours, end.Largest = max(end.Ours, math.Abs(float64(v)-w)), max(end.Largest, math.Abs(w))
	}
	end.Same = agreement(classes(got, n.Shape("out")), classes(want, n.Shape("out")))
	end.Theirs, err = strconv.ParseFloat(layers.Metadata()["float32"], 64)
	return end, err
}

// compare shows both.
func compare(ctx context.Context, e *vkconv.Engine, file *tensorio.Safetensors, path string) error {
	layers, err := tensorio.OpenSafetensors(path)
	if err != nil {
		return err
	}
	defer layers.Close()
	input, err := layers.Info("input")
	if err != nil || len(input.Shape) != 4 {
		return fmt.Errorf("%s has no input of four extents, %w", path, err)
	}
	n, err := NewNetwork(e, file, conv.Shape(input.Shape))
	if err != nil {
		return err
	}
	defer n.Close()
	results, err := Compare(ctx, n, layers)
	if err != nil {
		return err
	}
	worst, every := Result{}, 1
	for _, r := range results {
		every = max(every, r.Every)
		if r.Worst > worst.Worst {
			worst = r
		}
	}
	if !worst.OK() {
		return fmt.Errorf("%s: element %d is %g, PyTorch's is %g, allowed is %.3g", worst.Layer, worst.Index, worst.Got, worst.Want, worst.Bound)
	}
	end, err := EndToEnd(ctx, n, layers)
	if err != nil {
		return err
	}
	fmt.Printf("  %d layers within their bounds of PyTorch's float64; largest error %.3f of the bound, at %s\n", len(results), worst.Worst, worst.Layer)
	if every > 1 {
		fmt.Printf("  (of large layers one value in up to %d was compared)\n", every)
	}
	fmt.Printf("  end to end off by up to %.2g of %.3g, PyTorch's own float32 by %.2g; PyTorch's class at %.3f %% of the pixels\n",
		end.Ours, end.Largest, end.Theirs, end.Same)
	return nil
}
