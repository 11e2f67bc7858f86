package tensorio

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// safeType returns the format's name of an array's element type.
func safeType(data any) string {
	switch data.(type) {
	case []Float16:
		return "F16"
	case []BFloat16:
		return "BF16"
	case []float32:
		return "F32"
	case []float64:
		return "F64"
	case []int8:
		return "I8"
	case []int16:
		return "I16"
	case []int32:
		return "I32"
	case []int64:
		return "I64"
	case []uint8:
		return "U8"
	case []uint16:
		return "U16"
	case []uint32:
		return "U32"
	case []uint64:
		return "U64"
	case []bool:
		return "BOOL"
	}
	return ""
}

// WriteSafetensors writes a .safetensors file, whole or not at all. metadata may be
// nil. Equal arrays give equal files: tensors of wide elements come first, so
// that all are aligned, and of the same width in the order of their names.
func WriteSafetensors(path string, arrays map[string]Array, metadata map[string]string) error {
	return WriteFile(path, func(w io.Writer) error {
		names := slices.Collect(maps.Keys(arrays))
		for _, name := range names {
			typ := safeType(arrays[name].Data)
			if typ == "" {
				return refuse(ErrFormat, "array %q has elements of type %T, which cannot be written", name, arrays[name].Data)
			}
			if name == "__metadata__" {
				return refuse(ErrFormat, "an array cannot be called %q", name)
			}
			if err := arrays[name].checkLength(int(safeTypes[typ])); err != nil {
				return fmt.Errorf("array %q %w", name, err)
			}
		}
		width := func(name string) int64 { return safeTypes[safeType(arrays[name].Data)] }
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(width(b), width(a)), cmp.Compare(a, b)) })
		header, err := safeHeader(names, arrays, metadata)
		if err != nil {
			return err
		}
		if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
			return err
		}
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, name := range names {
			if err := binary.Write(w, binary.LittleEndian, arrays[name].Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// safeHeader writes the JSON object, padded so that the data begins at a multiple of 8.
func safeHeader(names []string, arrays map[string]Array, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	entry := func(name string, value any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		text, err := json.Marshal(value)
		b.Write(append(append(key, ':'), text...))
		return err
	}
	b.WriteByte('{')
	if len(metadata) > 0 {
		if err := entry("__metadata__", metadata); err != nil {
			return nil, err
		}
	}
	at := 0
	for _, name := range names {
		a := arrays[name]
		end := at + binary.Size(a.Data)
		if err := entry(name, struct {
			Type    string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{safeType(a.Data), append([]int{}, a.Shape...), [2]int{at, end}}); err != nil {
			return nil, err
		}
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > maxSafetensorsHeader {
		return nil, refuse(ErrFormat, "the header takes %d bytes, must be at most %d", b.Len(), maxSafetensorsHeader)
	}
	return b.Bytes(), nil
}
