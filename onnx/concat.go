package onnx

// inferConcat plans a concatenation of channels.
func inferConcat(p *planner, n *node) (*planned, error) {
	q := &planned{concat: true}
	for i := range n.inputs {
		if !n.has(i) {
			return nil, misfit("%v lacks its input %d", n, i)
		}
		x, err := p.device(n, i)
		if err != nil {
			return nil, err
		}
		q.in = append(q.in, x)
	}
	rank := len(q.in[0].dims)
	axis := n.int("axis", 1)
	if n.attrs["axis"] == nil && n.opset >= 4 {
		return nil, misfit("%v lacks its axis", n)
	}
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank {
		return nil, misfit("%v has axis %d, its inputs have %d extents", n, n.int("axis", 1), rank)
	}
	q.dims = append([]int{}, q.in[0].dims...)
	for _, x := range q.in[1:] {
		for i := range max(rank, len(x.dims)) {
			if i >= rank || i >= len(x.dims) || i != axis && x.dims[i] != q.dims[i] {
				return nil, misfit("%v joins %s and %s along axis %d", n, Extents(q.in[0].dims), Extents(x.dims), axis)
			}
		}
		q.dims[axis] += x.dims[axis]
	}
	// The axis must be what the device has as channels.
	before, behind := shape4(q.in[0].dims), shape4(q.dims)
	for i := range before {
		if i != 1 && before[i] != behind[i] {
			return nil, unsupported("%v joins along axis %d of %d; channels are here", n, axis, rank)
		}
	}
	return q, nil
}

// placeParts finds the values that can be written into a concatenation's channels at
// once, and where slices are. In place go those that a layer makes which writes there, or another concatenation, and that are in no other place.
func (p *planner) placeParts() {
	maker := map[*value]*planned{}
	for _, q := range p.planned {
		maker[q.out] = q
	}
	for _, q := range p.planned {
		if q.slice {
			q.out.place = &place{q.in[0].data(), q.first}
		}
	}
	for _, q := range p.planned {
		if !q.concat {
			continue
		}
		first := 0
		for _, v := range q.in {
			by := maker[v]
			if by != nil && (by.make != nil || by.concat) && !by.outWhole && !v.keep && v.place == nil {
				v.place = &place{q.out, first}
			}
			first += shape4(v.dims)[1]
		}
	}
}
