package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// planInside writes the planning of quads of samples that lie wholly inside the
// image and whose masks are finite, as most do. It ends before the first other
// one, which plain code plans; both make the same bits.
func planInside() {
	TEXT("planInsideAVX2", NOSPLIT,
		"func(plan *int32, size, quads int, ys, xs *int32, baseY, baseX int, dy, dx, f *float32, fStep, h, w int) int")
	Pragma("noescape")
	Doc("planInsideAVX2 plans quads of samples inside an h×w plane and returns how many; size is that of a sample4 or a gradPlan:", "",
		"\tfor v := range quads {",
		"\t\tfor i := range 4 {",
		"\t\t\ty, ly := split(baseY+ys[4*v+i], dy[4*v+i]) // x likewise",
		"\t\t\tif any is outside { return v }",
		"\t\t\tplans[v].set(i, …, y, x, ly, lx, f[(4*v+i)*fStep])", "\t\t}", "\t}", "\treturn quads")
	plan := Load(Param("plan"), GP64())
	size := Load(Param("size"), GP64())
	ys, xs := Load(Param("ys"), GP64()), Load(Param("xs"), GP64())
	dy, dx, f := Load(Param("dy"), GP64()), Load(Param("dx"), GP64()), Load(Param("f"), GP64())
	fStep := Load(Param("fStep"), GP64())
	SHLQ(U8(4), fStep)
	all := func(name string, less uint8) reg.VecVirtual {
		g, x := GP64(), XMM()
		Load(Param(name), g)
		if less > 0 {
			SUBQ(U8(less), g)
		}
		VMOVD(g.As32(), x)
		VPBROADCASTD(x, x)
		return x
	}
	baseY, baseX, h1, w1, w := all("baseY", 0), all("baseX", 0), all("h", 1), all("w", 1), all("w", 0)
	done, quads := GP64(), Load(Param("quads"), GP64())
	XORQ(done, done)
	on, one := XMM(), XMM()
	VPCMPEQD(on, on, on)
	g := GP32()
	MOVL(U32(0x3f800000), g)
	VMOVD(g, one)
	VBROADCASTSS(one, one)

	Label("quad")
	CMPQ(done, quads)
	JGE(LabelRef("end"))
	split := func(delta, places reg.Register, base, limit reg.VecVirtual) (at, part, inside reg.VecVirtual) {
		whole := XMM()
		at, part, inside = XMM(), XMM(), XMM()
		VMOVUPS(Mem{Base: delta}, part)
		VROUNDPS(U8(9), part, whole) // down, no exceptions
		VSUBPS(whole, part, part)
		VCVTTPS2DQ(whole, at)
		VPADDD(Mem{Base: places}, at, at)
		VPADDD(base, at, at)
		low := XMM()
		VPCMPGTD(on, at, low) // beyond −1; what is no int32 becomes the least one, and with a base before 0 a huge one
		VPCMPGTD(at, limit, inside)
		VPAND(low, inside, inside)
		return at, part, inside
	}
	y, ly, inY := split(dy, ys, baseY, h1)
	x, lx, inX := split(dx, xs, baseX, w1)
	VPAND(inX, inY, inY)
	m, finite := XMM(), XMM()
	VMOVUPS(Mem{Base: f}, m)
	VSUBPS(m, m, finite)
	VCMPPS(U8(7), finite, finite, finite) // ordered: ∞ − ∞ is not
	VPAND(finite, inY, inY)
	bits := GP32()
	VMOVMSKPS(inY, bits)
	CMPL(bits, U8(15))
	JNE(LabelRef("end"))
	VPMULLD(w, y, y)
	VPADDD(x, y, y)
	VMOVDQU(y, Mem{Base: plan})
	VPADDD(w, y, y)
	VMOVDQU(y, Mem{Base: plan, Disp: 16})
	hy, hx := XMM(), XMM()
	VSUBPS(ly, one, hy)
	VSUBPS(lx, one, hx)
	for k, side := range []reg.VecVirtual{hy, ly} {
		left, right, low := XMM(), XMM(), XMM()
		VMULPS(hx, side, left)
		VMULPS(m, left, left)
		VMULPS(lx, side, right)
		VMULPS(m, right, right)
		VUNPCKLPS(right, left, low)
		VUNPCKHPS(right, left, left)
		VMOVUPS(low, Mem{Base: plan, Disp: 32 + 32*k})
		VMOVUPS(left, Mem{Base: plan, Disp: 48 + 32*k})
	}
	for i := range 4 {
		VMOVDQU(on, Mem{Base: plan, Disp: 96 + 16*i})
	}
	CMPQ(size, U32(gradPlanSize))
	JNE(LabelRef("next"))
	VMOVUPS(ly, Mem{Base: plan, Disp: 160})
	VMOVUPS(lx, Mem{Base: plan, Disp: 176})
	VMOVUPS(m, Mem{Base: plan, Disp: 192})
	none := XMM()
	VPXOR(none, none, none)
	VMOVDQU(none, Mem{Base: plan, Disp: 208})
	Label("next")
	ADDQ(size, plan)
	for _, p := range []reg.Register{ys, xs, dy, dx} {
		ADDQ(U8(16), p)
	}
	ADDQ(fStep, f)
	INCQ(done)
	JMP(LabelRef("quad"))
	Label("end")
	Store(done, ReturnIndex(0))
	RET()
}
