package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gradients writes the kernels of backward plans and activations.
func gradients() {
	tables()
	transpose()
	transposeFours()
	dots()
	merge()
	planInside()
	for _, s := range []isa{avx512, avx2} {
		scatter(s)
		for _, taps := range []int{9, 5, 3, 1} {
			planeDot(s, taps)
		}
	}
}

const gradPlanSize = 224 // bytes of a gradPlan, whose beginning is a sample4

// transpose writes the transposition of eight rows, four columns at a time:
//
//	r0 │ a0 b0 c0 d0 │ a4 b4 c4 d4 │   rows 0 and 4 at columns a…d, and so on:
//	…                                  two rounds of unpacking in the halves make
//	r3 │ a3 b3 c3 d3 │ a7 b7 c7 d7 │   │ a0 a1 a2 a3 │ a4 a5 a6 a7 │
func transpose() {
	TEXT("transpose8AVX2", NOSPLIT, "func(dst *float32, dstStride int, src *float32, at *int32, n int)")
	Pragma("noescape")
	Doc("transpose8AVX2 is kernels.transpose, n a multiple of 8, at least that:", "",
		"\tfor l := range n {", "\t\tfor i := range 8 {", "\t\t\tdst[l*dstStride+i] = src[at[i]+l]", "\t\t}", "\t}")
	dst := Load(Param("dst"), GP64())
	stride := Load(Param("dstStride"), GP64())
	SHLQ(U8(2), stride)
	src := Load(Param("src"), GP64())
	at := Load(Param("at"), GP64())
	var row [8]reg.GPVirtual
	for i := range row {
		row[i] = GP64()
		MOVLQSX(Mem{Base: at, Disp: 4 * i}, row[i])
		LEAQ(Mem{Base: src, Index: row[i], Scale: 4}, row[i])
	}
	left := Load(Param("n"), GP64())
	l := GP64()
	XORQ(l, l)
	Label("columns")
	var r [4]reg.VecVirtual
	for i := range r {
		x := XMM()
		r[i] = YMM()
		VMOVUPS(Mem{Base: row[i], Index: l, Scale: 4}, x)
		VINSERTF128(U8(1), Mem{Base: row[i+4], Index: l, Scale: 4}, x.AsY(), r[i])
	}
	low, high := [2]reg.VecVirtual{YMM(), YMM()}, [2]reg.VecVirtual{YMM(), YMM()}
	for i := range low {
		VUNPCKLPS(r[2*i+1], r[2*i], low[i])
		VUNPCKHPS(r[2*i+1], r[2*i], high[i])
	}
	for _, half := range [][2]reg.VecVirtual{low, high} {
		for k := range 2 {
			out := YMM()
			if k == 0 {
				VUNPCKLPD(half[1], half[0], out)
			} else {
				VUNPCKHPD(half[1], half[0], out)
			}
			VMOVUPS(out, Mem{Base: dst})
			ADDQ(stride, dst)
		}
	}
	ADDQ(U8(4), l)
	CMPQ(l, left)
	JNE(LabelRef("columns"))
	VZEROUPPER()
	RET()
}

// transposeFours writes the transposition of four rows, four columns at a time.
func transposeFours() {
	TEXT("transpose4AVX2", NOSPLIT, "func(dst, src *float32, stride, n int)")
	Pragma("noescape")
	Doc("transpose4AVX2 is kernels.transposeFours, n a multiple of 4, at least that:", "",
		"\tfor l := range n {", "\t\tfor i := range 4 {", "\t\t\tdst[4*l+i] = src[i*stride+l]", "\t\t}", "\t}")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	n := Load(Param("n"), GP64())
	SHLQ(U8(2), stride)
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	Label("columns")
	r := [4]reg.VecVirtual{XMM(), XMM(), XMM(), XMM()}
	VMOVUPS(Mem{Base: src}, r[0])
	VMOVUPS(Mem{Base: src, Index: stride, Scale: 1}, r[1])
	VMOVUPS(Mem{Base: src, Index: stride, Scale: 2}, r[2])
	VMOVUPS(Mem{Base: src, Index: three, Scale: 1}, r[3])
	low, high := [2]reg.VecVirtual{XMM(), XMM()}, [2]reg.VecVirtual{XMM(), XMM()}
	for i := range low {
		VUNPCKLPS(r[2*i+1], r[2*i], low[i])
		VUNPCKHPS(r[2*i+1], r[2*i], high[i])
	}
	for i, half := range [][2]reg.VecVirtual{low, high} {
		a, b := XMM(), XMM()
		VUNPCKLPD(half[1], half[0], a)
		VUNPCKHPD(half[1], half[0], b)
		VMOVUPS(a, Mem{Base: dst, Disp: 32 * i})
		VMOVUPS(b, Mem{Base: dst, Disp: 32*i + 16})
	}
	ADDQ(U8(16), src)
	ADDQ(U8(64), dst)
	SUBQ(U8(4), n)
	JNZ(LabelRef("columns"))
	RET()
}

// dots writes the sums over channels of a column gradient times the four
// neighbours of its samples. Pairs are loaded as the sampler does it, the
// gradient of a pixel stands twice beside them, and the sums stay in registers
// for all channels.
func dots() {
	TEXT("dotsAVX2", NOSPLIT, "func(sums *float32, plans *int32, quads int, col *float32, colStride int, src *float32, srcStride, n int)")
	Pragma("noescape")
	Doc("dotsAVX2 is kernels.dots, quads and n at least 1:", "",
		"\tfor v, g := range plans {",
		"\t\tfor ch := range n {",
		"\t\t\tfor k, i, e := range 2, 4, 2 {",
		"\t\t\t\tp := src[ch*srcStride+g.at[k][i]+e] & g.m[k][i][e]",
		"\t\t\t\tsums[16*v+8*k+2*i+e] = fma(col[ch*colStride+4*v+i] & g.m[k][i][e], p, sums[16*v+8*k+2*i+e])", "\t\t\t}", "\t\t}", "\t}")
	plan := Load(Param("plans"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	colStride := Load(Param("colStride"), GP64())
	SHLQ(U8(2), colStride)
	SHLQ(U8(2), srcStride)
	col, src, n := GP64(), GP64(), GP64()
	var at [2][4]reg.GPVirtual
	for k := range at {
		for i := range at[k] {
			at[k][i] = GP64()
		}
	}
	var sum, m [2][2]reg.VecVirtual // upper and lower pairs × lanes 0 1, 2 3

	Label("quad")
	to := n // until n is loaded
	Load(Param("sums"), to)
	for k := range at {
		for i := range at[k] {
			MOVLQSX(Mem{Base: plan, Disp: 16*k + 4*i}, at[k][i])
		}
		for h := range sum[k] {
			sum[k][h], m[k][h] = XMM(), XMM()
			VMOVUPS(Mem{Base: to, Disp: 32*k + 16*h}, sum[k][h])
			VMOVUPS(Mem{Base: plan, Disp: 96 + 32*k + 16*h}, m[k][h])
		}
	}
	Load(Param("col"), col)
	Load(Param("src"), src)
	all := XMM()
	VANDPS(m[0][0], m[0][1], all)
	VANDPS(m[1][0], all, all)
	VANDPS(m[1][1], all, all)
	VMOVMSKPS(all, n.As32())
	CMPL(n.As32(), U8(15))
	Load(Param("n"), n)
	JNE(LabelRef("masked"))

	channels := func(name string, masked bool) {
		Label(name)
		f := XMM()
		VMOVUPS(Mem{Base: col}, f)
		twice := [2]reg.VecVirtual{XMM(), XMM()}
		VUNPCKLPS(f, f, twice[0])
		VUNPCKHPS(f, f, twice[1])
		for k := range at {
			for h := range twice {
				x := XMM()
				VMOVSD(Mem{Base: src, Index: at[k][2*h], Scale: 4}, x)
				VMOVHPS(Mem{Base: src, Index: at[k][2*h+1], Scale: 4}, x, x)
				f := twice[h]
				if masked { // both, since either may be NaN
					f = XMM()
					VANDPS(m[k][h], x, x)
					VANDPS(m[k][h], twice[h], f)
				}
				VFMADD231PS(f, x, sum[k][h])
			}
		}
		ADDQ(srcStride, src)
		ADDQ(colStride, col)
		DECQ(n)
		JNZ(LabelRef(name))
	}
	channels("channel", false)
	JMP(LabelRef("next"))
	channels("masked", true)
	Label("next")
	Load(Param("sums"), to)
	for k := range sum {
		for h := range sum[k] {
			VMOVUPS(sum[k][h], Mem{Base: to, Disp: 32*k + 16*h})
		}
	}
	ADDQ(U32(gradPlanSize), plan)
	for _, next := range []struct {
		name string
		step int
	}{{"sums", 64}, {"col", 16}} {
		p, err := Param(next.name).Resolve()
		if err != nil {
			panic(err)
		}
		ADDQ(U8(next.step), p.Addr)
	}
	quads, err := Param("quads").Resolve()
	if err != nil {
		panic(err)
	}
	DECQ(quads.Addr)
	JNZ(LabelRef("quad"))
	RET()
}

// scatter writes the addition of a pixel's channels to its four neighbours,
// whole vectors of them.
func scatter(s isa) {
	TEXT("scatter"+s.name, NOSPLIT, "func(dst *float32, plans *int32, quads int, col *float32, pitch int)")
	Pragma("noescape")
	Doc("scatter"+s.name+" is kernels.scatter, quads at least 1, pitch whole vectors:", "",
		"\tfor v, g := range plans {",
		"\t\tfor i, k, e := range 4, 2, 2 {",
		"\t\t\tif g.m[k][i][e] == 0 { continue }",
		"\t\t\tfor c := range pitch {",
		"\t\t\t\tto := &dst[(g.at[k][i]+e)*pitch+c]",
		"\t\t\t\t*to = fma(g.w[k][i][e], col[(4*v+i)*pitch+c], *to)", "\t\t\t}", "\t\t}", "\t}")
	dst := Load(Param("dst"), GP64())
	plan := Load(Param("plans"), GP64())
	quads := Load(Param("quads"), GP64())
	col := Load(Param("col"), GP64())
	pitch := Load(Param("pitch"), GP64())
	SHLQ(U8(2), pitch)
	to, c, w := GP64(), GP64(), s.vec()
	Label("quad")
	for i := range 4 {
		for k := range 2 {
			for e := range 2 {
				name := label("%d%d%d", i, k, e)
				CMPL(Mem{Base: plan, Disp: 96 + 32*k + 8*i + 4*e}, U8(0))
				JEQ(LabelRef("skip" + name))
				MOVLQSX(Mem{Base: plan, Disp: 16*k + 4*i}, to)
				if e > 0 {
					INCQ(to)
				}
				IMULQ(pitch, to)
				ADDQ(dst, to)
				VBROADCASTSS(Mem{Base: plan, Disp: 32 + 32*k + 8*i + 4*e}, w)
				XORQ(c, c)
				Label("vector" + name)
				sum := s.vec()
				VMOVUPS(Mem{Base: to, Index: c, Scale: 1}, sum)
				VFMADD231PS(Mem{Base: col, Index: c, Scale: 1}, w, sum)
				VMOVUPS(sum, Mem{Base: to, Index: c, Scale: 1})
				ADDQ(U8(s.size), c)
				CMPQ(c, pitch)
				JNE(LabelRef("vector" + name))
				Label("skip" + name)
			}
		}
		ADDQ(pitch, col)
	}
	ADDQ(U32(gradPlanSize), plan)
	DECQ(quads)
	JNZ(LabelRef("quad"))
	VZEROUPPER()
	RET()
}

// planeDot writes dot products of rows of dy with the rows that some taps read,
// one vector of sums a tap.
func planeDot(s isa, taps int) {
	name := label("planeDot%d%s", taps, s.name)
	TEXT(name, NOSPLIT, "func(sums, dy *float32, yStride, rows, n int, x *float32, xStride int, at *int32)")
	Pragma("noescape")
	Doc(label("%s is kernels.planeDot for %d taps, rows and n at least 1:", name, taps), "",
		label("\tfor t := range %d {", taps),
		"\t\tfor oy := range rows {", "\t\t\tfor i := range n {",
		"\t\t\t\tsums[t] = fma(dy[oy*yStride+i], x[oy*xStride+at[t]+i], sums[t])", "\t\t\t}", "\t\t}", "\t}")
	n := Load(Param("n"), GP64()).(reg.GPVirtual)
	rest := GP64()
	MOVQ(n, rest)
	ANDQ(U8(s.lanes()-1), rest)
	m := s.firstLanes(rest)
	SUBQ(rest, n)
	x := Load(Param("x"), GP64())
	at := Load(Param("at"), GP64())
	base, sum := make([]reg.GPVirtual, taps), make([]reg.VecVirtual, taps)
	for t := range base {
		base[t], sum[t] = GP64(), s.vec()
		MOVLQSX(Mem{Base: at, Disp: 4 * t}, base[t])
		LEAQ(Mem{Base: x, Index: base[t], Scale: 4}, base[t])
		if s.wide() {
			VPXORD(sum[t], sum[t], sum[t])
		} else {
			VXORPS(sum[t], sum[t], sum[t])
		}
	}
	dy := Load(Param("dy"), GP64())
	rows := Load(Param("rows"), GP64())
	i, d := GP64(), s.vec()
	Label("row")
	XORQ(i, i)
	TESTQ(n, n)
	JZ(LabelRef("last"))
	Label("vector")
	VMOVUPS(Mem{Base: dy, Index: i, Scale: 4}, d)
	for t := range base {
		VFMADD231PS(Mem{Base: base[t], Index: i, Scale: 4}, d, sum[t])
	}
	ADDQ(U8(s.lanes()), i)
	CMPQ(i, n)
	JLT(LabelRef("vector"))
	Label("last")
	total := Load(Param("n"), GP64())
	CMPQ(i, total)
	JGE(LabelRef("next"))
	s.load(m, Mem{Base: dy, Index: i, Scale: 4}, d)
	for t := range base { // what lies behind may be NaN
		v := s.vec()
		s.load(m, Mem{Base: base[t], Index: i, Scale: 4}, v)
		VFMADD231PS(v, d, sum[t])
	}
	Label("next")
	step := Load(Param("xStride"), GP64())
	for t := range base {
		LEAQ(Mem{Base: base[t], Index: step, Scale: 4}, base[t])
	}
	step = Load(Param("yStride"), GP64())
	LEAQ(Mem{Base: dy, Index: step, Scale: 4}, dy)
	DECQ(rows)
	JNZ(LabelRef("row"))
	to := Load(Param("sums"), GP64())
	for t := range sum {
		half := YMM()
		low := XMM()
		if s.wide() {
			VEXTRACTF64X4(U8(1), sum[t], half)
			VADDPS(half, sum[t].AsY(), half)
		} else {
			VMOVAPS(sum[t], half)
		}
		VEXTRACTF128(U8(1), half, low)
		VADDPS(low, half.AsX(), low)
		VHADDPS(low, low, low)
		VHADDPS(low, low, low)
		VADDSS(Mem{Base: to, Disp: 4 * t}, low, low)
		VMOVSS(low, Mem{Base: to, Disp: 4 * t})
	}
	VZEROUPPER()
	RET()
}

// merge writes the interleaving of two rows, splitRows backwards.
func merge() {
	TEXT("mergeAVX2", NOSPLIT, "func(dst, even, odd *float32, n int)")
	Pragma("noescape")
	Doc("mergeAVX2 is kernels.merge, n a multiple of 8, at least that:", "",
		"\tfor i := range n {", "\t\tdst[2*i], dst[2*i+1] = even[i], odd[i]", "\t}")
	dst := Load(Param("dst"), GP64())
	even, odd := Load(Param("even"), GP64()), Load(Param("odd"), GP64())
	n := Load(Param("n"), GP64())
	a, b, low, high, out := YMM(), YMM(), YMM(), YMM(), YMM()
	Label("eight")
	VMOVUPS(Mem{Base: even}, a)
	VMOVUPS(Mem{Base: odd}, b)
	VUNPCKLPS(b, a, low)
	VUNPCKHPS(b, a, high)
	VPERM2F128(U8(0x20), high, low, out)
	VMOVUPS(out, Mem{Base: dst})
	VPERM2F128(U8(0x31), high, low, out)
	VMOVUPS(out, Mem{Base: dst, Disp: 32})
	ADDQ(U8(32), even)
	ADDQ(U8(32), odd)
	ADDQ(U8(64), dst)
	SUBQ(U8(8), n)
	JNZ(LabelRef("eight"))
	VZEROUPPER()
	RET()
}
