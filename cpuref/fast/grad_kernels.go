package fast

// gradKernels are the kernels of backward plans and activations. An instruction
// set that has none of its own takes the portable ones.
type gradKernels struct {
	// transpose turns eight rows of n, a multiple of 8: dst[l·dstStride+i] = src[at[i]+l].
	transpose func(dst []float32, dstStride int, src []float32, at *[8]int32, n int)

	// transposeFours turns four rows of n, a multiple of 4, that lie stride apart: dst[4l+i] = src[i·stride+l].
	transposeFours func(dst, src []float32, stride, n int)

	// dots adds to the sixteen sums of each plan, over n channels,
	//
	//	sums[16v + 8k+2i+e] += col[ch·colStride+4v+i] · src[ch·srcStride + plans[v].at[k][i] + e]
	//
	// for the pixels whose mask is set. src has two columns at least.
	dots func(sums []float32, plans []gradPlan, col []float32, colStride int, src []float32, srcStride, n int)

	// scatter adds to dst, rows of pitch floats (whole vectors), for lane i of plan v
	//
	//	dst[(at[k][i]+e)·pitch+c] += w[k][i][e] · col[(4v+i)·pitch+c]
	//
	// for the pixels whose mask is set.
	scatter func(dst []float32, plans []gradPlan, col []float32, pitch int)

	// planeDot adds to sums[t], for each tap, the products of rows of n:
	//
	//	sums[t] += Σ_{oy<rows, i<n} dy[oy·yStride+i] · x[oy·xStride + at[t] + i]
	planeDot func(sums, dy []float32, yStride, rows, n int, x []float32, xStride int, at []int32)

	// planSamples and planGrads plan quads from the first on that are wholly inside
	// the image and whose masks are finite, as set would, and return how many; nil
	// where set has to do it all.
	planSamples func(plans []sample4, from *placed, first int) int
	planGrads   func(plans []gradPlan, from *placed, first int) int

	// merge interleaves two rows of n: dst[2i], dst[2i+1] = even[i], odd[i].
	merge func(dst, even, odd []float32, n int)
}

var portableGrad = gradKernels{transpose: transposeGo, transposeFours: transposeFoursGo, dots: dotsGo, scatter: scatterGo, planeDot: planeDotGo, merge: mergeGo}

func init() {
	for _, ks := range available {
		ks.gradKernels = portableGrad
		machineGrad(ks)
	}
}
