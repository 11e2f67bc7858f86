package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"vkconv/conv"
	"vkconv/onnx/internal/pb"
	"vkconv/tensorio"
)

// constant is a tensor whose value is known.
type constant struct {
	typ pb.TensorProto_DataType
	tensorio.Array
}

// typeBytes are the sizes of the element types that are read.
var typeBytes = map[pb.TensorProto_DataType]int{
	pb.TensorProto_FLOAT: 4, pb.TensorProto_DOUBLE: 8, pb.TensorProto_FLOAT16: 2, pb.TensorProto_BFLOAT16: 2,
	pb.TensorProto_INT8: 1, pb.TensorProto_INT16: 2, pb.TensorProto_INT32: 4, pb.TensorProto_INT64: 8,
	pb.TensorProto_UINT8: 1, pb.TensorProto_UINT16: 2, pb.TensorProto_UINT32: 4, pb.TensorProto_UINT64: 8, pb.TensorProto_BOOL: 1,
}

// DecodeTensor decodes a TensorProto, such as the backend tests' input_0.pb. name
// is the tensor's own, often empty; 16-bit floats read as float32.
func DecodeTensor(data []byte) (name string, a tensorio.Array, err error) {
	var t pb.TensorProto
	if err := unmarshal(data, &t); err != nil {
		return "", tensorio.Array{}, err
	}
	c, err := decodeTensor(&t, nil)
	return t.GetName(), c.Array, err
}

// decodeTensor checks a tensor's extents against the bytes that are there before it
// makes anything of that size.
func decodeTensor(t *pb.TensorProto, files *externals) (constant, error) {
	typ := pb.TensorProto_DataType(t.GetDataType())
	size, ok := typeBytes[typ]
	if !ok {
		return constant{}, unsupported("elements of type %v", typ)
	}
	if t.Segment != nil {
		return constant{}, unsupported("a tensor in segments")
	}
	shape, count, err := extents(t.GetDims(), size)
	if err != nil {
		return constant{}, err
	}
	var data any
	switch raw := t.GetRawData(); {
	case t.GetDataLocation() == pb.TensorProto_EXTERNAL:
		p, err := files.read(t.GetExternalData(), int64(count)*int64(size))
		if err != nil {
			return constant{}, err
		}
		data = p.as(typ, count)
	case t.RawData == nil:
		if data, err = typedData(t, typ, count); err != nil {
			return constant{}, err
		}
	case len(raw) != count*size:
		return constant{}, damaged("claims shape %v of %v, %d bytes, but has %d", shape, typ, count*size, len(raw))
	default:
		data = rawData(raw, typ, count)
	}
	return constant{typ, tensorio.Array{Shape: shape, Data: data}}, nil
}

// maxRank bounds the number of extents.
const maxRank = 16

// extents checks dims; count·size fits an int.
func extents(dims []int64, size int) (shape []int, count int, err error) {
	if len(dims) > maxRank {
		return nil, 0, damaged("has %d extents, must have at most %d", len(dims), maxRank)
	}
	count, zero := 1, false
	shape = make([]int, len(dims))
	for i, d := range dims {
		if d < 0 || d > conv.MaxExtent {
			return nil, 0, damaged("has shape %v, every extent must be between 0 and %d", dims, conv.MaxExtent)
		}
		if shape[i] = int(d); d == 0 {
			zero = true
		} else if count > math.MaxInt/size/int(d) {
			return nil, 0, damaged("has shape %v, more elements than memory can hold", dims)
		} else {
			count *= int(d)
		}
	}
	if zero {
		count = 0
	}
	return shape, count, nil
}

// rawData decodes count little-endian elements.
func rawData(raw []byte, typ pb.TensorProto_DataType, count int) any {
	le := binary.LittleEndian
	switch typ {
	case pb.TensorProto_FLOAT:
		return each(count, func(i int) float32 { return math.Float32frombits(le.Uint32(raw[4*i:])) })
	case pb.TensorProto_DOUBLE:
		return each(count, func(i int) float64 { return math.Float64frombits(le.Uint64(raw[8*i:])) })
	case pb.TensorProto_FLOAT16:
		return each(count, func(i int) float32 { return conv.Float16.Decode(le.Uint16(raw[2*i:])) })
	case pb.TensorProto_BFLOAT16:
		return each(count, func(i int) float32 { return conv.BFloat16.Decode(le.Uint16(raw[2*i:])) })
	case pb.TensorProto_INT8:
		return each(count, func(i int) int8 { return int8(raw[i]) })
	case pb.TensorProto_INT16:
		return each(count, func(i int) int16 { return int16(le.Uint16(raw[2*i:])) })
	case pb.TensorProto_INT32:
		return each(count, func(i int) int32 { return int32(le.Uint32(raw[4*i:])) })
	case pb.TensorProto_INT64:
		return each(count, func(i int) int64 { return int64(le.Uint64(raw[8*i:])) })
	case pb.TensorProto_UINT16:
		return each(count, func(i int) uint16 { return le.Uint16(raw[2*i:]) })
	case pb.TensorProto_UINT32:
		return each(count, func(i int) uint32 { return le.Uint32(raw[4*i:]) })
	case pb.TensorProto_UINT64:
		return each(count, func(i int) uint64 { return le.Uint64(raw[8*i:]) })
	case pb.TensorProto_BOOL:
		return each(count, func(i int) bool { return raw[i] != 0 })
	}
	return each(count, func(i int) uint8 { return raw[i] })
}

func each[T any](n int, f func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// typedData takes the elements from the field that ONNX has for their type.
func typedData(t *pb.TensorProto, typ pb.TensorProto_DataType, count int) (any, error) {
	var have int
	small, wide := t.GetInt32Data(), t.GetUint64Data()
	switch typ {
	case pb.TensorProto_FLOAT:
		have = len(t.GetFloatData())
	case pb.TensorProto_DOUBLE:
		have = len(t.GetDoubleData())
	case pb.TensorProto_INT64:
		have = len(t.GetInt64Data())
	case pb.TensorProto_UINT32, pb.TensorProto_UINT64:
		have = len(wide)
	default:
		have = len(small)
	}
	if have != count {
		return nil, damaged("claims shape %v, %d elements of %v, but has %d", t.GetDims(), count, typ, have)
	}
	switch typ {
	case pb.TensorProto_FLOAT:
		return append([]float32{}, t.GetFloatData()...), nil
	case pb.TensorProto_DOUBLE:
		return append([]float64{}, t.GetDoubleData()...), nil
	case pb.TensorProto_INT64:
		return append([]int64{}, t.GetInt64Data()...), nil
	case pb.TensorProto_UINT32:
		return each(count, func(i int) uint32 { return uint32(wide[i]) }), nil
	case pb.TensorProto_UINT64:
		return append([]uint64{}, wide...), nil
	case pb.TensorProto_FLOAT16:
		return each(count, func(i int) float32 { return conv.Float16.Decode(uint16(small[i])) }), nil
	case pb.TensorProto_BFLOAT16:
		return each(count, func(i int) float32 { return conv.BFloat16.Decode(uint16(small[i])) }), nil
	case pb.TensorProto_INT8:
		return each(count, func(i int) int8 { return int8(small[i]) }), nil
	case pb.TensorProto_INT16:
		return each(count, func(i int) int16 { return int16(small[i]) }), nil
	case pb.TensorProto_INT32:
		return append([]int32{}, small...), nil
	case pb.TensorProto_UINT16:
		return each(count, func(i int) uint16 { return uint16(small[i]) }), nil
	case pb.TensorProto_BOOL:
		return each(count, func(i int) bool { return small[i] != 0 }), nil
	}
	return each(count, func(i int) uint8 { return uint8(small[i]) }), nil
}

// typeOf is the element type that an array has here.
func typeOf(a tensorio.Array) (pb.TensorProto_DataType, error) {
	switch a.Data.(type) {
	case []float32:
		return pb.TensorProto_FLOAT, nil
	case []float64:
		return pb.TensorProto_DOUBLE, nil
	case []int8:
		return pb.TensorProto_INT8, nil
	case []int16:
		return pb.TensorProto_INT16, nil
	case []int32:
		return pb.TensorProto_INT32, nil
	case []int64:
		return pb.TensorProto_INT64, nil
	case []uint8:
		return pb.TensorProto_UINT8, nil
	case []uint16:
		return pb.TensorProto_UINT16, nil
	case []uint32:
		return pb.TensorProto_UINT32, nil
	case []uint64:
		return pb.TensorProto_UINT64, nil
	case []bool:
		return pb.TensorProto_BOOL, nil
	}
	return 0, unsupported("elements of type %T", a.Data)
}

// float32s returns a constant that must be one of float32.
func (c *constant) float32s() ([]float32, error) {
	if c.typ != pb.TensorProto_FLOAT {
		return nil, unsupported("elements of type %v, must be FLOAT", c.typ)
	}
	return c.Data.([]float32), nil
}

// elements is the number of elements of so many extents, which have been checked.
func elements(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// Extents writes extents as "1×3×224×224", those unknown as "?".
func Extents(dims []int) string {
	if len(dims) == 0 {
		return "a scalar"
	}
	text := ""
	for i, d := range dims {
		if i > 0 {
			text += "×"
		}
		if d < 0 {
			text += "?"
		} else {
			text += fmt.Sprint(d)
		}
	}
	return text
}
