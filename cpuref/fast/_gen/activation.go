package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// clamp writes the kernel that bounds values. Of two operands, one NaN, the
// instructions return the second: that is the value, which so stays NaN.
func clamp() {
	TEXT("clampAVX2", NOSPLIT, "func(y *float32, n int, lo, hi float32)")
	Pragma("noescape")
	Doc("clampAVX2 is kernels.clamp, n a multiple of 8, at least 8:", "",
		"\tfor i := range n {",
		"\t\ty[i] = min(max(y[i], lo), hi)", "\t}")
	y := Load(Param("y"), GP64())
	n := Load(Param("n"), GP64())
	lo, hi, v := YMM(), YMM(), YMM()
	bound := func(name string) Mem {
		p, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		return p.Addr
	}
	VBROADCASTSS(bound("lo"), lo)
	VBROADCASTSS(bound("hi"), hi)
	Label("eight")
	VMOVUPS(Mem{Base: y}, v)
	VMAXPS(v, lo, v)
	VMINPS(v, hi, v)
	VMOVUPS(v, Mem{Base: y})
	ADDQ(U8(32), y)
	SUBQ(U8(8), n)
	JNZ(LabelRef("eight"))
	VZEROUPPER()
	RET()
}
