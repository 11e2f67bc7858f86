package explain

import (
	"math"

	"vkconv/conv"
)

// widest is the widest field that is looked at, far wider than any picture.
const widest = 1 << 16

// path is one way through the branches, from the input on. Of each axis it
// knows the field and how often each pixel of it is read.
type path struct {
	field  [2]conv.Field
	counts [2][]int
}

func emptyPath() path {
	return path{[2]conv.Field{conv.ReceptiveField(), conv.ReceptiveField()}, [2][]int{{1}, {1}}}
}

// with returns the path with one more layer, ok only where its field is not
// too wide to be looked at. What an output of the longer path reads, it reads
// through each tap of the new layer once more, the taps dilation · jump pixels
// of the input apart: [conv.Coverage] from the other end.
func (p path) with(l Layer) (longer path, ok bool) {
	for axis := range 2 {
		f, old := p.field[axis], p.counts[axis]
		step := l.Dilation[axis] * f.Jump
		f.Start -= l.Padding[axis] * f.Jump
		f.Size += (l.Kernel[axis] - 1) * step
		f.Jump *= l.Stride[axis]
		if f.Size > widest || f.Jump > widest || f.Start < -1<<30 {
			return path{}, false
		}
		counts := make([]int, f.Size)
		for tap := range l.Kernel[axis] {
			for i, n := range old {
				if sum := &counts[tap*step+i]; *sum > math.MaxInt-n {
					*sum = math.MaxInt // more than can be counted is not none
				} else {
					*sum += n
				}
			}
		}
		longer.field[axis], longer.counts[axis] = f, counts
	}
	return longer, true
}

// fieldOf is the field of several paths together along one axis.
func fieldOf(paths []path, axis int) conv.Field {
	all := paths[0].field[axis]
	for _, p := range paths[1:] {
		f := p.field[axis]
		start := min(all.Start, f.Start)
		all.Size = max(all.Start+all.Size, f.Start+f.Size) - start
		all.Start = start
	}
	return all
}

// Reads counts how often the pixels of a field are read.
type Reads struct {
	Rows, Columns int
	each          [][2][]int // of each path, along rows and columns, over the whole field
}

// readsOf counts the reads of several paths together.
func readsOf(paths []path) Reads {
	fields := [2]conv.Field{fieldOf(paths, 0), fieldOf(paths, 1)}
	r := Reads{Rows: fields[0].Size, Columns: fields[1].Size}
	for _, p := range paths {
		var counts [2][]int
		for axis := range 2 {
			counts[axis] = make([]int, fields[axis].Size)
			copy(counts[axis][p.field[axis].Start-fields[axis].Start:], p.counts[axis])
		}
		r.each = append(r.each, counts)
	}
	return r
}

// At returns on how many paths through the taps an output reads a pixel.
func (r Reads) At(row, column int) float64 {
	n := 0.0
	for _, c := range r.each {
		n += float64(c[0][row]) * float64(c[1][column])
	}
	return n
}

// Seen counts the pixels that are read at all. Rows that the same paths reach
// see the same columns.
func (r Reads) Seen() int {
	reach := func(axis, n int) []uint64 {
		paths := make([]uint64, n)
		for k, c := range r.each {
			for i, count := range c[axis] {
				if count > 0 {
					paths[i] |= 1 << k
				}
			}
		}
		return paths
	}
	rows, columns := reach(0, r.Rows), reach(1, r.Columns)
	seen, known := 0, map[uint64]int{}
	for _, paths := range rows {
		n, ok := known[paths]
		if !ok {
			for _, c := range columns {
				if c&paths != 0 {
					n++
				}
			}
			known[paths] = n
		}
		seen += n
	}
	return seen
}

// Most returns the largest count of one pixel.
func (r Reads) Most() (most float64) {
	for row := range r.Rows {
		for column := range r.Columns {
			most = max(most, r.At(row, column))
		}
	}
	return most
}
