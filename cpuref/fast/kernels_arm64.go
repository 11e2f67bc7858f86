//go:build !noasm

package fast

// machineKernels: every arm64 has NEON.
func machineKernels() []*kernels {
	neon := portable
	neon.name, neon.lanes, neon.nv, neon.rows = "neon", 4, 3, []int{8, 4, 2, 1}
	neon.gemm, neon.pack, neon.planeFMA, neon.peak = gemmNEON, packNEON, planeNEON, peakNEON
	return []*kernels{&neon}
}

// gemmNEON looks at both ends of everything that assembly will touch. NEON has no
// masked stores: a micro-tile whose last vector is partial is computed aside.
func gemmNEON(c []float32, ldc int, a, b, bias []float32, segs []int32, segLen, skip, mr, nv, tail int) {
	p := gemmEnds(c, ldc, a, b, bias, segs, segLen, skip, mr, nv, tail, 4)
	if tail == 4 {
		multiplyNEON(&c[0], ldc, p, len(segs), segLen, skip, mr, nv)
		return
	}
	var aside [8 * 12]float32
	cols := 4*nv - 4 + tail
	if bias == nil {
		for i := range mr {
			copy(aside[12*i:], c[i*ldc:][:cols])
		}
	}
	multiplyNEON(&aside[0], 12, p, len(segs), segLen, skip, mr, nv)
	for i := range mr {
		copy(c[i*ldc:][:cols], aside[12*i:])
	}
}

func multiplyNEON(c *float32, ldc int, p gemmArgs, nseg, segLen, skip, mr, nv int) {
	switch mr*4 + nv {
	case 8*4 + 3:
		gemm8x3NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 8*4 + 2:
		gemm8x2NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 8*4 + 1:
		gemm8x1NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 4*4 + 3:
		gemm4x3NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 4*4 + 2:
		gemm4x2NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 4*4 + 1:
		gemm4x1NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 2*4 + 3:
		gemm2x3NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 2*4 + 2:
		gemm2x2NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 2*4 + 1:
		gemm2x1NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 1*4 + 3:
		gemm1x3NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 1*4 + 2:
		gemm1x2NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	case 1*4 + 1:
		gemm1x1NEON(c, ldc, p.a, p.b, p.bias, p.segs, nseg, segLen, skip)
	default:
		panic("fast: no NEON micro-kernel of this size")
	}
}

// packNEON is kernels.pack for four lanes, most of them whole: an array of four
// is copied by one load and one store.
func packNEON(dst []float32, dstStride int, src []float32, srcStride, n int, v *vectorPlan) {
	if v.bits[0] == 15 {
		at := v.at[0]
		for ch := range n {
			*(*[4]float32)(dst[ch*dstStride:]) = *(*[4]float32)(src[ch*srcStride+at:])
		}
		return
	}
	for ch := range n {
		d, s := (*[4]float32)(dst[ch*dstStride:]), src[ch*srcStride:]
		*d = [4]float32{}
		for k, set := range v.bits {
			for i := range d {
				if set>>i&1 != 0 {
					d[i] = s[v.at[k]+i]
				}
			}
		}
	}
}

func planeNEON(y []float32, yStride, rows, n int, x []float32, xStride int, at []int32, w []float32, bias float32) {
	whole := n &^ 3
	if rows < 1 || whole == 0 || len(at) == 0 {
		planeFMAGo(y, yStride, rows, n, x, xStride, at, w, bias)
		return
	}
	_ = y[(rows-1)*yStride+whole-1]
	_ = w[len(at)-1]
	last := x[(rows-1)*xStride+whole-1:]
	for _, o := range at {
		_ = last[o]
	}
	for r := range rows {
		rowFMANEON(&y[r*yStride], whole, &x[r*xStride], &at[0], &w[0], len(at), bias)
	}
	if whole < n {
		planeFMAGo(y[whole:], yStride, rows, n-whole, x[whole:], xStride, at, w, bias)
	}
}
