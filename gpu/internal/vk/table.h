// The functions that are fetched by name, each as X(name, result type, parameters). Instance functions are those that
// act on physical devices or make devices; device functions come from the device itself, which spares a dispatch of
// the loader on every call.
#ifndef VKCONV_TABLE_H
#define VKCONV_TABLE_H
#include "abi.h"

#define INSTANCE_FUNCTIONS(X)                                                                                          \
	X(DestroyInstance, void, (Instance, const void *))                                                                 \
	X(EnumeratePhysicalDevices, Result, (Instance, uint32_t *, PhysicalDevice *))                                      \
	X(EnumerateDeviceExtensionProperties, Result, (PhysicalDevice, const char *, uint32_t *, ExtensionProperties *))   \
	X(GetPhysicalDeviceQueueFamilyProperties, void, (PhysicalDevice, uint32_t *, QueueFamilyProperties *))             \
	X(GetPhysicalDeviceFeatures2, void, (PhysicalDevice, Features2 *))                                                 \
	X(GetPhysicalDeviceProperties2, void, (PhysicalDevice, Properties2 *))                                             \
	X(CreateDevice, Result, (PhysicalDevice, const DeviceCreateInfo *, const void *, Device *))                        \
	X(GetDeviceProcAddr, AnyFn, (Device, const char *))

#define INSTANCE_OPTIONAL(X)                                                                                           \
	X(CreateDebugUtilsMessengerEXT, Result, (Instance, const DebugMessengerCreateInfo *, const void *, Handle *))      \
	X(DestroyDebugUtilsMessengerEXT, void, (Instance, Handle, const void *))                                           \
	X(GetPhysicalDeviceCooperativeMatrixPropertiesKHR, Result, (PhysicalDevice, uint32_t *, CoopShape *))

#define DEVICE_FUNCTIONS(X)                                                                                            \
	X(DestroyDevice, void, (Device, const void *))                                                                     \
	X(GetDeviceQueue, void, (Device, uint32_t, uint32_t, Queue *))                                                     \
	X(QueueSubmit, Result, (Queue, uint32_t, const SubmitInfo *, Handle))                                              \
	X(AllocateMemory, Result, (Device, const MemoryAllocateInfo *, const void *, Handle *))                            \
	X(FreeMemory, void, (Device, Handle, const void *))                                                                \
	X(MapMemory, Result, (Device, Handle, DeviceSize, DeviceSize, uint32_t, void **))                                  \
	X(CreateBuffer, Result, (Device, const BufferCreateInfo *, const void *, Handle *))                                \
	X(DestroyBuffer, void, (Device, Handle, const void *))                                                             \
	X(GetBufferMemoryRequirements, void, (Device, Handle, MemoryRequirements *))                                       \
	X(BindBufferMemory, Result, (Device, Handle, Handle, DeviceSize))                                                  \
	X(CreateDescriptorSetLayout, Result, (Device, const SetLayoutCreateInfo *, const void *, Handle *))                \
	X(DestroyDescriptorSetLayout, void, (Device, Handle, const void *))                                                \
	X(CreatePipelineLayout, Result, (Device, const PipelineLayoutCreateInfo *, const void *, Handle *))                \
	X(DestroyPipelineLayout, void, (Device, Handle, const void *))                                                     \
	X(CreateShaderModule, Result, (Device, const ShaderModuleCreateInfo *, const void *, Handle *))                    \
	X(DestroyShaderModule, void, (Device, Handle, const void *))                                                       \
	X(CreatePipelineCache, Result, (Device, const PipelineCacheCreateInfo *, const void *, Handle *))                  \
	X(DestroyPipelineCache, void, (Device, Handle, const void *))                                                      \
	X(GetPipelineCacheData, Result, (Device, Handle, size_t *, void *))                                                \
	X(CreateComputePipelines, Result, (Device, Handle, uint32_t, const ComputePipelineCreateInfo *, const void *, Handle *)) \
	X(DestroyPipeline, void, (Device, Handle, const void *))                                                           \
	X(CreateDescriptorPool, Result, (Device, const DescriptorPoolCreateInfo *, const void *, Handle *))                \
	X(DestroyDescriptorPool, void, (Device, Handle, const void *))                                                     \
	X(ResetDescriptorPool, Result, (Device, Handle, uint32_t))                                                         \
	X(AllocateDescriptorSets, Result, (Device, const SetAllocateInfo *, Handle *))                                     \
	X(UpdateDescriptorSets, void, (Device, uint32_t, const WriteSet *, uint32_t, const void *))                        \
	X(CreateCommandPool, Result, (Device, const CommandPoolCreateInfo *, const void *, Handle *))                      \
	X(DestroyCommandPool, void, (Device, Handle, const void *))                                                        \
	X(ResetCommandPool, Result, (Device, Handle, uint32_t))                                                            \
	X(AllocateCommandBuffers, Result, (Device, const CommandBufferAllocateInfo *, CommandBuffer *))                    \
	X(BeginCommandBuffer, Result, (CommandBuffer, const CommandBufferBeginInfo *))                                     \
	X(EndCommandBuffer, Result, (CommandBuffer))                                                                       \
	X(CreateFence, Result, (Device, const FenceCreateInfo *, const void *, Handle *))                                  \
	X(DestroyFence, void, (Device, Handle, const void *))                                                              \
	X(ResetFences, Result, (Device, uint32_t, const Handle *))                                                         \
	X(GetFenceStatus, Result, (Device, Handle))                                                                        \
	X(WaitForFences, Result, (Device, uint32_t, const Handle *, Bool32, uint64_t))                                     \
	X(CreateQueryPool, Result, (Device, const QueryPoolCreateInfo *, const void *, Handle *))                          \
	X(DestroyQueryPool, void, (Device, Handle, const void *))                                                          \
	X(GetQueryPoolResults, Result, (Device, Handle, uint32_t, uint32_t, size_t, void *, DeviceSize, uint32_t))         \
	X(CmdResetQueryPool, void, (CommandBuffer, Handle, uint32_t, uint32_t))                                            \
	X(CmdWriteTimestamp, void, (CommandBuffer, uint32_t, Handle, uint32_t))                                            \
	X(CmdPipelineBarrier, void, (CommandBuffer, uint32_t, uint32_t, uint32_t, uint32_t, const MemoryBarrier *, uint32_t, const void *, uint32_t, const void *)) \
	X(CmdBindPipeline, void, (CommandBuffer, int32_t, Handle))                                                         \
	X(CmdBindDescriptorSets, void, (CommandBuffer, int32_t, Handle, uint32_t, uint32_t, const Handle *, uint32_t, const uint32_t *)) \
	X(CmdPushConstants, void, (CommandBuffer, Handle, uint32_t, uint32_t, uint32_t, const void *))                     \
	X(CmdDispatch, void, (CommandBuffer, uint32_t, uint32_t, uint32_t))                                                \
	X(CmdCopyBuffer, void, (CommandBuffer, Handle, Handle, uint32_t, const BufferCopy *))                              \
	X(CmdFillBuffer, void, (CommandBuffer, Handle, DeviceSize, DeviceSize, uint32_t))

#endif
