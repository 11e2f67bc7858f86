//go:build cgo

package kernels

import (
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/gpu"
)

// RoIPool is a plan of deformable RoI pooling, plain or position-sensitive.
// Backward every invocation owns what it adds to, and adds in a fixed order.
//
// Tensors beyond a binding are taken some images and some regions at a time. A
// region is computed where its image is bound, and a pixel's sum goes on from
// regions to regions, so the bits are those of the whole:
//
//	             images  0…3   4…7
//	regions 0…9            ░     ▒     forward: row after row; dx: column after column
//	      10…19            ░     ▒
type RoIPool struct {
	q                  conv.RoIPool
	device             *gpu.Device
	traits             traits
	images, regions    axis
	image, region      [callTensors]int // words of one
	bands              int
	forward, input     call
	both, offset, mask call // gradients by offset and mask: both, or one of them alone
}

// NewRoIPool plans q, which comes from a Problem method of package conv. An image
// beyond the device's limits gives [gpu.ErrTooLarge].
func NewRoIPool(device *gpu.Device, q conv.RoIPool) (*RoIPool, error) {
	return newRoIPool(device, q, indexLimit(device), float32s)
}

// newRoIPool plans q for tensors of at most limit elements of a precision.
func newRoIPool(device *gpu.Device, q conv.RoIPool, limit int, as precision) (*RoIPool, error) {
	p := &RoIPool{q: q, device: device, traits: traitsOf(device.Info())}
	if err := p.cut(limit, as); err != nil {
		p.Close()
		return nil, err
	}
	flag := map[bool]int{true: 1}
	// As many invocations as keep the device busy; each goes over all bins.
	enough := 1 << 14
	if device.Info().Type == gpu.Software {
		enough = 1 << 7
	}
	p.bands = max(min(ceil(enough, max(p.images.images*q.C, 1)), q.H), 1)
	push := map[string]int{"n": q.N, "c": q.C, "h": q.H, "w": q.W, "rois": q.RoIs, "k": q.K, "ho": q.Ho, "wo": q.Wo, "group": q.Group,
		"classes": q.Classes, "partY": q.PartY, "partX": q.PartX, "samples": q.Samples, "mostSamples": q.MaxSamples(),
		"scale": int(math.Float32bits(q.SpatialScale)), "gamma": int(math.Float32bits(q.Gamma)),
		"bands": p.bands, "firstImage": 0, "images": q.N}
	prefix := as.prefix
	if q.PositionSensitive {
		prefix += "ps"
	}
	var failed error
	make := func(module string, wants map[string]int) call {
		constants := map[string]int{"offsets": flag[q.Offset], "masks": flag[q.Mask]}
		for name, v := range wants {
			constants[name] = v
		}
		c, err := newCall(device, prefix+module, 0, false, constants, push)
		if failed == nil {
			failed = err
		}
		return c
	}
	p.forward = make("roipool", nil)
	p.input = make("roipool_grad_input", nil)
	p.both = make("roipool_grad_offset", map[string]int{"wantOffset": 1, "wantMask": 1})
	p.offset = make("roipool_grad_offset", map[string]int{"wantOffset": 1, "wantMask": 0})
	p.mask = make("roipool_grad_offset", map[string]int{"wantOffset": 0, "wantMask": 1})
	if failed != nil {
		p.Close()
		return nil, failed
	}
	return p, nil
}

// cut decides how many images and regions are taken at a time.
func (p *RoIPool) cut(limit int, as precision) (err error) {
	q := p.q
	output, parts := q.Output().Len()/max(q.RoIs, 1), q.MaskShape().Len()/max(q.RoIs, 1)
	image, region := q.C*q.H*q.W, max(5, output, 2*parts)
	if err := fits(limit, map[string]int{"an image of the input": image, "a region of the output or the offset tensor": region}); err != nil {
		return err
	}
	p.image = [callTensors]int{callX: image, callDX: image}
	p.region = [callTensors]int{callRegions: 5, callY: output}
	if q.Offset {
		p.region[callOffset], p.region[callDOffset] = 2*parts, 2*parts
	}
	if q.Mask {
		p.region[callMask], p.region[callDMask] = parts, parts
	}
	as.widen(p.image[:])
	as.widen(p.region[:])
	if p.images, err = newAxis(p.device, q.N, limit/image, &p.image, 1, callDX, callX); err != nil {
		return err
	}
	regions := limit / region
	if p.traits.Loops > 0 {
		regions = min(regions, max(1, p.traits.Loops/p.rounds()))
	}
	p.regions, err = newAxis(p.device, q.RoIs, regions, &p.region, 0, callDOffset, callDMask, callY, callRegions, callOffset, callMask)
	return err
}

// rounds is how often the loops of roipool_grad_input.comp go round for a region, at
// most; where there are as many samples as pixels that is hardly ever reached.
func (p *RoIPool) rounds() int {
	q, samples := &p.q, p.q.Samples
	if samples == 0 {
		samples = q.MaxSamples()
	}
	bin := 1 + 2*samples + samples*(1+samples)
	return 1 + ceil(q.Ho, q.Group)*(1+ceil(q.Wo, q.Group)*bin)
}

// Workspace is the device memory in bytes that running takes beyond tensors: of
// what is cut and does not start where a binding may.
func (p *RoIPool) Workspace() int64 { return p.images.size + p.regions.size }

// Close frees the workspace. What was submitted before goes on.
func (p *RoIPool) Close() {
	p.images.free()
	p.regions.free()
}

// Describe says how the plan runs.
func (p *RoIPool) Describe() string {
	text := fmt.Sprintf("roipool: a bin of a channel an invocation, workgroups of %d", callSize)
	if p.images.images < p.q.N {
		text += fmt.Sprintf(", %d of %d images at a time", p.images.images, p.q.N)
	}
	if p.regions.images < p.q.RoIs {
		text += fmt.Sprintf(", %d of %d regions at a time", p.regions.images, p.q.RoIs)
	}
	return text
}

// Record records y = pool(x) over rois; offset and mask are not looked at where
// the problem has none.
func (p *RoIPool) Record(s *gpu.Stream, y, x, rois, offset, mask Tensor) error {
	if p.q.N == 0 && p.q.RoIs > 0 { // no region has an image
		return s.Fill(y.Buf, y.Offset, 4*int64(p.q.RoIs*p.region[callY]), math.MaxInt32) // NaN in both precisions
	}
	t := [callTensors]Tensor{callX: x, callRegions: rois, callOffset: offset, callMask: mask, callY: y}
	return p.each(s, 3, &p.forward, p.q.K*p.q.Ho*p.q.Wo, t)
}

// RecordBackward records the gradients dx, doffset and dmask, those that have a
// buffer, from dy.
func (p *RoIPool) RecordBackward(s *gpu.Stream, dx, doffset, dmask, x, rois, offset, mask, dy Tensor) error {
	if p.q.N == 0 || p.q.RoIs == 0 { // nothing reaches anything
		for i, at := range []Tensor{dx, doffset, dmask} {
			words := p.q.N*p.image[callDX+i] + p.q.RoIs*p.region[callDX+i]
			if !at.wants() || words == 0 {
				continue
			}
			if err := s.Fill(at.Buf, at.Offset, 4*int64(words), 0); err != nil {
				return err
			}
		}
		return nil
	}
	t := [callTensors]Tensor{callX: x, callRegions: rois, callOffset: offset, callMask: mask, callY: dy}
	if dx.wants() {
		t := t
		t[callX], t[callDX] = Tensor{}, dx
		if err := p.recordInput(s, t); err != nil {
			return err
		}
	}
	t[callDOffset], t[callDMask] = doffset, dmask
	parts := p.q.Classes * p.q.PartY * p.q.PartX
	switch {
	case doffset.wants() && dmask.wants():
		return p.each(s, 2, &p.both, parts, t)
	case doffset.wants():
		return p.each(s, 2, &p.offset, parts, t)
	case dmask.wants():
		return p.each(s, 2, &p.mask, parts, t)
	}
	return nil
}

// each records a call that computes regions, so many invocations each, for all
// regions and the images of each. Of the regions' tensors it writes the first so many.
func (p *RoIPool) each(s *gpu.Stream, written int, c *call, perRegion int, t [callTensors]Tensor) error {
	if p.q.RoIs == 0 {
		return nil
	}
	sizes := p.sizes()
	if p.whole() {
		return p.record(s, c, p.q.RoIs*perRegion, roiPart{regions: p.q.RoIs, images: p.q.N}, &t, &sizes)
	}
	axis := p.regions
	axis.written = written
	return axis.each(s, t, sizes, func(_, regions int, t [callTensors]Tensor, sizes [callTensors]int) error {
		return p.images.each(s, t, sizes, func(image, images int, t [callTensors]Tensor, sizes [callTensors]int) error {
			return p.record(s, c, regions*perRegion, roiPart{regions, image, images}, &t, &sizes)
		})
	})
}

// recordInput records dx: all regions for some images, and then the next.
func (p *RoIPool) recordInput(s *gpu.Stream, t [callTensors]Tensor) error {
	sizes := p.sizes()
	if p.whole() {
		if err := clearInput(s, &t, &sizes); err != nil {
			return err
		}
		return p.record(s, &p.input, p.q.N*p.q.C*p.bands, roiPart{regions: p.q.RoIs, images: p.q.N}, &t, &sizes)
	}
	return p.images.each(s, t, sizes, func(image, images int, t [callTensors]Tensor, sizes [callTensors]int) error {
		if err := clearInput(s, &t, &sizes); err != nil {
			return err
		}
		return p.regions.each(s, t, sizes, func(_, regions int, t [callTensors]Tensor, sizes [callTensors]int) error {
			return p.record(s, &p.input, images*p.q.C*p.bands, roiPart{regions, image, images}, &t, &sizes)
		})
	})
}

// clearInput clears dx: no invocation's loops need go round all of it.
func clearInput(s *gpu.Stream, t *[callTensors]Tensor, sizes *[callTensors]int) error {
	return s.Fill(t[callDX].Buf, t[callDX].Offset, 4*int64(sizes[callDX]), 0)
}

// whole tells whether nothing is cut.
func (p *RoIPool) whole() bool {
	return p.images.images >= p.q.N && p.regions.images >= p.q.RoIs
}

// sizes are those of the tensors, in words.
func (p *RoIPool) sizes() (sizes [callTensors]int) {
	for i := range sizes {
		sizes[i] = p.q.N*p.image[i] + p.q.RoIs*p.region[i]
	}
	return sizes
}

// roiPart is what a dispatch takes: so many regions and images from first ones on.
type roiPart struct{ regions, image, images int }

// record records a call on a part of the tensors. Where there is no offset or mask,
// or one's gradient is not wanted, something else is bound that may be.
func (p *RoIPool) record(s *gpu.Stream, c *call, items int, of roiPart, t *[callTensors]Tensor, sizes *[callTensors]int) error {
	for _, or := range [...][2]int{{callOffset, callRegions}, {callMask, callRegions}, {callDMask, callDOffset}, {callDOffset, callDMask}} {
		if !t[or[0]].wants() || sizes[or[0]] == 0 {
			t[or[0]], sizes[or[0]] = t[or[1]], sizes[or[1]]
		}
	}
	push := patched(c.module, c.push)
	push.set("rois", of.regions)
	push.set("firstImage", of.image)
	push.set("images", of.images)
	return c.recordPart(s, p.traits, items, &push, t, sizes)
}
