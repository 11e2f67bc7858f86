// Package cpuref is the oracle: every operator computed by its formula in
// float64, in loops that read like the definition and do nothing clever. Each
// element comes as a [conv.Sum], which holds what it takes to bound the error
// of a float32 computation of it.
//
// It trusts its [conv.Problem]; slices whose lengths do not match the problem
// are a caller's bug and panic. It runs on all cores but is not made to be
// fast: package cpuref/fast is.
package cpuref

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"vkconv/conv"
)

// Float is an input's element type: float32 as the library computes in, or
// float64 to differentiate numerically.
type Float interface{ float32 | float64 }

// check panics unless a slice has a tensor's length.
func check[T any](name string, s []T, shape conv.Shape) {
	if len(s) != shape.Len() {
		panic(fmt.Sprintf("cpuref: %s has %d elements, its shape %v has %d", name, len(s), shape, shape.Len()))
	}
}

// parallel calls f(0) … f(n−1), each once, on all cores.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
