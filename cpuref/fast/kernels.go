package fast

//go:generate go run -C _gen . -pkg fast -out ../asm_amd64.s -stubs ../asm_amd64.go
//go:generate go run -C _gen ./neon -out ../asm_arm64.s -stubs ../asm_arm64.go

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"vkconv/conv"
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

	// sampleAdd is sample that adds to what is there.
	sampleAdd func(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4)

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

	// clamp bounds values: y[i] = min(max(y[i], lo), hi), NaN stays NaN.
	clamp func(y []float32, lo, hi float32)

	// winogradIn transforms 4×4 inputs d[a][b] = v[(4a+b)·stride+i] to BᵀdB in place,
	// for i < n, a multiple of lanes.
	winogradIn func(v []float32, stride, n int)

	// winogradOut transforms 4×4 sums s[a][b] = m[(4a+b)·stride+i], i < n, to 2×2
	// outputs AᵀsA + bias, of which top and bottom get a row each at 2i and 2i+1; n is
	// a multiple of lanes.
	winogradOut func(top, bottom, m []float32, stride, n int, bias float32)

	// winograd4In transforms 6×6 inputs d[r][c] = a[r·pitch+4i+c], c < 4, and
	// b[r·pitch+4i+c−4] behind, to dst[(6r+c)·stride+i] = (BᵀdB)[r][c], for i < n, a
	// multiple of lanes; b has as many elements as a. room is wino4Room floats.
	winograd4In func(dst []float32, stride int, a, b []float32, pitch int, room []float32, n int)

	// winograd4Out transforms 6×6 sums s[r][c] = m[(6r+c)·stride+i], i < n, a multiple
	// of lanes, to 4×4 outputs rows[r·pitch+4i+c] = (AᵀsA)[r][c] + bias.
	winograd4Out func(rows []float32, pitch int, m []float32, stride int, room []float32, n int, bias float32)

	gradKernels

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

var available = append(machineKernels(), &portable) // best first

// choice is what new plans compute with, or why the environment's wish is none.
type choice struct {
	ks  *kernels
	err error
}

var current atomic.Pointer[choice]

func init() {
	current.Store(&choice{ks: available[0]})
	if name := os.Getenv("VKCONV_CPU"); name != "" {
		if err := SetInstructionSet(name); err != nil {
			current.Store(&choice{available[0], fmt.Errorf("%w (environment variable VKCONV_CPU)", err)})
		}
	}
}

// InstructionSet names what plans made from now on compute with: "avx512",
// "avx2", "neon" or "go". The best one that the machine has, unless the environment
// variable VKCONV_CPU or [SetInstructionSet] chose another.
func InstructionSet() string { return current.Load().ks.name }

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
	for _, ks := range available {
		if name == "" || ks.name == name {
			current.Store(&choice{ks: ks})
			return nil
		}
	}
	return fmt.Errorf("fast: instruction set is %q, this machine and build have %s: %w",
		name, strings.Join(InstructionSets(), ", "), conv.ErrUnsupported)
}

// choose returns the kernels for a new plan, or why the environment's wish
// cannot be met.
func choose() (*kernels, error) {
	c := current.Load()
	return c.ks, c.err
}

// Peak measures for about eight milliseconds how many GFLOP/s one core makes when
// it does nothing but multiply-adds of the current instruction set, in registers.
func Peak() float64 {
	ks := current.Load().ks
	const turns = 1 << 12
	best := 0.0
	for start := time.Now(); time.Since(start) < 8*time.Millisecond; {
		t := time.Now()
		ks.peak(turns)
		best = max(best, float64(2*14*ks.lanes)*turns/float64(time.Since(t).Nanoseconds()))
	}
	return best
}
