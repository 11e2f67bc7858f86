package vkconv

import (
	"fmt"
	"math"
	"sync"

	"vkconv/gpu"
)

// hostMemory is what the machine has, swap included. Go ends the program when it asks for more. Where the system does
// not tell, it is what a program can address.
var hostMemory = sync.OnceValue(func() int64 {
	const addressed = 1 << 46
	n := systemMemory()
	if n <= 0 {
		n = addressed
	}
	return min(n, math.MaxInt)
})

// fits refuses what passes a budget in bytes, inUse of which are taken.
func fits(what string, bytes, inUse, budget int64) error {
	if bytes < 0 || bytes > budget-inUse {
		return fmt.Errorf("%w: %s of %d bytes; %d of %d are in use", gpu.ErrOutOfMemory, what, bytes, inUse, budget)
	}
	return nil
}
