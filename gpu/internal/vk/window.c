//go:build window

// A window's surface and swapchain. A frame is a buffer of 32-bit pixels that compute shaders have filled; it is copied
// into a swapchain image, which every driver can do, while few let shaders store to those images.
#include "window.h"
#include <stdlib.h>

enum {
	ST_SEMAPHORE = 9, ST_IMAGE_BARRIER = 45, ST_SWAPCHAIN = 1000001000, ST_PRESENT = 1000001001,
	LAYOUT_UNDEFINED = 0, LAYOUT_TRANSFER_DST = 7, LAYOUT_PRESENT = 1000001002,
	IMAGE_TRANSFER_DST = 2, ASPECT_COLOR = 1, PRESENT_FIFO = 2, ALPHA_OPAQUE = 1,
	RGBA8 = 37, RGBA8_SRGB = 43, BGRA8 = 44, BGRA8_SRGB = 50
};

typedef struct { uint32_t aspect, mip, mips, layer, layers; } SubresourceRange;
typedef struct { int32_t sType; const void *pNext; uint32_t src, dst; int32_t from, to; uint32_t srcFamily, dstFamily; Handle image; SubresourceRange range; } ImageBarrier;
typedef struct { DeviceSize offset; uint32_t row, height, aspect, mip, layer, layers; int32_t x, y, z; uint32_t w, h, d; } BufferImageCopy;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; Handle surface; uint32_t images; int32_t format, space; uint32_t width, height, layers, usage; int32_t sharing; uint32_t familyCount; const uint32_t *families; uint32_t transform, alpha; int32_t mode; Bool32 clipped; Handle old; } SwapchainCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t waitCount; const Handle *waits; uint32_t count; const Handle *swapchains; const uint32_t *indices; Result *results; } PresentInfo;

typedef AnyFn(VKCALL *ProcFn)(Instance, const char *);

uint64_t vkx_surface_at(uintptr_t place) { return *(uint64_t *)place; }

Result vkx_window_new(AnyFn gipa, vkx_instance *i, PhysicalDevice p, vkx_device *d, uint64_t surface, vkx_window **out) {
	*out = NULL;
	vkx_window *w = calloc(1, sizeof *w);
	if (!w) return R_OUT_OF_HOST;
	w->instance = i, w->physical = p, w->device = d, w->surface = surface;
	vkx_count(d->ledger, K_SURFACE, 1);
	int missing = 0;
#define X(name, ret, args)                                                                                             \
	w->name = (ret(VKCALL *) args)((ProcFn)gipa)(i->handle, "vk" #name);                                                        \
	missing |= !w->name;
	SURFACE_FUNCTIONS(X)
#undef X
#define X(name, ret, args)                                                                                             \
	w->name = (ret(VKCALL *) args)i->GetDeviceProcAddr(d->handle, "vk" #name);                                                 \
	missing |= !w->name;
	SWAPCHAIN_FUNCTIONS(X)
#undef X
	Bool32 can = 0;
	Result r = missing ? R_EXTENSION_NOT_PRESENT : w->GetPhysicalDeviceSurfaceSupportKHR(p, d->family, surface, &can);
	if (r == R_SUCCESS && !can) r = R_NOT_READY; // the queue cannot show anything there
	if (r == R_SUCCESS) r = vkx_stream_new(d, &w->stream);
	if (r == R_SUCCESS) {
		SemaphoreCreateInfo info = {ST_SEMAPHORE, NULL, 0};
		r = w->CreateSemaphore(d->handle, &info, NULL, &w->acquired);
		if (r == R_SUCCESS) vkx_count(d->ledger, K_SEMAPHORE, 1);
		else w->acquired = 0;
	}
	if (r != R_SUCCESS) {
		vkx_window_free(w);
		return r;
	}
	*out = w;
	return R_SUCCESS;
}

static void drop(vkx_window *w) {
	vkx_device *d = w->device;
	for (uint32_t k = 0; k < w->count; k++) {
		if (!w->finished[k]) continue;
		w->DestroySemaphore(d->handle, w->finished[k], NULL);
		vkx_count(d->ledger, K_SEMAPHORE, -1);
		w->finished[k] = 0;
	}
	w->count = 0;
	if (w->swapchain) {
		w->DestroySwapchainKHR(d->handle, w->swapchain, NULL);
		vkx_count(d->ledger, K_SWAPCHAIN, -1);
		w->swapchain = 0;
	}
}

// The device is idle.
void vkx_window_free(vkx_window *w) {
	if (!w) return;
	vkx_device *d = w->device;
	drop(w);
	if (w->acquired) {
		w->DestroySemaphore(d->handle, w->acquired, NULL);
		vkx_count(d->ledger, K_SEMAPHORE, -1);
	}
	vkx_stream_free(w->stream);
	if (w->DestroySurfaceKHR) w->DestroySurfaceKHR(w->instance->handle, w->surface, NULL);
	vkx_count(d->ledger, K_SURFACE, -1);
	free(w);
}

// The device is idle. width and height matter where the surface leaves its size to the swapchain. A window that is
// minimised has no pixels: then there is no swapchain, and width is 0.
Result vkx_window_resize(vkx_window *w, uint32_t width, uint32_t height) {
	vkx_device *d = w->device;
	drop(w);
	w->width = w->height = 0;
	SurfaceCapabilities c;
	Result r = w->GetPhysicalDeviceSurfaceCapabilitiesKHR(w->physical, w->surface, &c);
	if (r != R_SUCCESS) return r;
	if (!(c.usage & IMAGE_TRANSFER_DST)) return R_FORMAT_NOT_SUPPORTED;
	if (c.current[0] != 0xffffffffu) width = c.current[0], height = c.current[1];
	else {
		if (width < c.least[0]) width = c.least[0];
		if (height < c.least[1]) height = c.least[1];
		if (width > c.most[0]) width = c.most[0];
		if (height > c.most[1]) height = c.most[1];
	}
	if (!width || !height) return R_SUCCESS;

	SurfaceFormat formats[64];
	uint32_t n = 64;
	r = w->GetPhysicalDeviceSurfaceFormatsKHR(w->physical, w->surface, &n, formats);
	if (r < R_SUCCESS) return r;
	// A copy moves bytes, so that what a format says of curves does not matter; only the order does.
	static const int32_t good[] = {BGRA8, RGBA8, BGRA8_SRGB, RGBA8_SRGB};
	int chosen = -1;
	for (size_t g = 0; g < sizeof good / sizeof *good && chosen < 0; g++)
		for (uint32_t k = 0; k < n && chosen < 0; k++)
			if (formats[k].format == good[g]) chosen = (int)k;
	if (chosen < 0) return R_FORMAT_NOT_SUPPORTED;
	w->bgra = formats[chosen].format == BGRA8 || formats[chosen].format == BGRA8_SRGB;

	uint32_t images = c.images[0] + 1;
	if (c.images[1] && images > c.images[1]) images = c.images[1];
	uint32_t alpha = c.alpha & ALPHA_OPAQUE ? ALPHA_OPAQUE : c.alpha & -c.alpha;
	SwapchainCreateInfo info = {ST_SWAPCHAIN, NULL, 0, w->surface, images, formats[chosen].format, formats[chosen].space, width, height, 1,
		IMAGE_TRANSFER_DST, 0, 0, NULL, c.transform, alpha, PRESENT_FIFO, 1, 0};
	r = w->CreateSwapchainKHR(d->handle, &info, NULL, &w->swapchain);
	if (r != R_SUCCESS) {
		w->swapchain = 0;
		return r;
	}
	vkx_count(d->ledger, K_SWAPCHAIN, 1);
	n = MAX_IMAGES;
	if ((r = w->GetSwapchainImagesKHR(d->handle, w->swapchain, &n, w->images)) != R_SUCCESS) return r < 0 ? r : R_FORMAT_NOT_SUPPORTED;
	w->count = n;
	for (uint32_t k = 0; k < n; k++) {
		SemaphoreCreateInfo semaphore = {ST_SEMAPHORE, NULL, 0};
		if ((r = w->CreateSemaphore(d->handle, &semaphore, NULL, &w->finished[k])) != R_SUCCESS) {
			w->finished[k] = 0;
			return r;
		}
		vkx_count(d->ledger, K_SEMAPHORE, 1);
	}
	w->width = width, w->height = height;
	return R_SUCCESS;
}

// Waits for the frame before and for an image to draw on.
Result vkx_window_acquire(vkx_window *w, uint64_t ns) {
	vkx_device *d = w->device;
	if (!w->swapchain) return R_OUT_OF_DATE;
	if (w->flying) {
		Result r = vkx_stream_wait(w->stream, ns);
		if (r != R_SUCCESS) return r;
		w->flying = 0;
	}
	return w->AcquireNextImageKHR(d->handle, w->swapchain, ns, w->acquired, 0, &w->index);
}

static void move(vkx_window *w, uint32_t srcStage, uint32_t dstStage, uint32_t src, uint32_t dst, int32_t from, int32_t to) {
	ImageBarrier b = {ST_IMAGE_BARRIER, NULL, src, dst, from, to, ~0u, ~0u, w->images[w->index], {ASPECT_COLOR, 0, 1, 0, 1}};
	w->device->CmdPipelineBarrier(w->stream->cmd, srcStage, dstStage, 0, 0, NULL, 0, NULL, 1, &b);
}

// Copies the frame, width × height pixels, into the image that was acquired and shows it. The caller holds the lock of
// the queue.
Result vkx_window_show(vkx_window *w, Handle buffer, uint64_t offset) {
	vkx_device *d = w->device;
	vkx_stream *s = w->stream;
	Result r = vkx_stream_begin(s);
	if (r != R_SUCCESS) return r;
	MemoryBarrier drawn = {ST_MEMORY_BARRIER, NULL, ACCESS_SHADER_WRITE | ACCESS_TRANSFER_WRITE, ACCESS_TRANSFER_READ};
	d->CmdPipelineBarrier(s->cmd, STAGE_COMPUTE | STAGE_TRANSFER, STAGE_TRANSFER, 0, 1, &drawn, 0, NULL, 0, NULL);
	move(w, STAGE_TRANSFER, STAGE_TRANSFER, 0, ACCESS_TRANSFER_WRITE, LAYOUT_UNDEFINED, LAYOUT_TRANSFER_DST);
	BufferImageCopy copy = {offset, 0, 0, ASPECT_COLOR, 0, 0, 1, 0, 0, 0, w->width, w->height, 1};
	w->CmdCopyBufferToImage(s->cmd, buffer, w->images[w->index], LAYOUT_TRANSFER_DST, 1, &copy);
	move(w, STAGE_TRANSFER, STAGE_BOTTOM, ACCESS_TRANSFER_WRITE, 0, LAYOUT_TRANSFER_DST, LAYOUT_PRESENT);
	if ((r = d->EndCommandBuffer(s->cmd)) != R_SUCCESS) return r;
	if ((r = d->ResetFences(d->handle, 1, &s->fence)) != R_SUCCESS) return r;
	uint32_t stage = STAGE_TRANSFER;
	SubmitInfo info = {ST_SUBMIT, NULL, 1, &w->acquired, &stage, 1, &s->cmd, 1, &w->finished[w->index]};
	if ((r = d->QueueSubmit(d->queue, 1, &info, s->fence)) != R_SUCCESS) return r;
	w->flying = 1;
	PresentInfo present = {ST_PRESENT, NULL, 1, &w->finished[w->index], 1, &w->swapchain, &w->index, NULL};
	return w->QueuePresentKHR(d->queue, &present);
}
