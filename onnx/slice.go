package onnx

// inferSlice plans a range of channels, which stay where they are.
func inferSlice(p *planner, n *node) (*planned, error) {
	x, err := p.device(n, 0)
	if err != nil {
		return nil, err
	}
	var lists [4][]int // starts, ends, axes, steps
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if lists[i], err = p.integers(n, 1+i, name, 10); err != nil {
			return nil, err
		}
	}
	starts, ends, axes, steps := lists[0], lists[1], lists[2], lists[3]
	rank := len(x.dims)
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || steps != nil && len(steps) != len(starts) {
		return nil, misfit("%v has starts %v, ends %v, axes %v and steps %v, must be as many of each", n, starts, ends, axes, steps)
	}
	if _, err := n.axesOf(axes, rank); err != nil {
		return nil, err
	}
	q := &planned{slice: true, in: []*value{x}, dims: append([]int{}, x.dims...)}
	for i, axis := range axes {
		if axis < 0 {
			axis += rank
		}
		if steps != nil && steps[i] != 1 {
			return nil, unsupported("%v takes steps of %d; 1 is here", n, steps[i])
		}
		size := x.dims[axis]
		from, to := within(starts[i], size), within(ends[i], size)
		if from >= to {
			return nil, misfit("%v takes elements %d to %d of %d, which are none", n, starts[i], ends[i], size)
		}
		q.dims[axis] = to - from
		if axis == 1 {
			q.first = from
		} else if to-from != size {
			return nil, unsupported("%v takes a range of axis %d of %s; ranges of channels are here", n, axis, Extents(x.dims))
		}
	}
	if rank < 2 && q.dims[0] != x.dims[0] {
		return nil, unsupported("%v takes a range of %s; ranges of channels are here", n, Extents(x.dims))
	}
	return q, nil
}

// within brings an index, from the end where it is negative, into 0 to size.
func within(i, size int) int {
	if i < 0 {
		i += size
	}
	return min(max(i, 0), size)
}
