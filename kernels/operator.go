//go:build cgo

package kernels

import (
	"fmt"
	"slices"
	"unsafe"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
	"vkconv/shaders/spirv"
)

// Tensor is where a tensor lies in device memory: contiguous float32, NCHW,
// from byte Offset of Buf on. Offset is a multiple of the device's
// Limits.StorageAlign.
type Tensor struct {
	Buf    *gpu.Buffer
	Offset int64
}

// operator is what all plans share: a launch, its pipeline, its weights on the
// device.
type operator struct {
	launch
	device  *gpu.Device
	pipe    *gpu.Pipeline
	packed  *gpu.Buffer
	slot    [slots]int // binding number of each tensor, −1 where the kernel has none
	access  [slots]gpu.Access
	hasBias bool

	arranged *arrangement // made by the first RecordWeights
}

// The tensors a kernel may bind, by block name in the shaders.
const (
	slotX = iota
	slotWeight
	slotY
	slotOffset
	slotMask
	slots
)

var slotNames = [slots]string{"InputBuffer", "WeightBuffer", "OutputBuffer", "OffsetBuffer", "MaskBuffer"}

// traitsOf picks out what decides of a device's description.
func traitsOf(i gpu.Info) traits {
	const needed = 1<<1 | 1<<3 | 1<<4 // VK_SUBGROUP_FEATURE_VOTE_BIT, BALLOT, SHUFFLE
	loops := 0
	if i.Driver == "llvmpipe" {
		loops = llvmpipeLoops
	}
	return traits{
		Software: i.Type == gpu.Software, Subgroup: int(i.Features.SubgroupSize),
		SubgroupOps: i.Features.SubgroupOps&needed == needed,
		Groups:      [3]int{int(i.Limits.Groups[0]), int(i.Limits.Groups[1]), int(i.Limits.Groups[2])},
		Invocations: int(min(i.Limits.GroupInvocations, i.Limits.GroupSize[0])), SharedMemory: int64(i.Limits.SharedMemory),
		StorageRange: i.Limits.StorageBufferRange, Loops: loops, Units: unitsOf(i.Features),
	}
}

// newOperator builds what was planned.
func newOperator(d *gpu.Device, l launch, weight, bias []float32) (*operator, error) {
	o := &operator{launch: l, device: d, hasBias: l.problem.Bias}
	if err := o.checkWeights(weight, bias); err != nil {
		return nil, err
	}
	var constants []gpu.Constant
	for name, value := range l.constants() {
		id, err := l.module.ConstantID(name)
		if err != nil {
			return nil, err
		}
		constants = append(constants, gpu.Constant{ID: id, Value: value})
	}
	slices.SortFunc(constants, func(a, b gpu.Constant) int { return int(a.ID) - int(b.ID) })
	module, err := moduleOf(l.module), error(nil)
	if l.parts == 1 {
		if module, err = withActivation(l.module, uint32(l.problem.Activation.Kind)); err != nil {
			return nil, err
		}
	}
	if o.pipe, err = d.PipelineWith(module, constants, subgroups(d.Info().Features, max(l.shape.lanes, l.variant.mosaic.lanes))); err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	for i, name := range slotNames {
		o.slot[i] = l.module.Binding(name)
		o.access[i] = gpu.Read
		if o.slot[i] >= 0 && l.module.Bindings[o.slot[i]].Access == "write" {
			o.access[i] = gpu.Write
		}
	}
	if o.packed, err = d.NewBuffer(4 * int64(l.weights)); err != nil {
		return nil, fmt.Errorf("kernels: packed weight: %w", err)
	}
	if err := o.SetWeights(weight, bias); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// subgroups pins what a kernel with lanes counts on, all lanes there and no
// more of them, on devices that can promise it.
func subgroups(f gpu.Features, lanes int) (o gpu.PipelineOptions) {
	if lanes > 1 {
		o.FullSubgroups = f.FullSubgroups
		if f.SubgroupControl {
			o.SubgroupSize = uint32(lanes)
		}
	}
	return o
}

// withActivation is a module with the code of one kind of activation alone.
func withActivation(module *shaders.Module, kind uint32) (*gpu.Module, error) {
	id, err := module.ConstantID("activation")
	if err != nil {
		return nil, err
	}
	m := moduleOf(module)
	m.Code, err = spirv.Fold(m.Code, map[uint32]uint32{id: kind})
	return m, err
}

func moduleOf(m *shaders.Module) *gpu.Module {
	return &gpu.Module{Name: m.Name, Code: m.Code, Bindings: len(m.Bindings), PushBytes: m.PushBytes}
}

func (o *operator) checkWeights(weight, bias []float32) error {
	if want := o.problem.Weight(); len(weight) != want.Len() {
		return fmt.Errorf("kernels: %w: weight has %d elements, %v has %d", conv.ErrShape, len(weight), want, want.Len())
	}
	want := 0
	if o.hasBias {
		want = o.problem.K
	}
	if len(bias) != want {
		return fmt.Errorf("kernels: %w: bias has %d elements, the problem %d", conv.ErrShape, len(bias), want)
	}
	return nil
}

// SetWeights replaces the weights, K×(C/G)×R×S, and the biases, K elements
// where the problem has them and none else. What was submitted before computes
// with the old ones; what is recorded but not submitted, with the new.
func (o *operator) SetWeights(weight, bias []float32) error {
	if err := o.checkWeights(weight, bias); err != nil {
		return err
	}
	packed := pack(o.launch, weight, bias)
	if err := o.device.Upload(o.packed, 0, unsafe.Slice((*byte)(unsafe.Pointer(&packed[0])), 4*len(packed))); err != nil {
		return fmt.Errorf("kernels: weight: %w", err)
	}
	return nil
}

// Workspace is the device memory in bytes that running takes beyond tensors and
// packed weights: none, but see [operator.RecordWeights].
func (o *operator) Workspace() int64 { return o.arranged.bytes() }

// Close frees the weights. What was submitted before goes on.
func (o *operator) Close() {
	o.packed.Free()
	o.arranged.free()
}

// Describe names the kernel and its variant.
func (o *operator) Describe() string {
	s := o.shape
	text := fmt.Sprintf("%s: ", o.variant.module)
	switch o.variant.kind {
	case grouped:
		text += fmt.Sprintf("tiles of %d×%d outputs of a channel", s.ty, s.tn)
	case depthwise:
		text += fmt.Sprintf("strips of %d columns", s.tn)
	case sharedProduct, sharedDeform, matrixProduct, matrixDeform:
		text += fmt.Sprintf("tiles of %d channels × %d outputs in shared memory", s.block, o.variant.columns)
	default:
		text += fmt.Sprintf("tiles of %d channels × %d outputs", s.tm, s.tn)
	}
	if u := o.variant.mosaic; u.M > 0 {
		text += fmt.Sprintf(" on matrix units of %d×%d×%d", u.M, u.N, u.K)
	}
	if s.taps > 1 {
		text += fmt.Sprintf(", %d×%d taps at once", s.rows, s.taps)
	}
	if s.lanes > 1 {
		text += fmt.Sprintf(", weights shared by %d lanes", s.lanes)
	}
	return text + fmt.Sprintf(", workgroups of %d", o.variant.localSize)
}

// record binds tensors and records the launch. Tensors in the order of the
// slots; that of the weights is ignored.
func (o *operator) record(s *gpu.Stream, tensors *[slots]Tensor, elements *[slots]int) error {
	return o.recordWith(s, o.push, tensors, elements)
}

func (o *operator) recordWith(s *gpu.Stream, push []byte, tensors *[slots]Tensor, elements *[slots]int) error {
	if o.groups[0] == 0 { // an empty batch
		return nil
	}
	tensors[slotWeight], elements[slotWeight] = Tensor{Buf: o.packed}, o.weights
	var bindings [slots]gpu.Binding
	for i, t := range tensors {
		at := o.slot[i]
		if at < 0 {
			continue
		}
		size := 4 * int64(elements[i])
		if t.Buf == nil || t.Offset < 0 || t.Buf.Size()-t.Offset < size {
			return fmt.Errorf("kernels: %w: %s needs %d bytes, the buffer has %d from offset %d on", conv.ErrShape, slotNames[i], size, bufferSize(t), t.Offset)
		}
		bindings[at] = gpu.Binding{Buffer: t.Buf, Offset: t.Offset, Size: size, Access: o.access[i]}
	}
	return s.Dispatch(o.pipe, o.groups, push, bindings[:len(o.module.Bindings)])
}

func bufferSize(t Tensor) int64 {
	if t.Buf == nil {
		return 0
	}
	return max(t.Buf.Size()-t.Offset, 0)
}
