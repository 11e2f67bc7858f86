package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowFMA writes depthwise convolution along a row: four vectors of outputs at a
// time, then one, then the rest masked. Taps are the inner loop, so each output
// stays in a register.
func rowFMA(s isa) {
	TEXT("rowFMA"+s.name, NOSPLIT, "func(y *float32, n int, x *float32, at *int32, w *float32, taps int, bias float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("rowFMA%s is kernels.rowFMA:", s.name), "",
		"\tfor i := range n {",
		"\t\tsum := bias",
		"\t\tfor t := range taps {",
		"\t\t\tsum = fma(w[t], x[at[t]+i], sum)", "\t\t}",
		"\t\ty[i] = sum", "\t}")
	y := Load(Param("y"), GP64())
	n := Load(Param("n"), GP64())
	x := Load(Param("x"), GP64())
	at := Load(Param("at"), GP64())
	w := Load(Param("w"), GP64())
	taps := Load(Param("taps"), GP64())
	bias, err := Param("bias").Resolve()
	if err != nil {
		panic(err)
	}
	start := s.vec()
	VBROADCASTSS(bias.Addr, start)
	t, place := GP64(), GP64()

	// sums makes count vectors; from(v) is the memory of vector v at a tap.
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
	JZ(LabelRef("done"))
	m := s.firstLanes(n.(reg.GPVirtual))
	s.store(m, sums("restTap", 1, &m)[0], Mem{Base: y})
	Label("done")
	VZEROUPPER()
	RET()
}
