// Command gen writes the vector kernels of package fast as Go assembly:
//
//	go generate ./cpuref/fast
//
// One generator serves AVX-512 and AVX2: the loops are the same, only the width,
// the number of registers and the way to mask differ.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	_ "golang.org/x/tools/go/packages" // pins the version that avo is built with
)

// isa is one instruction set.
type isa struct {
	name string
	size int // bytes of a vector
	vec  func() reg.VecVirtual
	rows []int // heights of micro-tiles
}

var (
	avx512 = isa{"AVX512", 64, ZMM, []int{8, 4, 2, 1}}
	avx2   = isa{"AVX2", 32, YMM, []int{4, 2, 1}}
)

func (s isa) lanes() int { return s.size / 4 }

func (s isa) wide() bool { return s.size == 64 }

func main() {
	// The kernels of backward plans and activations make a file of their own.
	flag.Bool("grad", false, "write the kernels of backward plans and activations")
	ConstraintExpr("!noasm")
	if slices.Contains(os.Args, "-grad") { // flags are parsed at the end, by Generate
		gradients()
		Generate()
		return
	}
	tables()
	for _, s := range []isa{avx512, avx2} {
		for _, mr := range s.rows {
			for nv := 1; nv <= 3; nv++ {
				gemm(s, mr, nv)
			}
		}
		pack(s)
		packEven(s)
		planeFMA(s)
		winogradIn(s)
		winogradOut(s)
		peak(s)
	}
	sample(false)
	sample(true)
	clamp()
	copyRows()
	splitRows()
	winograd4In()
	winograd4Out()
	Generate()
}

// iota is 0…7 and laneBits 1<<0…1<<7, for AVX2's masks; evens the even numbers
// below 32, zipLow and zipHigh what puts two vectors' lanes alternately, for
// permutations.
var iota, laneBits, evens, zipLow, zipHigh Mem

func tables() {
	iota = GLOBL("iota", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(i))
	}
	laneBits = GLOBL("laneBits", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(1<<i))
	}
	evens = GLOBL("evens", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(2*i))
	}
	zipLow = GLOBL("zipLow", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i/2+i%2*16))
	}
	zipHigh = GLOBL("zipHigh", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(8+i/2+i%2*16))
	}
}

// mask is the lanes of a vector that may be touched.
type mask struct {
	k reg.OpmaskVirtual // AVX-512
	v reg.VecVirtual    // AVX2
}

// firstLanes masks the first n lanes, 1 ≤ n ≤ lanes.
func (s isa) firstLanes(n reg.GPVirtual) (m mask) {
	if s.wide() {
		m.k = K()
		bits := GP32()
		MOVQ(n, reg.RCX)
		MOVL(U32(1), bits)
		SHLL(reg.CL, bits)
		DECL(bits)
		KMOVW(bits, m.k)
		return m
	}
	x := XMM()
	m.v = YMM()
	VMOVD(n.As32(), x)
	VPBROADCASTD(x, m.v)
	VPCMPGTD(iota, m.v, m.v)
	return m
}

// laneMask masks the lanes whose bit is set.
func (s isa) laneMask(bits reg.GPVirtual) (m mask) {
	if s.wide() {
		m.k = K()
		KMOVW(bits.As32(), m.k)
		return m
	}
	x, each := XMM(), YMM()
	m.v = YMM()
	VMOVD(bits.As32(), x)
	VPBROADCASTD(x, m.v)
	VMOVDQU(laneBits, each)
	VPAND(each, m.v, m.v)
	VPCMPEQD(each, m.v, m.v)
	return m
}

// load loads the masked lanes and zeros the others.
func (s isa) load(m mask, from Mem, to reg.VecVirtual) {
	if s.wide() {
		VMOVUPS_Z(from, m.k, to)
	} else {
		VMASKMOVPS(from, m.v, to)
	}
}

// store stores the masked lanes.
func (s isa) store(m mask, from reg.VecVirtual, to Mem) {
	if s.wide() {
		VMOVUPS(from, m.k, to)
	} else {
		VMASKMOVPS(from, m.v, to)
	}
}

func label(format string, args ...any) string { return fmt.Sprintf(format, args...) }
