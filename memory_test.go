package vkconv_test

import (
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
)

// weightsHeld are the weights and biases that the plans of a layer of everyLayer hold,
// with those of passes that it runs again and with weights that are there twice, as
// they are and mirrored.
var weightsHeld = map[string]int{
	"conv2d": 222, "conv2d backward": 2 * 216, "conv2d backward through relu": 222 + 2*216, "conv2d of channels": 222,
	"deform v1": 222, "deform v1 backward": 222 + 216, "deform v2": 222, "deform v2 backward": 222 + 216,
	"conv transpose": 222, "conv transpose backward": 222, "activation": 4, "weights from the device": 222,
	"deform pack": 222 + 999, "deform pack backward": 222 + 216 + 3*999, "aspp": 15 + 111 + 15 + 60, "aspp backward": 4 * (15 + 111 + 15 + 60),
	"pyramid": 2 * 4 * 25, "pyramid backward": 2 * 2 * 4 * 25, "winograd": 4 * 32 * 32 * 9,
}

// What a layer takes of the device's memory, at planning and at the first run, is what
// its Workspace tells and, packed, its weights: nothing is taken that is not told, and
// nothing told that is not taken. The CPU path's workers have buffers that all layers
// share; package fast holds them to what is told.
func TestWorkspace(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if !e.OnGPU() {
			return
		}
		// Several calls may be of one layer, and each the first that needs some of it.
		taken, buffers, list := map[any]int64{}, map[any]int{}, everyLayer(t, e)
		for _, l := range list {
			before, made := e.Memory().InUse, e.Buffers()
			if err := l.run(); err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
			taken[l.layer] += l.taken + e.Memory().InUse - before
			buffers[l.layer] += l.buffers + e.Buffers() - made
		}
		for _, l := range list {
			name, _, _ := strings.Cut(l.name, " float")
			// A buffer begins at a multiple of 256 bytes; tiles of up to 32 channels are
			// filled up with zeros.
			most := 256*int64(buffers[l.layer]) + 16*4*int64(weightsHeld[name])
			if told, took := l.layer.Workspace(), taken[l.layer]; took < told || took > told+most {
				t.Errorf("%s: Workspace tells %d bytes, %d were taken, in %d buffers", l.name, told, took, buffers[l.layer])
			}
		}
	})
}

// No convolution in float32, on whatever path, takes device memory beyond its tensors
// and its weights: as the allocator has it, however large the image is.
func TestForwardMemory(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, c := range []struct {
			name   string
			c, k   int
			r, s   int
			p      conv.Params
			deform *conv.Deform
		}{
			{"3×3", 16, 24, 3, 3, conv.Params{Padding: conv.Pad(1)}, nil},
			{"one channel", 1, 1, 3, 3, conv.Params{Padding: conv.Pad(1)}, nil},
			{"pointwise", 24, 16, 1, 1, conv.Params{}, nil},
			{"pointwise, strided", 24, 16, 1, 1, conv.Params{Stride: [2]int{2, 2}}, nil},
			{"7×7, strided", 3, 32, 7, 7, conv.Params{Padding: conv.Pad(3), Stride: [2]int{2, 2}}, nil},
			{"dilated by 12", 16, 16, 3, 3, conv.Params{Padding: conv.Pad(12), Dilation: [2]int{12, 12}}, nil},
			{"groups", 16, 32, 3, 3, conv.Params{Padding: conv.Pad(1), Groups: 4}, nil},
			{"depthwise", 16, 16, 3, 3, conv.Params{Padding: conv.Pad(1), Groups: 16}, nil},
			{"depthwise, dilated, strided", 16, 32, 5, 3, conv.Params{Padding: conv.Pad(4), Stride: [2]int{2, 1}, Dilation: [2]int{2, 3}, Groups: 16}, nil},
			{"reflected", 8, 8, 3, 3, conv.Params{Padding: conv.Pad(1), Mode: conv.Reflect}, nil},
			{"circular, far", 8, 8, 3, 3, conv.Params{Padding: conv.Pad(20), Dilation: [2]int{20, 20}, Mode: conv.Circular}, nil},
			{"deformable v1", 16, 16, 3, 3, conv.Params{Padding: conv.Pad(1)}, &conv.Deform{}},
			{"deformable v2", 16, 24, 3, 3, conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}, &conv.Deform{Mask: true, OffsetGroups: 4}},
			{"deformable, groups", 16, 16, 3, 3, conv.Params{Padding: conv.Pad(1), Groups: 4}, &conv.Deform{Mask: true}},
			{"deformable, depthwise", 16, 16, 3, 3, conv.Params{Padding: conv.Pad(1), Groups: 16}, &conv.Deform{}},
		} {
			x, w := conv.Shape{2, c.c, 96, 80}, conv.Shape{c.k, c.c / max(c.p.Groups, 1), c.r, c.s}
			before := e.Memory().InUse
			var l interface {
				Workspace() int64
				Problem() conv.Problem
				Close()
			}
			var run func(y, x, offset, mask *vkconv.Tensor) error
			if c.deform != nil {
				d, err := e.NewDeformConv2D(x, sines(w.Len()), sines(c.k), w, c.p, *c.deform)
				if err != nil {
					t.Fatal(c.name, err)
				}
				l, run = d, func(y, x, offset, mask *vkconv.Tensor) error { return d.Run(ctx, y, x, offset, mask) }
			} else {
				d, err := e.NewConv2D(x, sines(w.Len()), sines(c.k), w, c.p)
				if err != nil {
					t.Fatal(c.name, err)
				}
				l, run = d, func(y, x, _, _ *vkconv.Tensor) error { return d.Run(ctx, y, x) }
			}
			defer l.Close()
			// Tiles of up to 32 channels are filled up with zeros.
			if packed := e.Memory().InUse - before; packed > 8*4*int64(w.Len()+c.k)+256 {
				t.Errorf("%s: %d weights take %d bytes", c.name, w.Len(), packed)
			}
			p := l.Problem()
			var offset, mask *vkconv.Tensor
			if c.deform != nil {
				offset = tensor(t, e, p.Offset(), sines(p.Offset().Len()))
				if c.deform.Mask {
					mask = tensor(t, e, p.MaskShape(), sines(p.MaskShape().Len()))
				}
			}
			in, out := tensor(t, e, x, sines(x.Len())), tensor(t, e, p.Output(), sines(p.Output().Len()))
			before = e.Memory().InUse
			if err := run(out, in, offset, mask); err != nil {
				t.Fatal(c.name, err)
			}
			// Queued and not waited for: what a run takes for itself alone is still there.
			if more := e.Memory().InUse - before; more != 0 {
				t.Errorf("%s: a run takes %d bytes", c.name, more)
			}
			if told := l.Workspace(); e.OnGPU() && told != 0 {
				t.Errorf("%s: Workspace tells %d bytes", c.name, told)
			}
		}
	})
}
