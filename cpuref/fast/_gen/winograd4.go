package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winograd4In writes the transform BᵀdB of 6×6 inputs, one lane a tile. Four
// columns of a tile lie together in a, the other two in b: eight tiles of a row are
// transposed, transformed along the row and put aside; then columns are.
//
//	a │ t0: 0 1 2 3 │ t1: 0 1 2 3 │ …      b │ t0: 4 5 · · │ t1: 4 5 · · │ …
//
// Along one axis, with u = d4 − 4·d2, v = d3 − 4·d1, s = d4 − d2, w = d3 − d1:
// (d4 − 5·d2 + 4·d0, u + v, u − v, s + 2w, s − 2w, d5 − 5·d3 + 4·d1).
func winograd4In() {
	TEXT("winograd4InAVX2", NOSPLIT, "func(dst *float32, stride int, a, b *float32, pitch int, room *float32, n int)")
	Pragma("noescape")
	Doc("winograd4InAVX2 is kernels.winograd4In, n at least 1 vector of 8:", "",
		"\tfor i := range 8 * n {",
		"\t\td := the 6×6 values a[r*pitch+4*i:][:4], b[r*pitch+4*i:][:2]",
		"\t\tdst[(6*r+c)*stride+i] = (Bᵀ·d·B)[r][c]", "\t}")
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	a, b, pitch := Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("pitch"), GP64())
	room, n := Load(Param("room"), GP64()), Load(Param("n"), GP64())
	SHLQ(U8(2), stride)
	SHLQ(U8(2), pitch)
	two, four, five := constant(2), constant(4), constant(5)
	step := func(d [6]reg.VecVirtual) [6]reg.VecVirtual {
		u, v, s, w := YMM(), YMM(), YMM(), YMM()
		VMOVAPS(d[4], u)
		VFNMADD231PS(four, d[2], u)
		VMOVAPS(d[3], v)
		VFNMADD231PS(four, d[1], v)
		VSUBPS(d[2], d[4], s)
		VSUBPS(d[1], d[3], w)
		VFNMADD231PS(five, d[2], d[4])
		VFMADD231PS(four, d[0], d[4])
		VFNMADD231PS(five, d[3], d[5])
		VFMADD231PS(four, d[1], d[5])
		o1 := d[1]
		VADDPS(v, u, o1)
		VSUBPS(v, u, u)
		o3 := d[2]
		VMOVAPS(s, o3)
		VFMADD231PS(two, w, o3)
		VFNMADD231PS(two, w, s)
		return [6]reg.VecVirtual{d[4], o1, u, o3, s, d[5]}
	}
	rowA, rowB, k := GP64(), GP64(), GP64()
	Label("vector")
	MOVQ(a, rowA)
	MOVQ(b, rowB)
	aside := GP64()
	MOVQ(room, aside)
	MOVQ(U64(6), k)
	Label("row")
	tiles := func(from reg.Register) (x [4]reg.VecVirtual) {
		for i := range x {
			half := XMM()
			x[i] = YMM()
			VMOVUPS(Mem{Base: from, Disp: 16 * i}, half)
			VINSERTF128(U8(1), Mem{Base: from, Disp: 16*i + 64}, half.AsY(), x[i])
		}
		return x
	}
	pairs := func(x [4]reg.VecVirtual, high bool) (p, q reg.VecVirtual) {
		lo, hi := YMM(), YMM()
		if high {
			VUNPCKHPS(x[1], x[0], lo)
			VUNPCKHPS(x[3], x[2], hi)
		} else {
			VUNPCKLPS(x[1], x[0], lo)
			VUNPCKLPS(x[3], x[2], hi)
		}
		p, q = YMM(), YMM()
		VUNPCKLPD(hi, lo, p)
		VUNPCKHPD(hi, lo, q)
		return p, q
	}
	var d [6]reg.VecVirtual
	x := tiles(rowA)
	d[0], d[1] = pairs(x, false)
	d[2], d[3] = pairs(x, true)
	d[4], d[5] = pairs(tiles(rowB), false)
	for c, v := range step(d) {
		VMOVUPS(v, Mem{Base: aside, Disp: 32 * c})
	}
	ADDQ(pitch, rowA)
	ADDQ(pitch, rowB)
	ADDQ(U32(32*6), aside)
	DECQ(k)
	JNZ(LabelRef("row"))

	MOVQ(room, aside)
	to, three, six := GP64(), GP64(), GP64()
	MOVQ(dst, to)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	LEAQ(Mem{Base: three, Index: three, Scale: 1}, six)
	MOVQ(U64(6), k)
	Label("column")
	for r := range d {
		d[r] = YMM()
		VMOVUPS(Mem{Base: aside, Disp: 32 * 6 * r}, d[r])
	}
	o := step(d)
	down := GP64()
	MOVQ(to, down)
	for r := range o {
		VMOVUPS(o[r], Mem{Base: down})
		if r < 5 {
			ADDQ(six, down)
		}
	}
	ADDQ(stride, to)
	ADDQ(U8(32), aside)
	DECQ(k)
	JNZ(LabelRef("column"))
	ADDQ(U8(32), dst)
	ADDQ(U32(128), a)
	ADDQ(U32(128), b)
	DECQ(n)
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// constant puts a small whole number into every lane.
func constant(v int) reg.VecVirtual {
	g, x, y := GP32(), XMM(), YMM()
	MOVL(U32(map[int]uint32{2: 0x40000000, 4: 0x40800000, 5: 0x40a00000, 8: 0x41000000}[v]), g)
	VMOVD(g, x)
	VBROADCASTSS(x, y)
	return y
}

// winograd4Out writes the transform AᵀmA of 6×6 sums to 4×4 outputs, one lane a
// tile, and puts the four outputs of a row of a tile next to each other. Along one
// axis, with a = m1 + m2, b = m1 − m2, c = m3 + m4, d = m3 − m4:
// (m0 + a + c, b + 2d, a + 4c, b + m5 + 8d).
func winograd4Out() {
	TEXT("winograd4OutAVX2", NOSPLIT, "func(rows *float32, pitch int, m *float32, stride int, room *float32, n int, bias float32)")
	Pragma("noescape")
	Doc("winograd4OutAVX2 is kernels.winograd4Out, n at least 1 vector of 8:", "",
		"\tfor i := range 8 * n {",
		"\t\tsums := the 6×6 values m[(6*r+c)*stride+i]",
		"\t\trows[r*pitch+4*i:][:4] = (Aᵀ·sums·A + bias)[r]", "\t}")
	rows, pitch := Load(Param("rows"), GP64()), Load(Param("pitch"), GP64())
	m, stride := Load(Param("m"), GP64()), Load(Param("stride"), GP64())
	room, n := Load(Param("room"), GP64()), Load(Param("n"), GP64())
	SHLQ(U8(2), stride)
	SHLQ(U8(2), pitch)
	param, err := Param("bias").Resolve()
	if err != nil {
		panic(err)
	}
	bias := YMM()
	VBROADCASTSS(param.Addr, bias)
	two, four, eight := constant(2), constant(4), constant(8)
	step := func(q [6]reg.VecVirtual) [4]reg.VecVirtual {
		a, b, c := YMM(), YMM(), YMM()
		VADDPS(q[2], q[1], a)
		VSUBPS(q[2], q[1], b)
		VADDPS(q[4], q[3], c)
		d := q[3]
		VSUBPS(q[4], q[3], d)
		VADDPS(a, q[0], q[0])
		VADDPS(c, q[0], q[0])
		VADDPS(b, q[5], q[5])
		VFMADD231PS(eight, d, q[5])
		VFMADD231PS(two, d, b)
		VFMADD231PS(four, c, a)
		return [4]reg.VecVirtual{q[0], b, a, q[5]}
	}
	six, from, aside, k := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, six)
	ADDQ(six, six)
	Label("vector")
	MOVQ(m, from)
	MOVQ(room, aside)
	MOVQ(U64(6), k)
	Label("column")
	var q [6]reg.VecVirtual
	down := GP64()
	MOVQ(from, down)
	for r := range q {
		q[r] = YMM()
		VMOVUPS(Mem{Base: down}, q[r])
		if r < 5 {
			ADDQ(six, down)
		}
	}
	for i, v := range step(q) {
		VMOVUPS(v, Mem{Base: aside, Disp: 32 * 6 * i})
	}
	ADDQ(stride, from)
	ADDQ(U8(32), aside)
	DECQ(k)
	JNZ(LabelRef("column"))

	MOVQ(room, aside)
	to := GP64()
	MOVQ(rows, to)
	MOVQ(U64(4), k)
	Label("row")
	for c := range q {
		q[c] = YMM()
		VMOVUPS(Mem{Base: aside, Disp: 32 * c}, q[c])
	}
	z := step(q)
	for i := range z {
		VADDPS(bias, z[i], z[i])
	}
	for h := range 2 { // tiles 0 1 4 5, then 2 3 6 7
		lo, hi := YMM(), YMM()
		if h == 0 {
			VUNPCKLPS(z[1], z[0], lo)
			VUNPCKLPS(z[3], z[2], hi)
		} else {
			VUNPCKHPS(z[1], z[0], lo)
			VUNPCKHPS(z[3], z[2], hi)
		}
		for i := range 2 {
			out := YMM()
			if i == 0 {
				VUNPCKLPD(hi, lo, out)
			} else {
				VUNPCKHPD(hi, lo, out)
			}
			VMOVUPS(out.AsX(), Mem{Base: to, Disp: 32*h + 16*i})
			VEXTRACTF128(U8(1), out, Mem{Base: to, Disp: 64 + 32*h + 16*i})
		}
	}
	ADDQ(pitch, to)
	ADDQ(U32(32*6), aside)
	DECQ(k)
	JNZ(LabelRef("row"))
	ADDQ(U32(128), rows)
	ADDQ(U8(32), m)
	DECQ(n)
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}
