package fast

import (
	"fmt"

	"vkconv/conv"
)

const (
	wino4Tiles  = 72      // of a unit at most: three sub-panels of AVX2
	wino4Floats = 1 << 20 // transformed input of a unit, if so many tiles are enough to fill vectors
	wino4K      = 32      // output channels whose sums are in memory: near the core, with the panels they are made of
	wino4Room   = 6 * 6 * 8
)

// winograd4 computes 3×3 convolutions of stride 1, undilated, by F(4×4, 3×3): 4×4
// outputs are made of 6×6 inputs with 36 products instead of 144, see [conv.Winograd].
//
// A unit of work is a rectangle of tiles of an image, for some output channels.
// Lanes are its tiles, flattened. Channel by channel the rows of its tiles are
// copied with their padding, twice, so that one load takes four columns of a tile
// wherever its row ends:
//
//	a: row r of each tile, columns 0…3 │ t0 t0 t0 t0 │ t1 t1 t1 t1 │ …
//	b: columns 4, 5                    │ t0 t0 ·  ·  │ t1 t1 ·  ·  │ …
//
// and transformed to panels of [36][C][tiles]. Then each of the 36 is a matrix
// product by itself, for wino4K output channels at a time.
type winograd4 struct {
	p                  conv.Problem
	ks                 *kernels
	tw, th             int // tiles in a row, in a column
	colParts, rowParts int // rectangles in a row, in a column
	parts              int // of the output channels
	vectors            int // of tiles in the largest unit
	weights            []float32
	bias               []float32
}

// winograd4Worth reports whether 4×4 outputs a tile take less time than 2×2, and
// than direct sums: on small images vectors of such large tiles are partly empty.
func winograd4Worth(ks *kernels, p conv.Problem) bool {
	vectors := func(m int) int { return ceilDiv(ceilDiv(p.Ho, m)*ceilDiv(p.Wo, m), ks.lanes) }
	return winogradCovers(p) && p.DilationY == 1 && p.DilationX == 1 && 36*vectors(4) < 16*vectors(2)
}

func newWinograd4(ks *kernels, workers int, p conv.Problem) *winograd4 {
	w := &winograd4{p: p, ks: ks, tw: ceilDiv(p.Wo, 4), th: ceilDiv(p.Ho, 4)}
	most := min(wino4Tiles, max(3*8, wino4Floats/(36*p.C)))
	w.colParts = ceilDiv(w.tw, most)
	width := ceilDiv(w.tw, w.colParts)
	// The way to cut that is over first, a transformed input costing as much as
	// the products of inputCost output channels.
	const inputCost = 12
	least := 0
	for rowParts := max(1, ceilDiv(w.th, max(1, most/width))); rowParts <= w.th; rowParts++ {
		vectors := ceilDiv(ceilDiv(w.th, rowParts)*width, ks.lanes)
		for parts := 1; parts <= 4 && (parts == 1 || p.K/parts >= wino4K); parts *= 2 {
			rounds := ceilDiv(max(p.N, 1)*w.colParts*rowParts*parts, workers)
			cost := rounds * (max(vectors, 2)*(ceilDiv(p.K, parts)+inputCost) + inputCost)
			if least == 0 || cost < least {
				least, w.rowParts, w.parts, w.vectors = cost, rowParts, parts, vectors
			}
		}
	}
	return w
}

func (w *winograd4) tiles() int { return w.p.N * w.colParts * w.rowParts * w.parts }

// sizes are the floats that a unit needs: transformed input, copied rows and room
// for the kernels; sums and finished rows.
func (w *winograd4) sizes() (panel, rows, sums, outputs int) {
	lanes := w.vectors * w.ks.lanes
	apart := 36 * winoApart * ceilDiv(w.vectors, w.ks.nv)
	return 36*w.p.C*lanes + apart, 6 * 4 * lanes, 36*wino4K*lanes + apart, 4 * 4 * lanes
}

func (w *winograd4) bytes() int64 {
	panel, rows, sums, outputs := w.sizes()
	return 4 * int64(panel+2*rows+wino4Room+sums+outputs)
}

func (w *winograd4) describe() string {
	return fmt.Sprintf("Winograd F(4×4, 3×3), %s, %d tiles of 4×4 outputs in %d units of work an image",
		w.ks.name, w.tw*w.th, w.colParts*w.rowParts*w.parts)
}

// setWeights transforms and packs weights as [36][micro-tile of channels][C][those];
// in float64, so that each is rounded once.
func (w *winograd4) setWeights(weight, bias []float32) {
	p := &w.p
	w.weights = grow(&w.weights, 36*p.C*p.K)
	w.bias = bias
	for k := 0; k < p.K; {
		mr := w.ks.height(p.K - k)
		for i := range mr {
			for c := range p.C {
				for t, u := range conv.Winograd(4).Weight(weight[((k+i)*p.C+c)*9:][:9]) {
					w.weights[(t*p.K+k)*p.C+c*mr+i] = float32(u)
				}
			}
		}
		k += mr
	}
}

// wino4Unit is tiles [x0, x1) × [y0, y1) of image n, vectors of them in subs
// sub-panels, for output channels [k0, k1).
type wino4Unit struct {
	n, x0, x1, y0, y1 int
	k0, k1            int
	z                 zone // as the layout spreads vectors over sub-panels
}

func (w *winograd4) unit(i int) (u wino4Unit) {
	part := i % w.parts
	i /= w.parts
	x, y := i%w.colParts, i/w.colParts%w.rowParts
	u.n = i / (w.colParts * w.rowParts)
	u.x0, u.x1 = x*w.tw/w.colParts, (x+1)*w.tw/w.colParts
	u.y0, u.y1 = y*w.th/w.rowParts, (y+1)*w.th/w.rowParts
	u.k0, u.k1 = w.ks.whole(part*w.p.K/w.parts), w.ks.whole((part+1)*w.p.K/w.parts)
	if part == w.parts-1 {
		u.k1 = w.p.K
	}
	u.z.vectors = ceilDiv((u.x1-u.x0)*(u.y1-u.y0), w.ks.lanes)
	u.z.subs = ceilDiv(u.z.vectors, w.ks.nv)
	return u
}

func (w *winograd4) tile(i int, y, x []float32, s *scratch) {
	p, lanes := &w.p, w.ks.lanes
	u := w.unit(i)
	panelLen, rowsLen, sumsLen, outputs := w.sizes()
	all := growAligned(&s.panel, panelLen+2*rowsLen+wino4Room)
	panel, room := all[:panelLen], all[panelLen+2*rowsLen:]
	sums := growAligned(&s.sums, sumsLen+outputs)
	w.input(&u, panel, all[panelLen:][:2*rowsLen], room, x[u.n*p.C*p.H*p.W:][:p.C*p.H*p.W])
	step := w.ks.whole(wino4K)
	for k0 := u.k0; k0 < u.k1; k0 += step {
		k1 := min(k0+step, u.k1)
		for t := range 36 {
			for k := k0; k < k1; {
				mr := w.ks.height(p.K - k)
				a := w.weights[(t*p.K+k)*p.C:][:p.C*mr]
				for sub := range u.z.subs {
					v0, v1 := u.z.vector(sub), u.z.vector(sub+1)
					width := (v1 - v0) * lanes
					b := panel[36*(p.C*v0*lanes+sub*winoApart)+t*(p.C*width+winoApart):][:p.C*width]
					c := sums[36*((k1-k0)*v0*lanes+sub*winoApart)+t*((k1-k0)*width+winoApart)+(k-k0)*width:][:mr*width]
					w.ks.gemm(c, width, a, b, zeroBias[:mr], onlySegment, p.C, 0, mr, v1-v0, lanes)
				}
				k += mr
			}
		}
		for k := k0; k < k1; k++ {
			w.output(&u, y, sums[:sumsLen], sums[sumsLen:], room, k, k0, k1)
		}
	}
}

// input copies and transforms a unit's inputs.
func (w *winograd4) input(u *wino4Unit, panel, rows, room, image []float32) {
	p, lanes := &w.p, w.ks.lanes
	clear(rows) // padding stays, channel after channel
	pitch, width := 4*w.vectors*lanes, 4*(u.x1-u.x0)
	var copies [12]struct{ to, from, rows, n int }
	for i := range copies {
		r, shift := i%6, i/6*4
		top, left := 4*u.y0-p.Pad.Top+r, 4*u.x0-p.Pad.Left+shift
		y0, y1 := span(u.y1-u.y0, p.H, 4, top)
		x0, x1 := span(width, p.W, 1, left)
		copies[i].to, copies[i].from = i*pitch+y0*width+x0, (top+4*y0)*p.W+left+x0
		copies[i].rows, copies[i].n = y1-y0, x1-x0
	}
	a, b := rows[:6*pitch], rows[6*pitch:]
	for c := range p.C {
		plane := image[c*p.H*p.W:][:p.H*p.W]
		for i := range copies {
			if m := &copies[i]; m.rows > 0 && m.n > 0 {
				w.ks.copyRows(rows[m.to:], width, plane[m.from:], 4*p.W, m.rows, m.n)
			}
		}
		for sub := range u.z.subs {
			v0, v1 := u.z.vector(sub), u.z.vector(sub+1)
			n := (v1 - v0) * lanes
			to := panel[36*(p.C*v0*lanes+sub*winoApart)+c*n:]
			w.ks.winograd4In(to, p.C*n+winoApart, a[4*v0*lanes:], b[4*v0*lanes:], pitch, room, n)
		}
	}
}

// output transforms the sums of output channel k, one of [k0, k1), and puts the
// outputs in their places.
func (w *winograd4) output(u *wino4Unit, y, sums, rows, room []float32, k, k0, k1 int) {
	p, lanes := &w.p, w.ks.lanes
	pitch, width := 4*w.vectors*lanes, 4*(u.x1-u.x0)
	for sub := range u.z.subs {
		v0, v1 := u.z.vector(sub), u.z.vector(sub+1)
		n := (v1 - v0) * lanes
		from := sums[36*((k1-k0)*v0*lanes+sub*winoApart)+(k-k0)*n:]
		w.ks.winograd4Out(rows[4*v0*lanes:], pitch, from, (k1-k0)*n+winoApart, room, n, w.bias[k])
	}
	w.ks.activate(p.Activation, rows[:4*pitch])
	out := y[(u.n*p.K+k)*p.Ho*p.Wo:][:p.Ho*p.Wo]
	n := min(width, p.Wo-4*u.x0)
	for i := range 4 {
		if _, high := span(u.y1-u.y0, p.Ho, 4, 4*u.y0+i); high > 0 {
			w.ks.copyRows(out[(4*u.y0+i)*p.Wo+4*u.x0:], 4*p.Wo, rows[i*pitch:], width, high, n)
		}
	}
}

// winograd4InGo is kernels.winograd4In.
func winograd4InGo(dst []float32, stride int, a, b []float32, pitch int, _ []float32, n int) {
	axis := func(d [6]float32) [6]float32 {
		u, v, s, w := d[4]-4*d[2], d[3]-4*d[1], d[4]-d[2], 2*(d[3]-d[1])
		return [6]float32{4*d[0] + (d[4] - 5*d[2]), u + v, u - v, s + w, s - w, 4*d[1] + (d[5] - 5*d[3])}
	}
	for i := range n {
		var rows [6][6]float32
		for r := range rows {
			d, e := (*[4]float32)(a[r*pitch+4*i:]), (*[2]float32)(b[r*pitch+4*i:])
			rows[r] = axis([6]float32{d[0], d[1], d[2], d[3], e[0], e[1]})
		}
		for c := range 6 {
			for r, v := range axis([6]float32{rows[0][c], rows[1][c], rows[2][c], rows[3][c], rows[4][c], rows[5][c]}) {
				dst[(6*r+c)*stride+i] = v
			}
		}
	}
}

// winograd4OutGo is kernels.winograd4Out.
func winograd4OutGo(rows []float32, pitch int, m []float32, stride int, _ []float32, n int, bias float32) {
	axis := func(q [6]float32) [4]float32 {
		a, b, c, d := q[1]+q[2], q[1]-q[2], q[3]+q[4], q[3]-q[4]
		return [4]float32{q[0] + a + c, b + 2*d, a + 4*c, b + q[5] + 8*d}
	}
	for i := range n {
		var half [4][6]float32
		for c := range 6 {
			var q [6]float32
			for r := range q {
				q[r] = m[(6*r+c)*stride+i]
			}
			for r, v := range axis(q) {
				half[r][c] = v
			}
		}
		for r := range half {
			for j, v := range axis(half[r]) {
				rows[r*pitch+4*i+j] = v + bias
			}
		}
	}
}
