package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// planeFMA writes depthwise convolution of some rows: in each four vectors of
// outputs at a time, then one, then the rest masked. Taps are the inner loop, so
// each output stays in a register.
func planeFMA(s isa) {
	TEXT("planeFMA"+s.name, NOSPLIT,
		"func(y *float32, yStride, rows, n int, x *float32, xStride int, at *int32, w *float32, taps int, bias float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("planeFMA%s is kernels.planeFMA, rows, n and taps at least 1:", s.name), "",
		"\tfor oy := range rows {",
		"\t\tfor i := range n {",
		"\t\t\tsum := bias",
		"\t\t\tfor t := range taps {",
		"\t\t\t\tsum = fma(w[t], x[oy*xStride+at[t]+i], sum)", "\t\t\t}",
		"\t\t\ty[oy*yStride+i] = sum", "\t\t}", "\t}")
	yRow := Load(Param("y"), GP64())
	xRow := Load(Param("x"), GP64())
	at := Load(Param("at"), GP64())
	w := Load(Param("w"), GP64())
	taps := Load(Param("taps"), GP64())
	bias, err := Param("bias").Resolve()
	if err != nil {
		panic(err)
	}
	start := s.vec()
	VBROADCASTSS(bias.Addr, start)
	y, x, n, t, place := GP64(), GP64(), GP64(), GP64(), GP64()

	Label("row")
	MOVQ(yRow, y)
	MOVQ(xRow, x)
	Load(Param("n"), n)

	// sums makes count vectors of outputs.
	sums := func(name string, count int, m *mask) []reg.VecVirtual {
		sum := make([]reg.VecVirtual, count)
		for v := range sum {
			sum[v] = s.vec()
			VMOVAPS(start, sum[v])
		}
		XORQ(t, t)
		Label(name)
		MOVLQSX(Mem{Base: at, Index: t, Scale: 4}, place)
		f := s.vec()
		VBROADCASTSS(Mem{Base: w, Index: t, Scale: 4}, f)
		for v := range sum {
			from := Mem{Base: x, Index: place, Scale: 4, Disp: s.size * v}
			if m == nil {
				VFMADD231PS(from, f, sum[v])
				continue
			}
			part := s.vec()
			s.load(*m, from, part)
			VFMADD231PS(part, f, sum[v])
		}
		INCQ(t)
		CMPQ(t, taps)
		JNE(LabelRef(name))
		return sum
	}
	block := func(name string, count int, next string) {
		Label(name)
		CMPQ(n, U8(count*s.lanes()))
		JLT(LabelRef(next))
		for v, sum := range sums(name+"Tap", count, nil) {
			VMOVUPS(sum, Mem{Base: y, Disp: s.size * v})
		}
		ADDQ(U32(count*s.size), y)
		ADDQ(U32(count*s.size), x)
		SUBQ(U8(count*s.lanes()), n)
		JMP(LabelRef(name))
	}
	block("four", 4, "one")
	block("one", 1, "rest")
	Label("rest")
	TESTQ(n, n)
	JZ(LabelRef("next"))
	m := s.firstLanes(n)
	s.store(m, sums("restTap", 1, &m)[0], Mem{Base: y})

	Label("next")
	stride := GP64()
	for _, step := range []struct {
		name string
		row  reg.Register
	}{{"yStride", yRow}, {"xStride", xRow}} {
		Load(Param(step.name), stride)
		SHLQ(U8(2), stride)
		ADDQ(stride, step.row)
	}
	rows, err := Param("rows").Resolve()
	if err != nil {
		panic(err)
	}
	DECQ(rows.Addr)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// split2 writes the kernel that takes a row apart into even and odd places.
//
//	a0 a1 a2 a3 a4 a5 a6 a7 │ b0 … b7
//	shuffle 4-wise:  a0 a2 b0 b2 │ a4 a6 b4 b6;  pairs 0 2 1 3:  a0 a2 a4 a6 │ b0 b2 b4 b6
func split2() {
	TEXT("split2AVX2", NOSPLIT, "func(even, odd, src *float32, n int)")
	Pragma("noescape")
	Doc("split2AVX2 is kernels.split2, n a multiple of 8, at least 8:", "",
		"\tfor i := range n {",
		"\t\teven[i], odd[i] = src[2*i], src[2*i+1]", "\t}")
	even := Load(Param("even"), GP64())
	odd := Load(Param("odd"), GP64())
	src := Load(Param("src"), GP64())
	n := Load(Param("n"), GP64())
	a, b, c := YMM(), YMM(), YMM()
	Label("eight")
	VMOVUPS(Mem{Base: src}, a)
	VMOVUPS(Mem{Base: src, Disp: 32}, b)
	VSHUFPS(U8(0x88), b, a, c)
	VPERMPD(U8(0xd8), c, c)
	VMOVUPS(c, Mem{Base: even})
	VSHUFPS(U8(0xdd), b, a, c)
	VPERMPD(U8(0xd8), c, c)
	VMOVUPS(c, Mem{Base: odd})
	ADDQ(U8(64), src)
	ADDQ(U8(32), even)
	ADDQ(U8(32), odd)
	SUBQ(U8(8), n)
	JNZ(LabelRef("eight"))
	VZEROUPPER()
	RET()
}
