package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winogradIn writes the transform BᵀdB of 4×4 inputs, one lane a tile, in place:
// along one axis (d0−d2, d1+d2, d2−d1, d1−d3). AVX-512 keeps all 16 vectors in
// registers, AVX2 puts them back between the axes.
func winogradIn(s isa) {
	TEXT("winogradIn"+s.name, NOSPLIT, "func(v *float32, stride, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("winogradIn%s is kernels.winogradIn, n at least 1 vector of %d:", s.name, s.lanes()), "",
		fmt.Sprintf("\tfor i := range %d * n {", s.lanes()),
		"\t\td := the 4×4 values v[(4*a+b)*stride+i]",
		"\t\tthe same places = Bᵀ·d·B", "\t}")
	v := Load(Param("v"), GP64())
	stride := Load(Param("stride"), GP64())
	n := Load(Param("n"), GP64())
	SHLQ(U8(2), stride)
	row := rows16(v, stride)
	step := func(d [4]reg.VecVirtual) [4]reg.VecVirtual {
		r := [4]reg.VecVirtual{d[0], s.vec(), s.vec(), d[3]}
		VSUBPS(d[2], d[0], r[0])
		VADDPS(d[2], d[1], r[1])
		VSUBPS(d[1], d[2], r[2])
		VSUBPS(d[3], d[1], r[3])
		return r
	}
	Label("vector")
	var d [4][4]reg.VecVirtual
	for b := range 4 {
		var column [4]reg.VecVirtual
		for a := range 4 {
			column[a] = s.vec()
			VMOVUPS(row(a, b), column[a])
		}
		for a, r := range step(column) {
			d[a][b] = r
			if !s.wide() {
				VMOVUPS(r, row(a, b))
			}
		}
	}
	for a := range 4 {
		if !s.wide() {
			for b := range 4 {
				d[a][b] = s.vec()
				VMOVUPS(row(a, b), d[a][b])
			}
		}
		for b, r := range step(d[a]) {
			VMOVUPS(r, row(a, b))
		}
	}
	advance(row, U8(s.size))
	DECQ(n)
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// rows16 keeps four base registers and three times the stride, from which 16
// rows can be reached; row(-1, a) is the a-th base.
func rows16(v, stride reg.Register) func(a, b int) Mem {
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	base := [4]reg.GPVirtual{GP64(), GP64(), GP64(), GP64()}
	MOVQ(v, base[0])
	for a := 1; a < 4; a++ {
		LEAQ(Mem{Base: base[a-1], Index: stride, Scale: 4}, base[a])
	}
	return func(a, b int) Mem {
		switch b {
		case 0:
			return Mem{Base: base[a]}
		case 1, 2:
			return Mem{Base: base[a], Index: stride, Scale: uint8(b)}
		}
		return Mem{Base: base[a], Index: three, Scale: 1}
	}
}

// advance moves all rows on.
func advance(row func(a, b int) Mem, by Op) {
	for a := range 4 {
		ADDQ(by, row(a, 0).Base)
	}
}

// winogradOut writes the transform AᵀmA of 4×4 sums to 2×2 outputs, one lane a
// tile: along one axis (m0+m1+m2, m1−m2−m3). The outputs of neighbouring tiles are
// put next to each other.
func winogradOut(s isa) {
	TEXT("winogradOut"+s.name, NOSPLIT, "func(top, bottom, m *float32, stride, n int, bias float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("winogradOut%s is kernels.winogradOut, n at least 1 vector of %d:", s.name, s.lanes()), "",
		fmt.Sprintf("\tfor i := range %d * n {", s.lanes()),
		"\t\tsums := the 4×4 values m[(4*a+b)*stride+i]",
		"\t\ttop[2*i:2*i+2], bottom[2*i:2*i+2] = the rows of Aᵀ·sums·A + bias", "\t}")
	top := Load(Param("top"), GP64())
	bottom := Load(Param("bottom"), GP64())
	m := Load(Param("m"), GP64())
	stride := Load(Param("stride"), GP64())
	n := Load(Param("n"), GP64())
	param, err := Param("bias").Resolve()
	if err != nil {
		panic(err)
	}
	bias := s.vec()
	VBROADCASTSS(param.Addr, bias)
	SHLQ(U8(2), stride)
	row := rows16(m, stride)
	var low, high reg.VecVirtual
	if s.wide() {
		low, high = s.vec(), s.vec()
		VMOVUPS(zipLow, low)
		VMOVUPS(zipHigh, high)
	}
	Label("vector")
	var sum [2][4]reg.VecVirtual
	for b := range 4 {
		x, y := s.vec(), s.vec()
		VMOVUPS(row(1, b), x)
		VMOVUPS(row(2, b), y)
		sum[0][b], sum[1][b] = s.vec(), s.vec()
		VADDPS(row(0, b), x, sum[0][b])
		VADDPS(y, sum[0][b], sum[0][b])
		VSUBPS(y, x, sum[1][b])
		VSUBPS(row(3, b), sum[1][b], sum[1][b])
	}
	for i, to := range []reg.Register{top, bottom} {
		q := sum[i]
		y0, y1 := q[0], q[3]
		VADDPS(q[1], q[0], y0)
		VADDPS(q[2], y0, y0)
		VADDPS(bias, y0, y0)
		VSUBPS(q[2], q[1], q[1])
		VSUBPS(q[3], q[1], y1)
		VADDPS(bias, y1, y1)
		a, b := s.vec(), s.vec()
		if s.wide() {
			VMOVAPS(y0, a)
			VPERMT2PS(y1, low, a)
			VMOVAPS(y0, b)
			VPERMT2PS(y1, high, b)
		} else {
			VUNPCKLPS(y1, y0, a)
			VUNPCKHPS(y1, y0, y1)
			VPERM2F128(U8(0x31), y1, a, b)
			VPERM2F128(U8(0x20), y1, a, a)
		}
		VMOVUPS(a, Mem{Base: to})
		VMOVUPS(b, Mem{Base: to, Disp: s.size})
		ADDQ(U32(2*s.size), to)
	}
	advance(row, U8(s.size))
	DECQ(n)
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}
