package conv

import (
	"errors"
	"math"
	"math/bits"
	"strings"
	"testing"
)

func TestOutputSize(t *testing.T) {
	for _, c := range []struct{ in, before, after, kernel, stride, dilation, want int }{
		{33, 12, 12, 3, 1, 12, 33}, // ASPP keeps the size
		{224, 3, 3, 7, 2, 1, 112},  // ResNet's first layer
		{5, 0, 0, 3, 1, 2, 1},
		{4, 0, 0, 3, 1, 2, 0}, // reaches over 5 pixels
		{1, 0, 0, 1, 7, 9, 1},
		{10, 1, 2, 4, 3, 2, 3}, // (10+3−6−1)/3+1
	} {
		if got := OutputSize(c.in, c.before, c.after, c.kernel, c.stride, c.dilation); got != c.want {
			t.Errorf("OutputSize(%+v) = %d", c, got)
		}
	}
}

func stack(n int, l Layer) (s []Layer) {
	for range n {
		s = append(s, l)
	}
	return s
}

// resNet50 is He et al. 2016 with the stride in each stage's first 1×1, as published.
func resNet50() []Layer {
	s := []Layer{{Kernel: 7, Stride: 2, Pad: 3}, {Kernel: 3, Stride: 2, Pad: 1}}
	for stage, blocks := range []int{3, 4, 6, 3} {
		for b := range blocks {
			first := Layer{Kernel: 1}
			if stage > 0 && b == 0 {
				first.Stride = 2
			}
			s = append(s, first, Layer{Kernel: 3, Pad: 1}, Layer{Kernel: 1})
		}
	}
	return s
}

func TestReceptiveField(t *testing.T) {
	var vgg16 []Layer
	for _, convs := range []int{2, 2, 3, 3, 3} {
		vgg16 = append(append(vgg16, stack(convs, Layer{Kernel: 3, Pad: 1})...), Layer{Kernel: 2, Stride: 2})
	}
	for _, c := range []struct {
		name       string
		stack      []Layer
		size, jump int
	}{
		{"one pixel", nil, 1, 1},
		{"3×3 at dilation 2", []Layer{{Kernel: 3, Dilation: 2}}, 5, 1},
		{"3×3 at dilation 4", []Layer{{Kernel: 3, Dilation: 4}}, 9, 1},
		{"dilation 1", []Layer{{Kernel: 3}}, 3, 1},
		{"dilations 1, 2", []Layer{{Kernel: 3}, {Kernel: 3, Dilation: 2}}, 7, 1},
		{"dilations 1, 2, 4", []Layer{{Kernel: 3}, {Kernel: 3, Dilation: 2}, {Kernel: 3, Dilation: 4}}, 15, 1},
		{"four 3×3", stack(4, Layer{Kernel: 3}), 9, 1},
		{"VGG-16", vgg16, 212, 32},
		{"ResNet-50", resNet50(), 483, 32},
	} {
		if f := ReceptiveField(c.stack...); f.Size != c.size || f.Jump != c.jump {
			t.Errorf("%s: field %d, jump %d, want %d and %d", c.name, f.Size, f.Jump, c.size, c.jump)
		}
	}
	if f := ReceptiveField(stack(3, Layer{Kernel: 3, Pad: 1})...); f.Start != -3 || f.Center() != 0 {
		t.Errorf("three padded 3×3 are centred at %v from %d, want 0 from -3", f.Center(), f.Start)
	}
}

func problem(t *testing.T, p Params, x, w Shape, bias bool) Problem {
	t.Helper()
	q, err := p.Problem(x, w, bias)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestCost(t *testing.T) {
	nine := problem(t, Params{Padding: Pad(4)}, Shape{1, 8, 20, 30}, Shape{8, 8, 9, 9}, false).Cost()
	three := problem(t, Params{Padding: Pad(1)}, Shape{1, 8, 20, 30}, Shape{8, 8, 3, 3}, false).Cost()
	if nine.Params != 81*64 || 4*three.Params != 36*64 {
		t.Errorf("a 9×9 has %d weights, four 3×3 have %d; want 81 and 36 a channel pair", nine.Params, 4*three.Params)
	}
	if nine.MACs != 81*64*600 || nine.SampleMACs != 0 {
		t.Errorf("9×9 costs %+v", nine)
	}
	if want := int64(4 * (8*600 + 81*64 + 8*600)); nine.Bytes != want {
		t.Errorf("9×9 moves %d bytes, want %d", nine.Bytes, want)
	}
	p := problem(t, Params{Padding: Pad(1), Groups: 2}, Shape{2, 8, 5, 6}, Shape{6, 4, 3, 3}, true)
	p.OffsetGroups, p.Mask = 2, true
	c := p.Cost()
	if c.MACs != 2*30*6*4*9 || c.SampleMACs != 4*2*8*30*9 || c.Params != 6*4*9+6 {
		t.Errorf("deformable costs %+v", c)
	}
	if want := int64(4 * (2*8*30 + 6*4*9 + 6 + 2*6*30 + 2*36*30 + 2*18*30)); c.Bytes != want {
		t.Errorf("deformable moves %d bytes, want %d", c.Bytes, want)
	}
}

// A dilated kernel costs what the dense one costs.
func TestDilationIsFree(t *testing.T) {
	x, w := Shape{1, 16, 33, 33}, Shape{16, 16, 3, 3}
	dense := problem(t, Params{Padding: Pad(1)}, x, w, false).Cost()
	for _, d := range []int{2, 6, 12} {
		if c := problem(t, Params{Padding: Pad(d), Dilation: [2]int{d, d}}, x, w, false).Cost(); c != dense {
			t.Errorf("dilation %d costs %+v, dense %+v", d, c, dense)
		}
	}
}

func TestRefusals(t *testing.T) {
	x, w := Shape{1, 4, 8, 8}, Shape{6, 4, 3, 3}
	for _, c := range []struct {
		p    Params
		x, w Shape
		kind error
		says string
	}{
		{Params{Stride: [2]int{0, 1}}, x, w, ErrParams, "stride (rows) is 0, must be at least 1"},
		{Params{Stride: [2]int{1, -2}}, x, w, ErrParams, "stride (columns) is -2"},
		{Params{Dilation: [2]int{1, 0}}, x, w, ErrParams, "dilation (columns) is 0"},
		{Params{Padding: Padding{Left: -1}}, x, w, ErrParams, "padding left is -1"},
		{Params{Groups: -1}, x, w, ErrParams, "groups is -1"},
		{Params{Mode: 9}, x, w, ErrParams, "padding mode is 9"},
		{Params{Groups: 3}, x, w, ErrShape, "input has 4 channels, not divisible by 3 groups"},
		{Params{Groups: 4}, x, Shape{6, 1, 3, 3}, ErrShape, "weight has 6 output channels, not divisible by 4 groups"},
		{Params{}, x, Shape{6, 3, 3, 3}, ErrShape, "takes 3 channels a group, but input 1×4×8×8 in 1 groups has 4"},
		{Params{Dilation: [2]int{4, 4}}, x, w, ErrShape, "reaches over 9×9 pixels, more than the padded image of 8×8"},
		{Params{Mode: Reflect, Padding: Pad(8)}, x, w, ErrShape, "reflect padding top is 8, must be at most 7"},
		{Params{Mode: Circular, Padding: Pad(9)}, x, w, ErrShape, "circular padding top is 9, must be at most 8"},
		{Params{}, Shape{1, 4, 0, 8}, w, ErrShape, "at least 1"},
		{Params{}, Shape{-1, 4, 8, 8}, w, ErrShape, "input is -1×4×8×8"},
		{Params{}, Shape{1 << 14, 1 << 14, 1 << 14, 8}, w, ErrShape, "more than 2^29"},
		{Params{}, Shape{1 << 30, 1 << 30, 1 << 30, 8}, w, ErrShape, "more than 2^61"},
	} {
		if wide := c.says == "more than 2^61"; c.x[0] > 1 && wide != (bits.UintSize == 64) {
			continue
		}
		_, err := c.p.Problem(c.x, c.w, false)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.p, err, c.says)
		}
	}
}

func TestDeformRefusals(t *testing.T) {
	x, w := Shape{1, 4, 8, 8}, Shape{6, 4, 3, 3}
	good, mask := Shape{1, 36, 6, 6}, Shape{1, 18, 6, 6}
	for _, c := range []struct {
		p            Params
		d            Deform
		offset, mask Shape
		kind         error
		says         string
	}{
		{Params{}, Deform{OffsetGroups: 2, Mask: true}, Shape{1, 18, 6, 6}, mask, ErrShape, "offset is 1×18×6×6, must be 1×36×6×6"},
		{Params{}, Deform{OffsetGroups: 2, Mask: true}, good, Shape{1, 9, 6, 6}, ErrShape, "mask is 1×9×6×6, must be 1×18×6×6"},
		{Params{}, Deform{OffsetGroups: 3}, good, mask, ErrShape, "not divisible by 3 offset groups"},
		{Params{}, Deform{OffsetGroups: -1}, good, mask, ErrParams, "offset groups are -1"},
		{Params{Mode: Reflect, Padding: Pad(1)}, Deform{}, good, mask, ErrUnsupported, "pads with zeros only"},
	} {
		q, err := c.p.DeformProblem(c.d, x, w, false)
		if err == nil {
			err = q.CheckOffset(c.offset, c.mask)
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c, err, c.says)
		}
	}
	q, err := (Params{}).DeformProblem(Deform{OffsetGroups: 2, Mask: true}, x, w, true)
	if err != nil || q.Output() != (Shape{1, 6, 6, 6}) || q.CheckOffset(good, mask) != nil {
		t.Errorf("%v, %v", q, err)
	}
	if g, err := OffsetGroupsOf(Shape{1, 36, 6, 6}, 9); g != 2 || err != nil {
		t.Errorf("36 channels at 9 taps are %d groups, %v", g, err)
	}
	if _, err := OffsetGroupsOf(Shape{1, 20, 6, 6}, 9); !errors.Is(err, ErrShape) {
		t.Errorf("20 channels at 9 taps: %v", err)
	}
}

// MapPad against the padded line written out, as torch.nn.functional.pad gives it.
func TestMapPad(t *testing.T) {
	for mode, want := range map[PaddingMode][]int{
		Zeros:     {-1, -1, -1, 0, 1, 2, 3, -1, -1, -1},
		Reflect:   {3, 2, 1, 0, 1, 2, 3, 2, 1, 0},
		Replicate: {0, 0, 0, 0, 1, 2, 3, 3, 3, 3},
		Circular:  {1, 2, 3, 0, 1, 2, 3, 0, 1, 2},
	} {
		for i, w := range want {
			if got := MapPad(mode, i-3, 4); got != w {
				t.Errorf("%v: place %d of 4 is %d, want %d", mode, i-3, got, w)
			}
		}
	}
	for m := Zeros; m <= Circular; m++ {
		if got, err := ParsePaddingMode(m.String()); got != m || err != nil {
			t.Errorf("ParsePaddingMode(%q) = %v, %v", m.String(), got, err)
		}
	}
	if _, err := ParsePaddingMode("mirror"); !errors.Is(err, ErrParams) {
		t.Error("mirror is accepted")
	}
}

func TestShare(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		got         float32
		want, bound float64
		ok          bool
	}{
		{1, 1, 0, true}, {1, 1.5, 0.5, true}, {1, 1.6, 0.5, false}, {1, 2, 0, false},
		{float32(nan), 1, inf, false}, {float32(nan), nan, 0, true}, {1, nan, inf, false},
		{float32(inf), inf, nan, true}, {float32(-inf), inf, nan, false}, {1, inf, inf, false},
		{float32(inf), 1, 1, false}, {float32(inf), 1e39, 1e30, true}, {float32(inf), 3e38, 1e38, true},
		{1, 2, nan, false},
	} {
		if share := Share(c.got, c.want, c.bound); (share <= 1) != c.ok {
			t.Errorf("Share(%v, %v, %v) = %v, want ok %v", c.got, c.want, c.bound, share, c.ok)
		}
	}
	if (Sum{}).Bound(1) != 0 {
		t.Error("no terms must give a bound of 0")
	}
	if !math.IsInf(Gamma(1<<24), 1) {
		t.Error("γ past its range must be infinite")
	}
	if v := Judge([]float32{1}, nil, nil, 1); v.OK() {
		t.Error("results of different lengths are accepted")
	}
}
