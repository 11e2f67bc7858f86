//go:build cgo

package gpu

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Against a map of single bytes: what is taken was free and is so no longer, free ranges never touch, and all comes back.
func TestSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	const size = 400
	free := spans{{0, size}}
	var taken [size]bool
	var held []span
	for range 20000 {
		if rng.IntN(2) == 0 {
			n := int64(1 + rng.IntN(40))
			off, ok := free.take(n)
			if !ok {
				run, longest := int64(0), int64(0)
				for _, b := range taken {
					if run++; b {
						run = 0
					}
					longest = max(longest, run)
				}
				if longest >= n {
					t.Fatalf("%d bytes were refused with %d free in a row", n, longest)
				}
				continue
			}
			for k := off; k < off+n; k++ {
				if taken[k] {
					t.Fatalf("byte %d was taken twice", k)
				}
				taken[k] = true
			}
			held = append(held, span{off, n})
		} else if len(held) > 0 {
			k := rng.IntN(len(held))
			s := held[k]
			held = slices.Delete(held, k, k+1)
			free.give(s.off, s.size)
			for k := s.off; k < s.off+s.size; k++ {
				taken[k] = false
			}
		}
		for k := 1; k < len(free); k++ {
			if free[k-1].off+free[k-1].size >= free[k].off {
				t.Fatalf("free ranges %v touch or are out of order", free)
			}
		}
	}
	for _, s := range held {
		free.give(s.off, s.size)
	}
	if len(free) != 1 || free[0] != (span{0, size}) {
		t.Errorf("at the end %v is free", free)
	}
}
