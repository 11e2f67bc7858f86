//go:build cgo

// Package vk is the thin layer over the Vulkan loader: a C shim that builds every struct in C and fetches every function
// by name, and Go types that hide it.
//
// The Go binding (github.com/vulkan-go/vulkan) gives results, constants, and the calls that take handles, scalars and
// flat structs. Its calls that take slices free the C copy of their arguments too early, so none of them is used, and
// neither are its pointer-typed handles for objects whose handles are mere numbers (abi.h says why).
package vk

/*
#cgo CFLAGS: -std=gnu11 -O2
#cgo linux freebsd LDFLAGS: -ldl
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// ErrNoLoader says that no Vulkan library could be opened.
var ErrNoLoader = errors.New("no Vulkan loader found")

var (
	loadOnce sync.Once
	loadErr  error
	gipa     C.AnyFn // vkGetInstanceProcAddr
)

// Load opens the Vulkan library once in the life of the process.
func Load() error {
	loadOnce.Do(func() {
		var why [1024]C.char
		gipa = C.vkx_load(&why[0], C.uint32_t(len(why)))
		if gipa == nil {
			loadErr = fmt.Errorf("%w (%s)", ErrNoLoader, C.GoString(&why[0]))
			return
		}
		vulkan.SetGetInstanceProcAddr(unsafe.Pointer(gipa))
		if err := vulkan.Init(); err != nil {
			loadErr = fmt.Errorf("%w: the library has no Vulkan entry points: %v", ErrNoLoader, err)
		}
	})
	return loadErr
}

// Result is a failed call: the function's name and the code it returned.
type Result struct {
	Call string
	Code int32
}

func (r *Result) Error() string {
	return "vulkan: " + r.Call + ": " + resultName(vulkan.Result(r.Code))
}

func resultName(r vulkan.Result) string {
	switch r {
	case vulkan.ErrorOutOfHostMemory:
		return "out of host memory"
	case vulkan.ErrorOutOfDeviceMemory:
		return "out of device memory"
	case vulkan.ErrorInitializationFailed:
		return "initialization failed"
	case vulkan.ErrorDeviceLost:
		return "device lost"
	case vulkan.ErrorMemoryMapFailed:
		return "memory mapping failed"
	case vulkan.ErrorLayerNotPresent:
		return "layer not present"
	case vulkan.ErrorExtensionNotPresent:
		return "extension not present"
	case vulkan.ErrorFeatureNotPresent:
		return "feature not present"
	case vulkan.ErrorIncompatibleDriver:
		return "incompatible driver"
	case vulkan.ErrorTooManyObjects:
		return "too many objects"
	case vulkan.ErrorFragmentedPool:
		return "fragmented pool"
	case vulkan.ErrorInvalidShaderNv:
		return "invalid shader"
	case -13:
		return "unknown error"
	}
	return fmt.Sprintf("result %d", int32(r))
}

// OutOfMemory tells whether the call failed for want of host or device memory.
func (r *Result) OutOfMemory() bool {
	return r.Code == int32(vulkan.ErrorOutOfDeviceMemory) || r.Code == int32(vulkan.ErrorOutOfHostMemory)
}

// Lost tells whether the device is gone.
func (r *Result) Lost() bool { return r.Code == int32(vulkan.ErrorDeviceLost) }

// failed turns a result into an error; success, and only success, is nil.
func failed(call string, r C.Result) error {
	if r == C.R_SUCCESS {
		return nil
	}
	return &Result{call, int32(r)}
}
