package onnx

import (
	"math"
	"slices"

	"vkconv/onnx/internal/pb"
	"vkconv/tensorio"
)

// constant reads the value of a Constant node.
func (n *node) constant(files *externals) (*constant, error) {
	if len(n.attrs) != 1 {
		return nil, damaged("has %d values, must have one", len(n.attrs))
	}
	for name, a := range n.attrs {
		switch name {
		case "value":
			if a.GetT() == nil {
				return nil, damaged("has a value without a tensor")
			}
			c, err := decodeTensor(a.GetT(), files)
			return &c, err
		case "value_float":
			return &constant{pb.TensorProto_FLOAT, tensorio.Array{Data: []float32{a.GetF()}}}, nil
		case "value_floats":
			return &constant{pb.TensorProto_FLOAT, tensorio.Array{Shape: []int{len(a.GetFloats())}, Data: a.GetFloats()}}, nil
		case "value_int":
			return &constant{pb.TensorProto_INT64, tensorio.Array{Data: []int64{a.GetI()}}}, nil
		case "value_ints":
			return &constant{pb.TensorProto_INT64, tensorio.Array{Shape: []int{len(a.GetInts())}, Data: a.GetInts()}}, nil
		}
	}
	return nil, nil
}

func inferConstant(_ *planner, n *node) (*planned, error) {
	return &planned{known: n.tensor, dims: n.tensor.Shape}, nil
}

// inferSame plans operators that give the same data other extents. Of a known
// value they make a known value.
func inferSame(p *planner, n *node) (*planned, error) {
	x := p.values[n.inputs[0]]
	dims, err := p.reshaped(n, x.dims)
	if err != nil {
		return nil, err
	}
	if elements(dims) != elements(x.dims) {
		return nil, misfit("%v makes %s of %s, another number of elements", n, Extents(dims), Extents(x.dims))
	}
	if x.known != nil {
		return &planned{dims: dims, known: &constant{x.known.typ, tensorio.Array{Shape: dims, Data: x.known.Data}}}, nil
	}
	return &planned{dims: dims, same: x}, nil
}

func (p *planner) reshaped(n *node, dims []int) ([]int, error) {
	rank := len(dims)
	switch n.op {
	case "Dropout":
		if n.has(2) {
			c, err := p.constant(n, 2)
			if err != nil {
				return nil, err
			}
			if on, ok := c.Data.([]bool); !ok || len(on) != 1 || on[0] {
				return nil, unsupported("%v puts zeros at random, as in training", n)
			}
		}
	case "Flatten":
		axis := n.int("axis", 1)
		if axis < -rank || axis > rank {
			return nil, misfit("%v has axis %d, must be between %d and %d", n, axis, -rank, rank)
		}
		if axis < 0 {
			axis += rank
		}
		return []int{elements(dims[:axis]), elements(dims[axis:])}, nil
	case "Reshape":
		want, err := p.integers(n, 1, "shape", 5)
		if err != nil {
			return nil, err
		}
		return n.reshape(dims, want)
	case "Squeeze", "Unsqueeze":
		axes, err := p.integers(n, 1, "axes", 13)
		if err != nil {
			return nil, err
		}
		if n.op == "Squeeze" {
			return n.squeeze(dims, axes)
		}
		return n.unsqueeze(dims, axes)
	}
	return dims, nil
}

// integers reads a list that is an attribute before opset since, and an input from then on.
func (p *planner) integers(n *node, i int, name string, since int64) ([]int, error) {
	if n.opset < since {
		return n.ints(name), nil
	}
	if !n.has(i) {
		return nil, nil
	}
	c, err := p.constant(n, i)
	if err != nil {
		return nil, err
	}
	wide, ok := c.Data.([]int64)
	if !ok || len(c.Shape) > 1 {
		return nil, misfit("%v has %s of type %v and shape %s, must be a list of INT64", n, name, c.typ, Extents(c.Shape))
	}
	out := make([]int, len(wide))
	for k, v := range wide {
		out[k] = clampInt(v)
	}
	return out, nil
}

// reshape gives extents by a list in which 0 keeps an extent (unless allowzero) and
// one −1 takes what is left.
func (n *node) reshape(dims, want []int) ([]int, error) {
	if len(want) > maxRank {
		return nil, misfit("%v asks for %d extents, at most %d are here", n, len(want), maxRank)
	}
	out, open, rest := slices.Clone(want), -1, 1
	for i, d := range want {
		switch {
		case d == 0 && n.int("allowzero", 0) == 0:
			if i >= len(dims) {
				return nil, misfit("%v keeps extent %d of %s, which has none", n, i, Extents(dims))
			}
			out[i] = dims[i]
		case d == -1 && open < 0:
			open = i
			continue
		case d < 0 || d > 1<<31-1:
			return nil, misfit("%v has shape %v, must have extents of at least 0 and one −1 at most", n, want)
		}
		if out[i] != 0 && rest > math.MaxInt/out[i] {
			return nil, misfit("%v has shape %v, more elements than there are", n, want)
		}
		rest *= out[i]
	}
	if open >= 0 {
		if rest == 0 || elements(dims)%rest != 0 {
			return nil, misfit("%v has shape %v, which %s does not come out even in", n, want, Extents(dims))
		}
		out[open] = elements(dims) / rest
	}
	return out, nil
}

// axesOf turns axes that count from the end into ones that count from the start.
func (n *node) axesOf(axes []int, rank int) (map[int]bool, error) {
	at := map[int]bool{}
	for _, a := range axes {
		if a < 0 {
			a += rank
		}
		if a < 0 || a >= rank || at[a] {
			return nil, misfit("%v has axes %v, must be different ones of %d", n, axes, rank)
		}
		at[a] = true
	}
	return at, nil
}

func (n *node) squeeze(dims, axes []int) ([]int, error) {
	at, err := n.axesOf(axes, len(dims))
	if err != nil {
		return nil, err
	}
	out := []int{}
	for i, d := range dims {
		switch {
		case at[i] && d != 1:
			return nil, misfit("%v takes away axis %d of %s, which is not 1", n, i, Extents(dims))
		case at[i] || len(axes) == 0 && d == 1:
		default:
			out = append(out, d)
		}
	}
	return out, nil
}

func (n *node) unsqueeze(dims, axes []int) ([]int, error) {
	rank := len(dims) + len(axes)
	if rank > maxRank {
		return nil, misfit("%v makes %d extents, at most %d are here", n, rank, maxRank)
	}
	at, err := n.axesOf(axes, rank)
	if err != nil {
		return nil, err
	}
	out, next := make([]int, rank), 0
	for i := range out {
		if at[i] {
			out[i] = 1
		} else {
			out[i], next = dims[next], next+1
		}
	}
	return out, nil
}
