package vkconv

import (
	"context"
	"slices"

	"vkconv/conv"
	"vkconv/cpuref"
)

type oraclePlan struct{}

func (oraclePlan) Describe() string { return "oracle in float64" }
func (oraclePlan) Workspace() int64 { return 0 }

func interim(weight []float32, f func(t onHost, w []float32) cpuref.Gradients) (operator, error) {
	w := slices.Clone(weight)
	return &cpuOperator{oraclePlan{}, func(ctx context.Context, t onHost) error {
		g := f(t, w)
		for i, s := range [][]conv.Sum{g.X, g.Weight, g.Bias, g.Offset, g.Mask} {
			if t[i] == nil {
				continue
			}
			for j := range s {
				t[i][j] = float32(s[j].Value)
			}
		}
		return nil
	}, func(weight, _ []float32) error { copy(w, weight); return nil }}, nil
}

func (c *cpu) conv2DBackward(p conv.Problem, weight []float32) (operator, error) {
	return interim(weight, func(t onHost, w []float32) cpuref.Gradients { return cpuref.Conv2DBackward(p, t[5], w, t[6]) })
}
func (c *cpu) deformConv2DBackward(p conv.Problem, weight []float32) (operator, error) {
	return interim(weight, func(t onHost, w []float32) cpuref.Gradients {
		return cpuref.DeformConv2DBackward(p, t[5], t[6], t[7], w, t[8])
	})
}
func (c *cpu) convTranspose2DBackward(p conv.Transposed, weight []float32) (operator, error) {
	return interim(weight, func(t onHost, w []float32) cpuref.Gradients { return cpuref.ConvTranspose2DBackward(p, t[5], w, t[6]) })
}
func (c *cpu) convTranspose2D(p conv.Transposed, weight, bias []float32) (operator, error) {
	b := slices.Clone(bias)
	return interim(weight, func(t onHost, w []float32) cpuref.Gradients {
		return cpuref.Gradients{X: cpuref.ConvTranspose2D(p, t[1], w, b)}
	})
}
