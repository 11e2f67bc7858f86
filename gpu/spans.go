//go:build cgo

package gpu

import "slices"

// span is a range of a block.
type span struct{ off, size int64 }

// spans are the free ranges of a block: sorted, apart from each other (neighbours are one span).
type spans []span

// take cuts size bytes out of the smallest span that has them.
func (s *spans) take(size int64) (off int64, ok bool) {
	best := -1
	for k, f := range *s {
		if f.size >= size && (best < 0 || f.size < (*s)[best].size) {
			best = k
		}
	}
	if best < 0 {
		return 0, false
	}
	f := &(*s)[best]
	off = f.off
	f.off += size
	f.size -= size
	if f.size == 0 {
		*s = slices.Delete(*s, best, best+1)
	}
	return off, true
}

// give puts a range back and joins it to its neighbours.
func (s *spans) give(off, size int64) {
	k, _ := slices.BinarySearchFunc(*s, off, func(f span, off int64) int {
		if f.off < off {
			return -1
		}
		return 1
	})
	left := k > 0 && (*s)[k-1].off+(*s)[k-1].size == off
	right := k < len(*s) && off+size == (*s)[k].off
	switch {
	case left && right:
		(*s)[k-1].size += size + (*s)[k].size
		*s = slices.Delete(*s, k, k+1)
	case left:
		(*s)[k-1].size += size
	case right:
		(*s)[k].off = off
		(*s)[k].size += size
	default:
		*s = slices.Insert(*s, k, span{off, size})
	}
}
