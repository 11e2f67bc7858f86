package tensorio

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"vkconv/conv"
)

// Safetensors is an open .safetensors file: tensors by name, PyTorch's names where
// a state_dict was saved. A tensor's bytes are read when it is asked for; where the
// system can map files into memory, none is copied before.
//
// The format: 8 bytes with the header's length, little-endian; the header, a
// JSON object from names to dtype, shape and data_offsets [begin, end) within
// what follows; the tensors' bytes, little-endian, without gaps or overlaps.
// Source: github.com/huggingface/safetensors, "Format".
type Safetensors struct {
	path     string
	data     []byte // the whole file
	close    func() error
	tensors  []TensorInfo
	byName   map[string]int
	metadata map[string]string
}

// TensorInfo is what a .safetensors file says of a tensor.
type TensorInfo struct {
	Name  string
	Type  string // "F16", "BF16", "F32", "F64", "I8" … "I64", "U8" … "U64", "BOOL"
	Shape []int

	begin, end int64 // in the file
}

// Bytes returns the size of the tensor as stored.
func (t TensorInfo) Bytes() int64 { return t.end - t.begin }

// maxSafetensorsHeader is the format's own limit.
const maxSafetensorsHeader = 100_000_000

// safeTypes are the element types that are read, with their sizes.
var safeTypes = map[string]int64{"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1, "I16": 2, "I32": 4, "I64": 8,
	"U8": 1, "U16": 2, "U32": 4, "U64": 8, "BOOL": 1}

// OpenSafetensors opens a file and reads its header, nothing else. A mapped file
// must not be cut short while it is open: on most systems the program would be killed.
func OpenSafetensors(path string) (*Safetensors, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	s, err := NewSafetensors(path, data)
	if err != nil {
		unmap()
		return nil, err
	}
	s.close = unmap
	return s, nil
}

// NewSafetensors is [OpenSafetensors] for a file that is in memory already; path
// is what its errors call it.
func NewSafetensors(path string, data []byte) (*Safetensors, error) {
	s := &Safetensors{path: path, data: data, byName: map[string]int{}}
	if err := s.readHeader(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Close gives the file back. Arrays that were read stay; what Bytes returned does not.
func (s *Safetensors) Close() error {
	if s.close == nil {
		return nil
	}
	closing := s.close
	s.close, s.data = nil, nil
	return closing()
}

// Tensors lists what there is, in the order of the data.
func (s *Safetensors) Tensors() []TensorInfo { return slices.Clone(s.tensors) }

// Metadata returns the text that was saved beside the tensors.
func (s *Safetensors) Metadata() map[string]string { return s.metadata }

// Has reports whether there is a tensor of this name.
func (s *Safetensors) Has(name string) bool { _, ok := s.byName[name]; return ok }

// Info returns what the file says of a tensor. The error matches [ErrMissing] where
// there is none of this name.
func (s *Safetensors) Info(name string) (TensorInfo, error) {
	i, ok := s.byName[name]
	if !ok {
		var names []string
		for _, t := range s.tensors {
			names = append(names, t.Name)
		}
		return TensorInfo{}, refuse(ErrMissing, "%s: array %q is missing, the file has %s", s.path, name, list(names))
	}
	t := s.tensors[i]
	t.Shape = slices.Clone(t.Shape)
	return t, nil
}

// Bytes returns a tensor's bytes as they are stored: not a copy, not to be
// written to, and only good until Close.
func (s *Safetensors) Bytes(name string) ([]byte, error) {
	t, err := s.Info(name)
	if err != nil {
		return nil, err
	}
	if s.data == nil {
		return nil, refuse(ErrFormat, "%s: is closed", s.path)
	}
	return s.data[t.begin:t.end:t.end], nil
}

// Array reads one tensor.
func (s *Safetensors) Array(name string) (Array, error) {
	raw, err := s.Bytes(name)
	if err != nil {
		return Array{}, err
	}
	t := s.tensors[s.byName[name]]
	return Array{slices.Clone(t.Shape), decodeSafe(t.Type, raw)}, nil
}

// decodeSafe decodes whole elements of a known type.
func decodeSafe(typ string, raw []byte) any {
	le := binary.LittleEndian
	switch typ {
	case "F16":
		return each(raw, 2, func(b []byte) float32 { return conv.Float16.Decode(le.Uint16(b)) })
	case "BF16":
		return each(raw, 2, func(b []byte) float32 { return conv.BFloat16.Decode(le.Uint16(b)) })
	case "F32":
		return each(raw, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case "F64":
		return each(raw, 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	case "I8":
		return each(raw, 1, func(b []byte) int8 { return int8(b[0]) })
	case "I16":
		return each(raw, 2, func(b []byte) int16 { return int16(le.Uint16(b)) })
	case "I32":
		return each(raw, 4, func(b []byte) int32 { return int32(le.Uint32(b)) })
	case "I64":
		return each(raw, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case "U16":
		return each(raw, 2, le.Uint16)
	case "U32":
		return each(raw, 4, le.Uint32)
	case "U64":
		return each(raw, 8, le.Uint64)
	case "BOOL":
		return each(raw, 1, func(b []byte) bool { return b[0] != 0 })
	}
	return slices.Clone(raw) // U8
}

// each decodes elements of so many bytes.
func each[T any](raw []byte, size int, decode func([]byte) T) []T {
	out := make([]T, len(raw)/size)
	for i := range out {
		out[i] = decode(raw[i*size:])
	}
	return out
}

// ReadSafetensors reads all tensors of a file.
func ReadSafetensors(path string) (map[string]Array, error) {
	s, err := OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	arrays := make(map[string]Array, len(s.tensors))
	for _, t := range s.tensors {
		if arrays[t.Name], err = s.Array(t.Name); err != nil {
			return nil, err
		}
	}
	return arrays, nil
}
