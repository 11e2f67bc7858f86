package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemm writes the micro-kernel of mr output channels × nv vectors of pixels.
//
//	         b: nv vectors a row
//	         ┌────┬────┬────┐
//	         └────┴────┴────┘   per row of the panel: nv loads,
//	  ┌─┐    ┌────┬────┬────┐   mr broadcasts, mr·nv FMAs
//	a │ │ ×  │    │    │    │ c: in registers from first to last
//	mr│ │    │    │    │    │
//	  └─┘    └────┴────┴────┘
//
// 8 × 3 takes 24 + 3 + 1 of AVX-512's 32 registers, 4 × 3 takes 12 + 3 + 1 of
// AVX2's 16. The last vector of c is masked.
func gemm(s isa, mr, nv int) {
	TEXT(fmt.Sprintf("gemm%dx%d%s", mr, nv, s.name), NOSPLIT,
		"func(c *float32, ldc int, a, b, bias *float32, segs *int32, nseg, segLen, skip, tail int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("gemm%dx%d%s is kernels.gemm for mr = %d, nv = %d:", mr, nv, s.name, mr, nv),
		"",
		fmt.Sprintf("\tfor i := range %d {", mr),
		fmt.Sprintf("\t\tfor j := range %d + tail {", (nv-1)*s.lanes()),
		"\t\t\tsum := c[i*ldc+j] // bias[i] unless bias is nil",
		"\t\t\tfor q := range nseg {",
		"\t\t\t\tfor l := range segLen {",
		fmt.Sprintf("\t\t\t\t\tsum = fma(a[(segs[q]*segLen+l)*%d+i], b[(q*segLen+l)*%d+q*skip+j], sum)", mr, nv*s.lanes()),
		"\t\t\t\t}", "\t\t\t}",
		"\t\t\tc[i*ldc+j] = sum", "\t\t}", "\t}")
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)
	tail := func() reg.GPVirtual { return Load(Param("tail"), GP64()).(reg.GPVirtual) }
	var m mask
	if s.wide() {
		m = s.firstLanes(tail())
	} // AVX2 has no register to keep a mask in

	acc := make([][]reg.VecVirtual, mr)
	for i := range acc {
		acc[i] = make([]reg.VecVirtual, nv)
		for v := range acc[i] {
			acc[i][v] = s.vec()
		}
	}
	bias := Load(Param("bias"), GP64())
	row := GP64()
	MOVQ(c, row)
	TESTQ(bias, bias)
	JZ(LabelRef("collect"))
	for i := range acc {
		VBROADCASTSS(Mem{Base: bias, Disp: 4 * i}, acc[i][0])
		for v := 1; v < nv; v++ {
			VMOVAPS(acc[i][0], acc[i][v])
		}
	}
	JMP(LabelRef("begin"))
	Label("collect")
	if !s.wide() {
		m = s.firstLanes(tail())
	}
	for i := range acc {
		for v := range nv {
			at := Mem{Base: row, Disp: s.size * v}
			if v < nv-1 {
				VMOVUPS(at, acc[i][v])
			} else {
				s.load(m, at, acc[i][v])
			}
		}
		if i < mr-1 {
			ADDQ(ldc, row)
		}
	}

	Label("begin")
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	segs := Load(Param("segs"), GP64())
	nseg := Load(Param("nseg"), GP64())
	segLen := Load(Param("segLen"), GP64())
	skip := Load(Param("skip"), GP64())
	SHLQ(U8(2), skip)
	segSize := GP64()
	IMUL3Q(U8(4*mr), segLen, segSize)
	TESTQ(nseg, nseg)
	JZ(LabelRef("store"))

	Label("segment")
	w, left := GP64(), GP64()
	MOVLQSX(Mem{Base: segs}, w)
	IMULQ(segSize, w)
	ADDQ(a, w)
	MOVQ(segLen, left)
	Label("row")
	x := make([]reg.VecVirtual, nv)
	for v := range x {
		x[v] = s.vec()
		VMOVUPS(Mem{Base: b, Disp: s.size * v}, x[v])
	}
	f := s.vec()
	for i := range acc {
		VBROADCASTSS(Mem{Base: w, Disp: 4 * i}, f)
		for v := range x {
			VFMADD231PS(x[v], f, acc[i][v])
		}
	}
	ADDQ(U8(4*mr), w)
	ADDQ(U32(s.size*nv), b)
	DECQ(left)
	JNZ(LabelRef("row"))
	ADDQ(skip, b)
	ADDQ(U8(4), segs)
	DECQ(nseg)
	JNZ(LabelRef("segment"))

	Label("store")
	// AVX2's masked store is slow on some machines: full vectors go around it.
	write := func(masked bool) {
		for i := range acc {
			for v := range nv {
				to := Mem{Base: c, Disp: s.size * v}
				if masked && v == nv-1 {
					s.store(m, acc[i][v], to)
				} else {
					VMOVUPS(acc[i][v], to)
				}
			}
			if i < mr-1 {
				ADDQ(ldc, c)
			}
		}
		VZEROUPPER()
		RET()
	}
	if !s.wide() {
		CMPQ(tail(), U8(s.lanes()))
		JNE(LabelRef("partial"))
		write(false)
		Label("partial")
		m = s.firstLanes(tail())
	}
	write(true)
}
