package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pack writes the kernel that copies one vector of a panel for n channels out of
// at most two stretches of pixels: where a vector of output pixels passes from
// one row to the next, its lanes come from two places.
//
//	dst  │ a5 a6 a7 │ b0 b1 b2 b3 b4 │
//	       first      second
func pack(s isa) {
	TEXT("pack"+s.name, NOSPLIT,
		"func(dst *float32, dstStride int, src *float32, srcStride, n, at0 int, bits0 uint32, at1 int, bits1 uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("pack%s is kernels.pack, n at least 1:", s.name), "",
		"\tfor ch := range n {",
		fmt.Sprintf("\t\tfor i := range %d {", s.lanes()),
		"\t\t\tv := 0",
		"\t\t\tif bits0>>i&1 != 0 { v = src[ch*srcStride+at0+i] }",
		"\t\t\tif bits1>>i&1 != 0 { v = src[ch*srcStride+at1+i] }",
		"\t\t\tdst[ch*dstStride+i] = v", "\t\t}", "\t}")
	dst := Load(Param("dst"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	src := Load(Param("src"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	n := Load(Param("n"), GP64())
	at0, at1 := Load(Param("at0"), GP64()), Load(Param("at1"), GP64())
	bits0, bits1 := Load(Param("bits0"), GP32()), Load(Param("bits1"), GP32())
	SHLQ(U8(2), dstStride)
	SHLQ(U8(2), srcStride)
	second := GP64()
	LEAQ(Mem{Base: src, Index: at1, Scale: 4}, second)
	LEAQ(Mem{Base: src, Index: at0, Scale: 4}, src)

	loop := func(name string, body func()) {
		Label(name)
		body()
		ADDQ(srcStride, src)
		ADDQ(dstStride, dst)
		DECQ(n)
		JNZ(LabelRef(name))
		VZEROUPPER()
		RET()
	}
	v, u := s.vec(), s.vec()
	m0 := s.laneMask(bits0.(reg.GPVirtual))
	TESTL(bits1, bits1)
	JNZ(LabelRef("two"))
	CMPL(bits0, U32(1<<s.lanes()-1))
	JEQ(LabelRef("whole"))
	loop("one", func() {
		s.load(m0, Mem{Base: src}, v)
		VMOVUPS(v, Mem{Base: dst})
	})
	loop("whole", func() {
		VMOVUPS(Mem{Base: src}, v)
		VMOVUPS(v, Mem{Base: dst})
	})
	Label("two")
	m1 := s.laneMask(bits1.(reg.GPVirtual))
	loop("both", func() {
		s.load(m0, Mem{Base: src}, v)
		if s.wide() {
			VMOVUPS(Mem{Base: second}, m1.k, v)
		} else {
			s.load(m1, Mem{Base: second}, u)
			VORPS(u, v, v)
		}
		ADDQ(srcStride, second)
		VMOVUPS(v, Mem{Base: dst})
	})
}

// packEven writes the kernel that does what pack does where neighbouring output
// pixels read every second pixel: twice as much is loaded, and the even places
// are put together.
func packEven(s isa) {
	TEXT("packEven"+s.name, NOSPLIT,
		"func(dst *float32, dstStride int, src *float32, srcStride, n, at0 int, bits0 uint32, at1 int, bits1 uint32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("packEven%s is kernels.packEven, n at least 1:", s.name), "",
		"\tfor ch := range n {",
		fmt.Sprintf("\t\tfor i := range %d {", s.lanes()),
		"\t\t\tv := 0",
		"\t\t\tif bits0>>i&1 != 0 { v = src[ch*srcStride+at0+2*i] }",
		"\t\t\tif bits1>>i&1 != 0 { v = src[ch*srcStride+at1+2*i] }",
		"\t\t\tdst[ch*dstStride+i] = v", "\t\t}", "\t}")
	dst := Load(Param("dst"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	src := Load(Param("src"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	n := Load(Param("n"), GP64())
	at0, at1 := Load(Param("at0"), GP64()), Load(Param("at1"), GP64())
	SHLQ(U8(2), dstStride)
	SHLQ(U8(2), srcStride)
	second := GP64()
	LEAQ(Mem{Base: src, Index: at1, Scale: 4}, second)
	LEAQ(Mem{Base: src, Index: at0, Scale: 4}, src)
	// Lane i's bit goes to place 2i of two vectors.
	every := GP32()
	MOVL(U32(0x55555555), every)
	var m [2][2]mask
	for k, name := range []string{"bits0", "bits1"} {
		bits := Load(Param(name), GP32()).(reg.GPVirtual)
		PDEPL(every, bits, bits)
		m[k][0] = s.laneMask(bits)
		SHRL(U8(s.lanes()), bits)
		m[k][1] = s.laneMask(bits)
	}
	v := [2]reg.VecVirtual{s.vec(), s.vec()}
	u, order := s.vec(), s.vec()
	if s.wide() {
		VMOVUPS(evens, order)
	}
	Label("channel")
	for h := range v {
		s.load(m[0][h], Mem{Base: src, Disp: s.size * h}, v[h])
		if from := (Mem{Base: second, Disp: s.size * h}); s.wide() {
			VMOVUPS(from, m[1][h].k, v[h])
		} else {
			s.load(m[1][h], from, u)
			VORPS(u, v[h], v[h])
		}
	}
	if s.wide() {
		VPERMT2PS(v[1], order, v[0])
	} else {
		VSHUFPS(U8(0x88), v[1], v[0], v[0])
		VPERMPD(U8(0xd8), v[0], v[0])
	}
	VMOVUPS(v[0], Mem{Base: dst})
	ADDQ(srcStride, src)
	ADDQ(srcStride, second)
	ADDQ(dstStride, dst)
	DECQ(n)
	JNZ(LabelRef("channel"))
	VZEROUPPER()
	RET()
}

// sample writes the bilinear sampler of quads of lanes for n channels. The two
// pixels of a pair are neighbours in memory, so one 64-bit load takes both; eight
// loads make four lanes, and the addresses stay in registers for all channels.
//
//	pairs        │ l0 r0 │ l1 r1 │   │ l2 r2 │ l3 r3 │   upper, times their weights,
//	           + │ l0 r0 │ l1 r1 │   │ l2 r2 │ l3 r3 │   plus lower, times theirs;
//	neighbours added    │ s0 s1 s2 s3 │
//
// Corners that do not count are masked, not only weighted 0: they may be NaN.
// Most quads have none, and a loop of their own. With add the samples are added to
// what is there.
func sample(add bool) {
	const size = 160 // of a sample4
	name, kernel, result := "sampleAVX2", "sample", "left + right"
	if add {
		name, kernel, result = "sampleAddAVX2", "sampleAdd", "dst[ch*dstStride+4*v+i] + (left + right)"
	}
	TEXT(name, NOSPLIT, "func(dst *float32, dstStride int, src *float32, srcStride, n int, plans *int32, quads int)")
	Pragma("noescape")
	Doc(name+" is kernels."+kernel+", n and quads at least 1, plans the first field of a sample4:", "",
		"\tfor v, s := range plans {",
		"\t\tfor ch := range n {",
		"\t\t\tfor i := range 4 {",
		"\t\t\t\tp, q := src[ch*srcStride+s.at[0][i]:], src[ch*srcStride+s.at[1][i]:]",
		"\t\t\t\tleft := fma(s.w[1][i][0], q[0]&s.m[1][i][0], s.w[0][i][0]*(p[0]&s.m[0][i][0]))",
		"\t\t\t\tright := fma(s.w[1][i][1], q[1]&s.m[1][i][1], s.w[0][i][1]*(p[1]&s.m[0][i][1]))",
		"\t\t\t\tdst[ch*dstStride+4*v+i] = "+result, "\t\t\t}", "\t\t}", "\t}")
	plan := Load(Param("plans"), GP64())
	srcStride := Load(Param("srcStride"), GP64())
	dstStride := Load(Param("dstStride"), GP64())
	SHLQ(U8(2), dstStride)
	SHLQ(U8(2), srcStride)
	dst, src, n := GP64(), GP64(), GP64()
	var at [2][4]reg.GPVirtual
	for k := range at {
		for i := range at[k] {
			at[k][i] = GP64()
		}
	}
	var w, m [2][2]reg.VecVirtual // upper and lower pairs × lanes 0 1, 2 3

	Label("quad")
	for k := range at {
		for i := range at[k] {
			MOVLQSX(Mem{Base: plan, Disp: 16*k + 4*i}, at[k][i])
		}
		for h := range w[k] {
			w[k][h], m[k][h] = XMM(), XMM()
			VMOVUPS(Mem{Base: plan, Disp: 32 + 32*k + 16*h}, w[k][h])
			VMOVUPS(Mem{Base: plan, Disp: 96 + 32*k + 16*h}, m[k][h])
		}
	}
	Load(Param("dst"), dst)
	Load(Param("src"), src)
	Load(Param("n"), n)
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
		var sum [2]reg.VecVirtual
		for k := range at {
			for h := range sum {
				x := XMM()
				VMOVSD(Mem{Base: src, Index: at[k][2*h], Scale: 4}, x)
				VMOVHPS(Mem{Base: src, Index: at[k][2*h+1], Scale: 4}, x, x)
				if masked {
					VANDPS(m[k][h], x, x)
				}
				if k == 0 {
					sum[h] = XMM()
					VMULPS(w[k][h], x, sum[h])
				} else {
					VFMADD231PS(w[k][h], x, sum[h])
				}
			}
		}
		s := XMM()
		VHADDPS(sum[1], sum[0], s)
		if add {
			VADDPS(Mem{Base: dst}, s, s)
		}
		VMOVUPS(s, Mem{Base: dst})
		ADDQ(srcStride, src)
		ADDQ(dstStride, dst)
		DECQ(n)
		JNZ(LabelRef(name))
	}
	channels("channel", false)
	JMP(LabelRef("next"))
	channels("masked", true)
	Label("next")
	ADDQ(U32(size), plan)
	to, err := Param("dst").Resolve()
	if err != nil {
		panic(err)
	}
	ADDQ(U8(16), to.Addr)
	quads, err := Param("quads").Resolve()
	if err != nil {
		panic(err)
	}
	DECQ(quads.Addr)
	JNZ(LabelRef("quad"))
	RET()
}
