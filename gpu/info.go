package gpu

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// DeviceType is the kind of a device. The order is that of preference.
type DeviceType int

const (
	Discrete DeviceType = iota
	Integrated
	Virtual
	Software // runs on the processor
	Other
)

func (t DeviceType) String() string {
	switch t {
	case Discrete:
		return "discrete"
	case Integrated:
		return "integrated"
	case Virtual:
		return "virtual"
	case Software:
		return "software"
	}
	return "other"
}

// Info is what a driver says about a device.
type Info struct {
	Index              int // in the loader's order
	Name               string
	Type               DeviceType
	Driver, DriverInfo string // the driver's name and version, as it words them; empty when it does not say
	DriverVersion      uint32 // encoded as the vendor likes
	VendorID, DeviceID uint32
	API                [3]uint32 // the Vulkan version
	CacheUUID          [16]byte  // of the format of pipeline caches
	DeviceUUID         [16]byte
	Unusable           string // why Open would refuse the device; "" when it is usable
	Limits             Limits
	Features           Features
}

// String is one line: name, kind, driver, version.
func (i Info) String() string {
	return fmt.Sprintf("%d: %s (%s, %s)", i.Index, i.Name, i.Type, i.DriverText())
}

// DriverText names the driver, as much as it says of itself, and the Vulkan version.
func (i Info) DriverText() string {
	driver := strings.Join(strings.Fields(i.Driver+" "+i.DriverInfo), " ")
	if driver == "" {
		driver = "unnamed driver"
	}
	return fmt.Sprintf("%s, Vulkan %d.%d.%d", driver, i.API[0], i.API[1], i.API[2])
}

// Limits are a device's sizes. Bytes are plain bytes.
type Limits struct {
	StorageBufferRange int64 // most bytes that one binding may cover
	BufferSize         int64 // most bytes of one Buffer
	AllocationSize     int64 // most bytes of one allocation
	Allocations        uint32
	DeviceMemory       int64     // bytes of the device's own heap
	Groups             [3]uint32 // most workgroups of one dispatch, by dimension
	GroupSize          [3]uint32 // most invocations of one workgroup, by dimension
	GroupInvocations   uint32    // and in total
	SharedMemory       uint32    // bytes a workgroup may share
	PushBytes          uint32
	StorageBuffers     uint32  // bindings of one pipeline
	StorageAlign       int64   // a Binding's Offset must be a multiple of it
	TimestampPeriod    float64 // nanoseconds a tick
	TimestampBits      uint32  // 0: no timestamps
}

// Features are what shaders may use; Open enables all that a device has.
type Features struct {
	SubgroupSize, SubgroupMin, SubgroupMax uint32
	SubgroupOps                            uint32 // Vulkan's VkSubgroupFeatureFlagBits, as far as compute shaders have them
	SubgroupControl                        bool   // PipelineOptions.SubgroupSize works
	FullSubgroups                          bool   // PipelineOptions.FullSubgroups works
	Storage16, Storage8                    bool   // 16- and 8-bit values in storage buffers
	Float16, Int8, Int16, Int64, Float64   bool   // arithmetic
	FloatAtomicAdd                         bool   // atomicAdd of float32 in storage buffers
	BFloat16                               bool   // bfloat16 values, in cooperative matrices too
	MemoryModel, ScalarLayout, DotProduct  bool
	HostVisible                            bool // the processor reaches the memory that buffers live in
	MemoryBudget                           bool // the driver reports how much memory is free
	CoopMatrix                             []CoopShape
}

// Matrices lists the cooperative matrices in short, each once: 16×16×16 f16·f16→f32.
func (f Features) Matrices() []string {
	var all []string
	for _, s := range f.CoopMatrix {
		if text := s.String(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// CoopShape is one size and set of types of cooperative matrices: Out[M×N] = A[M×K]·B[K×N] + C[M×N].
// Types are f16, bf16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64.
type CoopShape struct {
	M, N, K      uint32
	A, B, C, Out string
	Saturating   bool
	Scope        string // subgroup, workgroup, queue family or device
}

// String is the shape in short, without saturation and scope.
func (s CoopShape) String() string {
	return fmt.Sprintf("%d×%d×%d %s·%s→%s", s.M, s.N, s.K, s.A, s.B, s.Out)
}

// Options choose and set up a device. The zero value is what most programs want.
type Options struct {
	Device       string       // an index, or part of the device's or driver's name in any case; "" = $VKCONV_DEVICE, else by kind: discrete, integrated, virtual, software
	Validation   bool         // or $VKCONV_VALIDATION=1, or =gpu: the Khronos validation layer; Open fails when it is not installed
	CacheDir     string       // pipeline caches; "" = $VKCONV_CACHE or os.UserCacheDir()/vkconv; "off" = none
	MemoryBudget int64        // most bytes of device memory to reserve; 0 = what the device has
	Log          *slog.Logger // nil = nothing is logged
	Surface      []string     // the instance extensions that a Window's surface needs; nil = there will be none
	// HangTimeout is how long nothing may finish while something is in flight before the device is given up as hung,
	// that is lost; 0 = never. It must be longer than the longest single submission.
	HangTimeout time.Duration

	forceStaging bool // as $VKCONV_STAGING=1
}

// MemoryUse is how much device memory a Device holds, in bytes.
type MemoryUse struct {
	InUse    int64 // in buffers
	Reserved int64 // taken from the device, staging included
	Peak     int64 // the most that was ever in use
	Buffers  int
}
