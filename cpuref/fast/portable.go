package fast

import (
	"runtime"
	"unsafe"
)

// portable is plain Go, for machines without kernels of their own and for the
// build tag noasm.
var portable = kernels{
	name: "go", lanes: 8, nv: 3, rows: []int{3, 1},
	gemm: gemmGo, sample: sampleGo, sampleAdd: sampleAddGo, planeFMA: planeFMAGo, copyRows: copyRowsGo, splitRows: splitRowsGo, clamp: clampGo,
	winogradIn: winogradInGo, winogradOut: winogradOutGo, winograd4In: winograd4InGo, winograd4Out: winograd4OutGo, peak: peakGo,
}

// gemmGo walks a panel in strips two (mr = 3) or four (mr = 1) pixels wide: six
// accumulators and their products fit amd64's fifteen registers. Eight do not, and
// one that goes through memory takes twice the time of all others.
func gemmGo(c []float32, ldc int, a, b, bias []float32, segs []int32, segLen, skip, mr, nv, tail int) {
	width := nv * 8
	cols := width - 8 + tail
	var acc [3 * 24]float32
	for i := range mr {
		if bias != nil {
			for j := range cols {
				acc[i*24+j] = bias[i]
			}
		} else {
			copy(acc[i*24:], c[i*ldc:][:cols])
		}
	}
	for q, seg := range segs {
		a := a[int(seg)*segLen*mr:][:segLen*mr]
		b := b[q*(segLen*width+skip):][:segLen*width]
		if mr == 3 {
			for j := 0; j < width; j += 2 {
				strip3x2((*[50]float32)(acc[j:j+50]), a, b[j:], width)
			}
		} else {
			for j := 0; j < width; j += 4 {
				strip1x4((*[4]float32)(acc[j:j+4]), a, b[j:], width)
			}
		}
	}
	for i := range mr {
		copy(c[i*ldc:][:cols], acc[i*24:])
	}
}

// strip3x2 accumulates three output channels × two pixels over len(a)/3 rows of a
// panel; acc's rows lie 24 apart. Both ends are looked at once, and addressed
// without checks in between: slicing would cost more than the arithmetic.
func strip3x2(acc *[50]float32, a, b []float32, width int) {
	rows := len(a) / 3
	if rows == 0 {
		return
	}
	_ = b[(rows-1)*width+1]
	pa, pb := unsafe.Pointer(&a[0]), unsafe.Pointer(&b[0])
	c00, c01 := acc[0], acc[1]
	c10, c11 := acc[24], acc[25]
	c20, c21 := acc[48], acc[49]
	at := 0
	for l := range rows {
		w := (*[3]float32)(unsafe.Add(pa, 12*l))
		x := (*[2]float32)(unsafe.Add(pb, at))
		b0, b1 := x[0], x[1]
		c00 += w[0] * b0
		c01 += w[0] * b1
		c10 += w[1] * b0
		c11 += w[1] * b1
		c20 += w[2] * b0
		c21 += w[2] * b1
		at += 4 * width
	}
	acc[0], acc[1] = c00, c01
	acc[24], acc[25] = c10, c11
	acc[48], acc[49] = c20, c21
}

// strip1x4 accumulates one output channel × four pixels.
func strip1x4(acc *[4]float32, a, b []float32, width int) {
	if len(a) == 0 {
		return
	}
	_ = b[(len(a)-1)*width+3]
	pb := unsafe.Pointer(&b[0])
	c0, c1, c2, c3 := acc[0], acc[1], acc[2], acc[3]
	at := 0
	for _, w := range a {
		x := (*[4]float32)(unsafe.Add(pb, at))
		c0 += w * x[0]
		c1 += w * x[1]
		c2 += w * x[2]
		c3 += w * x[3]
		at += 4 * width
	}
	acc[0], acc[1], acc[2], acc[3] = c0, c1, c2, c3
}

// packIndexed fills one vector of a panel for n channels: lane i takes
// src[ch·srcStride + at[i]], or 0 where at[i] is negative.
func packIndexed(dst []float32, dstStride int, src []float32, srcStride, n int, at []int32) {
	for ch := range n {
		d := dst[ch*dstStride:][:len(at)]
		s := src[ch*srcStride:]
		for i, a := range at {
			v := float32(0)
			if uint(a) < uint(len(s)) {
				v = s[a]
			}
			d[i] = v
		}
	}
}

func sampleGo(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4) {
	for v := range plans {
		for i := range 4 {
			plans[v].sampleLane(i, dst[4*v+i:], dstStride, src, srcStride, n, false)
		}
	}
}

func sampleAddGo(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4) {
	for v := range plans {
		for i := range 4 {
			plans[v].sampleLane(i, dst[4*v+i:], dstStride, src, srcStride, n, true)
		}
	}
}

func (s *sample4) sampleLane(i int, dst []float32, dstStride int, src []float32, srcStride, n int, add bool) {
	a0, a1 := int(s.at[0][i]), int(s.at[1][i])
	w0, w1, m0, m1 := s.w[0][i], s.w[1][i], s.m[0][i], s.m[1][i]
	if m0[0]&m0[1]&m1[0]&m1[1] != 0 { // inside, as most are
		for ch := range n {
			p, q := src[ch*srcStride+a0:][:2], src[ch*srcStride+a1:][:2]
			v := w0[0]*p[0] + w1[0]*q[0] + w0[1]*p[1] + w1[1]*q[1]
			if add {
				v += dst[ch*dstStride]
			}
			dst[ch*dstStride] = v
		}
		return
	}
	for ch := range n {
		plane := src[ch*srcStride:]
		v := float32(0)
		for e := range 2 {
			if m0[e] != 0 {
				v += w0[e] * plane[a0+e]
			}
			if m1[e] != 0 {
				v += w1[e] * plane[a1+e]
			}
		}
		if add {
			v += dst[ch*dstStride]
		}
		dst[ch*dstStride] = v
	}
}

func planeFMAGo(y []float32, yStride, rows, n int, x []float32, xStride int, at []int32, w []float32, bias float32) {
	for oy := range rows {
		rowFMAGo(y[oy*yStride:][:n], x[oy*xStride:], at, w, bias)
	}
}

func rowFMAGo(y, x []float32, at []int32, w []float32, bias float32) {
	for len(y) >= 4 {
		a0, a1, a2, a3 := bias, bias, bias, bias
		for t, o := range at {
			v := x[o:][:4]
			f := w[t]
			a0 += f * v[0]
			a1 += f * v[1]
			a2 += f * v[2]
			a3 += f * v[3]
		}
		y[0], y[1], y[2], y[3] = a0, a1, a2, a3
		y, x = y[4:], x[4:]
	}
	for i := range y {
		a := bias
		for t, o := range at {
			a += w[t] * x[int(o)+i]
		}
		y[i] = a
	}
}

func copyRowsGo(dst []float32, dstStride int, src []float32, srcStride, rows, n int) {
	for y := range rows {
		copy(dst[y*dstStride:][:n], src[y*srcStride:][:n])
	}
}

func splitRowsGo(dst []float32, odd, dstStride int, src []float32, srcStride, rows, n int) {
	for y := range rows {
		d, e, s := dst[y*dstStride:][:n], dst[y*dstStride+odd:][:n], src[y*srcStride:][:2*n]
		for i := range d {
			d[i], e[i] = s[2*i], s[2*i+1]
		}
	}
}

// peakGo makes in 8 scalar steps what counts as one vector of 8; seven chains are
// what registers hold.
func peakGo(turns int) {
	var a, b, c, d, e, f, g float32
	x := float32(turns)
	for range turns * 14 * 8 / 7 {
		a += x * x
		b += x * x
		c += x * x
		d += x * x
		e += x * x
		f += x * x
		g += x * x
		x = -x
	}
	runtime.KeepAlive(a + b + c + d + e + f + g)
}
