package fast

import (
	"fmt"
	"unsafe"

	"vkconv/conv"
)

// winograd computes 3×3 convolutions of stride 1 by F(2×2, 3×3): 2×2 outputs are
// made of 4×4 inputs with 16 products instead of 36,
//
//	y = Aᵀ [ Σ_c (G g Gᵀ) ∘ (Bᵀ d B) ] A
//
// (Winograd 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", CVPR 2016). With a dilation the same holds on each of the
// interleaved grids of pixels: outputs y and y+d take inputs y, y+d, y+2d, y+3d.
//
//	d = 2:  grid 0 has columns 0 2 4 6 …, grid 1 has 1 3 5 7 …
//	        tiles begin at 0 4 8 … of the first, then at 1 5 9 … of the second
//
// Lanes are tiles, flattened over all grids. Packing is that of a convolution
// with 16 taps and a stride of 2, and each tap is a matrix product by itself.
type winograd struct {
	p       conv.Problem
	ks      *kernels
	y0, x0  []int32 // output row of each row of tiles, output column of each column
	z       zone    // of the tiles
	parts   int     // parts of a zone that are work units, in sub-panels
	zeros   [16]float32
	weights []float32 // GgGᵀ as [8 channels or fewer][16][C][those]
	bias    []float32
}

// winoApart is the floats between the matrices of a transform: without them all
// began in the same places of the cache where C·width is a power of two.
const winoApart = 16

// winogradWorth reports whether p can be computed by Winograd's algorithm, and saves by it.
func winogradWorth(ks *kernels, p conv.Problem) bool {
	return winograd4Worth(ks, p) || winograd2Worth(ks, p)
}

// winograd2Worth is that for 2×2 outputs a tile. A few tiles alone keep no two
// workers busy, and more weights are read than for direct sums: 512 channels of 7×7
// took three times as long.
func winograd2Worth(ks *kernels, p conv.Problem) bool {
	tiles := len(origins(p.Ho, p.DilationY)) * len(origins(p.Wo, p.DilationX))
	return winogradCovers(p) && p.N*ceilDiv(tiles, ks.lanes*ks.nv) >= 4
}

func winogradCovers(p conv.Problem) bool {
	return p.R == 3 && p.S == 3 && p.StrideY == 1 && p.StrideX == 1 && p.Groups == 1 && p.Mode == conv.Zeros &&
		p.C >= 16 && p.C <= 1024 && p.K >= 16 && p.Ho >= 4*p.DilationY && p.Wo >= 4*p.DilationX
}

func newWinograd(ks *kernels, workers int, p conv.Problem) *winograd {
	w := &winograd{p: p, ks: ks, y0: origins(p.Ho, p.DilationY), x0: origins(p.Wo, p.DilationX)}
	w.z = zone{width: len(w.x0), height: len(w.y0)}
	w.z.vectors = ceilDiv(w.z.pixels(), ks.lanes)
	w.z.subs = ceilDiv(w.z.vectors, ks.nv)
	subs := max(1, min(tileSubs, 512<<10/(64*p.C*ks.nv*ks.lanes))) // within the second-level cache, if possible
	w.parts = ceilDiv(w.z.subs, subs)
	if p.N > 0 {
		w.parts = min(w.z.subs, max(w.parts, ceilDiv(6*workers, p.N)))
	}
	return w
}

// origins lists the first outputs of tiles along one axis, grid after grid.
func origins(out, dilation int) (at []int32) {
	for phase := range min(dilation, out) {
		for o := phase; o < out; o += 2 * dilation {
			at = append(at, int32(o))
		}
	}
	return at
}

func (w *winograd) tiles() int { return w.p.N * w.parts }

// sizes are the floats that a unit needs: inputs, sums, outputs.
func (w *winograd) sizes() (panel, sums, outputs int) {
	width := w.ks.nv * w.ks.lanes
	return 16 * (w.p.C*width + winoApart) * ceilDiv(w.z.subs, w.parts), 16 * (8*width + winoApart), 4 * width
}

func (w *winograd) bytes() int64 {
	panel, sums, outputs := w.sizes()
	return int64(4*(panel+sums+outputs+w.ks.lanes)) + int64(unsafe.Sizeof(vectorPlan{}))
}

func (w *winograd) describe() string {
	return fmt.Sprintf("Winograd F(2×2, 3×3), %s, %d tiles of 2×2 outputs in %d units of work an image", w.ks.name, w.z.pixels(), w.parts)
}

// setWeights transforms and packs weights; in float64, so that each is rounded once.
func (w *winograd) setWeights(weight, bias []float32) {
	p := &w.p
	w.weights = grow(&w.weights, 16*p.C*p.K)
	w.bias = bias
	for k := 0; k < p.K; {
		mr := w.ks.height(p.K - k)
		dst := w.weights[16*p.C*k:]
		for i := range mr {
			for c := range p.C {
				for t, u := range transformWeight(weight[((k+i)*p.C+c)*9:][:9]) {
					dst[(t*p.C+c)*mr+i] = float32(u)
				}
			}
		}
		k += mr
	}
}

// transformWeight returns GgGᵀ; along one axis (g0, (g0+g1+g2)/2, (g0−g1+g2)/2, g2).
func transformWeight(g []float32) (u [16]float64) {
	axis := func(a, b, c float64) [4]float64 { return [4]float64{a, (a + b + c) / 2, (a - b + c) / 2, c} }
	var half [3][4]float64
	for j := range half {
		half[j] = axis(float64(g[j]), float64(g[3+j]), float64(g[6+j]))
	}
	for a := range 4 {
		for b, v := range axis(half[0][a], half[1][a], half[2][a]) {
			u[4*a+b] = v
		}
	}
	return u
}

func (w *winograd) tile(i int, y, x []float32, s *scratch) {
	n, part := i/w.parts, i%w.parts
	first, last := part*w.z.subs/w.parts, (part+1)*w.z.subs/w.parts
	lanes := w.ks.lanes
	panelLen, sumsLen, outputs := w.sizes()
	panel := growAligned(&s.panel, panelLen)
	sums := growAligned(&s.sums, sumsLen+outputs)
	v0 := w.z.vector(first)
	for sub := first; sub < last; sub++ {
		v, nv := w.z.vector(sub), w.z.vector(sub+1)-w.z.vector(sub)
		w.input(panel[16*(w.p.C*(v-v0)*lanes+(sub-first)*winoApart):], x, n, v, nv, s)
	}
	for k := 0; k < w.p.K; {
		mr := w.ks.height(w.p.K - k)
		for sub := first; sub < last; sub++ {
			v, nv := w.z.vector(sub), w.z.vector(sub+1)-w.z.vector(sub)
			w.output(y, panel[16*(w.p.C*(v-v0)*lanes+(sub-first)*winoApart):], sums[:sumsLen], sums[sumsLen:], n, k, mr, v, nv)
		}
		k += mr
	}
}

// input packs and transforms the inputs of nv vectors of tiles from v on.
func (w *winograd) input(panel, x []float32, n, v, nv int, s *scratch) {
	p, lanes := &w.p, w.ks.lanes
	plane := p.H * p.W
	src := x[n*p.C*plane:][:p.C*plane]
	index, plan := grow(&s.index, lanes), &grow(&s.vectors, 1)[0]
	even := conv.Problem{H: p.H, W: p.W, StrideY: 2, StrideX: 2} // the tiles of a dilation of 1
	width := nv * lanes
	apart := p.C*width + winoApart
	for t := range 16 {
		dy, dx := t/4*p.DilationY-p.Pad.Top, t%4*p.DilationX-p.Pad.Left
		lo, hi := span(w.z.width, p.W, 2, dx)
		for j := range nv {
			to := panel[t*apart+j*lanes:][:p.C*width-j*lanes]
			q := (v + j) * lanes
			count := min(lanes, w.z.pixels()-q)
			ty, tx := w.z.place(q)
			if y, x := ty, tx; p.DilationY == 1 && p.DilationX == 1 && w.ks.packEven != nil &&
				plan.findRuns(&even, &w.z, &y, &x, count, dy, dx, lo, hi) {
				w.ks.packEven(to, width, src, plane, p.C, plan)
				continue
			}
			for i := range index {
				index[i] = -1
				if i >= count {
					continue
				}
				iy, ix := int(w.y0[ty])+dy, int(w.x0[tx])+dx
				if uint(iy) < uint(p.H) && uint(ix) < uint(p.W) {
					index[i] = int32(iy*p.W + ix)
				}
				if tx++; tx == w.z.width {
					ty, tx = ty+1, 0
				}
			}
			packIndexed(to, width, src, plane, p.C, index)
		}
	}
	w.ks.winogradIn(panel, apart, p.C*width)
}

var onlySegment = []int32{0}

// output computes mr output channels from k on of nv vectors of tiles from v on.
func (w *winograd) output(y, panel, sums, rows []float32, n, k, mr, v, nv int) {
	p, lanes := &w.p, w.ks.lanes
	width := nv * lanes
	apart, mApart := p.C*width+winoApart, mr*width+winoApart
	for t := range 16 {
		a := w.weights[16*p.C*k+t*p.C*mr:][:p.C*mr]
		w.ks.gemm(sums[t*mApart:][:mr*width], width, a, panel[t*apart:][:p.C*width], w.zeros[:mr], onlySegment, p.C, 0, mr, nv, lanes)
	}
	top, bottom := rows[:2*width], rows[2*width:4*width]
	for i := range mr {
		w.ks.winogradOut(top, bottom, sums[i*width:], mApart, width, w.bias[k+i])
		w.ks.activate(p.Activation, rows[:4*width])
		out := y[(n*p.K+k+i)*p.Ho*p.Wo:][:p.Ho*p.Wo]
		q := v * lanes
		for end := min(q+width, w.z.pixels()); q < end; {
			ty, tx := w.z.place(q)
			count := min(end-q, w.z.width-tx)
			at := 2 * (q - v*lanes)
			oy := int(w.y0[ty])
			w.scatter(out[oy*p.Wo:][:p.Wo], top[at:][:2*count], tx)
			if oy+p.DilationY < p.Ho {
				w.scatter(out[(oy+p.DilationY)*p.Wo:][:p.Wo], bottom[at:][:2*count], tx)
			}
			q += count
		}
	}
}

// scatter puts pairs of outputs of the tiles from tx on to their places in a row.
func (w *winograd) scatter(row, pairs []float32, tx int) {
	if w.p.DilationX == 1 {
		copy(row[2*tx:], pairs)
		return
	}
	for i, o := range w.x0[tx : tx+len(pairs)/2] {
		row[o] = pairs[2*i]
		if second := int(o) + w.p.DilationX; second < len(row) {
			row[second] = pairs[2*i+1]
		}
	}
}

func winogradInGo(v []float32, stride, n int) {
	axis := func(a, b, c, d float32) (float32, float32, float32, float32) { return a - c, b + c, c - b, b - d }
	for i := range n {
		var d [4][4]float32
		for b := range 4 {
			d[0][b], d[1][b], d[2][b], d[3][b] = axis(v[b*stride+i], v[(4+b)*stride+i], v[(8+b)*stride+i], v[(12+b)*stride+i])
		}
		for a := range 4 {
			at := 4*a*stride + i
			v[at], v[at+stride], v[at+2*stride], v[at+3*stride] = axis(d[a][0], d[a][1], d[a][2], d[a][3])
		}
	}
}

func winogradOutGo(top, bottom, m []float32, stride, n int, bias float32) {
	for i := range n {
		var s [2][4]float32
		for b := range 4 {
			m1, m2 := m[(4+b)*stride+i], m[(8+b)*stride+i]
			s[0][b], s[1][b] = m[b*stride+i]+m1+m2, m1-m2-m[(12+b)*stride+i]
		}
		top[2*i], top[2*i+1] = s[0][0]+s[0][1]+s[0][2]+bias, s[0][1]-s[0][2]-s[0][3]+bias
		bottom[2*i], bottom[2*i+1] = s[1][0]+s[1][1]+s[1][2]+bias, s[1][1]-s[1][2]-s[1][3]+bias
	}
}
