package tensorio

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"vkconv/conv"
)

// Float16 is the bits of an IEEE 754 binary16, BFloat16 the upper half of a
// float32's: elements of arrays to be written.
type (
	Float16  uint16
	BFloat16 uint16
)

// ToFloat16 rounds to nearest, ties to even; beyond 65504 it is infinite.
func ToFloat16(v []float32) []Float16 {
	out := make([]Float16, len(v))
	for i, x := range v {
		out[i] = Float16(conv.Float16.Encode(x))
	}
	return out
}

// ToBFloat16 rounds to nearest, ties to even.
func ToBFloat16(v []float32) []BFloat16 {
	out := make([]BFloat16, len(v))
	for i, x := range v {
		out[i] = BFloat16(conv.BFloat16.Encode(x))
	}
	return out
}

// ReadNPY reads a .npy file.
func ReadNPY(path string) (Array, error) {
	f, err := os.Open(path)
	if err != nil {
		return Array{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Array{}, err
	}
	if info.IsDir() {
		return Array{}, refuse(ErrFormat, "%s: is a directory, must be an .npy file", path)
	}
	a, err := readNPY(f, info.Size())
	if err != nil {
		return Array{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// WriteNPY writes a .npy file, whole or not at all.
func WriteNPY(path string, a Array) error { return WriteFile(path, a.write) }

// write writes the array as a .npy file.
func (a Array) write(w io.Writer) error {
	var descr string
	switch a.Data.(type) {
	case []Float16:
		descr = "<f2"
	case []float32:
		descr = "<f4"
	case []float64:
		descr = "<f8"
	case []int8:
		descr = "|i1"
	case []int16:
		descr = "<i2"
	case []int32:
		descr = "<i4"
	case []int64:
		descr = "<i8"
	case []uint8:
		descr = "|u1"
	case []uint16:
		descr = "<u2"
	case []uint32:
		descr = "<u4"
	case []uint64:
		descr = "<u8"
	case []bool:
		descr = "|b1"
	case []BFloat16:
		return refuse(ErrFormat, "has bfloat16 elements, which NumPy does not know")
	default:
		return refuse(ErrFormat, "has elements of type %T, which cannot be written", a.Data)
	}
	if err := a.checkLength(int(descr[2] - '0')); err != nil {
		return err
	}
	if _, err := w.Write(npyHeader(descr, a.Shape)); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, a.Data)
}

// checkLength compares the number of elements, of so many bytes, with the shape.
func (a Array) checkLength(size int) error {
	count := 1
	for _, n := range a.Shape {
		count *= n
	}
	if binary.Size(a.Data) != count*size {
		return refuse(ErrFormat, "has %d elements, its shape %v has %d", binary.Size(a.Data)/size, a.Shape, count)
	}
	return nil
}
