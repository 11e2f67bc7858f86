//go:build cgo

package gputest

import (
	"os"

	"vkconv/gpu/internal/vk"
)

// Fault is a kind of failure that tests ask for in a driver's stead.
type Fault struct {
	Name  string
	kinds vk.Faults
}

// The faults there are. Lost devices stay lost: from the nth call on all of them, or the one that met it alone. The others pass.
var (
	OutOfMemory   = Fault{"out of memory", vk.FaultMemory}
	DeviceLost    = Fault{"device lost", vk.FaultLost}
	OneDeviceLost = Fault{"one device lost", vk.FaultLost | vk.FaultOnce}
	BuildFailure  = Fault{"shader does not build", vk.FaultBuild}
)

// At runs f while the nth call that could meet the fault, counted from 1, does so. It returns the call that failed, ""
// where f made fewer, and how many calls could have. One fault at a time in the process.
func (f Fault) At(nth int, run func()) (failed string, calls int) {
	vk.Arm(f.kinds, nth)
	defer func() { failed, calls = vk.Disarm() }()
	run()
	return
}

// bindOn has every dispatch bind buffers to their ends. Software drivers hold shaders to what is bound, so that a guard
// band behind it would stay as it is whatever they write; a GPU need not. Not under the validation layer, which takes
// what is bound for what is used, and looks for barriers there.
func bindOn() {
	v := os.Getenv("VKCONV_VALIDATION")
	vk.BindOn.Store(v == "" || v == "0")
}
