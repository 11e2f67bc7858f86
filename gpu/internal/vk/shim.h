// What Go sees of the shim. Every struct that Vulkan reads is built on the C side; Go passes scalars, handles and flat
// arrays without pointers. Functions return a Vulkan result (0 is success) unless their comment says otherwise.
#ifndef VKCONV_SHIM_H
#define VKCONV_SHIM_H
#include "table.h"

// A ledger belongs to one instance and outlives it by a moment: what the driver and its layers said, and how many
// objects of each kind exist.
enum { K_INSTANCE, K_MESSENGER, K_DEVICE, K_MEMORY, K_BUFFER, K_SET_LAYOUT, K_LAYOUT, K_MODULE, K_CACHE, K_PIPELINE,
	K_DESCRIPTOR_POOL, K_COMMAND_POOL, K_FENCE, K_QUERY_POOL, K_SURFACE, K_SWAPCHAIN, K_SEMAPHORE, K_COUNT };
enum { RING_LINES = 128, RING_WIDTH = 1536 };
typedef struct {
	int64_t live[K_COUNT];
	uint32_t lock;
	uint64_t written[2];                      // lines ever written to each ring
	char line[2][RING_LINES][RING_WIDTH];     // 0: the validation layer's, 1: the loader's and driver's own errors
} vkx_ledger;

typedef struct {
	Instance handle;
	uint32_t api; // what was asked for
	Handle messenger;
	vkx_ledger *ledger;
#define X(name, ret, args) ret(VKCALL *name) args;
	INSTANCE_FUNCTIONS(X) INSTANCE_OPTIONAL(X)
#undef X
} vkx_instance;

typedef struct {
	uint32_t queueFamily, queueFound, timestampBits;
	uint32_t subgroup, subgroupMin, subgroupMax, subgroupOps, subgroupControl, subgroupFull, subgroupRequired;
	uint32_t storage16, storage8, float16, int8, int16, int64, float64, atomicAdd, memoryModel, scalarLayout, dotProduct;
	uint32_t maintenance4, coop, bfloat16, memoryBudget;
	uint64_t maxAllocation, maxBuffer; // 0: not said
	uint8_t deviceUUID[16], driverUUID[16];
	char driver[256], info[256];
} vkx_traits;

typedef struct {
	Device handle;
	Queue queue;
	uint32_t family;
	vkx_ledger *ledger;
#define X(name, ret, args) ret(VKCALL *name) args;
	DEVICE_FUNCTIONS(X)
#undef X
} vkx_device;

typedef struct { Handle buffer, memory; void *map; } vkx_block;

typedef struct { Handle set, layout; uint32_t bindings, push; } vkx_layout;
typedef struct { Handle pipeline; const vkx_layout *layout; } vkx_pipeline;
typedef struct { uint32_t id, value; } vkx_constant;

typedef struct { uint64_t buffer, offset, range; } vkx_bind;

enum { POOL_SETS = 256, POOL_DESCRIPTORS = 2048, QUERIES = 64, MAX_BINDS = 32 };
typedef struct vkx_chunk { struct vkx_chunk *next; Handle pool; uint32_t sets, descriptors; } vkx_chunk;
typedef struct {
	vkx_device *device;
	Handle pool, fence;
	CommandBuffer cmd;
	vkx_chunk *chunks, *current; // descriptor pools, and the one being filled
	Handle *queries;             // pools of QUERIES timestamps each
	uint32_t queryPools, times;
	Handle bound;                // the pipeline bound last
} vkx_stream;

// fault.c: what may fail, and how a call that may is made. CALL(kinds, d, Fn, …) is d->Fn(…), or the failure that a test
// asked for.
enum { FAULT_MEMORY = 1, FAULT_LOST = 2, FAULT_BUILD = 4, FAULT_ONCE = 8 };
void vkx_arm(uint32_t kinds, int64_t nth, Result result); // the nth call from now, counted from 1
const char *vkx_disarm(int64_t *seen);                    // what failed, or NULL; how many calls could have
Result vkx_fault(uint32_t kind, const char *call);
#define CALL(kinds, d, Fn, ...) (vkx_fault(kinds, "vk" #Fn) ?: (d)->Fn(__VA_ARGS__))
#define CALLOC(n, size) (vkx_fault(FAULT_MEMORY, "calloc") ? NULL : calloc(n, size))

// loader.c: NULL and *why filled when no library could be opened.
AnyFn vkx_load(char *why, uint32_t size);

// debug.c
Bool32 VKCALL vkx_debug(uint32_t severity, uint32_t type, const DebugData *data, void *user);
void vkx_count(vkx_ledger *l, int kind, int by);
int64_t vkx_live(vkx_ledger *l, int kind);
uint64_t vkx_written(vkx_ledger *l, int ring);
int vkx_line(vkx_ledger *l, int ring, uint64_t n, char *out); // 0 when line n has been overwritten

// instance.c
typedef struct { uint32_t version, validation, debugUtils, portability; } vkx_offer;
Result vkx_offers(AnyFn gipa, vkx_offer *out);
// wanted: names of further extensions, each ended by a zero, the last by two.
enum { VALIDATE_NOTHING, VALIDATE_ORDER, VALIDATE_SHADERS };
Result vkx_instance_new(AnyFn gipa, uint32_t api, const vkx_offer *offer, int validate, const char *wanted, vkx_instance **out,
	vkx_ledger **ledger);
void vkx_instance_free(vkx_instance *i);
Result vkx_physical(vkx_instance *i, uint32_t *count, PhysicalDevice *out);

// features.c
void vkx_read_traits(vkx_instance *i, PhysicalDevice p, uint32_t api, vkx_traits *out);
uint32_t vkx_coop_shapes(vkx_instance *i, PhysicalDevice p, CoopShape *out, uint32_t room); // how many there are
Result vkx_device_new(vkx_instance *i, PhysicalDevice p, uint32_t api, int shows, vkx_device **out); // shows: with swapchains
void vkx_device_free(vkx_device *d);

// memory.c
Result vkx_type_bits(vkx_device *d, uint32_t *out);
Result vkx_block_new(vkx_device *d, uint64_t size, uint32_t type, int map, vkx_block *out);
void vkx_block_free(vkx_device *d, vkx_block *b);

// pipeline.c
Result vkx_layout_new(vkx_device *d, uint32_t bindings, uint32_t push, vkx_layout **out);
void vkx_layout_free(vkx_device *d, vkx_layout *l);
Result vkx_pipeline_new(vkx_device *d, Handle cache, const vkx_layout *l, const uint32_t *code, size_t size,
	const vkx_constant *constants, uint32_t count, uint32_t subgroup, int full, vkx_pipeline **out);
void vkx_pipeline_free(vkx_device *d, vkx_pipeline *p);
Result vkx_cache_new(vkx_device *d, const void *data, size_t size, Handle *out);
Result vkx_cache_data(vkx_device *d, Handle cache, void *data, size_t *size);
void vkx_cache_free(vkx_device *d, Handle cache);

// stream.c
Result vkx_stream_new(vkx_device *d, vkx_stream **out);
void vkx_stream_free(vkx_stream *s);
Result vkx_stream_begin(vkx_stream *s); // also forgets what was recorded before
Result vkx_dispatch(vkx_stream *s, const vkx_pipeline *p, uint32_t x, uint32_t y, uint32_t z, const void *push,
	uint32_t pushSize, const vkx_bind *binds, uint32_t count, int barrier);
void vkx_copy(vkx_stream *s, Handle dst, uint64_t dstOff, Handle src, uint64_t srcOff, uint64_t n, int barrier);
void vkx_fill(vkx_stream *s, Handle dst, uint64_t off, uint64_t n, uint32_t word, int barrier);
Result vkx_timestamp(vkx_stream *s);
Result vkx_stream_end(vkx_stream *s);
Result vkx_submit(vkx_stream *s);
Result vkx_stream_status(vkx_stream *s);
Result vkx_stream_wait(vkx_stream *s, uint64_t ns);
Result vkx_stream_times(vkx_stream *s, uint64_t *out);

#endif
