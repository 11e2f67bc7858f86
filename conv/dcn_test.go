package conv

import (
	"errors"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

func TestDCN(t *testing.T) {
	d, err := DCNParams{Padding: Pad(1), Groups: 2, RemoveCenter: true}.V4(Shape{2, 6, 5, 4})
	if err != nil {
		t.Fatal(err)
	}
	if d.Output() != (Shape{2, 6, 5, 4}) || d.Points() != 8 || d.Offset() != (Shape{2, 48, 5, 4}) {
		t.Errorf("%+v: output %v, %d points, packed %v", d, d.Output(), d.Points(), d.Offset())
	}
	if c := d.Cost(); c.MACs != 2*6*8*20 || c.SampleMACs != 4*c.MACs || c.Bytes != 4*(240+240+2*48*20) {
		t.Errorf("cost %+v", c)
	}
	var points [][2]int
	for i := range d.Points() {
		r, s := d.Point(i)
		points = append(points, [2]int{r, s})
	}
	if !slices.Equal(points, [][2]int{{0, 0}, {1, 0}, {2, 0}, {0, 1}, {2, 1}, {0, 2}, {1, 2}, {2, 2}}) {
		t.Errorf("points %v", points)
	}
	// Every channel of a packed tensor has one meaning at most.
	for _, version := range []func(DCNParams, Shape) (DCN, error){DCNParams.V3, DCNParams.V4} {
		d, err := version(DCNParams{Groups: 3, Kernel: [2]int{2, 3}}, Shape{1, 3, 5, 5})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[[2]int]bool{}
		see := func(tensor, channel, channels int) {
			if d.Packed {
				tensor = 0
			}
			if key := [2]int{tensor, channel}; seen[key] || channel >= channels {
				t.Errorf("%+v: channel %v", d, key)
			} else {
				seen[key] = true
			}
		}
		for g := range d.Groups {
			for p := range d.Points() {
				see(0, d.OffsetChannel(g, p), d.Offset()[1])
				see(0, d.OffsetChannel(g, p)+1, d.Offset()[1])
				see(1, d.MaskChannel(g, p), max(d.MaskShape()[1], d.Offset()[1]))
			}
		}
	}
}

func TestDCNRefuses(t *testing.T) {
	x := Shape{1, 6, 9, 9}
	for _, c := range []struct {
		p    DCNParams
		kind error
		says string
	}{
		{DCNParams{Groups: 4}, ErrShape, "6 channels, not divisible by 4"},
		{DCNParams{Groups: -1}, ErrParams, "groups is -1"},
		{DCNParams{OffsetScale: float32(math.NaN())}, ErrParams, "offset scale is NaN"},
		{DCNParams{RemoveCenter: true, Kernel: [2]int{3, 5}}, ErrParams, "kernel is 3×5, must be square"},
		{DCNParams{RemoveCenter: true, Kernel: [2]int{1, 1}}, ErrParams, "of odd size 3 or more"},
		{DCNParams{Kernel: [2]int{10, 1}}, ErrShape, "more than the padded image"},
		{DCNParams{Padding: Padding{Top: 1 << 26}, Dilation: [2]int{1 << 24, 1}, OffsetScale: 2}, ErrUnsupported, "offset scale other than 1"},
	} {
		if c.p.Dilation[0] > MaxExtent {
			continue // no such dilation where an int has 32 bits
		}
		if _, err := c.p.V3(x); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.p, err, c.says)
		}
		if _, err := c.p.V4(x); !errors.Is(err, c.kind) {
			t.Errorf("%+v: %v", c.p, err)
		}
	}
}

func TestRoIPoolRefuses(t *testing.T) {
	x := Shape{1, 18, 9, 9}
	plain := func(p RoIPoolParams, x Shape, rois int) error {
		_, err := p.Problem(x, rois)
		return err
	}
	sensitive := func(p PSRoIPoolParams, x Shape, rois int) error {
		_, err := p.Problem(x, rois)
		return err
	}
	for _, c := range []struct {
		err, kind error
		says      string
	}{
		{plain(RoIPoolParams{}, x, 1), ErrParams, "bins (rows) is 0, must be between 1 and 4095"},
		{plain(RoIPoolParams{Bins: [2]int{1, 1}, SamplingRatio: -1}, x, 1), ErrParams, "sampling ratio is -1"},
		{plain(RoIPoolParams{Bins: [2]int{1, 1}}, x, -1), ErrShape, "-1 regions"},
		{plain(RoIPoolParams{Bins: [2]int{1, 1}}, Shape{1, 1, 0, 1}, 1), ErrShape, "rows and columns must be at least 1"},
		{plain(RoIPoolParams{Bins: [2]int{1, 1}, SpatialScale: float32(math.Inf(1))}, x, 1), ErrParams, "must be finite"},
		{plain(RoIPoolParams{Bins: [2]int{1, 1}}, Shape{1, 1, 1, 1 << 24}, 1), ErrUnsupported, "at most 2^23"},
		{sensitive(PSRoIPoolParams{OutputChannels: 3, PooledSize: 3}, x, 1), ErrShape, "must have 27 channels (3 output channels × group size 3²)"},
		{sensitive(PSRoIPoolParams{OutputChannels: 2, PooledSize: 3, Classes: 3}, x, 1), ErrParams, "not divisible by 3 classes"},
		{sensitive(PSRoIPoolParams{PooledSize: 3}, x, 1), ErrParams, "output channels is 0"},
	} {
		if c.says == "at most 2^23" && bits.UintSize == 32 {
			continue // no extent is that large
		}
		if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%v, want %q", c.err, c.says)
		}
	}
}
