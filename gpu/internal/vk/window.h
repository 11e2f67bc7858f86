// What a window needs beside the rest, see window.c.
#ifndef VKCONV_WINDOW_H
#define VKCONV_WINDOW_H
#include "shim.h"

enum { R_SUBOPTIMAL = 1000001003, R_OUT_OF_DATE = -1000001004, R_FORMAT_NOT_SUPPORTED = -11 };
enum { MAX_IMAGES = 16 };

typedef struct { uint32_t images[2], current[2], least[2], most[2], layers, transforms, transform, alpha, usage; } SurfaceCapabilities;
typedef struct { int32_t format, space; } SurfaceFormat;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; } SemaphoreCreateInfo;

#define SURFACE_FUNCTIONS(X)                                                                                           \
	X(DestroySurfaceKHR, void, (Instance, Handle, const void *))                                                       \
	X(GetPhysicalDeviceSurfaceSupportKHR, Result, (PhysicalDevice, uint32_t, Handle, Bool32 *))                        \
	X(GetPhysicalDeviceSurfaceCapabilitiesKHR, Result, (PhysicalDevice, Handle, SurfaceCapabilities *))                \
	X(GetPhysicalDeviceSurfaceFormatsKHR, Result, (PhysicalDevice, Handle, uint32_t *, SurfaceFormat *))

#define SWAPCHAIN_FUNCTIONS(X)                                                                                         \
	X(CreateSwapchainKHR, Result, (Device, const void *, const void *, Handle *))                                      \
	X(DestroySwapchainKHR, void, (Device, Handle, const void *))                                                       \
	X(GetSwapchainImagesKHR, Result, (Device, Handle, uint32_t *, Handle *))                                           \
	X(AcquireNextImageKHR, Result, (Device, Handle, uint64_t, Handle, Handle, uint32_t *))                             \
	X(QueuePresentKHR, Result, (Queue, const void *))                                                                  \
	X(CreateSemaphore, Result, (Device, const SemaphoreCreateInfo *, const void *, Handle *))                          \
	X(DestroySemaphore, void, (Device, Handle, const void *))                                                          \
	X(CmdCopyBufferToImage, void, (CommandBuffer, Handle, Handle, int32_t, uint32_t, const void *))

typedef struct {
	vkx_instance *instance;
	PhysicalDevice physical;
	vkx_device *device;
	Handle surface, swapchain, acquired; // acquired: the image may be drawn on
	Handle images[MAX_IMAGES], finished[MAX_IMAGES]; // finished: the image may be shown
	vkx_stream *stream;                  // one frame's commands and fence
	uint32_t count, index, width, height, bgra, flying;
#define X(name, ret, args) ret(VKCALL *name) args;
	SURFACE_FUNCTIONS(X) SWAPCHAIN_FUNCTIONS(X)
#undef X
} vkx_window;

uint64_t vkx_surface_at(uintptr_t place);
Result vkx_window_new(AnyFn gipa, vkx_instance *i, PhysicalDevice p, vkx_device *d, uint64_t surface, vkx_window **out);
void vkx_window_free(vkx_window *w);
Result vkx_window_resize(vkx_window *w, uint32_t width, uint32_t height);
Result vkx_window_acquire(vkx_window *w, uint64_t ns);
Result vkx_window_show(vkx_window *w, Handle buffer, uint64_t offset);

#endif
