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
//	           two vectors       one
//	         ┌───────┬───────┬ ─ ┬────┐
//	4 rows   │ block │ block │   │    │   to the right first, then down
//	         ├───────┼───────┼ ─ ┼────┤
//	3, 2 or 1└───────┴───────┴ ─ ┴────┘
//
// AVX2's masked store takes some 20 cycles on AMD's machines. Where rows are one
// block wide and follow each other without a gap, whole vectors are stored in its
// place: what is too much lies in the next row, which is written after it. Only the
// last row of a call needs the mask.
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

	rowsLeft, err := Param("rows").Resolve()
	if err != nil {
		panic(err)
	}
	rows := rowsLeft.Addr
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
		// write stores the block; the last vector of rows from masked on by the mask.
		write := func(masked int, m mask) {
			to := GP64()
			MOVQ(y, to)
			for i := range sum {
				for v := range sum[i] {
					if at := (Mem{Base: to, Disp: s.size * v}); i >= masked && v == vectors-1 {
						s.store(m, sum[i][v], at)
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
		write(height, mask{})
		JMP(LabelRef(name + "Stored"))
		Label(name + "Partial")
		if !s.wide() {
			CMPQ(left, n)
			JNE(LabelRef(name + "Masked"))
			CMPQ(n, Load(Param("yStride"), GP64()))
			JNE(LabelRef(name + "Masked"))
			CMPQ(n, U8(s.lanes()/2)) // what is too much may not reach beyond the next row
			JL(LabelRef(name + "Masked"))
		}
		rest := func() mask {
			r := GP64()
			MOVQ(left, r)
			if vectors > 1 {
				SUBQ(U8((vectors-1)*s.lanes()), r)
			}
			return s.firstLanes(r)
		}
		if !s.wide() {
			CMPQ(rows, U8(height))
			JEQ(LabelRef(name + "End"))
			write(height, mask{})
			JMP(LabelRef(name + "Stored"))
			Label(name + "End")
			write(height-1, rest())
			JMP(LabelRef(name + "Stored"))
			Label(name + "Masked")
		}
		write(0, rest())
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
			if height == 4 {
				SHLQ(U8(2), d)
			} // the others are the last
			ADDQ(d, step.row)
		}
	}
	Label("four")
	CMPQ(rows, U8(4))
	JLT(LabelRef("fewer"))
	band("four", 4)
	SUBQ(U8(4), rows)
	JMP(LabelRef("four"))
	Label("fewer")
	for height, name := range []string{"", "one", "two", "three"} {
		CMPQ(rows, U8(height))
		if height == 0 {
			JEQ(LabelRef("done"))
			continue
		}
		if height < 3 {
			JNE(LabelRef("not" + name))
		}
		band(name, height)
		if height < 3 {
			JMP(LabelRef("done"))
			Label("not" + name)
		}
	}
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
	next := func(again string) {
		ADDQ(srcStride, src)
		ADDQ(dstStride, dst)
		DECQ(rows)
		JNZ(LabelRef(again))
		VZEROUPPER()
		RET()
	}
	v := YMM()
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
	Label("narrow") // two moves that overlap, of four or of two; one of one
	CMPQ(n, U8(2))
	JLT(LabelRef("single"))
	CMPQ(n, U8(4))
	JLT(LabelRef("pairs"))
	SUBQ(U8(4), n)
	a, b := XMM(), XMM()
	Label("fours")
	VMOVUPS(Mem{Base: src}, a)
	VMOVUPS(Mem{Base: src, Index: n, Scale: 4}, b)
	VMOVUPS(a, Mem{Base: dst})
	VMOVUPS(b, Mem{Base: dst, Index: n, Scale: 4})
	next("fours")
	Label("pairs")
	SUBQ(U8(2), n)
	Label("pair")
	VMOVSD(Mem{Base: src}, a)
	VMOVSD(Mem{Base: src, Index: n, Scale: 4}, b)
	VMOVSD(a, Mem{Base: dst})
	VMOVSD(b, Mem{Base: dst, Index: n, Scale: 4})
	next("pair")
	Label("single")
	VMOVSS(Mem{Base: src}, a)
	VMOVSS(a, Mem{Base: dst})
	next("single")
}

// splitRows writes the kernel that copies rows taken apart into even and odd
// places. A row's last vector overlaps the one before; rows narrower than one are
// loaded masked, and stored as two halves that overlap.
//
//	a0 a1 a2 a3 a4 a5 a6 a7 │ b0 … b7
//	shuffle 4-wise:  a0 a2 b0 b2 │ a4 a6 b4 b6;  pairs 0 2 1 3:  a0 a2 a4 a6 │ b0 b2 b4 b6
func splitRows() {
	TEXT("splitRowsAVX2", NOSPLIT, "func(even, odd *float32, dstStride int, src *float32, srcStride, rows, n int)")
	Pragma("noescape")
	Doc("splitRowsAVX2 is kernels.splitRows, rows at least 1, n at least 4:", "",
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
	a, b, c := YMM(), YMM(), YMM()
	// apart leaves the even (0x88) or odd (0xdd) places of a and b in c.
	apart := func(which uint8) {
		VSHUFPS(U8(which), b, a, c)
		VPERMPD(U8(0xd8), c, c)
	}
	next := func(again string) {
		ADDQ(srcStride, src)
		ADDQ(dstStride, even)
		ADDQ(dstStride, odd)
		DECQ(rows)
		JNZ(LabelRef(again))
		VZEROUPPER()
		RET()
	}
	CMPQ(last, U8(8))
	JLT(LabelRef("narrow"))
	SUBQ(U8(8), last)
	i := GP64()
	Label("row")
	XORQ(i, i)
	Label("eight")
	VMOVUPS(Mem{Base: src, Index: i, Scale: 8}, a)
	VMOVUPS(Mem{Base: src, Index: i, Scale: 8, Disp: 32}, b)
	apart(0x88)
	VMOVUPS(c, Mem{Base: even, Index: i, Scale: 4})
	apart(0xdd)
	VMOVUPS(c, Mem{Base: odd, Index: i, Scale: 4})
	CMPQ(i, last)
	JE(LabelRef("next"))
	ADDQ(U8(8), i)
	CMPQ(i, last)
	CMOVQGT(last, i)
	JMP(LabelRef("eight"))
	Label("next")
	next("row")
	Label("narrow")
	SUBQ(U8(4), last)
	behind := GP64() // floats of b: 2·n − 8
	LEAQ(Mem{Base: last, Index: last, Scale: 1}, behind)
	m := avx2.firstLanes(behind.(reg.GPVirtual))
	x, order := XMM(), YMM()
	VMOVD(last.(reg.GPVirtual).As32(), x)
	VPBROADCASTD(x, order)
	VPADDD(iota, order, order) // the last four of n
	Label("few")
	VMOVUPS(Mem{Base: src}, a)
	avx2.load(m, Mem{Base: src, Disp: 32}, b)
	for _, half := range []struct {
		which uint8
		to    reg.Register
	}{{0x88, even}, {0xdd, odd}} {
		apart(half.which)
		VMOVUPS(c.AsX(), Mem{Base: half.to})
		VPERMPS(c, order, c)
		VMOVUPS(c.AsX(), Mem{Base: half.to, Index: last, Scale: 4})
	}
	next("few")
}
