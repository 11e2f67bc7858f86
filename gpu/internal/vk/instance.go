//go:build cgo

package vk

/*
#include "shim.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// ErrNoLayer says that validation was asked for and the Khronos layer is not installed.
var ErrNoLayer = errors.New("the validation layer VK_LAYER_KHRONOS_validation is not installed")

// Instance is a connection to the drivers. Its methods are safe for concurrent use, except Close.
type Instance struct {
	c      *C.vkx_instance
	ledger *C.vkx_ledger
	api    uint32

	validation Validation

	mu       sync.Mutex
	last     []string       // messages at the time of Close
	lastLive map[string]int // objects left at the time of Close
}

var bindOnce sync.Once

// Validation is what the Khronos validation layer looks at.
type Validation int

const (
	ValidateNothing Validation = C.VALIDATE_NOTHING // no layer
	ValidateOrder   Validation = C.VALIDATE_ORDER   // the calls and, between them, missing barriers
	ValidateShaders Validation = C.VALIDATE_SHADERS // the calls and, by code put into the shaders, what those read and write
)

// NewInstance makes an instance of at most version 1.3, under the validation layer if asked. extensions are wanted beside
// its own; at most eight are asked for. The error holds what the loader said about its drivers.
func NewInstance(validate Validation, extensions ...string) (*Instance, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	var offer C.vkx_offer
	if err := failed("vkEnumerateInstanceVersion", C.vkx_offers(gipa, &offer)); err != nil {
		return nil, err
	}
	if offer.version < C.uint32_t(vulkan.MakeVersion(1, 1, 0)) {
		return nil, fmt.Errorf("%w: the installed loader speaks Vulkan 1.0, at least 1.1 is needed", ErrNoLoader)
	}
	if validate != ValidateNothing && offer.validation == 0 {
		return nil, ErrNoLayer
	}
	api := min(uint32(offer.version), uint32(vulkan.MakeVersion(1, 3, 0)))
	i := &Instance{api: api, validation: validate}
	wanted := C.CString(strings.Join(extensions, "\x00") + "\x00")
	defer C.free(unsafe.Pointer(wanted))
	err := failed("vkCreateInstance", C.vkx_instance_new(gipa, C.uint32_t(api), &offer, C.int(validate), wanted, &i.c, &i.ledger))
	if err != nil {
		said := i.said(1)
		C.free(unsafe.Pointer(i.ledger))
		for _, line := range said {
			err = fmt.Errorf("%w (%s)", err, line)
		}
		return nil, err
	}
	// The binding keeps one global table. What it is used for are the loader's entry points for any instance, so that
	// filling it from the first is enough.
	bindOnce.Do(func() { err = vulkan.InitInstance(vulkan.Instance(unsafe.Pointer(i.c.handle))) })
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// Close destroys the instance and keeps what was said and what was left.
func (i *Instance) Close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.c == nil {
		return
	}
	C.vkx_instance_free(i.c)
	i.last, i.lastLive = i.said(0), i.live()
	C.free(unsafe.Pointer(i.ledger))
	i.c, i.ledger = nil, nil
}

// Validation is what the layer looks at.
func (i *Instance) Validation() Validation { return i.validation }

// Messages are the validation layer's warnings and errors so far, the oldest first; also after Close.
func (i *Instance) Messages() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ledger == nil {
		return i.last
	}
	return i.said(0)
}

// MessagesFrom are those of [Instance.Messages] from the n-th on, of which the oldest may be dropped, and how many there
// were in all; nothing after Close.
func (i *Instance) MessagesFrom(n uint64) (lines []string, all uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ledger == nil {
		return nil, n
	}
	all = uint64(C.vkx_written(i.ledger, 0))
	if all == n {
		return nil, n
	}
	return i.from(0, n, all), all
}

// Complaints are the loader's and drivers' own errors so far.
func (i *Instance) Complaints() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ledger == nil {
		return nil
	}
	return i.said(1)
}

// Live counts the Vulkan objects that exist, by kind; kinds without any are absent. Also after Close.
func (i *Instance) Live() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ledger == nil {
		return i.lastLive
	}
	return i.live()
}

func (i *Instance) said(ring C.int) []string {
	if i.ledger == nil {
		return nil
	}
	return i.from(ring, 0, uint64(C.vkx_written(i.ledger, ring)))
}

// from are a ring's lines first to n−1, as far as they are still there.
func (i *Instance) from(ring C.int, first, n uint64) (out []string) {
	if n-first > C.RING_LINES {
		out = append(out, fmt.Sprintf("(%d earlier messages were dropped)", n-C.RING_LINES-first))
		first = n - C.RING_LINES
	}
	line := make([]C.char, C.RING_WIDTH)
	for ; first < n; first++ {
		if C.vkx_line(i.ledger, ring, C.uint64_t(first), &line[0]) != 0 {
			out = append(out, C.GoString(&line[0]))
		}
	}
	return out
}

var kinds = [C.K_COUNT]string{"instance", "messenger", "device", "memory", "buffer", "set layout", "pipeline layout",
	"shader module", "pipeline cache", "pipeline", "descriptor pool", "command pool", "fence", "query pool", "surface", "swapchain", "semaphore"}

func (i *Instance) live() map[string]int {
	out := map[string]int{}
	for k, name := range kinds {
		if n := C.vkx_live(i.ledger, C.int(k)); n != 0 {
			out[name] = int(n)
		}
	}
	return out
}

// Physical is one device as its driver describes it.
type Physical struct {
	instance *Instance
	handle   C.PhysicalDevice

	Name                              string
	Type                              vulkan.PhysicalDeviceType
	API, Usable                       uint32 // the driver's version, and the lower of it and the instance's
	DriverVersion, VendorID, DeviceID uint32
	CacheUUID, DeviceUUID, DriverUUID [16]byte
	Driver, DriverInfo                string

	StorageBufferRange, StorageAlign             int64
	MaxAllocation, MaxBuffer                     int64 // 0 when the driver does not say
	Allocations                                  uint32
	Groups, GroupSize                            [3]uint32
	GroupInvocations, SharedMemory               uint32
	PushBytes, StorageBuffers                    uint32
	TimestampPeriod                              float64
	TimestampBits                                uint32
	Memory                                       []MemoryType
	Heaps                                        []Heap
	Subgroup, SubgroupMin, SubgroupMax           uint32
	SubgroupOps                                  uint32
	SubgroupControl, SubgroupFull                bool
	SubgroupRequired                             bool
	Storage16, Storage8, Float16, Int8           bool
	Int16, Int64, Float64, AtomicAdd             bool
	MemoryModel, ScalarLayout, DotProduct        bool
	Maintenance4, Coop, BFloat16, BudgetReported bool
	Compute                                      bool // has a queue that computes
}

// MemoryType is one of the kinds of memory that a device offers.
type MemoryType struct {
	Heap                            int
	Local, Visible, Coherent, Cache bool
	Special                         bool // protected, lazily allocated or device-coherent: never chosen
}

// Heap is a device's memory of one place, in bytes.
type Heap struct {
	Size  int64
	Local bool
}

// Devices lists the physical devices in the loader's order.
func (i *Instance) Devices() ([]*Physical, error) {
	var n C.uint32_t
	if err := failed("vkEnumeratePhysicalDevices", C.vkx_physical(i.c, &n, nil)); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	handles := make([]C.PhysicalDevice, n)
	if r := C.vkx_physical(i.c, &n, &handles[0]); r != C.R_SUCCESS && r != C.R_INCOMPLETE {
		return nil, failed("vkEnumeratePhysicalDevices", r)
	}
	var out []*Physical
	for _, h := range handles[:n] {
		out = append(out, i.describe(h))
	}
	return out, nil
}

func (i *Instance) describe(h C.PhysicalDevice) *Physical {
	p := &Physical{instance: i, handle: h}
	ph := vulkan.PhysicalDevice(unsafe.Pointer(h))
	var props vulkan.PhysicalDeviceProperties
	vulkan.GetPhysicalDeviceProperties(ph, &props)
	props.Deref()
	props.Limits.Deref()
	l := props.Limits
	p.Name = vulkan.ToString(props.DeviceName[:])
	p.Type = props.DeviceType
	p.API = props.ApiVersion
	p.Usable = min(p.API, i.api)
	p.DriverVersion, p.VendorID, p.DeviceID = props.DriverVersion, props.VendorID, props.DeviceID
	for k, b := range props.PipelineCacheUUID {
		p.CacheUUID[k] = byte(b)
	}
	p.StorageBufferRange = int64(l.MaxStorageBufferRange)
	p.StorageAlign = int64(l.MinStorageBufferOffsetAlignment)
	p.Allocations = l.MaxMemoryAllocationCount
	copy(p.Groups[:], l.MaxComputeWorkGroupCount[:])
	copy(p.GroupSize[:], l.MaxComputeWorkGroupSize[:])
	p.GroupInvocations = l.MaxComputeWorkGroupInvocations
	p.SharedMemory = l.MaxComputeSharedMemorySize
	p.PushBytes = l.MaxPushConstantsSize
	p.StorageBuffers = min(l.MaxPerStageDescriptorStorageBuffers, l.MaxDescriptorSetStorageBuffers, l.MaxPerStageResources)
	p.TimestampPeriod = float64(l.TimestampPeriod)

	var mem vulkan.PhysicalDeviceMemoryProperties
	vulkan.GetPhysicalDeviceMemoryProperties(ph, &mem)
	mem.Deref()
	for k := range mem.MemoryTypeCount {
		t := mem.MemoryTypes[k]
		t.Deref()
		f := vulkan.MemoryPropertyFlagBits(t.PropertyFlags)
		p.Memory = append(p.Memory, MemoryType{
			Heap:     int(t.HeapIndex),
			Local:    f&vulkan.MemoryPropertyDeviceLocalBit != 0,
			Visible:  f&vulkan.MemoryPropertyHostVisibleBit != 0,
			Coherent: f&vulkan.MemoryPropertyHostCoherentBit != 0,
			Cache:    f&vulkan.MemoryPropertyHostCachedBit != 0,
			Special: f&^(vulkan.MemoryPropertyDeviceLocalBit|vulkan.MemoryPropertyHostVisibleBit|
				vulkan.MemoryPropertyHostCoherentBit|vulkan.MemoryPropertyHostCachedBit) != 0,
		})
	}
	for k := range mem.MemoryHeapCount {
		h := mem.MemoryHeaps[k]
		h.Deref()
		p.Heaps = append(p.Heaps, Heap{int64(h.Size), vulkan.MemoryHeapFlagBits(h.Flags)&vulkan.MemoryHeapDeviceLocalBit != 0})
	}
	runtime.KeepAlive(&props)
	runtime.KeepAlive(&mem)
	p.traits()
	return p
}

func (p *Physical) traits() {
	if p.Usable < uint32(vulkan.MakeVersion(1, 1, 0)) {
		return
	}
	var t C.vkx_traits
	C.vkx_read_traits(p.instance.c, p.handle, C.uint32_t(p.Usable), &t)
	yes := func(b C.uint32_t) bool { return b != 0 }
	p.Compute = yes(t.queueFound)
	p.TimestampBits = uint32(t.timestampBits)
	p.Subgroup, p.SubgroupMin, p.SubgroupMax = uint32(t.subgroup), uint32(t.subgroupMin), uint32(t.subgroupMax)
	p.SubgroupOps = uint32(t.subgroupOps)
	p.SubgroupControl, p.SubgroupFull, p.SubgroupRequired = yes(t.subgroupControl), yes(t.subgroupFull), yes(t.subgroupRequired)
	p.Storage16, p.Storage8, p.Float16, p.Int8 = yes(t.storage16), yes(t.storage8), yes(t.float16), yes(t.int8)
	p.Int16, p.Int64, p.Float64, p.AtomicAdd = yes(t.int16), yes(t.int64), yes(t.float64), yes(t.atomicAdd)
	p.MemoryModel, p.ScalarLayout, p.DotProduct = yes(t.memoryModel), yes(t.scalarLayout), yes(t.dotProduct)
	p.Maintenance4, p.Coop, p.BFloat16, p.BudgetReported = yes(t.maintenance4), yes(t.coop), yes(t.bfloat16), yes(t.memoryBudget)
	p.MaxAllocation, p.MaxBuffer = clamp(uint64(t.maxAllocation)), clamp(uint64(t.maxBuffer))
	for k := range 16 {
		p.DeviceUUID[k], p.DriverUUID[k] = byte(t.deviceUUID[k]), byte(t.driverUUID[k])
	}
	p.Driver, p.DriverInfo = C.GoString(&t.driver[0]), C.GoString(&t.info[0])
}

func clamp(n uint64) int64 {
	if n > 1<<63-1 {
		return 1<<63 - 1
	}
	return int64(n)
}

// Shape is one size that cooperative matrices come in: A is M×K, B is K×N, C and the result are M×N; the numbers after
// are Vulkan's component types.
type Shape struct {
	M, N, K      uint32
	A, B, C, Out int32
	Saturating   bool
	Scope        int32
}

// Shapes lists the cooperative matrices of a device that has them.
func (p *Physical) Shapes() []Shape {
	if !p.Coop {
		return nil
	}
	n := C.vkx_coop_shapes(p.instance.c, p.handle, nil, 0)
	if n == 0 {
		return nil
	}
	all := make([]C.CoopShape, n)
	n = min(n, C.vkx_coop_shapes(p.instance.c, p.handle, &all[0], n))
	var out []Shape
	for _, s := range all[:n] {
		out = append(out, Shape{uint32(s.m), uint32(s.n), uint32(s.k), int32(s.a), int32(s.b), int32(s.c), int32(s.result),
			s.saturating != 0, int32(s.scope)})
	}
	return out
}
