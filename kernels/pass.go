//go:build cgo

package kernels

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"unsafe"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// Gradients take several dispatches, each a pass; this file is what they share.
// None uses a float atomic, and how a sum is cut into parts depends on the
// problem and the device alone, so the same call gives the same bits.

// Grads are the tensors that a backward pass writes: gradients in the shapes of
// what they differentiate by, N×C×H×W, K×(C/G)×R×S, K, N×(2·og·R·S)×Ho×Wo and
// N×(og·R·S)×Ho×Wo. A zero Tensor is not wanted and costs nothing.
type Grads struct{ X, Weight, Bias, Offset, Mask Tensor }

// wants reports whether a tensor was given.
func (t Tensor) wants() bool { return t.Buf != nil }

// span is a tensor or a part of a workspace, with its number of elements.
type span struct {
	Tensor
	elements int
}

// maxSpans is the most buffers that a pass binds.
const maxSpans = 7

// pass is one dispatch with all numbers known.
type pass struct {
	module *shaders.Module
	pipe   *gpu.Pipeline
	groups [3]uint32
	push   []byte
	access [maxSpans]gpu.Access
}

// maker is what decides how gradients are computed on a device. Tests make
// others than [makerFor] does, to reach every way.
type maker struct {
	device *gpu.Device
	traits traits
	column int // most elements of a deformable convolution's sample gradients
	pixels int // pixels of an image worked on at once at least, for that
	lists  int // most elements of its lists
	// atomics asks for a deformable convolution's gradient by the input by atomic
	// additions.
	atomics  bool
	winograd bool // AllowWinograd

	tuning *tuning                 // nil: by the cost model
	forced map[string]string       // the tile to take of those with this prefix
	asked  *map[string][]Candidate // what tiles there were, by prefix; nil: nobody asks
}

// makerFor bounds each by 32 MiB; thousands of channels × taps may take more.
func makerFor(d *gpu.Device, options ...Option) maker {
	m := maker{device: d, traits: traitsOf(d.Info()), column: 8 << 20, pixels: 32, lists: 8 << 20}
	for _, o := range options {
		o(&m)
	}
	return m
}

// newPass builds a pass of so many workgroups of local invocations. values must
// hold every push constant of the module but tiles, and may hold more; among
// them the kind of activation where the module has one.
func newPass(m maker, name string, local, tiles int, values map[string]int) (*pass, error) {
	module, err := shaders.Get(name)
	if err != nil {
		return nil, err
	}
	p := &pass{module: module}
	if p.groups, err = fold(tiles, m.traits); err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	values = maps.Clone(values)
	values["tiles"] = tiles
	if p.push, err = packPush(module, values); err != nil {
		return nil, err
	}
	size, err := module.ConstantID("localSizeX")
	if err != nil {
		return nil, err
	}
	constants := []gpu.Constant{{ID: size, Value: uint32(local)}}
	compiled := moduleOf(module)
	if id, err := module.ConstantID("activation"); err == nil {
		kind := uint32(values["activation"])
		constants = append(constants, gpu.Constant{ID: id, Value: kind})
		if compiled, err = withActivation(module, kind); err != nil {
			return nil, err
		}
	}
	if p.pipe, err = m.device.PipelineWith(compiled, constants, subgroups(m.device.Info().Features, module.Defines["LANES"])); err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	for i, b := range module.Bindings {
		switch b.Access {
		case "read":
			p.access[i] = gpu.Read
		case "write":
			p.access[i] = gpu.Write
		}
	}
	return p, nil
}

// record records the pass; bound are its bindings in order.
func (p *pass) record(s *gpu.Stream, bound *[maxSpans]span) error {
	return p.recordWith(s, p.push, bound)
}

func (p *pass) recordWith(s *gpu.Stream, push []byte, bound *[maxSpans]span) error {
	var bindings [maxSpans]gpu.Binding
	n := len(p.module.Bindings)
	for i := range n {
		b := &bound[i]
		bindings[i] = gpu.Binding{Buffer: b.Buf, Offset: b.Offset, Size: 4 * int64(b.elements), Access: p.access[i]}
	}
	return s.Dispatch(p.pipe, p.groups, push, bindings[:n])
}

// recordPart records the pass with other push constants and so many workgroups.
func (p *pass) recordPart(s *gpu.Stream, t traits, tiles int, push *patch, bound *[maxSpans]span) error {
	part := *p
	var err error
	if part.groups, err = fold(tiles, t); err != nil {
		return fmt.Errorf("kernels: %w", err)
	}
	push.set("tiles", tiles)
	return part.recordWith(s, push.push(), bound)
}

// checkSpan refuses a tensor that is too short.
func checkSpan(name string, b span) error {
	size := 4 * int64(b.elements)
	if b.Buf == nil || b.Offset < 0 || b.Buf.Size()-b.Offset < size {
		return fmt.Errorf("kernels: %w: %s needs %d bytes, the buffer has %d from offset %d on", conv.ErrShape, name, size, bufferSize(b.Tensor), b.Offset)
	}
	return nil
}

// problemValues are the push constants that say which convolution it is.
func problemValues(p conv.Problem) map[string]int {
	v := map[string]int{
		"c": p.C, "h": p.H, "w": p.W, "k": p.K, "ho": p.Ho, "wo": p.Wo, "r": p.R, "s": p.S,
		"cg": p.C / p.Groups, "kg": p.K / p.Groups,
		"strideY": p.StrideY, "strideX": p.StrideX, "dilationY": p.DilationY, "dilationX": p.DilationX,
		"top": p.Pad.Top, "left": p.Pad.Left, "mode": int(p.Mode), "blocks": 1, "groupBlocks": 1,
	}
	if p.Deformable() {
		// Passes that work on all of dy look at none of these.
		v["wants"], v["firstImage"], v["firstPixel"], v["pixels"] = 0, 0, 0, 0
		v["offsetGroups"], v["offsetChannels"] = p.OffsetGroups, p.C/p.OffsetGroups
		v["run"] = gcd(p.C/p.OffsetGroups, p.C/p.Groups)
		if v["masked"] = 0; p.Mask {
			v["masked"] = 1
		}
		v["border"] = int(p.Border)
	}
	return v
}

// matrix is what a gradient computes with a register tile: rows × columns of a
// result, for each group.
type matrix struct {
	groups, rows, columns int
	value, place          float64 // cost of a value; of what is worked out once for all TN of them
	padded                bool    // by another mode than zeros
}

// tile is a way to run a product.
type tile struct {
	module       string
	tm, tn       int
	lanes, local int
}

// tiles are the variants prefix_…, each a candidate.
func (p matrix) tiles(t traits, prefix string) (list []tile, c []Candidate, err error) {
	names, err := shaders.Names()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, prefix+"_") {
			continue
		}
		m, err := shaders.Get(name)
		if err != nil {
			return nil, nil, err
		}
		modes := m.Defines["MODES"] > 0
		v := tile{name, m.Defines["TM"], m.Defines["TN"], m.Defines["LANES"], 32}
		if v.lanes > 1 {
			v.local = 8
		}
		list = append(list, v)
		c = append(c, Candidate{Name: name, Unfit: v.unfit(t, modes, p.padded), Cost: p.cost(t, v, modes)})
	}
	if guess(c) < 0 {
		return nil, nil, fmt.Errorf("kernels: %w: no variant of %s for this device", conv.ErrUnsupported, prefix)
	}
	return list, c, nil
}

// unfit says in a few words why a tile is none for a device or a padding, "" where it is.
func (v tile) unfit(t traits, modes, padded bool) string {
	switch {
	case v.local > t.Invocations:
		return fmt.Sprintf("its workgroups are of %d invocations", v.local)
	case v.lanes > 1 && (t.Subgroup != v.lanes || !t.SubgroupOps):
		return fmt.Sprintf("it needs subgroups of %d with vote, ballot and shuffle", v.lanes)
	case padded && !modes:
		return "it pads with zeros alone"
	}
	return ""
}

// count is how many tiles a result takes.
func (p matrix) count(v tile) int {
	return p.groups * ceil(p.rows, v.tm) * ceil(p.columns, v.local*v.tn)
}

// cost estimates a variant in cycles, as the plans' cost does.
func (p matrix) cost(t traits, v tile, modes bool) float64 {
	k, loads, value := t.machine(), 0.0, p.value
	if loads = float64(v.tm) * k.load; v.lanes > 1 {
		loads = float64(v.tm/v.lanes)*k.load + float64(v.tm)*k.hand
	}
	if modes {
		value += 6 * k.product // a few selections
	}
	step := loads + p.place + float64(v.tn)*value + float64(v.tm*v.tn)*(k.product+k.keep)
	return step * float64(p.count(v)*v.local)
}

// checkGradient refuses what 32-bit indices or the device's bindings cannot hold.
func checkGradient(p conv.Problem, t traits) error {
	for _, s := range []struct {
		name     string
		elements int
	}{{"the input", p.Input().Len()}, {"the output", p.Output().Len()}, {"the weight", p.Weight().Len()}, {"the offset tensor", offsetLen(p)}} {
		// An index may run ahead by one plane before its loop ends.
		if bytes := 4 * int64(s.elements); bytes > t.StorageRange || s.elements+p.H*p.W+p.Ho*p.Wo > math.MaxInt32-1<<16 {
			return fmt.Errorf("kernels: %w: %s takes %d bytes, a binding on this device at most %d", gpu.ErrTooLarge, s.name, bytes, t.StorageRange)
		}
	}
	return checkReach(p)
}

// checkReach refuses positions that the kernels cannot index.
func checkReach(p conv.Problem) error {
	f := func(n int) float64 { return float64(n) }
	reach := func(out, stride, dilation, kernel, before, behind, in int) bool {
		return f(out)*f(stride)+f(dilation)*f(kernel) < farthest && f(before)+f(behind)+2*f(in) < farthest
	}
	if !reach(p.Ho, p.StrideY, p.DilationY, p.R, p.Pad.Top, p.Pad.Bottom, p.H) ||
		!reach(p.Wo, p.StrideX, p.DilationX, p.S, p.Pad.Left, p.Pad.Right, p.W) {
		return fmt.Errorf("kernels: %w: positions reach beyond %d, the most that the kernels index", gpu.ErrTooLarge, farthest)
	}
	return nil
}

func offsetLen(p conv.Problem) int {
	if !p.Deformable() {
		return 0
	}
	return p.Offset().Len()
}

// bytesOf views floats as bytes.
func bytesOf(v []float32) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
}
