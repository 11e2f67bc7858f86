// The part of Vulkan's binary interface that this package speaks, declared by hand: layouts and numbers are those of
// the specification (version 1.3 and the extensions named below), names are the specification's without their Vk.
// There is no dependency on installed headers, and none on those of the Go binding, which end at 1.1.88.
//
// Handles that are not dispatchable are 64-bit integers here. The binding declares them as pointers, and drivers and
// layers hand out small or arbitrary numbers: a Go variable of pointer type must never hold one of those (the garbage
// collector may stop the program with "invalid pointer found on stack"), so they never leave C as pointers.
#ifndef VKCONV_ABI_H
#define VKCONV_ABI_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define VKCALL __stdcall
#else
#define VKCALL
#endif

typedef uint32_t Bool32;
typedef uint64_t DeviceSize;
typedef int32_t Result;
typedef struct Instance_T *Instance;
typedef struct PhysicalDevice_T *PhysicalDevice;
typedef struct Device_T *Device;
typedef struct Queue_T *Queue;
typedef struct CommandBuffer_T *CommandBuffer;
typedef uint64_t Handle; // any non-dispatchable handle
typedef void(VKCALL *AnyFn)(void);

enum {
	R_SUCCESS = 0, R_NOT_READY = 1, R_TIMEOUT = 2, R_INCOMPLETE = 5,
	R_OUT_OF_HOST = -1, R_OUT_OF_DEVICE = -2, R_INIT_FAILED = -3, R_DEVICE_LOST = -4,
	R_EXTENSION_NOT_PRESENT = -7, R_LAYER_NOT_PRESENT = -6, R_FRAGMENTED_POOL = -12, R_OUT_OF_POOL = -1000069000
};

enum {
	ST_APPLICATION = 0, ST_INSTANCE = 1, ST_DEVICE_QUEUE = 2, ST_DEVICE = 3, ST_SUBMIT = 4, ST_MEMORY_ALLOCATE = 5,
	ST_FENCE = 8, ST_QUERY_POOL = 11, ST_BUFFER = 12, ST_SHADER_MODULE = 16, ST_PIPELINE_CACHE = 17,
	ST_SHADER_STAGE = 18, ST_COMPUTE_PIPELINE = 29, ST_PIPELINE_LAYOUT = 30, ST_SET_LAYOUT = 32,
	ST_DESCRIPTOR_POOL = 33, ST_SET_ALLOCATE = 34, ST_WRITE_SET = 35, ST_COMMAND_POOL = 39,
	ST_COMMAND_BUFFER_ALLOCATE = 40, ST_COMMAND_BUFFER_BEGIN = 42, ST_MEMORY_BARRIER = 46,
	ST_FEATURES2 = 1000059000, ST_PROPERTIES2 = 1000059001, ST_ID_PROPS = 1000071004,
	ST_FLOAT16_INT8 = 1000082000, ST_STORAGE16 = 1000083000, ST_SUBGROUP_PROPS = 1000094000,
	ST_DEBUG_MESSENGER = 1000128004, ST_BFLOAT16 = 1000141000, ST_MAINTENANCE3_PROPS = 1000168000,
	ST_STORAGE8 = 1000177000, ST_DRIVER_PROPS = 1000196000, ST_MEMORY_MODEL = 1000211000,
	ST_SCALAR_LAYOUT = 1000221000, ST_SUBGROUP_SIZE_PROPS = 1000225000, ST_REQUIRED_SUBGROUP = 1000225001,
	ST_SUBGROUP_SIZE = 1000225002, ST_VALIDATION_FEATURES = 1000247000, ST_ATOMIC_FLOAT = 1000260000,
	ST_DOT_PRODUCT = 1000280000, ST_MAINTENANCE4 = 1000413000, ST_MAINTENANCE4_PROPS = 1000413001,
	ST_LAYER_SETTINGS = 1000496000, ST_COOP = 1000506000, ST_COOP_SHAPE = 1000506001
};

enum {
	STAGE_TOP = 0x1, STAGE_COMPUTE = 0x800, STAGE_TRANSFER = 0x1000, STAGE_BOTTOM = 0x2000, STAGE_HOST = 0x4000,
	ACCESS_SHADER_READ = 0x20, ACCESS_SHADER_WRITE = 0x40, ACCESS_TRANSFER_READ = 0x800, ACCESS_TRANSFER_WRITE = 0x1000,
	ACCESS_HOST_READ = 0x2000,
	SHADER_STAGE_COMPUTE = 0x20, DESCRIPTOR_STORAGE_BUFFER = 7, BIND_COMPUTE = 1,
	USAGE_TRANSFER_SRC = 1, USAGE_TRANSFER_DST = 2, USAGE_STORAGE = 0x20,
	QUEUE_GRAPHICS = 1, QUEUE_COMPUTE = 2
};

typedef struct { int32_t sType; const void *pNext; const char *name; uint32_t version; const char *engine; uint32_t engineVersion, api; } ApplicationInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; const ApplicationInfo *app; uint32_t layerCount; const char *const *layers; uint32_t extensionCount; const char *const *extensions; } InstanceCreateInfo;
typedef struct { char name[256]; uint32_t spec; } ExtensionProperties;
typedef struct { char name[256]; uint32_t spec, implementation; char description[256]; } LayerProperties;

typedef struct { int32_t sType; const void *pNext; uint32_t flags; const char *idName; int32_t idNumber; const char *message; } DebugData; // its first fields
typedef Bool32(VKCALL *DebugFn)(uint32_t severity, uint32_t type, const DebugData *data, void *user);
typedef struct { int32_t sType; const void *pNext; uint32_t flags, severity, type; DebugFn callback; void *user; } DebugMessengerCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t enabledCount; const int32_t *enabled; uint32_t disabledCount; const int32_t *disabled; } ValidationFeatures;
typedef struct { const char *layer, *name; int32_t type; uint32_t count; const void *values; } LayerSetting;
typedef struct { int32_t sType; const void *pNext; uint32_t count; const LayerSetting *settings; } LayerSettings;

// Version 1's features are 55 flags; the three of interest by their place. Version 1's properties and limits are read
// through the Go binding, so that only their room is kept here (they are the last member, and room to spare is harmless).
enum { F_FLOAT64 = 39, F_INT64 = 40, F_INT16 = 41, F_COUNT = 55 };
typedef struct { int32_t sType; void *pNext; Bool32 f[F_COUNT]; } Features2;
typedef struct { int32_t sType; void *pNext; union { uint64_t align; char room[1024]; } v1; } Properties2;

typedef struct { int32_t sType; void *pNext; Bool32 buffer, uniform, push, inputOutput; } Storage16;
typedef struct { int32_t sType; void *pNext; Bool32 buffer, uniform, push; } Storage8;
typedef struct { int32_t sType; void *pNext; Bool32 float16, int8; } Float16Int8;
typedef struct { int32_t sType; void *pNext; Bool32 model, deviceScope, chains; } MemoryModel;
typedef struct { int32_t sType; void *pNext; Bool32 scalar; } ScalarLayout;
typedef struct { int32_t sType; void *pNext; Bool32 control, full; } SubgroupSize;
typedef struct { int32_t sType; void *pNext; Bool32 buffer32, bufferAdd32, buffer64, bufferAdd64, shared32, sharedAdd32, shared64, sharedAdd64, image32, imageAdd32, sparse32, sparseAdd32; } AtomicFloat;
typedef struct { int32_t sType; void *pNext; Bool32 dot; } DotProduct;
typedef struct { int32_t sType; void *pNext; Bool32 maintenance4; } Maintenance4;
typedef struct { int32_t sType; void *pNext; Bool32 matrix, robust; } Coop;
typedef struct { int32_t sType; void *pNext; Bool32 type, dot, matrix; } BFloat16;

typedef struct { int32_t sType; void *pNext; uint8_t device[16], driver[16], luid[8]; uint32_t nodeMask; Bool32 luidValid; } IDProps;
typedef struct { int32_t sType; void *pNext; int32_t id; char name[256], info[256]; uint8_t conformance[4]; } DriverProps;
typedef struct { int32_t sType; void *pNext; uint32_t size, stages, operations; Bool32 quadInAll; } SubgroupProps;
typedef struct { int32_t sType; void *pNext; uint32_t min, max, maxPerGroup, stages; } SubgroupSizeProps;
typedef struct { int32_t sType; void *pNext; uint32_t maxSetDescriptors; DeviceSize maxAllocation; } Maintenance3Props;
typedef struct { int32_t sType; void *pNext; DeviceSize maxBuffer; } Maintenance4Props;
typedef struct { int32_t sType; void *pNext; uint32_t m, n, k; int32_t a, b, c, result; Bool32 saturating; int32_t scope; } CoopShape;
typedef struct { uint32_t flags, count, timestampBits, granularity[3]; } QueueFamilyProperties;

typedef struct { int32_t sType; const void *pNext; uint32_t flags, family, count; const float *priorities; } DeviceQueueCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags, queueCount; const DeviceQueueCreateInfo *queues; uint32_t layerCount; const char *const *layers; uint32_t extensionCount; const char *const *extensions; const void *features; } DeviceCreateInfo;

typedef struct { int32_t sType; const void *pNext; uint32_t flags; DeviceSize size; uint32_t usage; int32_t sharing; uint32_t familyCount; const uint32_t *families; } BufferCreateInfo;
typedef struct { DeviceSize size, alignment; uint32_t typeBits; } MemoryRequirements;
typedef struct { int32_t sType; const void *pNext; DeviceSize size; uint32_t type; } MemoryAllocateInfo;

typedef struct { uint32_t binding; int32_t type; uint32_t count, stages; const Handle *samplers; } SetLayoutBinding;
typedef struct { int32_t sType; const void *pNext; uint32_t flags, count; const SetLayoutBinding *bindings; } SetLayoutCreateInfo;
typedef struct { uint32_t stages, offset, size; } PushConstantRange;
typedef struct { int32_t sType; const void *pNext; uint32_t flags, setCount; const Handle *sets; uint32_t pushCount; const PushConstantRange *push; } PipelineLayoutCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; size_t size; const uint32_t *code; } ShaderModuleCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; size_t size; const void *data; } PipelineCacheCreateInfo;
typedef struct { uint32_t id, offset; size_t size; } SpecializationEntry;
typedef struct { uint32_t count; const SpecializationEntry *entries; size_t size; const void *data; } SpecializationInfo;
typedef struct { int32_t sType; void *pNext; uint32_t size; } RequiredSubgroup;
typedef struct { int32_t sType; const void *pNext; uint32_t flags, stage; Handle module; const char *entry; const SpecializationInfo *constants; } ShaderStage;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; ShaderStage stage; Handle layout, base; int32_t baseIndex; } ComputePipelineCreateInfo;

typedef struct { int32_t type; uint32_t count; } DescriptorPoolSize;
typedef struct { int32_t sType; const void *pNext; uint32_t flags, maxSets, sizeCount; const DescriptorPoolSize *sizes; } DescriptorPoolCreateInfo;
typedef struct { int32_t sType; const void *pNext; Handle pool; uint32_t count; const Handle *layouts; } SetAllocateInfo;
typedef struct { Handle buffer; DeviceSize offset, range; } DescriptorBufferInfo;
typedef struct { int32_t sType; const void *pNext; Handle set; uint32_t binding, element, count; int32_t type; const void *images; const DescriptorBufferInfo *buffers; const Handle *views; } WriteSet;

typedef struct { int32_t sType; const void *pNext; uint32_t flags, family; } CommandPoolCreateInfo;
typedef struct { int32_t sType; const void *pNext; Handle pool; int32_t level; uint32_t count; } CommandBufferAllocateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; const void *inheritance; } CommandBufferBeginInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t waitCount; const Handle *waits; const uint32_t *waitStages; uint32_t count; const CommandBuffer *buffers; uint32_t signalCount; const Handle *signals; } SubmitInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; } FenceCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t flags; int32_t type; uint32_t count, statistics; } QueryPoolCreateInfo;
typedef struct { int32_t sType; const void *pNext; uint32_t src, dst; } MemoryBarrier;
typedef struct { DeviceSize src, dst, size; } BufferCopy;

#endif
