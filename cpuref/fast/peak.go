package fast

import (
	"math"
	"sync"
	"time"
)

// PeakOf is [Peak] of so many goroutines at once, added up: cores that share
// their units have less together than apart.
func PeakOf(workers int) float64 {
	rates := make([]float64, workers)
	var all sync.WaitGroup
	for i := range rates {
		all.Go(func() { rates[i] = Peak() })
	}
	all.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

// CopyRate measures for about ten milliseconds how many bytes a second so many
// goroutines read and write together, copying within memory.
func CopyRate(workers int) float64 {
	const size, rounds = 8 << 20, 4 // each, of float32: 64 MiB from and to
	type half struct{ to, from []float32 }
	parts := make([]half, workers)
	var all sync.WaitGroup
	each := func(f func(half)) {
		for i := range parts {
			all.Go(func() { f(parts[i]) })
		}
		all.Wait()
	}
	for i := range parts {
		parts[i] = half{make([]float32, size/workers), make([]float32, size/workers)}
	}
	each(func(h half) { // so that the system has given every page
		for i := range h.from {
			h.from[i], h.to[i] = 1, 1
		}
	})
	best := math.Inf(1)
	for range rounds {
		begin := time.Now()
		each(func(h half) { copy(h.to, h.from) })
		best = min(best, time.Since(begin).Seconds())
	}
	return float64(2*4*len(parts)*len(parts[0].to)) / best
}
