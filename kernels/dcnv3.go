//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"vkconv/conv"
	"vkconv/gpu"
)

// DCN is a plan of DCNv3 or, for a packed problem, of DCNv4. Backward it sorts
// the samples by the pixels they lie between (dcn_cells.comp), so that every
// gradient is a sum in a fixed order without atomic additions of floats.
//
// Where a tensor is larger than a binding may be, some images are taken at a time.
type DCN struct {
	device *gpu.Device
	d      conv.DCN
	as     precision
	image  [callTensors]int // words of an image in each tensor
	images axis
	plans  []*dcnImages // one or, where the last images are fewer, two

	mu    sync.Mutex // of the workspace, made when first needed
	space [callTensors]*gpu.Buffer
}

// dcnImages is a plan for so many images at once.
type dcnImages struct {
	d        conv.DCN
	elements [callTensors]int
	forward  call
	// Gradients by offset and mask: both, or one of them alone.
	both, offset, mask call
	parts              []dcnPart
}

// dcnPart is the gradient by the input of some images.
type dcnPart struct {
	soft, count, scan, fill, order, input call
}

// workspaceGoal bounds what the gradient by the input sorts at a time, in
// elements, unless one image alone takes more.
const workspaceGoal = 8 << 20

// NewDCN plans d, which comes from [conv.DCNParams.V3] or V4. What does not fit
// the device even cut into images gives [gpu.ErrTooLarge].
func NewDCN(device *gpu.Device, d conv.DCN) (*DCN, error) {
	return newDCN(device, d, workspaceGoal, indexLimit(device))
}

func newDCN(device *gpu.Device, d conv.DCN, goal, limit int) (*DCN, error) {
	return newDCNOf(device, d, goal, limit, float32s)
}

// newDCNOf plans d with at most goal words of workspace, rather, and at most
// limit words in a tensor.
func newDCNOf(device *gpu.Device, d conv.DCN, goal, limit int, as precision) (*DCN, error) {
	p := &DCN{device: device, d: d, as: as}
	one := d
	one.N = 1
	p.image = [callTensors]int{callX: one.Input().Len(), callOffset: one.Offset().Len(), callMask: one.MaskShape().Len(), callY: one.Output().Len(),
		callCells: d.Groups * (d.H + 1) * (d.W + 1), callOrder: d.Groups * d.Points() * d.Ho * d.Wo}
	if d.Packed {
		p.image[callMask] = p.image[callOffset]
	}
	p.image[callDX], p.image[callDOffset], p.image[callDMask] = p.image[callX], p.image[callOffset], p.image[callMask]
	p.image[callSoft] = p.image[callOrder]
	as.widen(p.image[:callCells])
	as.widen(p.image[callSoft:])
	if err := p.cut(limit); err != nil {
		p.Close()
		return nil, err
	}
	for _, images := range []int{p.images.images, d.N % max(p.images.images, 1)} {
		if images == 0 {
			continue
		}
		part := d
		part.N = images
		plan, err := newDCNImages(device, part, p.image, goal, as)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.plans = append(p.plans, plan)
	}
	return p, nil
}

// cut decides how many images are taken at a time: every tensor and every dispatch
// within the limit.
func (p *DCN) cut(limit int) (err error) {
	d := p.d
	fours := d.Groups * ceil(d.C/d.Groups, 4) * max(d.Ho*d.Wo, d.H*d.W) // invocations, rather
	largest := max(fours, slices.Max(p.image[:]))
	if largest > limit && d.N > 0 {
		return fmt.Errorf("kernels: %w: a tensor has %d elements an image, a binding on this device holds at most %d", gpu.ErrTooLarge, largest, limit)
	}
	slots := []int{callDX, callDOffset, callDMask, callY, callX, callOffset, callMask}
	if d.Packed { // offset and mask are one tensor
		slots = []int{callDX, callDOffset, callY, callX, callOffset}
	}
	p.images, err = newAxis(p.device, d.N, limit/max(largest, 1), &p.image, 0, slots...)
	return err
}

func newDCNImages(device *gpu.Device, d conv.DCN, image [callTensors]int, goal int, as precision) (*dcnImages, error) {
	p := &dcnImages{d: d}
	sorted := max(min(goal/(image[callCells]+image[callOrder]), d.N), 1)
	for i, n := range image {
		p.elements[i] = n * d.N
	}
	for _, i := range []int{callCells, callOrder, callSoft} {
		p.elements[i] = image[i] * sorted
	}
	reach := func(out, stride, kernel, dilation, pad, extent int) bool {
		return float64(out)*float64(stride)+float64(kernel)*float64(dilation) < farthest && pad < farthest && extent < farthest
	}
	if !reach(d.Ho, d.StrideY, d.R, d.DilationY, d.Pad.Top, d.H) || !reach(d.Wo, d.StrideX, d.S, d.DilationX, d.Pad.Left, d.W) {
		return nil, fmt.Errorf("kernels: %w: positions reach beyond %d, the most that the kernels index", gpu.ErrTooLarge, farthest)
	}
	return p, p.plan(device, sorted, as)
}

// plan makes the calls; the gradient by the input takes so many images at a time.
func (p *dcnImages) plan(device *gpu.Device, images int, as precision) error {
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
	scanning, failed := dcnScanners(traitsOf(device.Info()), (d.H+1)*(d.W+1))
	make := func(module string, items int, workgroups bool) call {
		constants := map[string]int{}
		switch module {
		case "dcn", "dcn_softmax", "dcn_grad_both", "dcn_grad_offset", "dcn_grad_mask":
			constants["softmax"] = flag[d.Softmax]
		case "dcn_scan":
			constants["localSizeX"] = scanning
		}
		if module != "dcn_scan" && module != "dcn_order" { // those sort whole numbers
			module = as.prefix + module
		}
		c, err := newCall(device, module, items, workgroups, constants, push)
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

// dcnScanners is the workgroup size of dcn_scan.comp, so that the driver's loops go
// round as often as so many cells want.
func dcnScanners(t traits, cells int) (int, error) {
	n := callSize
	for t.Loops > 0 && 2*ceil(cells, n)+n > t.Loops {
		if n *= 2; n > t.Invocations {
			return 0, fmt.Errorf("kernels: %w: an image of %d pixels to be sorted by, more than the loops of this device's driver go round for", gpu.ErrTooLarge, cells)
		}
	}
	return n, nil
}

// spaces are the tensors of the workspace.
func (p *DCN) spaces() []int {
	if p.d.Softmax {
		return []int{callCells, callOrder, callSoft}
	}
	return []int{callCells, callOrder}
}

// Workspace returns the bytes of device memory that RecordBackward takes for
// the gradient by the input.
func (p *DCN) Workspace() (bytes int64) {
	for _, i := range p.spaces() {
		if len(p.plans) > 0 { // the first is the largest
			bytes += 4 * int64(p.plans[0].elements[i])
		}
	}
	return bytes + p.images.size
}

// Describe says how the plan runs.
func (p *DCN) Describe() string {
	text := fmt.Sprintf("dcn: four channels of a pixel an invocation, workgroups of %d", callSize)
	if p.images.images < p.d.N {
		text += fmt.Sprintf(", %d of %d images at a time", p.images.images, p.d.N)
	}
	return text
}

// Close frees the workspace. What was submitted before goes on.
func (p *DCN) Close() {
	p.images.free()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.space {
		b.Free()
		p.space[i] = nil
	}
}

// pack puts the one tensor of a packed problem in both its places.
func (p *DCN) pack(t *[callTensors]Tensor) {
	if p.d.Packed {
		t[callMask], t[callDMask] = t[callOffset], t[callDOffset]
	}
}

// each calls f for some images at a time, of whose tensors the first so many of the
// axis are written.
func (p *DCN) each(s *gpu.Stream, t [callTensors]Tensor, written int, f func(plan *dcnImages, t [callTensors]Tensor) error) error {
	if len(p.plans) == 0 {
		return nil
	}
	if p.images.images >= p.d.N {
		p.pack(&t)
		return f(p.plans[0], t)
	}
	axis := p.images
	axis.written = written
	return axis.each(s, t, p.image, func(first, n int, t [callTensors]Tensor, _ [callTensors]int) error {
		p.pack(&t)
		return f(p.plans[min(1, n%axis.images)], t)
	})
}

// Record records y = dcn(x, offset, mask); a packed problem has no mask.
func (p *DCN) Record(s *gpu.Stream, y, x, offset, mask Tensor) error {
	written := slices.Index(p.images.slots, callY) + 1
	return p.each(s, [callTensors]Tensor{callX: x, callOffset: offset, callMask: mask, callY: y}, written, func(plan *dcnImages, t [callTensors]Tensor) error {
		return plan.forward.record(s, &t, &plan.elements)
	})
}

// RecordBackward records the gradients dx, doffset and dmask, those that have a
// buffer, from dy. Of a packed problem doffset is that of the packed tensor.
func (p *DCN) RecordBackward(s *gpu.Stream, dx, doffset, dmask, x, offset, mask, dy Tensor) error {
	all := [callTensors]Tensor{callX: x, callOffset: offset, callMask: mask, callY: dy, callDX: dx, callDOffset: doffset, callDMask: dmask}
	return p.each(s, all, slices.Index(p.images.slots, callY), func(plan *dcnImages, t [callTensors]Tensor) error {
		if to := t[callDOffset]; p.d.Packed && to.wants() { // the channels that fill it up
			if err := s.Fill(to.Buf, to.Offset, 4*int64(plan.elements[callDOffset]), 0); err != nil {
				return err
			}
		}
		if err := plan.offsets(s, &t); err != nil || !dx.wants() {
			return err
		}
		if err := p.workspace(&t); err != nil {
			return err
		}
		for i := range plan.parts {
			if err := plan.parts[i].record(s, t, &plan.elements, p.d.Softmax); err != nil {
				return err
			}
		}
		return nil
	})
}

// offsets records the gradients by offset and mask that have a buffer.
func (p *dcnImages) offsets(s *gpu.Stream, t *[callTensors]Tensor) error {
	switch {
	case t[callDOffset].Buf != nil && t[callDMask].Buf != nil:
		return p.both.record(s, t, &p.elements)
	case t[callDOffset].Buf != nil:
		return p.offset.record(s, t, &p.elements)
	case t[callDMask].Buf != nil:
		return p.mask.record(s, t, &p.elements)
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
	for _, i := range p.spaces() {
		if p.space[i] == nil {
			made, err := p.device.NewBuffer(4 * int64(p.plans[0].elements[i]))
			if err != nil {
				return fmt.Errorf("kernels: workspace: %w", err)
			}
			p.space[i] = made
		}
		t[i].Buf = p.space[i]
	}
	return nil
}
