//go:build cgo

package gpu

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// instruction is one of SPIR-V's, of these operands.
func instruction(op uint32, operands ...uint32) []uint32 {
	return append([]uint32{uint32(len(operands)+1)<<16 | op}, operands...)
}

// moduleOf is a compute shader of these instructions.
func moduleOf(instructions ...[]uint32) []uint32 {
	code := append([]uint32{0x07230203, 0x10300, 0, 9, 0}, instruction(opEntryPoint, 5, 1, 0x6e69616d, 0)...)
	for _, i := range instructions {
		code = append(code, i...)
	}
	return code
}

// Types that are made of themselves, that double with each or that pass every number.
func TestEndlessTypes(t *testing.T) {
	const workgroup = 4
	shared := func(of uint32) [][]uint32 {
		return [][]uint32{instruction(opTypePtr, 8, workgroup, of), instruction(opVariable, 8, 9, workgroup)}
	}
	itself := append([][]uint32{instruction(opTypeStruct, 5, 5, 5)}, shared(5)...)
	if r, err := reflectModule(moduleOf(itself...), nil); err != nil || r.shared != 0 {
		t.Errorf("a struct of itself takes %d bytes, %v", r.shared, err)
	}
	doubling := [][]uint32{instruction(opTypeInt, 100, 32, 0)}
	for k := uint32(101); k < 170; k++ {
		doubling = append(doubling, instruction(opTypeStruct, k, k-1, k-1))
	}
	doubling = append(doubling, shared(169)...)
	if r, err := reflectModule(moduleOf(doubling...), nil); err != nil || r.shared < 1<<30 {
		t.Errorf("2⁷¹ bytes are %d, %v", r.shared, err)
	}
	arrays := [][]uint32{instruction(opTypeInt, 100, 32, 0), instruction(opConstant, 100, 99, 0xffffffff)}
	for k := uint32(101); k < 105; k++ {
		arrays = append(arrays, instruction(opTypeArray, k, k-1, 99))
	}
	arrays = append(arrays, shared(104)...)
	if r, err := reflectModule(moduleOf(arrays...), nil); err != nil || r.shared < 1<<30 {
		t.Errorf("2¹³⁰ bytes are %d, %v", r.shared, err)
	}
}

// Whatever stands in a module, it is refused or understood; a driver sees it only then.
func FuzzModule(f *testing.F) {
	files, err := filepath.Glob("testdata/*.spv")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		code, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(code, uint32(0), uint32(64))
	}
	f.Fuzz(func(t *testing.T, data []byte, id, value uint32) {
		code := make([]uint32, len(data)/4)
		for k := range code {
			code[k] = binary.LittleEndian.Uint32(data[4*k:])
		}
		r, err := reflectModule(code, []Constant{{id, value}})
		if (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
		if err == nil {
			r.lacks(&Features{})
		} else if len(code) < 5 && !errors.Is(err, errWords) {
			t.Errorf("%d words: %v", len(code), err)
		}
	})
}
