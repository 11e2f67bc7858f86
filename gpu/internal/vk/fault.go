//go:build cgo

package vk

// #include "shim.h"
import "C"

import "sync/atomic"

// BindOn has dispatches bind buffers to their ends, for tests: drivers that hold shaders to what is bound hide what they
// write beside it.
var BindOn atomic.Bool

// Faults is a set of kinds of calls that may fail.
type Faults uint32

const (
	FaultMemory Faults = C.FAULT_MEMORY // calls that may run out of memory, the driver's or the shim's own
	FaultLost   Faults = C.FAULT_LOST   // calls that may find the device lost
	FaultBuild  Faults = C.FAULT_BUILD  // calls that compile shaders
	FaultOnce   Faults = C.FAULT_ONCE   // with FaultLost: one device, where it otherwise is every one
)

// Arm makes the nth call of the kinds, counted from 1, fail, for tests; one fault at a time in the process.
func Arm(kinds Faults, nth int) {
	result := C.Result(C.R_OUT_OF_DEVICE)
	switch kinds &^ FaultOnce {
	case FaultLost:
		result = C.R_DEVICE_LOST
	case FaultBuild:
		result = C.R_INIT_FAILED
	}
	C.vkx_arm(C.uint32_t(kinds), C.int64_t(nth), result)
}

// Disarm ends that and tells which call failed, "" for none, and how many could have.
func Disarm() (fired string, seen int) {
	var n C.int64_t
	if s := C.vkx_disarm(&n); s != nil {
		fired = C.GoString(s)
	}
	return fired, int(n)
}
