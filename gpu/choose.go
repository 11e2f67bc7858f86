//go:build cgo

package gpu

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	vulkan "github.com/vulkan-go/vulkan"

	"vkconv/gpu/internal/vk"
)

// Devices lists every device that the loader finds, usable or not. It returns ErrNoLoader or ErrNoDevice with the
// reason when there is none.
func Devices(o Options) ([]Info, error) {
	inst, err := instance(o)
	if err != nil {
		return nil, err
	}
	defer inst.Close()
	_, infos, err := list(inst)
	return infos, err
}

func instance(o Options) (*vk.Instance, error) {
	validate, err := o.validation()
	if err != nil {
		return nil, err
	}
	inst, err := vk.NewInstance(validate, o.Surface...)
	switch {
	case err == nil:
		return inst, nil
	case errors.Is(err, vk.ErrNoLoader):
		return nil, fmt.Errorf("gpu: %w: %w; install a Vulkan driver or its loader (Debian: mesa-vulkan-drivers libvulkan1)", ErrNoLoader, err)
	case errors.Is(err, vk.ErrNoLayer):
		return nil, fmt.Errorf("gpu: %w: %w (Debian: vulkan-validationlayers)", ErrNoLayer, err)
	}
	return nil, fmt.Errorf("gpu: %w: the Vulkan loader found no driver that works: %w%s", ErrNoDevice, err, drivers())
}

// drivers says which variables narrow the loader's search, the usual reason for finding nothing.
func drivers() string {
	var set []string
	for _, v := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE"} {
		if s := os.Getenv(v); s != "" {
			set = append(set, v+"="+s)
		}
	}
	if set == nil {
		return "; is a driver installed?"
	}
	return "; it looks only where the environment says: " + strings.Join(set, ", ")
}

func list(inst *vk.Instance) ([]*vk.Physical, []Info, error) {
	physical, err := inst.Devices()
	if err != nil || len(physical) == 0 {
		why := "the Vulkan loader found no device"
		for _, line := range inst.Complaints() {
			why += "; it says: " + line
		}
		if err != nil {
			return nil, nil, fmt.Errorf("gpu: %w: %s: %w%s", ErrNoDevice, why, err, drivers())
		}
		return nil, nil, fmt.Errorf("gpu: %w: %s%s", ErrNoDevice, why, drivers())
	}
	infos := make([]Info, len(physical))
	for k, p := range physical {
		infos[k] = describe(k, p)
	}
	return physical, infos, nil
}

func describe(index int, p *vk.Physical) Info {
	version := func(v uint32) [3]uint32 { return [3]uint32{v >> 22 & 0x7f, v >> 12 & 0x3ff, v & 0xfff} }
	i := Info{
		Index: index, Name: p.Name, Type: Other, Driver: p.Driver, DriverInfo: p.DriverInfo,
		DriverVersion: p.DriverVersion, VendorID: p.VendorID, DeviceID: p.DeviceID, API: version(p.API),
		CacheUUID: p.CacheUUID, DeviceUUID: p.DeviceUUID,
		Limits: Limits{
			StorageBufferRange: p.StorageBufferRange, Allocations: p.Allocations,
			Groups: p.Groups, GroupSize: p.GroupSize, GroupInvocations: p.GroupInvocations, SharedMemory: p.SharedMemory,
			PushBytes: p.PushBytes, StorageBuffers: min(p.StorageBuffers, vk.MaxBindings), StorageAlign: max(p.StorageAlign, 1),
			TimestampPeriod: p.TimestampPeriod, TimestampBits: p.TimestampBits,
		},
		Features: Features{
			SubgroupSize: p.Subgroup, SubgroupMin: p.SubgroupMin, SubgroupMax: p.SubgroupMax, SubgroupOps: p.SubgroupOps,
			SubgroupControl: p.SubgroupControl && p.SubgroupRequired, FullSubgroups: p.SubgroupFull,
			Storage16: p.Storage16, Storage8: p.Storage8, Float16: p.Float16, Int8: p.Int8, Int16: p.Int16, Int64: p.Int64,
			Float64: p.Float64, FloatAtomicAdd: p.AtomicAdd, MemoryModel: p.MemoryModel, ScalarLayout: p.ScalarLayout,
			DotProduct: p.DotProduct, MemoryBudget: p.BudgetReported, BFloat16: p.BFloat16,
		},
	}
	switch p.Type {
	case vulkan.PhysicalDeviceTypeDiscreteGpu:
		i.Type = Discrete
	case vulkan.PhysicalDeviceTypeIntegratedGpu:
		i.Type = Integrated
	case vulkan.PhysicalDeviceTypeVirtualGpu:
		i.Type = Virtual
	case vulkan.PhysicalDeviceTypeCpu:
		i.Type = Software
	}
	local, _ := memoryTypes(i.Type, p.Memory, p.Heaps, ^uint32(0))
	if local >= 0 {
		i.Limits.DeviceMemory = p.Heaps[p.Memory[local].Heap].Size
		i.Features.HostVisible = p.Memory[local].Visible && p.Memory[local].Coherent
	}
	// 2^30 is the least that version 1.1 lets a driver allow; buffers have no limit of their own before version 1.3.
	i.Limits.AllocationSize = p.MaxAllocation
	if i.Limits.AllocationSize == 0 {
		i.Limits.AllocationSize = 1 << 30
	}
	i.Limits.BufferSize = i.Limits.AllocationSize
	if p.MaxBuffer != 0 {
		i.Limits.BufferSize = min(i.Limits.BufferSize, p.MaxBuffer)
	}
	if i.Limits.DeviceMemory > 0 {
		i.Limits.BufferSize = min(i.Limits.BufferSize, i.Limits.DeviceMemory)
	}
	for _, s := range p.Shapes() {
		c := CoopShape{s.M, s.N, s.K, component(s.A), component(s.B), component(s.C), component(s.Out), s.Saturating, scope(s.Scope)}
		if p.BFloat16 || c.A != "bf16" && c.B != "bf16" { // without its own extension the type cannot be named in a shader
			i.Features.CoopMatrix = append(i.Features.CoopMatrix, c)
		}
	}
	switch {
	case p.API < 1<<22|1<<12:
		i.Unusable = fmt.Sprintf("it speaks Vulkan %d.%d, at least 1.1 is needed", i.API[0], i.API[1])
	case !p.Compute:
		i.Unusable = "it has no queue that computes"
	case local < 0:
		i.Unusable = "it has no memory that buffers could live in"
	}
	return i
}

// component names Vulkan's VkComponentTypeKHR.
func component(t int32) string {
	names := [...]string{"f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"}
	switch {
	case t >= 0 && int(t) < len(names):
		return names[t]
	case t == 1000141000:
		return "bf16"
	}
	return fmt.Sprintf("type%d", t)
}

// scope names Vulkan's VkScopeKHR.
func scope(s int32) string {
	switch s {
	case 1:
		return "device"
	case 2:
		return "workgroup"
	case 3:
		return "subgroup"
	case 5:
		return "queue family"
	}
	return fmt.Sprintf("scope%d", s)
}

// memoryTypes picks where buffers live and where staging does (-1: nowhere), among the types in bits.
//
// Buffers: device-local if there is any. On a device with memory of its own, types that the processor cannot reach come
// first, for copies by the device are faster than the processor's reach across the bus; where memory is shared, types
// that the processor reaches, cached at best, make staging needless. Staging: reachable, coherent, and cached if
// possible, since downloads are read from it.
func memoryTypes(kind DeviceType, types []vk.MemoryType, heaps []vk.Heap, bits uint32) (buffers, staging int) {
	buffers, staging = -1, -1
	var best, bestStaging int64
	for k, t := range types {
		if bits>>k&1 == 0 || t.Special {
			continue
		}
		reach := t.Visible && t.Coherent
		score := int64(1)
		if t.Local {
			score += 100
		}
		switch shared := kind == Integrated || kind == Software; {
		case shared && reach && t.Cache:
			score += 30
		case shared && reach:
			score += 20
		case !shared && !t.Visible:
			score += 20
		}
		score = score<<40 + min(heaps[t.Heap].Size>>20, 1<<40-1) // of equals, the larger heap
		if score > best {
			best, buffers = score, k
		}
		if !reach {
			continue
		}
		score = 1
		if t.Cache {
			score += 2
		}
		if !t.Local || kind == Integrated || kind == Software {
			score++
		}
		if score > bestStaging {
			bestStaging, staging = score, k
		}
	}
	return buffers, staging
}

// choose picks a device and says why, in one sentence.
func choose(infos []Info, o Options) (int, string, error) {
	want, by := o.Device, "option Device"
	if want == "" {
		want, by = os.Getenv("VKCONV_DEVICE"), "environment variable VKCONV_DEVICE"
	}
	others := func(but int) string {
		var rest []string
		for k, i := range infos {
			if k != but {
				line := i.String()
				if i.Unusable != "" {
					line += ", unusable: " + i.Unusable
				}
				rest = append(rest, line)
			}
		}
		if rest == nil {
			return "there is no other"
		}
		return "also there: " + strings.Join(rest, "; ")
	}
	if want != "" {
		for k, i := range infos {
			if !names(i, want) {
				continue
			}
			if i.Unusable != "" {
				if _, err := strconv.Atoi(want); err != nil {
					continue // another of that name may do
				}
				return 0, "", fmt.Errorf("gpu: %w: %s asks for %q, which is %s, but %s", ErrNoDevice, by, want, i, i.Unusable)
			}
			return k, fmt.Sprintf("%s was chosen by %s (%q); %s.", i, by, want, others(k)), nil
		}
		return 0, "", fmt.Errorf("gpu: %w: %s asks for %q, which is no index and part of no usable device's or driver's name; %s",
			ErrNoDevice, by, want, others(-1))
	}
	best := -1
	for k, i := range infos {
		if i.Unusable == "" && (best < 0 || i.Type < infos[best].Type) {
			best = k
		}
	}
	if best < 0 {
		return 0, "", fmt.Errorf("gpu: %w: none is usable; %s", ErrNoDevice, others(-1))
	}
	return best, fmt.Sprintf("%s was chosen as the first %s device (order: discrete, integrated, virtual, software; set VKCONV_DEVICE to choose another); %s.",
		infos[best], infos[best].Type, others(best)), nil
}

func names(i Info, want string) bool {
	if n, err := strconv.Atoi(want); err == nil {
		return n == i.Index
	}
	want = strings.ToLower(want)
	return strings.Contains(strings.ToLower(i.Name), want) || strings.Contains(strings.ToLower(i.Driver), want)
}

// validation is what the validation layer is to look at.
func (o Options) validation() (vk.Validation, error) {
	switch v := os.Getenv("VKCONV_VALIDATION"); {
	case v == "gpu":
		return vk.ValidateShaders, nil
	case v == "1", o.Validation && (v == "" || v == "0"):
		return vk.ValidateOrder, nil
	case v == "", v == "0":
		return vk.ValidateNothing, nil
	default:
		return 0, fmt.Errorf("gpu: %w: VKCONV_VALIDATION is %q, it must be 0, 1 or gpu", ErrArgument, v)
	}
}
