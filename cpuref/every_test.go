package cpuref

import (
	"slices"
	"testing"

	"vkconv/conv"
)

// Elements taken one in so many are those of the whole.
func TestEvery(t *testing.T) {
	ramp := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(i%13)/4 - 1
		}
		return v
	}
	params := conv.Params{Stride: [2]int{2, 1}, Padding: conv.Pad(1), Groups: 2}
	p, err := params.Problem(conv.Shape{3, 4, 7, 6}, conv.Shape{6, 2, 3, 3}, true)
	if err != nil {
		t.Fatal(err)
	}
	d, err := params.DeformProblem(conv.Deform{OffsetGroups: 2, Mask: true}, p.Input(), p.Weight(), true)
	if err != nil {
		t.Fatal(err)
	}
	x, w, b, offset, mask := ramp(p.Input().Len()), ramp(p.Weight().Len()), ramp(6), ramp(d.Offset().Len()), ramp(d.MaskShape().Len())
	all, deformed := Conv2D(p, x, w, b), DeformConv2D(d, x, offset, mask, w, b)
	for _, every := range []int{1, 2, 5, 7, 1000} {
		var want, wantDeformed []conv.Sum
		for i := 0; i < len(all); i += every {
			want, wantDeformed = append(want, all[i]), append(wantDeformed, deformed[i])
		}
		if got := Conv2DEvery(p, x, w, b, every); !slices.Equal(got, want) {
			t.Errorf("every %d: %v, want %v", every, got, want)
		}
		if got := DeformConv2DEvery(d, x, offset, mask, w, b, every); !slices.Equal(got, wantDeformed) {
			t.Errorf("every %d, deformable: %v, want %v", every, got, wantDeformed)
		}
	}
	if n := Every(p); n != 1 {
		t.Errorf("every %d of a small layer", n)
	}
	large, err := conv.Params{}.Problem(conv.Shape{1, 512, 128, 128}, conv.Shape{512, 512, 3, 3}, false)
	if n := Every(large); err != nil || n%2 != 1 || n < 1000 || n > 1300 {
		t.Errorf("every %d of a layer of 38·10⁹ products, %v", n, err)
	}
}
