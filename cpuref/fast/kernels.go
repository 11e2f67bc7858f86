package fast

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// kernels is one instruction set's way to do the inner loops. Every function
// takes slices, never touches anything outside them, and returns after a
// bounded amount of work, since assembly cannot be preempted.
type kernels struct {
	name  string
	lanes int   // pixels in a vector
	nv    int   // vectors in a full sub-panel
	rows  []int // heights of micro-tiles, descending, ending in 1

	// gemm computes, for i < mr and the pixels j of nv vectors (of the last
	// one only the first tail lanes),
	//
	//	c[i·ldc+j] (+)= Σ_q Σ_{l<segLen} a[(segs[q]·segLen + l)·mr + i] · b[(q·segLen + l)·nv·lanes + q·skip + j]
	//
	// starting from bias[i], or from c where bias is nil.
	gemm func(c []float32, ldc int, a, b, bias []float32, segs []int32, segLen, skip, mr, nv, tail int)

	// pack fills one vector of a panel for n channels: for ch < n and lane i
	//
	//	dst[ch·dstStride+i] = src[ch·srcStride + v.at[j]+i] where bit i of v.bits[j] is set, else 0
	//
	// nil where the instruction set has nothing better than packIndexed.
	pack func(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan)

	// packEven is pack where a lane reads twice as far: src[ch·srcStride + v.at[j]+2·i].
	packEven func(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan)

	// sample fills lanes of a panel with bilinear samples of n channels, four a plan:
	//
	//	dst[ch·dstStride+4v+i] = Σ_{k<2, e<2} w[k][i][e] · src[ch·srcStride + at[k][i] + e]
	//
	// of plans[v], over the corners whose mask is set.
	sample func(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4)

	// planeFMA is depthwise convolution of rows without borders: for oy < rows and i < n
	//
	//	y[oy·yStride+i] = bias + Σ_t w[t] · x[oy·xStride + at[t] + i]
	//
	// x is there up to the next whole vector beyond n.
	planeFMA func(y []float32, yStride, rows, n int, x []float32, xStride int, at []int32, w []float32, bias float32)

	// copyRows copies rows of n: dst[y·dstStride+i] = src[y·srcStride+i].
	copyRows func(dst []float32, dstStride int, src []float32, srcStride, rows, n int)

	// splitRows copies rows of 2n, even places to dst and odd ones odd further:
	//
	//	dst[y·dstStride+i] = src[y·srcStride+2·i];  dst[y·dstStride+odd+i] = src[y·srcStride+2·i+1]
	splitRows func(dst []float32, odd, dstStride int, src []float32, srcStride, rows, n int)

	// transpose turns eight rows of n, a multiple of 8: dst[l·dstStride+i] = src[at[i]+l].
	transpose func(dst []float32, dstStride int, src []float32, at *[8]int32, n int)

	// dots adds to the sixteen sums of each plan, over n channels,
	//
	//	sums[16v + 8k+2i+e] += col[ch·colStride+4v+i] · src[ch·srcStride + plans[v].at[k][i] + e]
	//
	// for the pixels whose mask is set. src has two columns at least.
	dots func(sums []float32, plans []gradPlan, col []float32, colStride int, src []float32, srcStride, n int)

	// scatter adds to dst, rows of pitch floats (whole vectors), for q < pixels and lane i = q%4 of plan q/4
	//
	//	dst[(at[k][i]+e)·pitch+c] += w[k][i][e] · col[q·pitch+c]
	//
	// for the pixels whose mask is set.
	scatter func(dst []float32, plans []gradPlan, col []float32, pitch, pixels int)

	// peak makes turns × 14 independent vector multiply-adds.
	peak func(turns int)
}

// height returns the tallest micro-tile that fits in k output channels.
func (ks *kernels) height(k int) int {
	for _, r := range ks.rows {
		if r <= k {
			return r
		}
	}
	return 1
}

var (
	available = append(machineKernels(), &portable) // best first
	current   atomic.Pointer[kernels]
	errChoice error // what was wrong with the environment's wish
)

func init() {
	current.Store(available[0])
	if name := os.Getenv("VKCONV_CPU"); name != "" {
		errChoice = SetInstructionSet(name)
	}
}

// InstructionSet names what plans made from now on compute with: "avx512",
// "avx2" or "go". The best one that the machine has, unless the environment
// variable VKCONV_CPU or [SetInstructionSet] chose another.
func InstructionSet() string { return current.Load().name }

// InstructionSets lists what this machine and build have, best first.
func InstructionSets() []string {
	names := make([]string, len(available))
	for i, ks := range available {
		names[i] = ks.name
	}
	return names
}

// SetInstructionSet chooses what plans made from now on compute with; "" is the
// best there is. Plans made before keep theirs.
func SetInstructionSet(name string) error {
	if name == "" {
		current.Store(available[0])
		errChoice = nil
		return nil
	}
	for _, ks := range available {
		if ks.name == name {
			current.Store(ks)
			errChoice = nil
			return nil
		}
	}
	return fmt.Errorf("fast: instruction set is %q, this machine and build have %s",
		name, strings.Join(InstructionSets(), ", "))
}

// choose returns the kernels for a new plan, or why the environment's wish
// cannot be met.
func choose() (*kernels, error) {
	if errChoice != nil {
		return nil, errChoice
	}
	return current.Load(), nil
}

// Peak measures for about eight milliseconds how many GFLOP/s one core makes when
// it does nothing but multiply-adds of the current instruction set, in registers.
func Peak() float64 {
	ks := current.Load()
	const turns = 1 << 12
	best := 0.0
	for start := time.Now(); time.Since(start) < 8*time.Millisecond; {
		t := time.Now()
		ks.peak(turns)
		best = max(best, float64(2*14*ks.lanes)*turns/float64(time.Since(t).Nanoseconds()))
	}
	return best
}
