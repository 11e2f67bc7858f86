package onnx

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"vkconv/onnx/internal/pb"
)

// externals reads tensors from files beside the model. os.Root keeps every path,
// symbolic links included, inside the model's folder.
type externals struct {
	root  *os.Root // nil where there is no folder
	files map[string]*external
}

type external struct {
	f          *os.File
	size, left int64 // left: bytes that may still be read, so that a small file can't be made large
	ranges     map[[2]int64]*piece
}

// piece is a range of a file, with what was made of it.
type piece struct {
	raw     []byte
	decoded map[pb.TensorProto_DataType]any
}

// as returns the elements; tensors that share a range share them.
func (p *piece) as(typ pb.TensorProto_DataType, count int) any {
	if p.decoded[typ] == nil {
		p.decoded[typ] = rawData(p.raw, typ, count)
	}
	return p.decoded[typ]
}

func newExternals(dir string) (*externals, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &externals{root: root, files: map[string]*external{}}, nil
}

func (e *externals) close() {
	for _, f := range e.files {
		f.f.Close()
	}
	e.root.Close()
}

// read returns size bytes of a tensor, given its entries location, offset and length.
// A range that several tensors share is read once.
func (e *externals) read(entries []*pb.StringStringEntryProto, size int64) (*piece, error) {
	if e == nil {
		return nil, unsupported("external data without a folder that it could lie in")
	}
	location, offset, length := "", int64(0), int64(-1)
	for _, entry := range entries {
		var err error
		switch entry.GetKey() {
		case "location":
			location = entry.GetValue()
		case "offset":
			offset, err = strconv.ParseInt(entry.GetValue(), 10, 64)
		case "length":
			length, err = strconv.ParseInt(entry.GetValue(), 10, 64)
		}
		if err != nil {
			return nil, damaged("external data has %s %.40q, must be a whole number", entry.GetKey(), entry.GetValue())
		}
	}
	f, err := e.open(location)
	if err != nil {
		return nil, err
	}
	if length < 0 {
		length = size
	}
	if offset < 0 || length != size || offset > f.size || length > f.size-offset {
		return nil, damaged("external data is %d bytes at %d of %s, which has %d; the tensor takes %d", length, offset, location, f.size, size)
	}
	at := [2]int64{offset, length}
	if p, ok := f.ranges[at]; ok {
		return p, nil
	}
	if length > f.left || length > math.MaxInt {
		return nil, damaged("external data in %s overlaps: tensors take more than its %d bytes", location, f.size)
	}
	f.left -= length
	raw := make([]byte, length)
	if _, err := io.ReadFull(io.NewSectionReader(f.f, offset, length), raw); err != nil {
		return nil, damaged("external data in %s cannot be read: %v", location, err)
	}
	f.ranges[at] = &piece{raw, map[pb.TensorProto_DataType]any{}}
	return f.ranges[at], nil
}

func (e *externals) open(location string) (*external, error) {
	if f, ok := e.files[location]; ok {
		return f, nil
	}
	if location == "" || strings.ContainsAny(location, "\\\x00") || !filepath.IsLocal(filepath.FromSlash(location)) {
		return nil, damaged("external data lies in %.80q, must be a path inside the model's folder", location)
	}
	info, err := e.root.Stat(filepath.FromSlash(location)) // before opening: a pipe would block
	if err == nil && !info.Mode().IsRegular() {
		return nil, damaged("external data lies in %s, which is no regular file", location)
	}
	var f *os.File
	if err == nil {
		f, err = e.root.Open(filepath.FromSlash(location))
	}
	if err != nil {
		return nil, damaged("external data in %.80q: %v", location, err)
	}
	x := &external{f, info.Size(), info.Size(), map[[2]int64]*piece{}}
	e.files[location] = x
	return x, nil
}
