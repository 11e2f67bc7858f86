package tensorio

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// readHeader reads and checks the header: every tensor lies inside the file, is as
// long as its shape, and begins where the one before ends.
func (s *Safetensors) readHeader() error {
	size := int64(len(s.data))
	if size < 8 {
		return refuse(ErrFormat, "not a safetensors file, or cut short: it has %d bytes, the header's length alone takes 8", size)
	}
	length := binary.LittleEndian.Uint64(s.data)
	if length > maxSafetensorsHeader || int64(length) > size-8 {
		return refuse(ErrFormat, "not a safetensors file, or cut short: it claims a header of %d bytes and has %d", length, size-8)
	}
	header := s.data[8 : 8+length]
	if len(header) == 0 || header[0] != '{' || !utf8.Valid(header) {
		return refuse(ErrFormat, "not a safetensors file: its header begins with %.8q, must be a JSON object in UTF-8", header)
	}
	if err := s.parseHeader(header, 8+int64(length), size); err != nil {
		return err
	}
	slices.SortStableFunc(s.tensors, func(a, b TensorInfo) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	at := 8 + int64(length)
	for i, t := range s.tensors {
		if t.begin != at {
			return refuse(ErrFormat, "tensor %q begins at byte %d of the file, must begin at %d, where what is before it ends", t.Name, t.begin, at)
		}
		at = t.end
		s.byName[t.Name] = i
	}
	if at != size {
		return refuse(ErrFormat, "the file has %d bytes, its tensors end at %d", size, at)
	}
	return nil
}

// parseHeader reads the object name by name, since encoding/json alone would
// let a name stand twice.
func (s *Safetensors) parseHeader(header []byte, start, size int64) error {
	d := json.NewDecoder(bytes.NewReader(header))
	bad := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends too early")
		}
		return refuse(ErrFormat, "the header is no JSON object of tensors: %v", err)
	}
	if _, err := d.Token(); err != nil { // {
		return bad(err)
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return bad(err)
		}
		name, ok := token.(string)
		if !ok {
			return bad(fmt.Errorf("%v is no name", token))
		}
		if seen[name] {
			return refuse(ErrFormat, "two tensors are called %q", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			if err := d.Decode(&s.metadata); err != nil {
				return bad(err)
			}
			continue
		}
		var entry struct {
			Type    string  `json:"dtype"`
			Shape   []int64 `json:"shape"`
			Offsets []int64 `json:"data_offsets"`
		}
		if err := d.Decode(&entry); err != nil {
			return bad(fmt.Errorf("tensor %q: %w", name, err))
		}
		t, err := tensorInfo(name, entry.Type, entry.Shape, entry.Offsets, start, size)
		if err != nil {
			return err
		}
		s.tensors = append(s.tensors, t)
	}
	if _, err := d.Token(); err != nil { // }
		return bad(err)
	}
	if rest := bytes.TrimRight(header[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return bad(fmt.Errorf("%.8q follows it", rest))
	}
	return nil
}

// tensorInfo checks one entry, of a file of size bytes whose tensors start at start.
func tensorInfo(name, typ string, shape, offsets []int64, start, size int64) (TensorInfo, error) {
	bad := func(format string, args ...any) (TensorInfo, error) {
		return TensorInfo{}, refuse(ErrFormat, "tensor %q "+format, append([]any{name}, args...)...)
	}
	element, ok := safeTypes[typ]
	if !ok {
		return bad("has elements of type %.20q, must be F16, BF16, F32, F64, I8 to I64, U8 to U64 or BOOL", typ)
	}
	if len(offsets) != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > size-start {
		return bad("has data_offsets %v, must be begin and end within the %d bytes of data", offsets, size-start)
	}
	if len(shape) > 32 {
		return bad("has %d extents, must have at most 32", len(shape))
	}
	t := TensorInfo{Name: name, Type: typ, Shape: make([]int, len(shape)), begin: start + offsets[0], end: start + offsets[1]}
	count, zero := int64(1), slices.Contains(shape, 0)
	for i, n := range shape {
		if n < 0 || int64(int(n)) != n {
			return bad("has shape %v, every extent must be between 0 and what an int holds", shape)
		}
		t.Shape[i] = int(n)
		if zero {
			count = 0
		} else if count *= n; count > size { // before it can overflow: the factors so far were within size
			return bad("claims shape %v in a file of %d bytes", shape, size)
		}
	}
	if count*element != t.Bytes() {
		return bad("claims shape %v of %s, %d bytes, but has %d", shape, typ, count*element, t.Bytes())
	}
	return t, nil
}
