package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// planeFMA writes depthwise convolution of some rows, in blocks of four rows × two
// vectors of outputs, fewer at the edges. Taps are the inner loop, so each output
// stays in a register. Whole vectors are read, and the last one of a row is
// stored masked.
//
//	        two vectors       one
//	      ┌───────┬───────┬ ─ ┬────┐
//	4 rows│ block │ block │   │    │   to the right first, then down
//	      ├───────┼───────┼ ─ ┼────┤
//	1 row └───────┴───────┴ ─ ┴────┘
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
		"\t\t\ty[oy*yStride+i] = sum", "\t\t}", "\t}",
		"",
		fmt.Sprintf("It reads x up to the next multiple of %d beyond n.", s.lanes()))
	yTop := Load(Param("y"), GP64())
	xTop := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	at := Load(Param("at"), GP64())
	w := Load(Param("w"), GP64())
	taps := Load(Param("taps"), GP64())
	bias, err := Param("bias").Resolve()
	if err != nil {
		panic(err)
	}
	start := s.vec()
	VBROADCASTSS(bias.Addr, start)
	// stride loads a stride in bytes: there is no register to keep it in.
	stride := func(name string) reg.Register {
		r := Load(Param(name), GP64())
		SHLQ(U8(2), r)
		return r
	}

	y, x, left := GP64(), GP64(), GP64()

	// block computes height rows × vectors at y, x.
	block := func(name string, height, vectors int) {
		base := []reg.GPVirtual{x}
		if height > 1 {
			step := stride("xStride")
			for i := 1; i < height; i++ {
				base = append(base, GP64())
				LEAQ(Mem{Base: base[i-1], Index: step, Scale: 1}, base[i])
			}
		}
		sum := make([][]reg.VecVirtual, height)
		for i := range sum {
			sum[i] = make([]reg.VecVirtual, vectors)
			for v := range sum[i] {
				sum[i][v] = s.vec()
				VMOVAPS(start, sum[i][v])
			}
		}
		t, place, f := GP64(), GP64(), s.vec()
		XORQ(t, t)
		Label(name + "Tap")
		MOVLQSX(Mem{Base: at, Index: t, Scale: 4}, place)
		VBROADCASTSS(Mem{Base: w, Index: t, Scale: 4}, f)
		for i := range sum {
			for v := range sum[i] {
				VFMADD231PS(Mem{Base: base[i], Index: place, Scale: 4, Disp: s.size * v}, f, sum[i][v])
			}
		}
		INCQ(t)
		CMPQ(t, taps)
		JNE(LabelRef(name + "Tap"))
		// AVX2's masked store is slow on some machines, and gone around.
		write := func(m *mask) {
			to := GP64()
			MOVQ(y, to)
			for i := range sum {
				for v := range sum[i] {
					if at := (Mem{Base: to, Disp: s.size * v}); m != nil && v == vectors-1 {
						s.store(*m, sum[i][v], at)
					} else {
						VMOVUPS(sum[i][v], at)
					}
				}
				if i < height-1 {
					ADDQ(stride("yStride"), to)
				}
			}
		}
		CMPQ(left, U8(vectors*s.lanes()))
		JLT(LabelRef(name + "Partial"))
		write(nil)
		JMP(LabelRef(name + "Stored"))
		Label(name + "Partial")
		rest := GP64()
		MOVQ(left, rest)
		if vectors > 1 {
			SUBQ(U8((vectors-1)*s.lanes()), rest)
		}
		m := s.firstLanes(rest)
		write(&m)
		Label(name + "Stored")
	}
	// band computes all columns of some rows.
	band := func(name string, height int) {
		MOVQ(yTop, y)
		MOVQ(xTop, x)
		MOVQ(n, left)
		Label(name + "Columns")
		CMPQ(left, U8(s.lanes()))
		JLE(LabelRef(name + "Last"))
		block(name+"Pair", height, 2)
		ADDQ(U32(2*s.size), y)
		ADDQ(U32(2*s.size), x)
		SUBQ(U8(2*s.lanes()), left)
		JG(LabelRef(name + "Columns"))
		JMP(LabelRef(name + "Done"))
		Label(name + "Last")
		block(name+"Vector", height, 1)
		Label(name + "Done")
		for _, step := range []struct {
			name string
			row  reg.Register
		}{{"yStride", yTop}, {"xStride", xTop}} {
			d := stride(step.name)
			if height > 1 {
				SHLQ(U8(2), d)
			}
			ADDQ(d, step.row)
		}
	}
	rowsLeft, err := Param("rows").Resolve()
	if err != nil {
		panic(err)
	}
	rows := rowsLeft.Addr
	Label("four")
	CMPQ(rows, U8(4))
	JLT(LabelRef("single"))
	band("four", 4)
	SUBQ(U8(4), rows)
	JMP(LabelRef("four"))
	Label("single")
	CMPQ(rows, U8(0))
	JE(LabelRef("done"))
	band("one", 1)
	DECQ(rows)
	JMP(LabelRef("single"))
	Label("done")
	VZEROUPPER()
	RET()
}

// copyRows writes the kernel that copies rows out of an image. A row's last
// vector overlaps the one before, where there is one.
func copyRows() {
	TEXT("copyRowsAVX2", NOSPLIT, "func(dst *float32, dstStride int, src *float32, srcStride, rows, n int)")
	Pragma("noescape")
	Doc("copyRowsAVX2 is kernels.copyRows, rows and n at least 1:", "",
		"\tfor y := range rows {",
		"\t\tfor i := range n {",
		"\t\t\tdst[y*dstStride+i] = src[y*srcStride+i]", "\t\t}", "\t}")
	dst := Load(Param("dst"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	src := Load(Param("src"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	rows := Load(Param("rows"), GP64())
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	SHLQ(U8(2), dstStride)
	SHLQ(U8(2), srcStride)
	v := YMM()
	next := func(again string) {
		ADDQ(srcStride, src)
		ADDQ(dstStride, dst)
		DECQ(rows)
		JNZ(LabelRef(again))
		VZEROUPPER()
		RET()
	}
	CMPQ(n, U8(8))
	JLT(LabelRef("narrow"))
	i, last := GP64(), GP64()
	MOVQ(n, last)
	SUBQ(U8(8), last)
	Label("row")
	XORQ(i, i)
	Label("eight")
	VMOVUPS(Mem{Base: src, Index: i, Scale: 4}, v)
	VMOVUPS(v, Mem{Base: dst, Index: i, Scale: 4})
	ADDQ(U8(8), i)
	CMPQ(i, last)
	JLE(LabelRef("eight"))
	VMOVUPS(Mem{Base: src, Index: last, Scale: 4}, v)
	VMOVUPS(v, Mem{Base: dst, Index: last, Scale: 4})
	next("row")
	Label("narrow")
	m := avx2.firstLanes(n)
	Label("masked")
	avx2.load(m, Mem{Base: src}, v)
	avx2.store(m, v, Mem{Base: dst})
	next("masked")
}

// splitRows writes the kernel that copies rows taken apart into even and odd
// places. A row's last vector overlaps the one before.
//
//	a0 a1 a2 a3 a4 a5 a6 a7 │ b0 … b7
//	shuffle 4-wise:  a0 a2 b0 b2 │ a4 a6 b4 b6;  pairs 0 2 1 3:  a0 a2 a4 a6 │ b0 b2 b4 b6
func splitRows() {
	TEXT("splitRowsAVX2", NOSPLIT, "func(even, odd *float32, dstStride int, src *float32, srcStride, rows, n int)")
	Pragma("noescape")
	Doc("splitRowsAVX2 is kernels.splitRows, rows at least 1, n at least 8:", "",
		"\tfor y := range rows {",
		"\t\tfor i := range n {",
		"\t\t\teven[y*dstStride+i] = src[y*srcStride+2*i]",
		"\t\t\todd[y*dstStride+i] = src[y*srcStride+2*i+1]", "\t\t}", "\t}")
	even := Load(Param("even"), GP64())
	odd := Load(Param("odd"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	src := Load(Param("src"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	rows := Load(Param("rows"), GP64())
	last := Load(Param("n"), GP64())
	SHLQ(U8(2), dstStride)
	SHLQ(U8(2), srcStride)
	SUBQ(U8(8), last)
	a, b, c := YMM(), YMM(), YMM()
	i := GP64()
	Label("row")
	XORQ(i, i)
	Label("eight")
	VMOVUPS(Mem{Base: src, Index: i, Scale: 8}, a)
	VMOVUPS(Mem{Base: src, Index: i, Scale: 8, Disp: 32}, b)
	VSHUFPS(U8(0x88), b, a, c)
	VPERMPD(U8(0xd8), c, c)
	VMOVUPS(c, Mem{Base: even, Index: i, Scale: 4})
	VSHUFPS(U8(0xdd), b, a, c)
	VPERMPD(U8(0xd8), c, c)
	VMOVUPS(c, Mem{Base: odd, Index: i, Scale: 4})
	CMPQ(i, last)
	JE(LabelRef("next"))
	ADDQ(U8(8), i)
	CMPQ(i, last)
	CMOVQGT(last, i)
	JMP(LabelRef("eight"))
	Label("next")
	ADDQ(srcStride, src)
	ADDQ(dstStride, even)
	ADDQ(dstStride, odd)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
