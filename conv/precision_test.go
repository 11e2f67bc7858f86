package conv

import (
	"math"
	"testing"
)

// Values from NumPy's float16 and PyTorch's bfloat16.
func TestEncode(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		t    Type
		v    float32
		bits uint16
	}{
		{Float16, 1, 0x3c00}, {Float16, -2, 0xc000}, {Float16, 65504, 0x7bff}, {Float16, 65519.996, 0x7bff}, {Float16, 65520, 0x7c00},
		{Float16, 1e30, 0x7c00}, {Float16, -inf, 0xfc00}, {Float16, 0x1p-24, 1}, {Float16, 0x1p-25, 0}, {Float16, 0x1.8p-24, 2},
		{Float16, 0x1p-14, 0x400}, {Float16, 0.1, 0x2e66}, {Float16, 1 + 0x1p-11, 0x3c00}, {Float16, 1 + 0x3p-11, 0x3c02}, {Float16, 0x1.ffep-15, 0x400},
		{BFloat16, 1, 0x3f80}, {BFloat16, 0.1, 0x3dcd}, {BFloat16, 1 + 0x1p-8, 0x3f80}, {BFloat16, 1 + 0x3p-8, 0x3f82}, {BFloat16, math.MaxFloat32, 0x7f80},
		{BFloat16, -inf, 0xff80},
	} {
		if got := c.t.Encode(c.v); got != c.bits {
			t.Errorf("%v of %g is %#04x, want %#04x", c.t, c.v, got, c.bits)
		}
	}
	for _, typ := range []Type{Float16, BFloat16} {
		nan := float32(math.NaN())
		if r := typ.Round(nan); r == r {
			t.Errorf("%v of NaN is %g", typ, r)
		}
		// Every value comes back, and its neighbours round to it within half a unit.
		for b := range 1 << 16 {
			v := typ.Decode(uint16(b))
			if v != v {
				continue
			}
			if got := typ.Encode(v); got != uint16(b) {
				t.Fatalf("%v %#04x is %g, which encodes to %#04x", typ, b, v, got)
			}
		}
	}
}

// Stored's extra bound holds for the rounding itself.
func TestStored(t *testing.T) {
	for _, typ := range []Type{Float16, BFloat16} {
		for v := float32(1e-9); v < 6e4; v *= 1.37 {
			s := typ.Stored(Sum{Value: float64(v), Abs: float64(v), Terms: 1}, 1)
			if share := Share(typ.Round(v), s.Value, s.Bound(1)); share > 1 {
				t.Errorf("%v of %g is off by %g of its bound", typ, v, share)
			}
		}
	}
}
