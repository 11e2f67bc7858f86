//go:build cgo

package kernels

import (
	"vkconv/conv"
	"vkconv/gpu"
)

// The gradient by the input of a deformable convolution scatters every sample's
// gradient over four pixels. Two ways to do that without float atomics, and one,
// for callers who ask for it, with:
//
//   - gather: samples are sorted into lists by the cell between pixels that they
//     fall into, and every pixel collects from the four cells around it. Parallel
//     over pixels; the lists take room for two numbers a cell and one a sample.
//   - scatter: one invocation for each channel's plane walks over all samples.
//     Parallel over channels and images only; takes no room.
//   - atomics: one invocation for each sample's gradient adds it to the four
//     pixels. Parallel over everything; takes no room; the order is chance.

// lists is where the lists of samples lie in the workspace, in bytes.
type lists struct {
	count, start, order int64
	counts, starts      int // elements
}

// listRoom is the elements that the lists take for so many images and pixels
// of each.
func listRoom(p conv.Problem, images, pixels int) int {
	return images * p.OffsetGroups * (2*(p.H+1)*(p.W+1) + 1 + p.Taps()*pixels)
}

// gathers says whether dx is gathered.
func (m maker) gathers(p conv.Problem) bool {
	images, pixels := m.columnPart(p, true)
	return listRoom(p, images, pixels) <= m.lists && scanners(m.traits, p) > 0
}

// scanners is the workgroup size of deform_grad_scan.comp, a workgroup a list; 0
// where the driver's loops do not go round as often as the cells want.
func scanners(t traits, p conv.Problem) int {
	const most = 256 // what the shader has room for
	n := localSize(t)
	if !t.Software {
		n = min(most, t.Invocations)
	}
	for cells := (p.H + 1) * (p.W + 1); t.Loops > 0 && 2*ceil(cells, n)+n > t.Loops; n *= 2 {
		if 2*n > min(most, t.Invocations) {
			return 0
		}
	}
	return n
}

// inputPart computes dx from the sample gradients of a part.
type inputPart struct {
	scatter                         *pass
	count, scan, fill, sort, gather *pass
	orders                          int // elements of the lists
}

func newInputPart(m maker, p conv.Problem, v map[string]int, images, pixels int, gather bool) (inputPart, error) {
	t := m.traits
	local, part := localSize(t), inputPart{orders: images * p.OffsetGroups * p.Taps() * pixels}
	var failed error
	build := func(name string, local, items, blocks int) *pass {
		if failed != nil {
			return nil
		}
		v["items"] = items
		var made *pass
		made, failed = newPass(m, name, local, ceil(items, local)*blocks, v)
		return made
	}
	if m.atomics {
		part.scatter = build("deform_grad_input_atomic", local, images*p.C*p.Taps()*pixels, 1)
		return part, failed
	}
	if !gather {
		part.scatter = build("deform_grad_input", local, images*p.C, 1)
		return part, failed
	}
	groups, cells := images*p.OffsetGroups, (p.H+1)*(p.W+1)
	part.count = build("deform_grad_count", local, part.orders, 1)
	part.fill = build("deform_grad_fill", local, part.orders, 1)
	part.sort = build("deform_grad_sort", local, groups*cells, 1)
	if failed == nil {
		part.scan, failed = newPass(m, "deform_grad_scan", scanners(t, p), groups, v)
	}
	name, channels := "deform_grad_gather_n8", 8
	if p.C/p.OffsetGroups < 3 {
		name, channels = "deform_grad_gather_n1", 1
	}
	v["groupBlocks"] = ceil(p.C/p.OffsetGroups, channels)
	v["blocks"] = p.OffsetGroups * v["groupBlocks"]
	part.gather = build(name, local, images*p.H*p.W, v["blocks"])
	return part, failed
}

// record adds the part's share to dx.
func (part *inputPart) record(s *gpu.Stream, workspace *gpu.Buffer, l *lists, column, offset, mask, dx span) error {
	if part.scatter != nil {
		return part.scatter.record(s, &[maxSpans]span{column, offset, mask, dx})
	}
	count := span{Tensor{workspace, l.count}, l.counts}
	start, order := span{Tensor{workspace, l.start}, l.starts}, span{Tensor{workspace, l.order}, part.orders}
	if err := part.count.record(s, &[maxSpans]span{offset, count}); err != nil {
		return err
	}
	if err := part.scan.record(s, &[maxSpans]span{count, start}); err != nil {
		return err
	}
	if err := part.fill.record(s, &[maxSpans]span{offset, count, start, order}); err != nil {
		return err
	}
	if err := part.sort.record(s, &[maxSpans]span{start, order}); err != nil {
		return err
	}
	return part.gather.record(s, &[maxSpans]span{column, offset, mask, start, order, dx})
}
