//go:build cgo

package kernels

import (
	"fmt"
	"math"
	"unsafe"

	"vkconv/conv"
	"vkconv/gpu"
)

// Resize is a plan of a bilinear resize or of its gradient.
type Resize struct{ *scaler }

// NewResize plans y = resize(x), x N×C×H×W and y N×C×Ho×Wo. A tensor beyond the
// device's limits gives [gpu.ErrTooLarge].
func NewResize(d *gpu.Device, r conv.Resize) (*Resize, error) {
	return newResize(makerFor(d), r, false, float32s)
}

// NewResizeBackward plans dx from dy, which Record takes in the places of y and
// x. Every pixel gathers from the outputs that read it, so that the same call
// gives the same bits.
func NewResizeBackward(d *gpu.Device, r conv.Resize) (*Resize, error) {
	return newResize(makerFor(d), r, true, float32s)
}

func newResize(m maker, r conv.Resize, backward bool, as precision) (*Resize, error) {
	s, err := newScaler(m, "resize", r.Input(), r.Output(), backward, false, as)
	if err != nil {
		return nil, err
	}
	if s.pass == nil {
		return &Resize{s}, nil
	}
	table := resizeTable(r, backward, as)
	s.entries = len(table)
	if s.table, err = m.device.NewBuffer(4 * int64(len(table))); err == nil {
		err = m.device.Upload(s.table, 0, unsafe.Slice((*byte)(unsafe.Pointer(&table[0])), 4*len(table)))
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("kernels: table of positions: %w", err)
	}
	return &Resize{s}, nil
}

// resizeTable is what resize.comp reads.
func resizeTable(r conv.Resize, backward bool, as precision) (table []int32) {
	rows, columns := r.Rows(), r.Columns()
	for _, axis := range [][]conv.Between{rows, columns} {
		for _, b := range axis {
			if as == float64s {
				bits := math.Float64bits(b.Fraction)
				table = append(table, int32(b.At), int32(uint32(bits)), int32(bits>>32))
				continue
			}
			table = append(table, int32(b.At), int32(math.Float32bits(float32(b.Fraction))))
		}
	}
	if !backward {
		return table
	}
	for _, axis := range [][]conv.Span{conv.Readers(rows, r.H), conv.Readers(columns, r.W)} {
		for _, s := range axis {
			table = append(table, int32(s.First), int32(s.End))
		}
	}
	return table
}
