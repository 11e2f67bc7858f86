// Package spirv reads out of a compute shader's SPIR-V what a host must know to
// launch it: bindings, push constants, specialization constants, workgroup size.
//
// Source: Khronos, SPIR-V Specification, unified1; opcode and enumerant numbers
// are from its section 3.
package spirv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Reflection is what [Reflect] finds.
type Reflection struct {
	Bindings     []Binding
	PushBytes    int        // size of the push constant block, 0 without one
	Push         []Member   // its members
	Constants    []Constant // specialization constants by ID
	LocalSize    [3]uint32  // workgroup size, defaults where a constant decides
	LocalSizeID  [3]int     // IDs of those constants, −1 for a fixed size
	Capabilities []uint32   // SPIR-V capability numbers, ascending
}

// Binding is a storage buffer.
type Binding struct {
	Set, Number int
	Name        string // of the block
	Access      string // "read", "write" or "readwrite"
}

// Member is a member of the push constant block, a 32-bit scalar.
type Member struct {
	Name   string
	Offset int
}

// Constant is a 32-bit specialization constant.
type Constant struct {
	ID      int
	Name    string
	Default uint32
}

// Opcodes and enumerants.
const (
	magic                   = 0x07230203
	opName                  = 5
	opMemberName            = 6
	opExecutionMode         = 16
	opCapability            = 17
	opTypeInt               = 21
	opTypeFloat             = 22
	opTypeArray             = 28
	opTypeRuntimeArray      = 29
	opTypeStruct            = 30
	opTypePointer           = 32
	opConstant              = 43
	opSpecConstantTrue      = 48
	opSpecConstantFalse     = 49
	opSpecConstant          = 50
	opSpecConstantComposite = 51
	opSpecConstantOp        = 52
	opVariable              = 59
	opDecorate              = 71
	opMemberDecorate        = 72
	opExecutionModeId       = 331
	opLoopMerge             = 246
	opSelectionMerge        = 247
	opLabel                 = 248
	opBranchConditional     = 250

	decorationSpecID        = 1
	decorationBuiltIn       = 11
	decorationNonWritable   = 24
	decorationNonReadable   = 25
	decorationBinding       = 33
	decorationDescriptorSet = 34
	decorationOffset        = 35

	builtInWorkgroupSize = 25
	storageUniform       = 2
	storageFunction      = 7
	storagePushConstant  = 9
	storageStorageBuffer = 12
	modeLocalSize        = 17
	modeLocalSizeID      = 38
)

type memberKey struct{ id, index, decoration uint32 }
type key struct{ id, decoration uint32 }

// module is the module's instructions, sorted into tables by result id.
type module struct {
	names       map[uint32]string
	memberNames map[[2]uint32]string
	decorations map[key]uint32
	members     map[memberKey]uint32
	defs        map[uint32][]uint32 // whole instruction by result id, of types, constants, variables
	variables   []uint32
	locals      []uint32 // variables inside functions
	caps        []uint32
	localSize   [3]uint32
	sizeIDs     []uint32

	loops        []uint32 // merge blocks of the loops that the instruction at hand is in
	folded       []uint32 // results of operations on specialization constants alone
	selection    bool     // the instruction before was the head of a selection inside a loop
	loopBranches int
}

// Reflect reads a module. It refuses what this project does not use: buffers
// outside set 0, push constant members that aren't 32-bit scalars.
func Reflect(code []byte) (Reflection, error) {
	m, err := parse(code)
	if err != nil {
		return Reflection{}, err
	}
	r := Reflection{Capabilities: m.caps, LocalSize: m.localSize, LocalSizeID: [3]int{-1, -1, -1}}
	slices.Sort(r.Capabilities)
	m.workgroup(&r)
	for id, def := range m.defs {
		if op := def[0] & 0xffff; op != opSpecConstant && op != opSpecConstantTrue && op != opSpecConstantFalse {
			continue
		}
		spec, ok := m.decorations[key{id, decorationSpecID}]
		if !ok {
			continue
		}
		r.Constants = append(r.Constants, Constant{int(spec), m.constantName(id, int(spec), r), m.constant(id)})
	}
	slices.SortFunc(r.Constants, func(a, b Constant) int { return a.ID - b.ID })
	for _, id := range m.variables {
		if err := m.variable(id, &r); err != nil {
			return Reflection{}, err
		}
	}
	slices.SortFunc(r.Bindings, func(a, b Binding) int { return a.Number - b.Number })
	return r, nil
}

// PrivateArrays counts arrays that live in an invocation's private memory. A
// kernel whose register tile was unrolled completely has none.
func PrivateArrays(code []byte) (int, error) {
	m, err := parse(code)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range m.locals {
		if t := m.defs[m.defs[m.defs[id][1]][3]]; len(t) > 0 && t[0]&0xffff == opTypeArray {
			n++
		}
	}
	return n, nil
}

// LoopBranches counts the branches inside loops, loops' own conditions apart
// and those on specialization constants, which are none when the driver compiles.
// On drivers that run invocations as lanes of a vector both sides are executed,
// and SwiftShader's compile time doubles with each: none is best.
func LoopBranches(code []byte) (int, error) {
	m, err := parse(code)
	if err != nil {
		return 0, err
	}
	return m.loopBranches, nil
}

func parse(code []byte) (*module, error) {
	if len(code) < 20 || len(code)%4 != 0 || binary.LittleEndian.Uint32(code) != magic {
		return nil, errors.New("spirv: not a SPIR-V module")
	}
	words := make([]uint32, len(code)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(code[4*i:])
	}
	m := &module{names: map[uint32]string{}, memberNames: map[[2]uint32]string{}, decorations: map[key]uint32{},
		members: map[memberKey]uint32{}, defs: map[uint32][]uint32{}}
	for at := 5; at < len(words); {
		n := int(words[at] >> 16)
		if n == 0 || at+n > len(words) {
			return nil, fmt.Errorf("spirv: instruction at word %d has %d words, the module %d", at, n, len(words))
		}
		m.instruction(words[at : at+n])
		at += n
	}
	return m, nil
}

func (m *module) instruction(w []uint32) {
	switch op := w[0] & 0xffff; {
	case op == opName:
		m.names[w[1]] = text(w[2:])
	case op == opMemberName:
		m.memberNames[[2]uint32{w[1], w[2]}] = text(w[3:])
	case op == opCapability:
		m.caps = append(m.caps, w[1])
	case op == opExecutionMode && w[2] == modeLocalSize:
		copy(m.localSize[:], w[3:6])
	case op == opExecutionModeId && w[2] == modeLocalSizeID:
		m.sizeIDs = w[3:6]
	case op == opDecorate:
		m.decorations[key{w[1], w[2]}] = operand(w, 3)
	case op == opMemberDecorate:
		m.members[memberKey{w[1], w[2], w[3]}] = operand(w, 4)
	case op == opLoopMerge:
		m.loops = append(m.loops, w[1])
	case op == opLabel:
		// A loop's blocks stand before its merge block.
		if i := slices.Index(m.loops, w[1]); i >= 0 {
			m.loops = m.loops[:i]
		}
	case op == opSelectionMerge && len(m.loops) > 0:
		m.selection = true
	case op == opSpecConstantOp:
		m.folded = append(m.folded, w[2])
	case m.selection:
		m.selection = false
		if op != opBranchConditional || !slices.Contains(m.folded, w[1]) {
			m.loopBranches++
		}
	case op >= opTypeInt-2 && op <= opTypePointer:
		m.defs[w[1]] = w
	case op >= opConstant-2 && op <= opSpecConstantComposite:
		m.defs[w[2]] = w
	case op == opVariable:
		m.defs[w[2]] = w
		if w[3] == storageFunction {
			m.locals = append(m.locals, w[2])
		} else {
			m.variables = append(m.variables, w[2])
		}
	}
}

// workgroup finds the constants behind the workgroup's size: the composite
// decorated as WorkgroupSize, or the operands of LocalSizeId.
func (m *module) workgroup(r *Reflection) {
	ids := m.sizeIDs
	for id, def := range m.defs {
		if b, ok := m.decorations[key{id, decorationBuiltIn}]; ok && b == builtInWorkgroupSize && len(def) == 6 {
			ids = def[3:6]
		}
	}
	for i, id := range ids {
		r.LocalSize[i] = m.constant(id)
		if spec, ok := m.decorations[key{id, decorationSpecID}]; ok {
			r.LocalSizeID[i] = int(spec)
		}
	}
}

// constantName is the name in the source; the workgroup's extents have none there.
func (m *module) constantName(id uint32, spec int, r Reflection) string {
	if i := slices.Index(r.LocalSizeID[:], spec); i >= 0 {
		return "localSize" + "XYZ"[i:i+1]
	}
	return m.names[id]
}

func (m *module) constant(id uint32) uint32 {
	switch w := m.defs[id]; {
	case len(w) > 3:
		return w[3]
	case len(w) > 0 && w[0]&0xffff == opSpecConstantTrue:
		return 1
	}
	return 0
}

func (m *module) variable(id uint32, r *Reflection) error {
	def := m.defs[id]
	block := m.defs[def[1]][3]
	switch def[3] {
	case storagePushConstant:
		return m.push(block, r)
	case storageUniform, storageStorageBuffer:
		set := m.decorations[key{id, decorationDescriptorSet}]
		if set != 0 {
			return fmt.Errorf("spirv: block %s is in descriptor set %d, want 0", m.names[block], set)
		}
		r.Bindings = append(r.Bindings, Binding{int(set), int(m.decorations[key{id, decorationBinding}]), m.names[block], m.access(id, block)})
	}
	return nil
}

func (m *module) access(id, block uint32) string {
	has := func(d uint32) bool {
		_, onVariable := m.decorations[key{id, d}]
		_, onMember := m.members[memberKey{block, 0, d}]
		return onVariable || onMember
	}
	switch {
	case has(decorationNonWritable):
		return "read"
	case has(decorationNonReadable):
		return "write"
	}
	return "readwrite"
}

func (m *module) push(block uint32, r *Reflection) error {
	for i, member := range m.defs[block][2:] {
		name := m.memberNames[[2]uint32{block, uint32(i)}]
		if t := m.defs[member]; t[0]&0xffff != opTypeInt && t[0]&0xffff != opTypeFloat || t[2] != 32 {
			return fmt.Errorf("spirv: push constant %s is not a 32-bit scalar", name)
		}
		offset := int(m.members[memberKey{block, uint32(i), decorationOffset}])
		r.Push = append(r.Push, Member{name, offset})
		r.PushBytes = max(r.PushBytes, offset+4)
	}
	return nil
}

func operand(w []uint32, i int) uint32 {
	if i < len(w) {
		return w[i]
	}
	return 0
}

// text decodes a nul-terminated literal.
func text(w []uint32) string {
	var b []byte
	for _, v := range w {
		for range 4 {
			if byte(v) == 0 {
				return string(b)
			}
			b = append(b, byte(v))
			v >>= 8
		}
	}
	return string(b)
}
