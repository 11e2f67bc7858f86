package convtest

import (
	"runtime/metrics"
	"testing"
)

// Bounded fails the test if f, which reads data, takes more memory than so many bytes a byte, and what it may take in
// any case.
func Bounded(t *testing.T, data []byte, perByte, anyway int64, f func()) {
	t.Helper()
	if got, most := Allocated(f), perByte*int64(len(data))+anyway; got > most {
		t.Errorf("reading %d bytes took %d, must take at most %d", len(data), got, most)
	}
}

// Allocated is how many bytes f takes from the heap, those that it gives back included.
func Allocated(f func()) int64 {
	heap := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}} // unlike runtime.ReadMemStats it does not stop the world
	metrics.Read(heap)
	before := heap[0].Value.Uint64()
	f()
	metrics.Read(heap)
	return int64(heap[0].Value.Uint64() - before)
}
