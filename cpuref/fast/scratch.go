package fast

import "unsafe"

// scratch is one worker's memory, shared by all plans of a pool: it grows to
// the largest tile it has met and is kept.
type scratch struct {
	panel   []float32 // packed input of a block (depthwise: padded rows), 64-byte aligned
	sums    []float32 // outputs of a tile, where they are not collected in place
	vectors []vectorPlan
	index   []int32 // one per lane of a vectorPlan
	samples []sample4
	segs    []int32 // live taps of the block, relative to its first
	from    placed  // of the plan that is being made
	moved   job     // of an image further on, see strided
	grad    gradScratch
}

// grow returns a slice of n elements, s itself where it is long enough.
func grow[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

// growAligned is grow for floats that vector kernels read, on 64-byte boundaries.
func growAligned(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		raw := make([]float32, n+15)
		skip := 0
		if n > 0 {
			skip = int(-uintptr(unsafe.Pointer(&raw[0]))%64) / 4
		}
		*s = raw[skip : skip+n : skip+n]
	}
	return (*s)[:n]
}
