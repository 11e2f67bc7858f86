package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vkconv"
	"vkconv/bench"
	"vkconv/conv"
	"vkconv/tensorio"
)

// subject is an operator with its data, to be run and compared.
type subject interface {
	kind() string     // what tables call it
	describe() string // its shape, as tables show it
	// oracle computes what is right: the outputs, and where it has a gradient by
	// the output those by the inputs.
	oracle() []answer
	// compute runs it on an engine; every array that the oracle names is there.
	compute(ctx context.Context, e *vkconv.Engine) (map[string][]float32, error)
}

// answer is an array that a subject computes, as files call it.
type answer struct {
	name      string
	shape     []int
	sums      []conv.Sum
	roundings int
}

// want names an array of a tensor's shape; nil sums are none.
func want(name string, shape conv.Shape, sums []conv.Sum, roundings int) []answer {
	if sums == nil {
		return nil
	}
	return []answer{{name, shape[:], sums, roundings}}
}

// subjectOf takes a file's case.
func subjectOf(c tensorio.Case, backward bool) subject {
	if !backward {
		c.DY, c.DLevels = nil, nil
	}
	switch c.Op {
	case tensorio.DCNv3, tensorio.DCNv4:
		return dcn{c.DCN, c.X, c.Offset, c.Mask, c.DY, true}
	case tensorio.DeformRoIPool, tensorio.DeformPSRoIPool:
		return roiPool{c.RoIPool, c.X, c.RoIs, c.Offset, c.Mask, c.DY, true}
	case tensorio.Resize:
		return resize{c.Resize, c.X, c.DY}
	case tensorio.GlobalPool:
		return globalPool{c.Pool, c.X, c.DY}
	case tensorio.Pyramid:
		return pyramid{c.Pyramid, c.X, c.DLevels}
	case tensorio.ASPP:
		a := aspp{p: c.ASPP, x: c.X, dy: c.DY}
		for i, f := range c.Filters {
			a.add(f.Name, c.ASPP.Layers()[i], f.Weight, f.Bias)
		}
		return a
	case tensorio.Activation:
		return activation{c.Activation, c.Input(), c.X, c.DY}
	case tensorio.WindowPool:
		return windowPool{c.WindowPool, c.WindowPoolParams, c.X, c.DY}
	case tensorio.BatchNorm:
		return batchNorm{c.BatchNorm, c.X, c.Weight, c.Bias, c.RunningMean, c.RunningVar, c.DY}
	case tensorio.DeformPack:
		return pack{c.Problem, c.X, c.Weight, c.Bias, c.OffsetWeight, c.OffsetBias, c.DY}
	}
	return operationOf(c)
}

// expectedOf are the values that a file expects, by their names.
func expectedOf(c tensorio.Case) map[string][]float64 {
	expected := map[string][]float64{"y": c.Y, "dx": c.DX, "dweight": c.DWeight, "dbias": c.DBias, "doffset": c.DOffset, "dmask": c.DMask,
		"doffset_weight": c.DOffsetWeight, "doffset_bias": c.DOffsetBias, "given": c.Given, "new_mean": c.NewMean, "new_var": c.NewVar}
	for i, level := range c.Levels {
		expected[fmt.Sprintf("level%d", i+1)] = level
	}
	for _, f := range c.Filters {
		expected["d"+f.Name+"_weight"], expected["d"+f.Name+"_bias"] = f.DWeight, f.DBias
	}
	for name, v := range expected {
		if v == nil {
			delete(expected, name)
		}
	}
	return expected
}

// isGradient tells an array that the backward pass computes.
func isGradient(name string) bool { return strings.HasPrefix(name, "d") }

// shapeOf writes the shapes of a tensor and of what is made of it as tables show them.
func shapeOf(x, y conv.Shape) string {
	return bench.ShapeOf([]conv.Problem{{N: x[0], C: x[1], H: x[2], W: x[3], K: y[1], Ho: y[2], Wo: y[3]}})
}

// inOrder are the names of a set, in the order in which a case's arrays are told.
func inOrder(set map[string][]float64) []string {
	order := []string{"y", "dx", "dweight", "dbias", "doffset", "dmask"}
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		i, j := slices.Index(order, a), slices.Index(order, b)
		if i >= 0 && j >= 0 {
			return i - j
		}
		return strings.Compare(a, b)
	})
	return names
}
