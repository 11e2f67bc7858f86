package fast

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"vkconv/conv"
)

// walled returns n floats that end where an inaccessible page begins (or begin
// where one ends), with s's values in them.
func walled(t *testing.T, s []float32, atEnd bool) []float32 {
	t.Helper()
	if len(s) == 0 {
		return s
	}
	page := syscall.Getpagesize()
	size := ceilDiv(4*len(s), page) * page
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	for _, wall := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(wall, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	at := page
	if atEnd {
		at += size - 4*len(s)
	}
	w := unsafe.Slice((*float32)(unsafe.Pointer(&m[at])), len(s))
	copy(w, s)
	return w
}

// TestWalls puts every slice right before, then right behind, a page whose touch
// ends the process: reads outside are found as well as writes.
func TestWalls(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(1)
		defer pool.Close()
		for seed := range 60 {
			r := rand.New(rand.NewPCG(uint64(seed), 9))
			p := randomProblem(r, seed%3 == 0)
			if seed%5 == 0 { // small ones, mostly edges
				c := 1 + r.IntN(3)
				p = mustProblem(t, conv.Params{Padding: conv.Pad(r.IntN(3)), Stride: [2]int{1 + r.IntN(2), 1 + r.IntN(2)}},
					conv.Shape{1, c, 3 + r.IntN(6), 3 + r.IntN(6)}, conv.Shape{1 + r.IntN(9), c, 3, 3}, true)
			}
			d := randomTensors(r, p)
			for _, atEnd := range []bool{true, false} {
				y := walled(t, make([]float32, p.Output().Len()), atEnd)
				for i := range y {
					y[i] = sentinel
				}
				runInto(t, pool, p, y, walled(t, d.x.s, atEnd), walled(t, d.w.s, atEnd), walled(t, d.b.s, atEnd),
					walled(t, d.off.s, atEnd), walled(t, d.mask.s, atEnd))
				judge(t, p, d, y)
			}
		}
	})
}

// TestKernelWalls does the same to the kernels by themselves, whose panels a
// plan keeps in roomier buffers.
func TestKernelWalls(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		ks := current.Load().ks
		r := rand.New(rand.NewPCG(3, 9))
		for range 300 {
			mr, nv, segLen := pick(r, ks.rows...), 1+r.IntN(ks.nv), 1+r.IntN(5)
			segs := []int32{0, 2, 3}[:r.IntN(4)]
			tail := 1 + r.IntN(ks.lanes)
			cols := (nv-1)*ks.lanes + tail
			ldc := cols + r.IntN(3)
			a := walled(t, floats(4*segLen*mr), true)
			skip := r.IntN(2) * nv * ks.lanes
			b := walled(t, floats(max(0, len(segs)*(segLen*nv*ks.lanes+skip)-skip)), true)
			first := floats((mr-1)*ldc + cols)
			c, want := walled(t, first, true), append([]float32(nil), first...)
			var bias []float32
			if r.IntN(2) == 0 {
				bias = walled(t, floats(mr), true)
			}
			ks.gemm(c, ldc, a, b, bias, segs, segLen, skip, mr, nv, tail)
			for i := range mr {
				for j := range cols {
					sum := conv.Sum{}
					start := first[i*ldc+j]
					if bias != nil {
						start = bias[i]
					}
					sum.Add(float64(start))
					for q, seg := range segs {
						for l := range segLen {
							sum.Add(float64(a[(int(seg)*segLen+l)*mr+i]) * float64(b[(q*segLen+l)*nv*ks.lanes+q*skip+j]))
						}
					}
					if conv.Share(c[i*ldc+j], sum.Value, sum.Bound(conv.ProductRoundings)) > 1 {
						t.Fatalf("gemm %d×%d, %d segments of %d, tail %d: c[%d,%d] is %v, must be %v", mr, nv, len(segs), segLen, tail, i, j, c[i*ldc+j], sum.Value)
					}
					want[i*ldc+j] = c[i*ldc+j]
				}
			}
			for i := range c {
				if c[i] != want[i] {
					t.Fatalf("gemm %d×%d wrote between rows at %d", mr, nv, i)
				}
			}
		}
		for range 300 { // rows of all widths, in place and taken apart
			rows, n := 1+r.IntN(3), 1+r.IntN(40)
			src := walled(t, floats(rows*2*n), true)
			whole, split := walled(t, make([]float32, rows*2*n), true), walled(t, make([]float32, rows*2*n), true)
			ks.copyRows(whole, 2*n, src, 2*n, rows, 2*n)
			ks.splitRows(split, n, 2*n, src, 2*n, rows, n)
			for i, v := range src {
				if whole[i] != v || split[i/(2*n)*2*n+i%2*n+i%(2*n)/2] != v {
					t.Fatalf("rows of %d: element %d is in the wrong place", 2*n, i)
				}
			}
		}
	})
}
