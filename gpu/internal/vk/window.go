//go:build cgo && window

package vk

/*
#include "window.h"
*/
import "C"

import (
	"fmt"
	"runtime/debug"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// Window is a surface with its swapchain.
type Window struct{ c *C.vkx_window }

// ErrStale is returned where the swapchain no longer fits the surface.
var ErrStale = fmt.Errorf("vulkan: the window has changed")

// NewWindow takes over a surface. surface makes one for the instance that it is given, a pointer type, and returns the
// address of its handle, as GLFW's binding does.
func (d *Device) NewWindow(surface func(instance any) (uintptr, error)) (*Window, error) {
	i := d.physical.instance
	// The address is that of a variable which nothing holds any more: no collection may begin before it is read.
	percent := debug.SetGCPercent(-1)
	place, err := surface(vulkan.Instance(unsafe.Pointer(i.c.handle)))
	var handle C.uint64_t
	if err == nil {
		handle = C.vkx_surface_at(C.uintptr_t(place))
	}
	debug.SetGCPercent(percent)
	if err != nil {
		return nil, err
	}
	w := &Window{}
	r := C.vkx_window_new(gipa, i.c, d.physical.handle, d.c, handle, &w.c)
	if r == C.R_NOT_READY {
		return nil, fmt.Errorf("vulkan: %s cannot show pictures in this window", d.physical.Name)
	}
	return w, failed("vkGetPhysicalDeviceSurfaceSupportKHR", r)
}

// Close destroys swapchain and surface. The device must be idle.
func (w *Window) Close() {
	C.vkx_window_free(w.c)
	w.c = nil
}

// Resize makes the swapchain anew; without pixels there is none. The device must be idle.
func (w *Window) Resize(width, height int) error {
	return failed("vkCreateSwapchainKHR", C.vkx_window_resize(w.c, C.uint32_t(width), C.uint32_t(height)))
}

// Size is that of the swapchain's images, and whether a pixel's first byte is blue.
func (w *Window) Size() (width, height int, bgra bool) {
	return int(w.c.width), int(w.c.height), w.c.bgra != 0
}

// Acquire waits at most so many nanoseconds for an image to draw on; false when there was none.
func (w *Window) Acquire(ns uint64) (bool, error) {
	switch r := C.vkx_window_acquire(w.c, C.uint64_t(ns)); r {
	case C.R_TIMEOUT, C.R_NOT_READY:
		return false, nil
	case C.R_SUBOPTIMAL:
		return true, nil
	case C.R_OUT_OF_DATE:
		return false, ErrStale
	default:
		return r == C.R_SUCCESS, failed("vkAcquireNextImageKHR", r)
	}
}

// Show copies a frame into the acquired image and shows it. The caller holds the lock of the queue.
func (w *Window) Show(buffer uint64, offset int64) error {
	switch r := C.vkx_window_show(w.c, C.Handle(buffer), C.uint64_t(offset)); r {
	case C.R_SUBOPTIMAL, C.R_OUT_OF_DATE:
		return ErrStale
	default:
		return failed("vkQueuePresentKHR", r)
	}
}
