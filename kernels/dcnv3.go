//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"sync"

	"vkconv/conv"
	"vkconv/gpu"
)

// DCN is a plan of DCNv3 or, for a packed problem, of DCNv4. Backward it sorts
// the samples by the pixels they lie between (dcn_cells.comp), so that every
// gradient is a sum in a fixed order without atomic additions of floats.
type DCN struct {
	device   *gpu.Device
	d        conv.DCN
	elements [callTensors]int
	forward  call
	// Gradients by offset and mask: both, or one of them alone.
	both, offset, mask call
	parts              []dcnPart

	mu    sync.Mutex // of the buffers, made when first needed
	cells *gpu.Buffer
	order *gpu.Buffer
	soft  *gpu.Buffer
}

// dcnPart is the gradient by the input of some images.
type dcnPart struct {
	soft, count, scan, fill, order, input call
}

// workspaceGoal bounds what the gradient by the input sorts at a time, in
// elements, unless one image alone takes more.
const workspaceGoal = 8 << 20

// NewDCN plans d, which comes from [conv.DCNParams.V3] or V4.
func NewDCN(device *gpu.Device, d conv.DCN) (*DCN, error) { return newDCN(device, d, workspaceGoal) }

func newDCN(device *gpu.Device, d conv.DCN, goal int) (*DCN, error) {
	p := &DCN{device: device, d: d}
	cells, samples := d.Groups*(d.H+1)*(d.W+1), d.Groups*d.Points()*d.Ho*d.Wo
	images := max(min(goal/(cells+samples), d.N), 1)
	p.elements = [callTensors]int{callX: d.Input().Len(), callOffset: d.Offset().Len(), callMask: d.MaskShape().Len(), callY: d.Output().Len(),
		callDX: d.Input().Len(), callDOffset: d.Offset().Len(), callDMask: d.MaskShape().Len(),
		callCells: images * cells, callOrder: images * samples, callSoft: images * samples}
	if d.Packed {
		p.elements[callMask], p.elements[callDMask] = d.Offset().Len(), d.Offset().Len()
	}
	blocks := d.N * d.Groups * ceil(d.C/d.Groups, 4)
	if err := fits(device, map[string]int{"the input": p.elements[callX], "the output": p.elements[callY], "the offset tensor": p.elements[callOffset],
		"the list of samples": p.elements[callOrder], "the list of cells": p.elements[callCells],
		"the output in blocks": blocks * d.Ho * d.Wo, "the input in blocks": blocks * d.H * d.W}); err != nil {
		return nil, err
	}
	reach := func(out, stride, kernel, dilation, pad, extent int) bool {
		return float64(out)*float64(stride)+float64(kernel)*float64(dilation) < farthest && pad < farthest && extent < farthest
	}
	if !reach(d.Ho, d.StrideY, d.R, d.DilationY, d.Pad.Top, d.H) || !reach(d.Wo, d.StrideX, d.S, d.DilationX, d.Pad.Left, d.W) {
		return nil, fmt.Errorf("kernels: %w: positions reach beyond %d, the most that the kernels index", conv.ErrUnsupported, farthest)
	}
	return p, p.plan(images)
}

// plan makes the calls; the gradient by the input takes so many images at a time.
func (p *DCN) plan(images int) (err error) {
	d := p.d
	flag := map[bool]int{true: 1}
	_, _, ky, kx := d.Base(0, 0, 0, 0)
	cy, cx := -ky, -kx
	push := map[string]int{"first": 0, "c": d.C, "h": d.H, "w": d.W, "ho": d.Ho, "wo": d.Wo, "groups": d.Groups, "cg": d.C / d.Groups,
		"r": d.R, "points": d.Points(), "center": math.MaxInt32,
		"strideY": d.StrideY, "strideX": d.StrideX, "dilationY": d.DilationY, "dilationX": d.DilationX,
		"top": d.Pad.Top - cy, "left": d.Pad.Left - cx, "cy": cy, "cx": cx, "scale": int(math.Float32bits(d.Scale)),
		"offsetChannels": d.Offset()[1], "offsetGroup": d.OffsetChannel(1, 0),
		"maskChannels": d.MaskShape()[1], "maskGroup": d.MaskChannel(1, 0) - d.MaskChannel(0, 0), "maskFirst": d.MaskChannel(0, 0), "maskImage": 0}
	if d.RemoveCenter {
		push["center"] = d.R * d.S / 2
	}
	if d.Packed {
		push["maskChannels"] = d.Offset()[1]
	}
	var failed error
	make := func(module string, items int, workgroups bool) call {
		constants := map[string]int{}
		switch module {
		case "dcn", "dcn_softmax", "dcn_grad_both", "dcn_grad_offset", "dcn_grad_mask":
			constants["softmax"] = flag[d.Softmax]
		}
		c, err := newCall(p.device, module, items, workgroups, constants, push)
		if failed == nil {
			failed = err
		}
		return c
	}
	groups, pixels := d.N*d.Groups, d.Ho*d.Wo
	blocks := ceil(d.C/d.Groups, 4)
	p.forward = make("dcn", groups*blocks*pixels, false)
	p.both = make("dcn_grad_both", groups*pixels, false)
	p.offset = make("dcn_grad_offset", groups*pixels, false)
	p.mask = make("dcn_grad_mask", groups*pixels, false)
	for first := 0; first < d.N; first += images {
		groups := min(images, d.N-first) * d.Groups
		push["first"] = first
		var part dcnPart
		part.count = make("dcn_count", groups*pixels*d.Points(), false)
		part.scan = make("dcn_scan", groups, true)
		part.fill = make("dcn_fill", groups*pixels*d.Points(), false)
		part.order = make("dcn_order", groups*(d.H+1)*(d.W+1), false)
		if d.Softmax {
			part.soft = make("dcn_softmax", groups*pixels, false)
			saved := [4]int{push["maskChannels"], push["maskGroup"], push["maskFirst"], push["maskImage"]}
			push["maskChannels"], push["maskGroup"], push["maskFirst"], push["maskImage"] = d.Groups*d.Points(), d.Points(), 0, first
			part.input = make("dcn_grad_input", groups*blocks*d.H*d.W, false)
			push["maskChannels"], push["maskGroup"], push["maskFirst"], push["maskImage"] = saved[0], saved[1], saved[2], saved[3]
		} else {
			part.input = make("dcn_grad_input", groups*blocks*d.H*d.W, false)
		}
		p.parts = append(p.parts, part)
	}
	return failed
}

// Workspace returns the bytes of device memory that RecordBackward takes for
// the gradient by the input.
func (p *DCN) Workspace() int64 {
	n := p.elements[callCells] + p.elements[callOrder]
	if p.d.Softmax {
		n += p.elements[callSoft]
	}
	return 4 * int64(n)
}

// Describe says how the plan runs.
func (p *DCN) Describe() string {
	return fmt.Sprintf("dcn: four channels of a pixel an invocation, workgroups of %d", callSize)
}

// Close frees the workspace. What was submitted before goes on.
func (p *DCN) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cells.Free()
	p.order.Free()
	p.soft.Free()
	p.cells, p.order, p.soft = nil, nil, nil
}

// Record records y = dcn(x, offset, mask); a packed problem has no mask.
func (p *DCN) Record(s *gpu.Stream, y, x, offset, mask Tensor) error {
	if p.d.N == 0 {
		return nil
	}
	if p.d.Packed {
		mask = offset
	}
	return p.forward.record(s, &[callTensors]Tensor{callX: x, callOffset: offset, callMask: mask, callY: y}, &p.elements)
}

// RecordBackward records the gradients dx, doffset and dmask, those that have a
// buffer, from dy. Of a packed problem doffset is that of the packed tensor.
func (p *DCN) RecordBackward(s *gpu.Stream, dx, doffset, dmask, x, offset, mask, dy Tensor) error {
	if p.d.N == 0 {
		return nil
	}
	if p.d.Packed {
		mask, dmask = offset, doffset
	}
	t := [callTensors]Tensor{callX: x, callOffset: offset, callMask: mask, callY: dy, callDX: dx, callDOffset: doffset, callDMask: dmask}
	if p.d.Packed && doffset.Buf != nil { // the channels that fill it up
		if err := s.Fill(doffset.Buf, doffset.Offset, 4*int64(p.elements[callDOffset]), 0); err != nil {
			return err
		}
	}
	var err error
	switch {
	case doffset.Buf != nil && dmask.Buf != nil:
		err = p.both.record(s, &t, &p.elements)
	case doffset.Buf != nil:
		err = p.offset.record(s, &t, &p.elements)
	case dmask.Buf != nil:
		err = p.mask.record(s, &t, &p.elements)
	}
	if err != nil || dx.Buf == nil {
		return err
	}
	if err := p.workspace(&t); err != nil {
		return err
	}
	for i := range p.parts {
		if err := p.parts[i].record(s, t, &p.elements, p.d.Softmax); err != nil {
			return err
		}
	}
	return nil
}

// record records the gradient by the input of some images.
func (q *dcnPart) record(s *gpu.Stream, t [callTensors]Tensor, elements *[callTensors]int, softmax bool) error {
	if err := s.Fill(t[callCells].Buf, 0, 4*int64(elements[callCells]), 0); err != nil {
		return err
	}
	if softmax {
		if err := q.soft.record(s, &t, elements); err != nil {
			return err
		}
		sizes := *elements
		t[callMask], sizes[callMask] = t[callSoft], elements[callSoft]
		elements = &sizes
	}
	for _, c := range []*call{&q.count, &q.scan, &q.fill, &q.order, &q.input} {
		if err := c.record(s, &t, elements); err != nil {
			return err
		}
	}
	return nil
}

// workspace puts the lists into t, made when they are first needed.
func (p *DCN) workspace(t *[callTensors]Tensor) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range []struct {
		buffer **gpu.Buffer
		slot   int
		use    bool
	}{{&p.cells, callCells, true}, {&p.order, callOrder, true}, {&p.soft, callSoft, p.d.Softmax}} {
		if b.use && *b.buffer == nil {
			made, err := p.device.NewBuffer(4 * int64(p.elements[b.slot]))
			if err != nil {
				return fmt.Errorf("kernels: workspace: %w", err)
			}
			*b.buffer = made
		}
		t[b.slot].Buf = *b.buffer
	}
	return nil
}
