//go:build (amd64 || arm64) && !noasm

package fast

// gemmArgs are pointers to slices that may be empty.
type gemmArgs struct {
	a, b, bias *float32
	segs       *int32
}

func gemmEnds(c []float32, ldc int, a, b, bias []float32, segs []int32, segLen, skip, mr, nv, tail, lanes int) (p gemmArgs) {
	if tail < 1 || tail > lanes || segLen < 1 || skip < 0 {
		panic("fast: micro-tile out of range")
	}
	_ = c[(mr-1)*ldc+(nv-1)*lanes+tail-1]
	if bias != nil {
		_ = bias[mr-1]
		p.bias = &bias[0]
	}
	if n := len(segs); n > 0 {
		_ = b[n*segLen*nv*lanes+(n-1)*skip-1]
		_ = a[(int(segs[n-1])+1)*segLen*mr-1] // segs ascend
		p.a, p.b, p.segs = &a[0], &b[0], &segs[0]
	}
	return p
}
