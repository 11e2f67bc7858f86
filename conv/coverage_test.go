package conv

import (
	"slices"
	"testing"
)

func dilated(rates ...int) (s []Layer) {
	for _, r := range rates {
		s = append(s, Layer{Kernel: 3, Dilation: r})
	}
	return s
}

func TestCoverage(t *testing.T) {
	for _, c := range []struct {
		stack []Layer
		want  []int
	}{
		{dilated(1, 1), []int{1, 2, 3, 2, 1}},
		{dilated(2), []int{1, 0, 1, 0, 1}},
		{dilated(2, 2), []int{1, 0, 2, 0, 3, 0, 2, 0, 1}}, // equal rates: gridding
		{[]Layer{{Kernel: 2, Stride: 2}, {Kernel: 2}}, []int{1, 1, 1, 1}},
		{[]Layer{{Kernel: 1, Stride: 3}, {Kernel: 2}}, []int{1, 0, 0, 1}},
	} {
		if got := Coverage(c.stack...); !slices.Equal(got, c.want) {
			t.Errorf("%v covers %v, want %v", c.stack, got, c.want)
		}
	}
}

func TestHybridDilation(t *testing.T) {
	for _, c := range []struct {
		rates  []int
		gap    int
		ok     bool
		unseen bool
	}{
		{[]int{1, 2, 5}, 2, true, false},
		{[]int{1, 2, 9}, 5, false, true},
		{[]int{2, 2, 2}, 2, false, true},
		{[]int{1}, 1, true, false},
		{[]int{1, 2, 4}, 2, true, false},
	} {
		gap, ok := HybridDilation(3, c.rates...)
		if gap != c.gap || ok != c.ok || (Unseen(dilated(c.rates...)...) > 0) != c.unseen {
			t.Errorf("%v: gap %d, ok %v, unseen %d", c.rates, gap, ok, Unseen(dilated(c.rates...)...))
		}
	}
}

func TestSamePadding(t *testing.T) {
	for _, c := range []struct {
		in, kernel, stride, dilation int
		lower                        bool
		before, after                int
	}{
		{33, 3, 1, 12, false, 12, 12},
		{5, 4, 1, 1, false, 1, 2},
		{5, 4, 1, 1, true, 2, 1},
		{6, 3, 2, 1, false, 0, 1}, // ONNX's auto_pad with stride: 3 outputs
		{5, 1, 3, 1, false, 0, 0},
	} {
		before, after := SamePadding(c.in, c.kernel, c.stride, c.dilation, c.lower)
		if before != c.before || after != c.after {
			t.Errorf("%+v: %d, %d", c, before, after)
		}
		if got, want := OutputSize(c.in, before, after, c.kernel, c.stride, c.dilation), (c.in+c.stride-1)/c.stride; got != want {
			t.Errorf("%+v: %d outputs, want %d", c, got, want)
		}
	}
	p := Params{Dilation: [2]int{2, 3}}.WithSamePadding(Shape{1, 1, 9, 9}, 3, 3, false)
	if p.Padding != (Padding{2, 3, 2, 3}) {
		t.Errorf("same padding is %+v", p.Padding)
	}
}
