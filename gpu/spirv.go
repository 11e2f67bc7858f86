//go:build cgo

package gpu

import (
	"errors"
	"fmt"
)

// reflection is what a module needs from the device with its constants applied. Drivers do not check this and may crash
// where it does not fit, so it is read from the module beforehand. Words and numbers are those of the SPIR-V
// specification, version 1.6.
type reflection struct {
	group        [3]uint32
	shared       uint64 // bytes of workgroup memory, packed; 0 when a size could not be computed
	bindings     int    // one more than the highest binding
	capabilities []uint32
}

// known is a scalar constant, if it could be computed.
type known struct {
	v  uint32
	ok bool
}

type spirvType struct {
	op    uint32
	words []uint32 // operands after the result
}

// reader is the state of one walk over a module.
type reader struct {
	given     map[uint32]uint32 // specialization constants by SpecId
	specID    map[uint32]uint32 // by result
	builtSize uint32            // the composite decorated as WorkgroupSize
	scalar    map[uint32]known
	composite map[uint32][]uint32
	types     map[uint32]spirvType
	sizes     map[uint32]uint64 // of types, in bytes
	local     [3]uint32
	localIDs  []uint32
	entry     bool
	out       reflection
}

var errWords = errors.New("not well-formed SPIR-V")

func reflectModule(code []uint32, constants []Constant) (*reflection, error) {
	const magic, header = 0x07230203, 5
	if len(code) < header || code[0] != magic {
		return nil, fmt.Errorf("%w: it does not begin with the magic number", errWords)
	}
	r := &reader{given: map[uint32]uint32{}, specID: map[uint32]uint32{}, scalar: map[uint32]known{},
		composite: map[uint32][]uint32{}, types: map[uint32]spirvType{}, sizes: map[uint32]uint64{}}
	for _, c := range constants {
		r.given[c.ID] = c.Value
	}
	for at := header; at < len(code); {
		op, n := code[at]&0xffff, int(code[at]>>16)
		if n == 0 || at+n > len(code) {
			return nil, fmt.Errorf("%w: the instruction at word %d runs past the end", errWords, at)
		}
		if least := shortest[op]; n-1 < least {
			return nil, fmt.Errorf("%w: the instruction at word %d is too short", errWords, at)
		}
		r.read(op, code[at+1:at+n])
		at += n
	}
	if !r.entry {
		return nil, errors.New("it has no compute entry point named main")
	}
	return r.result()
}

const (
	opEntryPoint, opExecutionMode, opCapability           = 15, 16, 17
	opTypeBool, opTypeInt, opTypeFloat, opTypeVector      = 20, 21, 22, 23
	opTypeMatrix, opTypeArray, opTypeStruct, opTypePtr    = 24, 28, 30, 32
	opTrue, opFalse, opConstant, opComposite              = 41, 42, 43, 44
	opSpecTrue, opSpecFalse, opSpecConstant, opSpecCompos = 48, 49, 50, 51
	opSpecOp, opVariable, opDecorate, opExecutionModeID   = 52, 59, 71, 331
)

// shortest is the least number of operands of the instructions that are read.
var shortest = map[uint32]int{
	opEntryPoint: 3, opExecutionMode: 2, opCapability: 1, opTypeBool: 1, opTypeInt: 3, opTypeFloat: 2, opTypeVector: 3,
	opTypeMatrix: 3, opTypeArray: 3, opTypeStruct: 1, opTypePtr: 3, opTrue: 2, opFalse: 2, opConstant: 3, opComposite: 2,
	opSpecTrue: 2, opSpecFalse: 2, opSpecConstant: 3, opSpecCompos: 2, opSpecOp: 3, opVariable: 3, opDecorate: 2,
	opExecutionModeID: 2,
}

func (r *reader) read(op uint32, w []uint32) {
	switch op {
	case opCapability:
		r.out.capabilities = append(r.out.capabilities, w[0])
	case opEntryPoint: // model GLCompute, and the name in little-endian bytes: "main" and a zero word
		const glCompute, main = 5, 0x6e69616d
		r.entry = r.entry || w[0] == glCompute && len(w) > 3 && w[2] == main && w[3] == 0
	case opExecutionMode:
		const localSize = 17
		if w[1] == localSize && len(w) >= 5 {
			r.local = [3]uint32(w[2:5])
		}
	case opExecutionModeID:
		const localSizeID = 38
		if w[1] == localSizeID && len(w) >= 5 {
			r.localIDs = w[2:5]
		}
	case opDecorate:
		const specID, builtIn, binding, workgroupSize = 1, 11, 33, 25
		if len(w) < 3 {
			return
		}
		switch w[1] {
		case specID:
			r.specID[w[0]] = w[2]
		case builtIn:
			if w[2] == workgroupSize {
				r.builtSize = w[0]
			}
		case binding:
			if w[2] < 1<<20 {
				r.out.bindings = max(r.out.bindings, int(w[2])+1)
			}
		}
	case opTypeBool, opTypeInt, opTypeFloat, opTypeVector, opTypeMatrix, opTypeArray, opTypeStruct, opTypePtr:
		r.types[w[0]], r.sizes[w[0]] = spirvType{op, w[1:]}, r.size(op, w[1:])
	case opTrue, opFalse:
		r.scalar[w[1]] = known{opTrue + 1 - op, true}
	case opConstant:
		r.scalar[w[1]] = known{w[2], len(w) == 3}
	case opSpecTrue, opSpecFalse, opSpecConstant:
		k := known{opSpecTrue + 1 - op, true}
		if op == opSpecConstant {
			k = known{w[2], len(w) == 3}
		}
		if id, ok := r.specID[w[1]]; ok {
			if v, ok := r.given[id]; ok {
				k.v = v
			}
		}
		r.scalar[w[1]] = k
	case opComposite, opSpecCompos:
		r.composite[w[1]] = w[2:]
	case opSpecOp:
		r.scalar[w[1]] = r.evaluate(w[2], w[3:])
	case opVariable:
		const workgroup = 4
		if w[2] == workgroup {
			if p := r.types[w[0]]; p.op == opTypePtr {
				r.out.shared += r.sizes[p.words[1]]
			}
		}
	}
}

// size of a type in bytes without padding, so that nothing is refused wrongly; 0 when it cannot be told. Types stand
// behind those that they are made of, so that one of itself has no size.
func (r *reader) size(op uint32, w []uint32) (n uint64) {
	switch op {
	case opTypeBool:
		n = 4
	case opTypeInt, opTypeFloat:
		n = uint64(w[0]) / 8
	case opTypeVector, opTypeMatrix:
		n = r.sizes[w[0]] * uint64(w[1])
	case opTypeArray:
		if count := r.scalar[w[1]]; count.ok {
			n = r.sizes[w[0]] * uint64(count.v)
		}
	case opTypeStruct:
		for _, member := range w {
			n = min(n+r.sizes[member], hugeType)
		}
	}
	return min(n, hugeType)
}

// hugeType is more than any workgroup's memory; times what a word counts to, it still is a number.
const hugeType = 1 << 31

func (r *reader) evaluate(op uint32, ids []uint32) known {
	var a [3]uint32
	if len(ids) == 0 || len(ids) > 3 {
		return known{}
	}
	for k, id := range ids {
		v := r.scalar[id]
		if !v.ok {
			return known{}
		}
		a[k] = v.v
	}
	x, y := a[0], a[1]
	is := func(b bool) known {
		if b {
			return known{1, true}
		}
		return known{0, true}
	}
	val := func(v uint32) known { return known{v, true} }
	switch op {
	case 113, 114: // UConvert, SConvert
		return val(x)
	case 126: // SNegate
		return val(-x)
	case 200: // Not
		return val(^x)
	case 128: // IAdd
		return val(x + y)
	case 130: // ISub
		return val(x - y)
	case 132: // IMul
		return val(x * y)
	case 134, 137: // UDiv, UMod
		if y == 0 {
			return known{}
		}
		if op == 134 {
			return val(x / y)
		}
		return val(x % y)
	case 135, 138, 139: // SDiv, SRem, SMod
		if y == 0 || int32(x) < 0 || int32(y) < 0 {
			return known{}
		}
		if op == 135 {
			return val(x / y)
		}
		return val(x % y)
	case 194: // ShiftRightLogical
		return val(x >> (y & 31))
	case 195: // ShiftRightArithmetic
		return val(uint32(int32(x) >> (y & 31)))
	case 196: // ShiftLeftLogical
		return val(x << (y & 31))
	case 197: // BitwiseOr
		return val(x | y)
	case 198: // BitwiseXor
		return val(x ^ y)
	case 199: // BitwiseAnd
		return val(x & y)
	case 164: // LogicalEqual
		return is((x != 0) == (y != 0))
	case 165: // LogicalNotEqual
		return is((x != 0) != (y != 0))
	case 166: // LogicalOr
		return is(x != 0 || y != 0)
	case 167: // LogicalAnd
		return is(x != 0 && y != 0)
	case 168: // LogicalNot
		return is(x == 0)
	case 169: // Select
		if x != 0 {
			return val(y)
		}
		return val(a[2])
	case 170: // IEqual
		return is(x == y)
	case 171: // INotEqual
		return is(x != y)
	case 172: // UGreaterThan
		return is(x > y)
	case 173: // SGreaterThan
		return is(int32(x) > int32(y))
	case 174: // UGreaterThanEqual
		return is(x >= y)
	case 175: // SGreaterThanEqual
		return is(int32(x) >= int32(y))
	case 176: // ULessThan
		return is(x < y)
	case 177: // SLessThan
		return is(int32(x) < int32(y))
	case 178: // ULessThanEqual
		return is(x <= y)
	case 179: // SLessThanEqual
		return is(int32(x) <= int32(y))
	}
	return known{}
}

func (r *reader) result() (*reflection, error) {
	ids := r.localIDs
	if c := r.composite[r.builtSize]; r.builtSize != 0 && len(c) == 3 {
		ids = c // it goes before the execution mode
	}
	r.out.group = r.local
	for k, id := range ids {
		v := r.scalar[id]
		if !v.ok {
			return nil, errors.New("its workgroup size cannot be computed")
		}
		r.out.group[k] = v.v
	}
	return &r.out, nil
}

// lacks names the first thing that the module needs and the device does not have.
func (r *reflection) lacks(f *Features) string {
	for _, c := range r.capabilities {
		if c >= 61 && c <= 68 { // GroupNonUniform … GroupNonUniformQuad, in the order of the feature bits
			if names := [...]string{"subgroups", "subgroup votes", "subgroup arithmetic", "subgroup ballots", "subgroup shuffles",
				"relative subgroup shuffles", "clustered subgroup operations", "subgroup quads"}; f.SubgroupOps>>(c-61)&1 == 0 {
				return names[c-61]
			}
			continue
		}
		if n, ok := needs[c]; ok && !n.have(f) {
			return n.what
		}
	}
	return ""
}

var needs = map[uint32]struct {
	what string
	have func(*Features) bool
}{
	9:    {"16-bit floats", func(f *Features) bool { return f.Float16 }},
	10:   {"64-bit floats", func(f *Features) bool { return f.Float64 }},
	11:   {"64-bit integers", func(f *Features) bool { return f.Int64 }},
	22:   {"16-bit integers", func(f *Features) bool { return f.Int16 }},
	39:   {"8-bit integers", func(f *Features) bool { return f.Int8 }},
	4433: {"16-bit storage", func(f *Features) bool { return f.Storage16 }},
	4448: {"8-bit storage", func(f *Features) bool { return f.Storage8 }},
	5116: {"bfloat16", func(f *Features) bool { return f.BFloat16 }},
	5118: {"cooperative matrices of bfloat16", func(f *Features) bool { return f.BFloat16 }},
	5345: {"the Vulkan memory model", func(f *Features) bool { return f.MemoryModel }},
	6019: {"integer dot products", func(f *Features) bool { return f.DotProduct }},
	6022: {"cooperative matrices", func(f *Features) bool { return len(f.CoopMatrix) > 0 }},
	6033: {"atomic addition of floats", func(f *Features) bool { return f.FloatAtomicAdd }},
}
