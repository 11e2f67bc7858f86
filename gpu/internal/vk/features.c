// What a device can do beyond version 1.0, and a device made with all of it that kernels may want. One walk over one
// list serves both, so that what Info promises is what was enabled.
#include "shim.h"
#include <stdlib.h>
#include <string.h>

#define V(major, minor) ((uint32_t)(major) << 22 | (uint32_t)(minor) << 12)

typedef struct {
	Features2 base;
	Storage16 storage16;
	Storage8 storage8;
	Float16Int8 arithmetic;
	MemoryModel model;
	ScalarLayout scalar;
	SubgroupSize size;
	AtomicFloat atomic;
	DotProduct dot;
	Maintenance4 m4;
	Coop coop;
	BFloat16 bf16;
	const char *extensions[24];
	uint32_t extensionCount;
	int driverProps, sizeProps, budget;
} Wanted;

static int has(const ExtensionProperties *all, uint32_t n, const char *name) {
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(all[i].name, name)) return 1;
	return 0;
}

// Fills w with what the device supports: each struct joins the chain if its version is core here or its extension is
// offered (and is then enabled). api is the lower of the device's and the instance's version.
static void survey(vkx_instance *i, PhysicalDevice p, uint32_t api, Wanted *w) {
	memset(w, 0, sizeof *w);
	uint32_t n = 0;
	ExtensionProperties *all = NULL;
	if (i->EnumerateDeviceExtensionProperties(p, NULL, &n, NULL) == R_SUCCESS && n && (all = CALLOC(n, sizeof *all)))
		if (i->EnumerateDeviceExtensionProperties(p, NULL, &n, all) < R_SUCCESS) n = 0;
	if (!all) n = 0;

	w->base.sType = ST_FEATURES2;
	void **tail = &w->base.pNext;
#define CHAIN(member, type, core, extension)                                                                           \
	do {                                                                                                               \
		int ext = has(all, n, extension);                                                                              \
		if (api >= (core) || ext) {                                                                                    \
			w->member.sType = type;                                                                                    \
			*tail = &w->member;                                                                                        \
			tail = &w->member.pNext;                                                                                   \
			if (api < (core)) w->extensions[w->extensionCount++] = extension;                                          \
		}                                                                                                              \
	} while (0)
	enum { NEVER = 0x7fffffff };
	CHAIN(storage16, ST_STORAGE16, V(1, 1), "VK_KHR_16bit_storage");
	CHAIN(storage8, ST_STORAGE8, V(1, 2), "VK_KHR_8bit_storage");
	CHAIN(arithmetic, ST_FLOAT16_INT8, V(1, 2), "VK_KHR_shader_float16_int8");
	CHAIN(model, ST_MEMORY_MODEL, V(1, 2), "VK_KHR_vulkan_memory_model");
	CHAIN(scalar, ST_SCALAR_LAYOUT, V(1, 2), "VK_EXT_scalar_block_layout");
	CHAIN(size, ST_SUBGROUP_SIZE, V(1, 3), "VK_EXT_subgroup_size_control");
	CHAIN(dot, ST_DOT_PRODUCT, V(1, 3), "VK_KHR_shader_integer_dot_product");
	CHAIN(m4, ST_MAINTENANCE4, V(1, 3), "VK_KHR_maintenance4");
	CHAIN(atomic, ST_ATOMIC_FLOAT, NEVER, "VK_EXT_shader_atomic_float");
	// Shaders that use either of these two are compiled for at least SPIR-V 1.3 with the memory model.
	if (api >= V(1, 2) || has(all, n, "VK_KHR_vulkan_memory_model")) {
		CHAIN(coop, ST_COOP, NEVER, "VK_KHR_cooperative_matrix");
		CHAIN(bf16, ST_BFLOAT16, NEVER, "VK_KHR_shader_bfloat16");
	}
#undef CHAIN
	w->driverProps = api >= V(1, 2) || has(all, n, "VK_KHR_driver_properties");
	w->sizeProps = w->size.sType != 0;
	w->budget = has(all, n, "VK_EXT_memory_budget");
	if (has(all, n, "VK_KHR_portability_subset")) w->extensions[w->extensionCount++] = "VK_KHR_portability_subset";
	i->GetPhysicalDeviceFeatures2(p, &w->base);
	free(all);
}

void vkx_read_traits(vkx_instance *i, PhysicalDevice p, uint32_t api, vkx_traits *t) {
	memset(t, 0, sizeof *t);
	Wanted w;
	survey(i, p, api, &w);
	t->storage16 = w.storage16.buffer;
	t->storage8 = w.storage8.buffer;
	t->float16 = w.arithmetic.float16;
	t->int8 = w.arithmetic.int8;
	t->int16 = w.base.f[F_INT16];
	t->int64 = w.base.f[F_INT64];
	t->float64 = w.base.f[F_FLOAT64];
	t->memoryModel = w.model.model;
	t->scalarLayout = w.scalar.scalar;
	t->subgroupControl = w.size.control;
	t->subgroupFull = w.size.full;
	t->atomicAdd = w.atomic.bufferAdd32;
	t->dotProduct = w.dot.dot;
	t->maintenance4 = w.m4.maintenance4;
	t->coop = w.coop.matrix;
	t->bfloat16 = w.bf16.type && w.bf16.matrix;
	t->memoryBudget = (uint32_t)w.budget;

	Properties2 props = {ST_PROPERTIES2, NULL, {0}};
	IDProps id = {.sType = ST_ID_PROPS};
	SubgroupProps subgroup = {.sType = ST_SUBGROUP_PROPS, .pNext = &id};
	Maintenance3Props m3 = {.sType = ST_MAINTENANCE3_PROPS, .pNext = &subgroup};
	DriverProps driver = {.sType = ST_DRIVER_PROPS};
	SubgroupSizeProps size = {.sType = ST_SUBGROUP_SIZE_PROPS};
	Maintenance4Props m4 = {.sType = ST_MAINTENANCE4_PROPS};
	void *head = &m3;
	if (w.driverProps) driver.pNext = head, head = &driver;
	if (w.sizeProps) size.pNext = head, head = &size;
	if (w.m4.sType) m4.pNext = head, head = &m4;
	props.pNext = head;
	i->GetPhysicalDeviceProperties2(p, &props);
	memcpy(t->deviceUUID, id.device, 16);
	memcpy(t->driverUUID, id.driver, 16);
	memcpy(t->driver, driver.name, 256);
	memcpy(t->info, driver.info, 256);
	t->subgroup = t->subgroupMin = t->subgroupMax = subgroup.size;
	if (subgroup.stages & SHADER_STAGE_COMPUTE) t->subgroupOps = subgroup.operations;
	if (w.sizeProps && size.max) {
		t->subgroupMin = size.min;
		t->subgroupMax = size.max;
		t->subgroupRequired = (size.stages & SHADER_STAGE_COMPUTE) != 0;
	}
	t->maxAllocation = m3.maxAllocation;
	t->maxBuffer = m4.maxBuffer;

	// A family that computes: one that does not draw, if there is one, is less in the way of a desktop; but timestamps
	// matter more.
	uint32_t n = 0;
	i->GetPhysicalDeviceQueueFamilyProperties(p, &n, NULL);
	QueueFamilyProperties *q = n ? CALLOC(n, sizeof *q) : NULL;
	if (!q) return;
	i->GetPhysicalDeviceQueueFamilyProperties(p, &n, q);
	int best = -1;
	for (uint32_t k = 0; k < n; k++) {
		if (!(q[k].flags & QUEUE_COMPUTE) || !q[k].count) continue;
		int score = (q[k].timestampBits ? 2 : 0) + ((q[k].flags & QUEUE_GRAPHICS) ? 0 : 1);
		if (score > best) {
			best = score;
			t->queueFamily = k;
			t->timestampBits = q[k].timestampBits;
			t->queueFound = 1;
		}
	}
	free(q);
}

// A family that draws as well as it computes can show pictures wherever any can; one that only computes may not.
static void prefer_drawing(vkx_instance *i, PhysicalDevice p, vkx_traits *t) {
	uint32_t n = 0;
	i->GetPhysicalDeviceQueueFamilyProperties(p, &n, NULL);
	QueueFamilyProperties *q = n ? calloc(n, sizeof *q) : NULL;
	if (!q) return;
	i->GetPhysicalDeviceQueueFamilyProperties(p, &n, q);
	for (uint32_t k = 0; k < n; k++) {
		if ((q[k].flags & (QUEUE_COMPUTE | QUEUE_GRAPHICS)) != (QUEUE_COMPUTE | QUEUE_GRAPHICS) || !q[k].count) continue;
		if (q[k].timestampBits != t->timestampBits) continue; // what Info says stays true
		t->queueFamily = k;
		break;
	}
	free(q);
}

uint32_t vkx_coop_shapes(vkx_instance *i, PhysicalDevice p, CoopShape *out, uint32_t room) {
	if (!i->GetPhysicalDeviceCooperativeMatrixPropertiesKHR) return 0;
	uint32_t n = room;
	for (uint32_t k = 0; k < room; k++) out[k] = (CoopShape){.sType = ST_COOP_SHAPE};
	if (i->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(p, &n, out) < R_SUCCESS) return 0;
	return n;
}

Result vkx_device_new(vkx_instance *i, PhysicalDevice p, uint32_t api, int shows, vkx_device **out) {
	*out = NULL;
	vkx_traits t;
	vkx_read_traits(i, p, api, &t);
	if (!t.queueFound) return R_INIT_FAILED;
	if (shows) prefer_drawing(i, p, &t);
	Wanted w;
	survey(i, p, api, &w);
	// Of the 1.0 features only these: checks of buffer bounds and the like cost speed and nothing relies on them.
	Features2 base = {ST_FEATURES2, w.base.pNext, {0}};
	base.f[F_FLOAT64] = w.base.f[F_FLOAT64];
	base.f[F_INT64] = w.base.f[F_INT64];
	base.f[F_INT16] = w.base.f[F_INT16];
	w.coop.robust = 0;
	w.atomic.image32 = w.atomic.imageAdd32 = w.atomic.sparse32 = w.atomic.sparseAdd32 = 0;
	w.storage16.inputOutput = 0;
	if (shows) w.extensions[w.extensionCount++] = "VK_KHR_swapchain"; // its absence is CreateDevice's to tell

	float priority = 1;
	DeviceQueueCreateInfo queue = {ST_DEVICE_QUEUE, NULL, 0, t.queueFamily, 1, &priority};
	DeviceCreateInfo info = {ST_DEVICE, &base, 0, 1, &queue, 0, NULL, w.extensionCount, w.extensions, NULL};
	vkx_device *d = CALLOC(1, sizeof *d);
	if (!d) return R_OUT_OF_HOST;
	d->family = t.queueFamily;
	d->ledger = i->ledger;
	Result r = CALL(FAULT_MEMORY | FAULT_LOST, i, CreateDevice, p, &info, NULL, &d->handle);
	if (r != R_SUCCESS) {
		free(d);
		return r;
	}
	vkx_count(d->ledger, K_DEVICE, 1);
	int missing = 0;
#define X(name, ret, args)                                                                                             \
	d->name = (ret(VKCALL *) args)i->GetDeviceProcAddr(d->handle, "vk" #name);                                                 \
	missing |= !d->name;
	DEVICE_FUNCTIONS(X)
#undef X
	if (missing) {
		vkx_device_free(d);
		return R_INIT_FAILED;
	}
	d->GetDeviceQueue(d->handle, d->family, 0, &d->queue);
	*out = d;
	return R_SUCCESS;
}

void vkx_device_free(vkx_device *d) {
	if (!d) return;
	if (d->DestroyDevice) {
		d->DestroyDevice(d->handle, NULL);
		vkx_count(d->ledger, K_DEVICE, -1);
	}
	free(d);
}
