//go:build amd64 && !noasm

package fast

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

func machineKernels() (sets []*kernels) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		sets = append(sets, &kernels{name: "avx512", lanes: 16, nv: 3, rows: []int{8, 4, 2, 1},
			gemm: gemmAVX512, pack: packRunsAVX512, packEven: packEvensAVX512, sample: sampleQuads, sampleAdd: sampleAddQuads, planeFMA: planeAVX512, copyRows: copyRowsWide, splitRows: splitRowsWide, clamp: clampWide, winogradIn: winoInAVX512, winogradOut: winoOutAVX512, winograd4In: wino4In, winograd4Out: wino4Out, peak: peakAVX512})
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 {
		sets = append(sets, &kernels{name: "avx2", lanes: 8, nv: 3, rows: []int{4, 2, 1},
			gemm: gemmAVX2, pack: packRunsAVX2, packEven: packEvensAVX2, sample: sampleQuads, sampleAdd: sampleAddQuads, planeFMA: planeAVX2, copyRows: copyRowsWide, splitRows: splitRowsWide, clamp: clampWide, winogradIn: winoInAVX2, winogradOut: winoOutAVX2, winograd4In: wino4In, winograd4Out: wino4Out, peak: peakAVX2})
	}
	return sets
}

// The functions below look at both ends of everything that assembly will touch,
// so that a mistake above them panics instead of reading or writing elsewhere.

func gemmAVX512(c []float32, ldc int, a, b, bias []float32, segs []int32, segLen, skip, mr, nv, tail int) {
	ends := gemmEnds(c, ldc, a, b, bias, segs, segLen, skip, mr, nv, tail, 16)
	switch mr*4 + nv {
	case 8*4 + 3:
		gemm8x3AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 8*4 + 2:
		gemm8x2AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 8*4 + 1:
		gemm8x1AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 4*4 + 3:
		gemm4x3AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 4*4 + 2:
		gemm4x2AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 4*4 + 1:
		gemm4x1AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 2*4 + 3:
		gemm2x3AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 2*4 + 2:
		gemm2x2AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 2*4 + 1:
		gemm2x1AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 1*4 + 3:
		gemm1x3AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 1*4 + 2:
		gemm1x2AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 1*4 + 1:
		gemm1x1AVX512(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	default:
		panic("fast: no AVX-512 micro-kernel of this size")
	}
}

func gemmAVX2(c []float32, ldc int, a, b, bias []float32, segs []int32, segLen, skip, mr, nv, tail int) {
	ends := gemmEnds(c, ldc, a, b, bias, segs, segLen, skip, mr, nv, tail, 8)
	switch mr*4 + nv {
	case 4*4 + 3:
		gemm4x3AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 4*4 + 2:
		gemm4x2AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 4*4 + 1:
		gemm4x1AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 2*4 + 3:
		gemm2x3AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 2*4 + 2:
		gemm2x2AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 2*4 + 1:
		gemm2x1AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 1*4 + 3:
		gemm1x3AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 1*4 + 2:
		gemm1x2AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	case 1*4 + 1:
		gemm1x1AVX2(&c[0], ldc, ends.a, ends.b, ends.bias, ends.segs, len(segs), segLen, skip, tail)
	default:
		panic("fast: no AVX2 micro-kernel of this size")
	}
}

func packRunsAVX512(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan) {
	packEnds(dst, dstStride, src, srcStride, n, v, 16, 1)
	packAVX512(&dst[0], dstStride, &src[0], srcStride, n, v.at[0], v.bits[0], v.at[1], v.bits[1])
}

func packRunsAVX2(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan) {
	packEnds(dst, dstStride, src, srcStride, n, v, 8, 1)
	packAVX2(&dst[0], dstStride, &src[0], srcStride, n, v.at[0], v.bits[0], v.at[1], v.bits[1])
}

func packEvensAVX512(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan) {
	packEnds(dst, dstStride, src, srcStride, n, v, 16, 2)
	packEvenAVX512(&dst[0], dstStride, &src[0], srcStride, n, v.at[0], v.bits[0], v.at[1], v.bits[1])
}

func packEvensAVX2(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan) {
	packEnds(dst, dstStride, src, srcStride, n, v, 8, 2)
	packEvenAVX2(&dst[0], dstStride, &src[0], srcStride, n, v.at[0], v.bits[0], v.at[1], v.bits[1])
}

// packEnds looks at the ends of runs whose lanes read step apart.
func packEnds(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan, lanes, step int) {
	_ = dst[(n-1)*dstStride+lanes-1]
	for k, set := range v.bits {
		if set != 0 {
			_ = src[v.at[k]+step*bits.TrailingZeros32(set)]
			_ = src[(n-1)*srcStride+v.at[k]+step*(bits.Len32(set)-1)]
		}
	}
}

func sampleQuads(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4) {
	if sampleEnds(dst, dstStride, src, srcStride, n, plans) {
		sampleAVX2(&dst[0], dstStride, &src[0], srcStride, n, &plans[0].at[0][0], len(plans))
	}
}

func sampleAddQuads(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4) {
	if sampleEnds(dst, dstStride, src, srcStride, n, plans) {
		sampleAddAVX2(&dst[0], dstStride, &src[0], srcStride, n, &plans[0].at[0][0], len(plans))
	}
}

// sampleEnds also reports whether there is anything to sample at all.
func sampleEnds(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4) bool {
	if n < 1 || len(plans) == 0 {
		return false
	}
	_ = dst[(n-1)*dstStride+4*len(plans)-1]
	var most uint32 // as unsigned, a negative place is far out too
	for i := range plans {
		p := &plans[i]
		most = max(most, uint32(p.at[0][0]), uint32(p.at[0][1]), uint32(p.at[0][2]), uint32(p.at[0][3]),
			uint32(p.at[1][0]), uint32(p.at[1][1]), uint32(p.at[1][2]), uint32(p.at[1][3]))
	}
	_ = src[(n-1)*srcStride+int(most)+1]
	return true
}

func planeAVX512(y []float32, yStride, rows, n int, x []float32, xStride int, at []int32, w []float32, bias float32) {
	if planeEnds(y, yStride, rows, n, x, xStride, at, w, 16) {
		planeFMAAVX512(&y[0], yStride, rows, n, &x[0], xStride, &at[0], &w[0], len(at), bias)
	} else {
		planeFMAGo(y, yStride, rows, n, x, xStride, at, w, bias)
	}
}

func planeAVX2(y []float32, yStride, rows, n int, x []float32, xStride int, at []int32, w []float32, bias float32) {
	if planeEnds(y, yStride, rows, n, x, xStride, at, w, 8) {
		planeFMAAVX2(&y[0], yStride, rows, n, &x[0], xStride, &at[0], &w[0], len(at), bias)
	} else {
		planeFMAGo(y, yStride, rows, n, x, xStride, at, w, bias)
	}
}

// planeEnds also reports whether there is anything to multiply at all.
func planeEnds(y []float32, yStride, rows, n int, x []float32, xStride int, at []int32, w []float32, lanes int) bool {
	if rows < 1 || n < 1 || len(at) == 0 {
		return false
	}
	_ = y[(rows-1)*yStride+n-1]
	_ = w[len(at)-1]
	last := x[(rows-1)*xStride+ceilDiv(n, lanes)*lanes-1:]
	for _, o := range at {
		_ = last[o]
	}
	return true
}

func copyRowsWide(dst []float32, dstStride int, src []float32, srcStride, rows, n int) {
	if rows < 1 || n < 1 {
		return
	}
	_, _ = dst[(rows-1)*dstStride+n-1], src[(rows-1)*srcStride+n-1]
	copyRowsAVX2(&dst[0], dstStride, &src[0], srcStride, rows, n)
}

func splitRowsWide(dst []float32, odd, dstStride int, src []float32, srcStride, rows, n int) {
	if rows < 1 || n < 4 {
		splitRowsGo(dst, odd, dstStride, src, srcStride, rows, n)
		return
	}
	_, _ = dst[(rows-1)*dstStride+odd+n-1], src[(rows-1)*srcStride+2*n-1]
	splitRowsAVX2(&dst[0], &dst[odd], dstStride, &src[0], srcStride, rows, n)
}

func winoInAVX512(v []float32, stride, n int) {
	_ = v[15*stride+n-1]
	winogradInAVX512(&v[0], stride, n/16)
}

func winoOutAVX512(top, bottom, m []float32, stride, n int, bias float32) {
	_, _, _ = top[2*n-1], bottom[2*n-1], m[15*stride+n-1]
	winogradOutAVX512(&top[0], &bottom[0], &m[0], stride, n/16, bias)
}

func winoInAVX2(v []float32, stride, n int) {
	_ = v[15*stride+n-1]
	winogradInAVX2(&v[0], stride, n/8)
}

func winoOutAVX2(top, bottom, m []float32, stride, n int, bias float32) {
	_, _, _ = top[2*n-1], bottom[2*n-1], m[15*stride+n-1]
	winogradOutAVX2(&top[0], &bottom[0], &m[0], stride, n/8, bias)
}

// wino4In and wino4Out serve AVX-512 too: they wait for the memory, and its products are most of the time.

func wino4In(dst []float32, stride int, a, b []float32, pitch int, room []float32, n int) {
	if n < 8 {
		return
	}
	_, _, _, _ = dst[35*stride+n-1], a[5*pitch+4*n-1], b[5*pitch+4*n-1], room[wino4Room-1]
	winograd4InAVX2(&dst[0], stride, &a[0], &b[0], pitch, &room[0], n/8)
}

func wino4Out(rows []float32, pitch int, m []float32, stride int, room []float32, n int, bias float32) {
	if n < 8 {
		return
	}
	_, _, _ = rows[3*pitch+4*n-1], m[35*stride+n-1], room[wino4Room-1]
	winograd4OutAVX2(&rows[0], pitch, &m[0], stride, &room[0], n/8, bias)
}

func clampWide(y []float32, lo, hi float32) {
	n := len(y) &^ 7
	if n > 0 {
		clampAVX2(&y[0], n, lo, hi)
	}
	clampGo(y[n:], lo, hi)
}
