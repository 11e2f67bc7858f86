package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// chains is the number of independent multiply-adds in a turn of the peak loop:
// more than latency × pipes of any machine.
const chains = 14

// peak writes a loop of nothing but multiply-adds, by which others are judged.
func peak(s isa) {
	TEXT("peak"+s.name, NOSPLIT, "func(turns int)")
	Doc(fmt.Sprintf("peak%s makes turns × %d independent vector multiply-adds, turns at least 1.", s.name, chains))
	n := Load(Param("turns"), GP64())
	acc := make([]reg.VecVirtual, chains)
	for i := range acc {
		acc[i] = s.vec()
		VXORPS(acc[i], acc[i], acc[i])
	}
	f := s.vec()
	VXORPS(f, f, f)
	Label("turn")
	for _, a := range acc {
		VFMADD231PS(f, f, a)
	}
	DECQ(n)
	JNZ(LabelRef("turn"))
	VZEROUPPER()
	RET()
}
