package tensorio

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/sbinet/npyio/npy"

	"vkconv/conv"
)

// Array is one array, in C order. Data is a slice of float32, float64, int8 …
// int64, uint8 … uint64 or bool. 16-bit floats read as float32, which holds every
// one of them, and are written from [Float16] and [BFloat16]. A scalar has an
// empty Shape and one element. NumPy's strings read as their bytes (uint8) or code
// points (uint32) with the length as a last extent.
type Array struct {
	Shape []int
	Data  any
}

// MaxArrayBytes is the largest array that is read, in bytes as stored.
const MaxArrayBytes = 8 << 30

// maxHeaderBytes bounds a header's text; NumPy's own for a plain array has 118 bytes.
const maxHeaderBytes = 64 << 10

// header is what a .npy file says of its data.
type header struct {
	order   byte // '<', '>', '=' or '|'
	kind    byte // 'f', 'i', 'u', 'b', 'S', 'U'
	size    int  // bytes an element
	fortran bool
	shape   []int
	bytes   int64 // elements · size
}

func (h header) descr() string { return fmt.Sprintf("%c%c%d", h.order, h.kind, h.size) }

// The three entries of the header's dictionary, in any order and spacing.
var (
	descrEntry   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([<>=|]?)([A-Za-z])(\d*)['"]`)
	fortranEntry = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	shapeEntry   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([0-9,\s]*)\)`)
)

// elementBytes lists the element types that are read. Strings have any size.
var elementBytes = map[byte][]int{'f': {2, 4, 8}, 'i': {1, 2, 4, 8}, 'u': {1, 2, 4, 8}, 'b': {1}}

// readHeader reads a .npy header. total is the size of the whole .npy file;
// the data that the header claims must be exactly what is left of it.
func readHeader(r io.Reader, total int64) (header, error) {
	var start [10]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return header{}, fmt.Errorf("ends inside the .npy header: %w", damage(err))
	}
	if !bytes.Equal(start[:6], npy.Magic[:]) {
		return header{}, refuse(ErrFormat, "is not a NumPy array: it begins with %q", start[:6])
	}
	length := int64(binary.LittleEndian.Uint16(start[8:]))
	before := int64(len(start))
	switch version := start[6]; version {
	case 1:
	case 2, 3: // two more bytes of length
		var high [2]byte
		if _, err := io.ReadFull(r, high[:]); err != nil {
			return header{}, fmt.Errorf("ends inside the .npy header: %w", damage(err))
		}
		length |= int64(binary.LittleEndian.Uint16(high[:])) << 16
		before += 2
	default:
		return header{}, refuse(ErrFormat, "has .npy format version %d, must be 1, 2 or 3", version)
	}
	if length > maxHeaderBytes || before+length > total {
		return header{}, refuse(ErrFormat, "claims a .npy header of %d bytes, must be at most %d", length, min(maxHeaderBytes, max(total-before, 0)))
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, fmt.Errorf("ends inside the .npy header: %w", damage(err))
	}
	h, err := parseHeader(string(text))
	if err != nil {
		return header{}, err
	}
	if rest := total - before - length; h.bytes != rest {
		return header{}, refuse(ErrFormat, "claims shape %v of %s, %d bytes, but holds %d bytes", h.shape, h.descr(), h.bytes, rest)
	}
	return h, nil
}

// parseHeader understands the text of a header and bounds what it claims.
func parseHeader(text string) (h header, err error) {
	descr, order, shape := descrEntry.FindStringSubmatch(text), fortranEntry.FindStringSubmatch(text), shapeEntry.FindStringSubmatch(text)
	if descr == nil || order == nil || shape == nil {
		return h, refuse(ErrFormat, "has a header that is not one of a plain array: %.80q", strings.TrimSpace(text))
	}
	h.order, h.kind, h.fortran = '=', descr[2][0], order[1] == "True"
	if descr[1] != "" {
		h.order = descr[1][0]
	}
	h.size, err = strconv.Atoi(descr[3])
	if err != nil || h.size > maxHeaderBytes {
		h.size = 0
	}
	switch h.kind {
	case 'S':
	case 'U':
		h.size *= 4
	default:
		if !slices.Contains(elementBytes[h.kind], h.size) {
			return h, refuse(ErrFormat, "has elements of type %q, must be float16/32/64, (u)int8/16/32/64 or bool", descr[1]+descr[2]+descr[3])
		}
	}
	count := int64(1)
	for part := range strings.SplitSeq(shape[1], ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		extent, err := strconv.ParseInt(part, 10, 64)
		if err != nil || extent > MaxArrayBytes || len(h.shape) == 32 {
			return h, refuse(ErrFormat, "claims the shape (%.80s), more than can be read", shape[1])
		}
		h.shape = append(h.shape, int(extent))
		if extent > 0 && count > MaxArrayBytes/extent {
			return h, refuse(ErrFormat, "claims the shape (%.80s), more than can be read", shape[1])
		}
		count *= extent
	}
	if h.size > 0 && count > MaxArrayBytes/int64(h.size) {
		return h, refuse(ErrFormat, "claims shape (%.80s) of %d-byte elements, more than the %d bytes that are read", shape[1], h.size, int64(MaxArrayBytes))
	}
	if h.fortran && len(h.shape) > 1 && (h.kind == 'S' || h.kind == 'U') {
		return h, refuse(ErrFormat, "holds strings in Fortran order, must be in C order")
	}
	h.bytes = count * int64(h.size)
	return h, nil
}

// damage tells a file that ends too early, or fails its checksum, from an error of the
// operating system.
func damage(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(ErrFormat, "the file is cut short")
	case errors.Is(err, zip.ErrChecksum):
		return refuse(ErrFormat, "the checksum does not match")
	case errors.Is(err, zip.ErrAlgorithm):
		return refuse(ErrFormat, "compressed by a method other than deflate")
	case errors.Is(err, zip.ErrFormat), errors.As(err, &corrupt):
		return refuse(ErrFormat, "the archive is damaged")
	}
	return err
}

// readNPY reads one array from a .npy file of the given total size.
func readNPY(r io.Reader, total int64) (Array, error) {
	h, err := readHeader(r, total)
	if err != nil {
		return Array{}, err
	}
	// The buffer grows with what really arrives, whatever was claimed.
	var raw bytes.Buffer
	if _, err := io.Copy(&raw, io.LimitReader(r, h.bytes+1)); err != nil {
		return Array{}, fmt.Errorf("cannot be read: %w", damage(err))
	}
	if int64(raw.Len()) != h.bytes {
		return Array{}, refuse(ErrFormat, "holds %d bytes of data, its header claims %d", raw.Len(), h.bytes)
	}
	return h.decode(raw.Bytes())
}

// decode turns checked bytes into an array. The library gets a header in the
// one spelling that it understands, and element types that it knows.
func (h header) decode(raw []byte) (Array, error) {
	a := Array{Shape: slices.Clone(h.shape)}
	plain := h
	if h.order == '|' { // says nothing of byte order
		plain.order = '='
	}
	switch h.kind {
	case 'f':
		if h.size == 2 {
			plain.kind = 'u'
		}
	case 'S':
		a.Shape = append(a.Shape, h.size)
		plain.kind, plain.size = 'u', 1
	case 'U':
		a.Shape = append(a.Shape, h.size/4)
		plain.kind, plain.size = 'u', 4
	}
	if plain.size == 1 {
		plain.order = '|'
	}
	count := len(raw) / max(plain.size, 1)
	file := io.MultiReader(bytes.NewReader(npyHeader(plain.descr(), []int{count})), bytes.NewReader(raw))
	rd, err := npy.NewReader(file)
	if err != nil {
		return Array{}, refuse(ErrFormat, "cannot be decoded: %v", err)
	}
	if a.Data, err = plain.read(rd, count); err != nil {
		return Array{}, refuse(ErrFormat, "cannot be decoded: %v", err)
	}
	if h.kind == 'f' && h.size == 2 {
		a.Data = widen(a.Data.([]uint16))
	}
	if h.fortran && len(h.shape) > 1 {
		a.Data = reorder(a.Data, h.shape)
	}
	return a, nil
}

func readAs[T any](rd *npy.Reader, n int) (any, error) {
	data := make([]T, n)
	err := rd.Read(&data)
	return data, err
}

func (h header) read(rd *npy.Reader, n int) (any, error) {
	switch h.descr()[1:] {
	case "f4":
		return readAs[float32](rd, n)
	case "f8":
		return readAs[float64](rd, n)
	case "i1":
		return readAs[int8](rd, n)
	case "i2":
		return readAs[int16](rd, n)
	case "i4":
		return readAs[int32](rd, n)
	case "i8":
		return readAs[int64](rd, n)
	case "u1":
		return readAs[uint8](rd, n)
	case "u2":
		return readAs[uint16](rd, n)
	case "u4":
		return readAs[uint32](rd, n)
	case "u8":
		return readAs[uint64](rd, n)
	}
	return readAs[bool](rd, n)
}

// widen converts IEEE 754 binary16 to float32, exactly.
func widen(half []uint16) []float32 {
	out := make([]float32, len(half))
	for i, h := range half {
		out[i] = conv.Float16.Decode(h)
	}
	return out
}

// reorder turns data in Fortran order (first extent fastest) into C order.
func reorder(data any, shape []int) any {
	switch d := data.(type) {
	case []float32:
		return toC(d, shape)
	case []float64:
		return toC(d, shape)
	case []int8:
		return toC(d, shape)
	case []int16:
		return toC(d, shape)
	case []int32:
		return toC(d, shape)
	case []int64:
		return toC(d, shape)
	case []uint8:
		return toC(d, shape)
	case []uint16:
		return toC(d, shape)
	case []uint32:
		return toC(d, shape)
	case []uint64:
		return toC(d, shape)
	case []bool:
		return toC(d, shape)
	}
	return data
}

func toC[T any](data []T, shape []int) []T {
	out := make([]T, len(data))
	stride := make([]int, len(shape)) // of each axis in Fortran order
	for i, s := 0, 1; i < len(shape); i++ {
		stride[i] = s
		s *= shape[i]
	}
	at := make([]int, len(shape))
	from := 0
	for i := range out {
		out[i] = data[from]
		for axis := len(shape) - 1; axis >= 0; axis-- {
			at[axis]++
			from += stride[axis]
			if at[axis] < shape[axis] {
				break
			}
			from -= stride[axis] * at[axis]
			at[axis] = 0
		}
	}
	return out
}

// npyHeader returns a version 1 header as NumPy writes it, padded so that the
// data begins at a multiple of 64 bytes (NEP 1).
func npyHeader(descr string, shape []int) []byte {
	extents := make([]string, len(shape))
	for i, n := range shape {
		extents[i] = strconv.Itoa(n)
	}
	text := "(" + strings.Join(extents, ", ") + ")"
	if len(shape) == 1 {
		text = "(" + extents[0] + ",)"
	}
	text = fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, text)
	const start = 10
	padding := (64 - (start+len(text)+1)%64) % 64
	text += strings.Repeat(" ", padding) + "\n"
	out := append([]byte{}, npy.Magic[:]...)
	out = append(out, 1, 0)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(text)))
	return append(out, text...)
}
