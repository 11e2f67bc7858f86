//go:build amd64 && !noasm

package fast

//go:generate go run -C _gen . -grad -pkg fast -out ../asm_grad_amd64.s -stubs ../asm_grad_amd64.go

import (
	"math"
	"unsafe"
)

// machineGrad gives an instruction set its own kernels; as in kernels_amd64.go
// they look at both ends of what assembly will touch.
func machineGrad(ks *kernels) {
	if ks.lanes < 8 || ks.name == portable.name {
		return
	}
	ks.transpose, ks.transposeFours, ks.dots, ks.merge = transposeEights, transposeQuads, dotsQuads, mergeEights
	ks.planSamples, ks.planGrads = planSampleQuads, planGradQuads
	ks.scatter, ks.planeDot = scatterAVX2Ends, planeDotYMM
	if ks.lanes == 16 {
		ks.scatter, ks.planeDot = scatterAVX512Ends, planeDotZMM
	}
}

func planSampleQuads(plans []sample4, from *placed, first int) int {
	if first >= len(plans) {
		return 0
	}
	return planQuads(&plans[first].at[0][0], int(unsafe.Sizeof(sample4{})), len(plans)-first, from, 4*first)
}

func planGradQuads(plans []gradPlan, from *placed, first int) int {
	if first >= len(plans) {
		return 0
	}
	return planQuads(&plans[first].at[0][0], int(unsafe.Sizeof(gradPlan{})), len(plans)-first, from, 4*first)
}

var oneMask = [4]float32{1, 1, 1, 1}

// planQuads leaves the last pixels, if they make no quad, and everything where
// places could be beyond an int32.
func planQuads(plan *int32, size, quads int, p *placed, first int) int {
	quads = min(quads, (len(p.dy)-first)/4)
	if quads < 1 || p.stepY != 1 || p.stepX != 1 || max(p.baseY, p.baseX, p.h, p.w) > farPlace || min(p.baseY, p.baseX) < -farPlace {
		return 0
	}
	end := first + 4*quads - 1
	_, _, _, _ = p.ys[end], p.xs[end], p.dy[end], p.dx[end]
	f, step := &oneMask[0], 0
	if p.f != nil {
		_ = p.f[end]
		f, step = &p.f[first], 1
	}
	return planInsideAVX2(plan, size, quads, &p.ys[first], &p.xs[first], p.baseY, p.baseX, &p.dy[first], &p.dx[first], f, step, p.h, p.w)
}

func transposeEights(dst []float32, dstStride int, src []float32, at *[8]int32, n int) {
	if n < 8 {
		return
	}
	if n%8 != 0 || dstStride < 8 {
		panic("fast: transposition of less than eights")
	}
	_ = dst[(n-1)*dstStride+7]
	for _, a := range at {
		_ = src[int(a)+n-1]
		_ = src[a]
	}
	transpose8AVX2(&dst[0], dstStride, &src[0], &at[0], n)
}

func transposeQuads(dst, src []float32, stride, n int) {
	if n < 1 {
		return
	}
	_, _, _ = dst[4*n-1], src[n-1], src[3*stride+n-1]
	transpose4AVX2(&dst[0], &src[0], stride, n)
}

func dotsQuads(sums []float32, plans []gradPlan, col []float32, colStride int, src []float32, srcStride, n int) {
	if n < 1 || len(plans) == 0 {
		return
	}
	_, _ = sums[16*len(plans)-1], col[(n-1)*colStride+4*len(plans)-1]
	_ = src[(n-1)*srcStride+planEnd(plans)+1]
	dotsAVX2(&sums[0], &plans[0].at[0][0], len(plans), &col[0], colStride, &src[0], srcStride, n)
}

func scatterAVX512Ends(dst []float32, plans []gradPlan, col []float32, pitch int) {
	if scatterEnds(dst, plans, col, pitch, 16) {
		scatterAVX512(&dst[0], &plans[0].at[0][0], len(plans), &col[0], pitch)
	}
}

func scatterAVX2Ends(dst []float32, plans []gradPlan, col []float32, pitch int) {
	if scatterEnds(dst, plans, col, pitch, 8) {
		scatterAVX2(&dst[0], &plans[0].at[0][0], len(plans), &col[0], pitch)
	}
}

func scatterEnds(dst []float32, plans []gradPlan, col []float32, pitch, lanes int) bool {
	if len(plans) == 0 {
		return false
	}
	if pitch < lanes || pitch%lanes != 0 {
		panic("fast: channels are not whole vectors")
	}
	_ = col[4*len(plans)*pitch-1]
	for v := range plans {
		g := &plans[v]
		for k := range 2 {
			for i, at := range g.at[k] {
				if m := g.m[k][i]; m[1] != 0 {
					_ = dst[(int(at)+2)*pitch-1]
				} else if m[0] != 0 {
					_ = dst[(int(at)+1)*pitch-1]
				}
				if at < 0 {
					panic("fast: a place before the first")
				}
			}
		}
	}
	return true
}

// planEnd is the last place of a pair's left pixel; a negative one is far out.
func planEnd(plans []gradPlan) int {
	var most uint32
	for i := range plans {
		p := &plans[i]
		most = max(most, uint32(p.at[0][0]), uint32(p.at[0][1]), uint32(p.at[0][2]), uint32(p.at[0][3]),
			uint32(p.at[1][0]), uint32(p.at[1][1]), uint32(p.at[1][2]), uint32(p.at[1][3]))
	}
	if most > math.MaxInt32 {
		panic("fast: a place before the first")
	}
	return int(most)
}

func planeDotZMM(sums, dy []float32, yStride, rows, n int, x []float32, xStride int, at []int32) {
	if !planeDotEnds(sums, dy, yStride, rows, n, x, xStride, at) {
		return
	}
	for len(at) > 0 {
		taps := planeDotTaps(len(at))
		switch taps {
		case 9:
			planeDot9AVX512(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		case 5:
			planeDot5AVX512(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		case 3:
			planeDot3AVX512(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		default:
			planeDot1AVX512(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		}
		sums, at = sums[taps:], at[taps:]
	}
}

func planeDotYMM(sums, dy []float32, yStride, rows, n int, x []float32, xStride int, at []int32) {
	if !planeDotEnds(sums, dy, yStride, rows, n, x, xStride, at) {
		return
	}
	for len(at) > 0 {
		taps := planeDotTaps(len(at))
		switch taps {
		case 9:
			planeDot9AVX2(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		case 5:
			planeDot5AVX2(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		case 3:
			planeDot3AVX2(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		default:
			planeDot1AVX2(&sums[0], &dy[0], yStride, rows, n, &x[0], xStride, &at[0])
		}
		sums, at = sums[taps:], at[taps:]
	}
}

// planeDotTaps is how many of the taps that are left are taken at once.
func planeDotTaps(left int) int {
	for _, taps := range [...]int{9, 5, 3} {
		if taps <= left {
			return taps
		}
	}
	return 1
}

// planeDotEnds also reports whether there is anything to add at all.
func planeDotEnds(sums, dy []float32, yStride, rows, n int, x []float32, xStride int, at []int32) bool {
	if rows < 1 || n < 1 || len(at) == 0 {
		return false
	}
	_, _ = sums[len(at)-1], dy[(rows-1)*yStride+n-1]
	last := x[(rows-1)*xStride+n-1:]
	for _, o := range at {
		_, _ = last[o], x[o]
	}
	return true
}

func mergeEights(dst, even, odd []float32, n int) {
	eights := n &^ 7
	if eights > 0 {
		_, _, _ = dst[2*eights-1], even[eights-1], odd[eights-1]
		mergeAVX2(&dst[0], &even[0], &odd[0], eights)
	}
	mergeGo(dst[2*eights:], even[eights:], odd[eights:], n-eights)
}
