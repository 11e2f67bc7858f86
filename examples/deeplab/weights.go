package main

import (
	"context"
	"fmt"
	"math"

	"vkconv/conv"
)

// shape returns a weight's shape.
func (n *Network) shape(name string) conv.Shape {
	t := must(n.file.Info(name))
	if len(t.Shape) != 4 {
		panic(failure{fmt.Errorf("%s has %d extents, must have four", name, len(t.Shape))})
	}
	return conv.Shape(t.Shape)
}

func (n *Network) read(name string) []float64 {
	a := must(n.file.Array(name))
	return must(a.Float64())
}

// batchNorm is a batch normalization's parameters by PyTorch's names.
type batchNorm struct{ weight, bias, mean, variance []float64 }

func (n *Network) normOf(name string, channels int) (b batchNorm, err error) {
	b = batchNorm{n.read(name + ".weight"), n.read(name + ".bias"), n.read(name + ".running_mean"), n.read(name + ".running_var")}
	for _, v := range [][]float64{b.weight, b.bias, b.mean, b.variance} {
		if len(v) != channels {
			return b, fmt.Errorf("%s has %d channels, must have %d", name, len(v), channels)
		}
	}
	return b, nil
}

// at returns what channel k is multiplied by, and what is added.
func (b batchNorm) at(k int) (scale, shift float64) {
	scale = b.weight[k] / math.Sqrt(b.variance[k]+1e-5)
	return scale, b.bias[k] - b.mean[k]*scale
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrow(v []float64) []float32 {
	if v == nil {
		return nil
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// Run queues the whole network on what the input holds.
func (n *Network) Run(ctx context.Context) error {
	for _, s := range n.Steps {
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.Out, err)
		}
	}
	return nil
}

// Check runs one step on given inputs and compares what it makes with want, within
// the derived bound; of a large layer some elements. further roundings are those of
// the inputs and of want, which it overwrites.
func (n *Network) Check(ctx context.Context, s *Step, in [][]float32, want []float64, further int) (conv.Verdict, error) {
	for i, name := range s.In {
		if err := n.values[name].tensor.Upload(in[i]); err != nil {
			return conv.Verdict{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := s.run(ctx); err != nil {
		return conv.Verdict{}, err
	}
	got, err := n.Read(ctx, s.Out)
	if err != nil {
		return conv.Verdict{}, err
	}
	sums, roundings := s.oracle(in)
	for i := range sums { // one in so many
		got[i], want[i] = got[i*s.every], want[i*s.every]
	}
	v := conv.Judge(got[:len(sums)], sums, want[:len(sums)], roundings+further)
	v.Index *= s.every
	return v, nil
}

// Upload sets the input.
func (n *Network) Upload(data []float32) error { return n.values["input"].tensor.Upload(data) }

// Read downloads a value by its name.
func (n *Network) Read(ctx context.Context, name string) ([]float32, error) {
	v, ok := n.values[name]
	if !ok {
		return nil, fmt.Errorf("there is no value %q", name)
	}
	all, part := v.whole.Shape(), v.tensor.Shape()
	data := make([]float32, all.Len())
	if err := v.whole.Download(ctx, data); err != nil || v.whole == v.tensor {
		return data, err
	}
	plane := all[2] * all[3]
	out := make([]float32, 0, part.Len())
	for i := range all[0] {
		out = append(out, data[(i*all[1]+v.first)*plane:][:part[1]*plane]...)
	}
	return out, nil
}

// Shape returns a value's shape.
func (n *Network) Shape(name string) conv.Shape { return n.values[name].tensor.Shape() }

// Close gives the memory back.
func (n *Network) Close() {
	for _, f := range n.close {
		f()
	}
}
