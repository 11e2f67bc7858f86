package fast

import (
	"fmt"
	"math"
	"sync"

	"vkconv/conv"
)

const (
	// Rows of a packed panel: a tile's sub-panels stay in the second-level cache, and
	// calls are long. On Zen 3 with AVX2, 576 rows were 5 % faster than 384, 768 slower.
	blockRows   = 384
	blockFloats = 13824 // rows × pixels of a sub-panel; blockRows where that is more
	blockTaps   = 64    // taps planned at a time, which bounds the plans of large kernels
	tileSubs    = 4     // sub-panels of a tile: how often a loaded weight panel is used
	mostSubs    = 8     // the same of any plan
)

// layout is what ordinary and deformable convolution share: how the problem is
// cut into tiles and blocks, and the weights packed accordingly.
type layout struct {
	p      conv.Problem
	ks     *kernels
	pool   *Pool
	kg, cg int // output and input channels of a weight group
	cog    int // input channels of an offset group; C where there is none
	taps   int
	rows   int // of a panel's block at most

	zones  []zone
	spans  int // tiles of one image
	chunks int // parts of the output channels that make tiles of their own
	chunkK int // output channels of a part, where there is one group
	chunkG int // groups of a part, where there are several
	cols   int // columns of the largest tile, whole vectors
	subs   int // sub-panels of a full tile

	mu      sync.RWMutex // weights are replaced only between runs
	plain   bool         // weights are kept as they come
	collect bool         // outputs are collected in scratch in any case
	weights []float32    // packed, see panel
	bias    []float32    // K, zeros without a bias
}

// zone is a rectangle of outputs that is tiled by itself, in which the pixels are
// counted row by row.
type zone struct {
	x0, y0, width, height int
	first                 int // its first tile
	tiles                 int
	vectors, subs         int // vectors of pixels, sub-panels that they are spread over
}

func (z *zone) pixels() int { return z.width * z.height }

// newLayout cuts the problem into tiles; perSub is how many output channels make
// packing a panel once more worth while.
func newLayout(pool *Pool, p conv.Problem, zones func(conv.Problem, int) []zone, perSub int) (*layout, error) {
	ks, err := choose()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, fmt.Errorf("fast: the pool is nil, a plan needs one: %w", conv.ErrParams)
	}
	if p.H > math.MaxInt32/p.W || p.Ho > math.MaxInt32/p.Wo {
		return nil, fmt.Errorf("fast: a plane of %d×%d pixels in or %d×%d out is too large, it may have at most 2^31-1 pixels: %w",
			p.H, p.W, p.Ho, p.Wo, conv.ErrUnsupported)
	}
	l := &layout{p: p, ks: ks, pool: pool, zones: zones(p, ks.lanes),
		kg: p.K / p.Groups, cg: p.C / p.Groups, cog: p.C / max(p.OffsetGroups, 1), taps: p.Taps(),
		rows: max(blockRows, blockFloats/(ks.nv*ks.lanes))}
	for l.subs = tileSubs; ; l.subs /= 2 {
		l.cut()
		if l.subs == 1 || p.N*l.spans >= 8 {
			break
		}
	}
	// Too few tiles for the workers: cut the channels as well. This packs each
	// panel again and changes no bit of the result.
	want := 6 * pool.workers
	l.chunks, l.chunkK, l.chunkG = 1, l.kg, p.Groups
	if n := p.N * l.spans; n > 0 && n < want {
		parts := (want + n - 1) / n
		if p.Groups > 1 {
			l.chunkG = max(1, p.Groups/parts)
			l.chunks = ceilDiv(p.Groups, l.chunkG)
		} else {
			tall := ks.rows[0]
			l.chunkK = max(ceilDiv(ceilDiv(p.K, parts), tall)*tall, perSub)
			l.chunks = ceilDiv(p.K, l.chunkK)
			l.chunkK = ceilDiv(ceilDiv(p.K, l.chunks), tall) * tall
			l.chunks = ceilDiv(p.K, l.chunkK)
		}
	}
	return l, nil
}

// cut divides every zone into tiles of at most subs sub-panels, evenly.
func (l *layout) cut() {
	l.spans, l.cols = 0, 0
	for i := range l.zones {
		z := &l.zones[i]
		z.first = l.spans
		z.vectors = ceilDiv(z.pixels(), l.ks.lanes)
		z.subs = ceilDiv(z.vectors, l.ks.nv)
		z.tiles = ceilDiv(z.subs, l.subs)
		l.spans += z.tiles
		l.cols = max(l.cols, min(z.vectors, ceilDiv(z.subs, z.tiles)*l.ks.nv)*l.ks.lanes)
	}
}

// tiles is the number of work units of a run.
func (l *layout) tiles() int { return l.p.N * l.spans * l.chunks }

// unit is one work unit: pixels [q0, q1) of a zone, for some output channels.
type unit struct {
	n              int
	z              *zone
	q0, q1         int
	vectors        int
	subs           int               // sub-panels
	starts         [mostSubs + 1]int // vector at which each begins, and the last one ends
	g0, g1, k0, k1 int               // groups, and output channels within each
}

func (l *layout) unit(i int) (u unit) {
	// Chunks of one tile follow each other: their input is in the cache.
	chunk := i % l.chunks
	i /= l.chunks
	u.n = i / l.spans
	i %= l.spans
	for j := range l.zones {
		if u.z = &l.zones[j]; i < u.z.first+u.z.tiles {
			break
		}
	}
	i -= u.z.first
	sub0 := i * u.z.subs / u.z.tiles
	u.subs = (i+1)*u.z.subs/u.z.tiles - sub0
	v0, v1 := u.z.vector(sub0), u.z.vector(sub0+u.subs)
	u.vectors = v1 - v0
	for j := range u.subs + 1 {
		u.starts[j] = u.z.vector(sub0+j) - v0
	}
	u.q0, u.q1 = v0*l.ks.lanes, min(v1*l.ks.lanes, u.z.pixels())
	u.g1, u.k1 = l.p.Groups, l.kg
	if l.p.Groups > 1 {
		u.g0, u.g1 = chunk*l.chunkG, min((chunk+1)*l.chunkG, l.p.Groups)
	} else {
		u.k0, u.k1 = chunk*l.chunkK, min((chunk+1)*l.chunkK, l.kg)
	}
	return u
}

// vector returns the first vector of a zone's sub-panel i; they are spread evenly.
func (z *zone) vector(i int) int { return i * z.vectors / z.subs }

// sub returns where sub-panel i of a unit begins and how many vectors it has.
func (u *unit) sub(i int) (v0, nv int) { return u.starts[i], u.starts[i+1] - u.starts[i] }

// tapChunk is the number of taps planned at a time.
func (l *layout) tapChunk() int { return min(l.taps, blockTaps) }

// step is the number of channels of a block within a run of n channels, evenly.
func (l *layout) step(n int) int {
	most := max(1, l.rows/l.tapChunk())
	return ceilDiv(n, ceilDiv(n, most))
}

// block is a part of the reduction: channels [c0, c1), counted over the whole
// input, at taps [t0, t1). They are a part of group g0, or all of groups [g0, g1).
type block struct{ g0, g1, c0, c1, t0, t1 int }

// together is how many groups of a few channels make a block.
func (l *layout) together() int {
	if l.cog%l.cg != 0 {
		return 1
	}
	return max(1, l.rows/l.tapChunk()/l.cg)
}

// blockChannels is the number of channels in the largest block.
func (l *layout) blockChannels() int {
	return max(l.step(min(l.cg, l.cog)), l.together()*l.cg)
}

// blocks calls f for the blocks of groups [g0, g1) in the order in which they are
// added up. plan is called whenever the taps or the offset group change.
func (l *layout) blocks(g0, g1 int, plan func(og, t0, t1 int), f func(b block)) {
	together := l.together()
	for og := g0 * l.cg / l.cog; og*l.cog < g1*l.cg; og++ {
		for t0 := 0; t0 < l.taps; t0 += l.tapChunk() {
			t1 := min(t0+l.tapChunk(), l.taps)
			plan(og, t0, t1)
			first, last := max(g0, og*l.cog/l.cg), min(g1, ceilDiv((og+1)*l.cog, l.cg))
			if together > 1 {
				for g := first; g < last; g += together {
					end := min(g+together, last)
					f(block{g, end, g * l.cg, end * l.cg, t0, t1})
				}
				continue
			}
			for g := first; g < last; g++ {
				lo, hi := max(g*l.cg, og*l.cog), min((g+1)*l.cg, (og+1)*l.cog)
				step := l.step(hi - lo)
				for c0 := lo; c0 < hi; c0 += step {
					f(block{g, g + 1, c0, min(c0+step, hi), t0, t1})
				}
			}
		}
	}
}

// of returns a block's part in group g.
func (l *layout) of(b block, g int) block {
	return block{g, g + 1, max(b.c0, g*l.cg), min(b.c1, (g+1)*l.cg), b.t0, b.t1}
}

// first reports whether a block of one group is the first one added to its outputs.
func (l *layout) first(b block) bool { return b.c0 == b.g0*l.cg && b.t0 == 0 }

// panel returns the packed weights of a block of one group for output channels
// from k (within the group) on, mr of them: [tap][channel][mr].
func (l *layout) panel(b block, k, mr int) []float32 {
	rows := (b.c1 - b.c0) * (b.t1 - b.t0)
	at := b.g0*l.kg*l.cg*l.taps + l.kg*((b.c0-b.g0*l.cg)*l.taps+(b.c1-b.c0)*b.t0) + k*rows
	return l.weights[at:][:mr*rows]
}

// setWeights packs weights and biases.
func (l *layout) setWeights(weight, bias []float32) error {
	if err := length("weight", weight, l.p.Weight().Len(), l.p.Weight()); err != nil {
		return err
	}
	if l.p.Bias && len(bias) != l.p.K {
		return fmt.Errorf("fast: bias has %d elements, it must have %d, one an output channel: %w", len(bias), l.p.K, conv.ErrShape)
	}
	if l.weights == nil {
		l.weights = make([]float32, len(weight))
	}
	if l.bias == nil {
		l.bias = make([]float32, l.p.K)
	}
	if l.p.Bias {
		copy(l.bias, bias)
	}
	if l.plain {
		copy(l.weights, weight)
		return nil
	}
	l.blocks(0, l.p.Groups, func(og, t0, t1 int) {}, func(b block) {
		for g := b.g0; g < b.g1; g++ {
			l.packWeights(l.of(b, g), weight)
		}
	})
	return nil
}

// packWeights packs the weights of a block of one group.
func (l *layout) packWeights(b block, weight []float32) {
	for k := 0; k < l.kg; {
		mr := l.ks.height(l.kg - k)
		dst := l.panel(b, k, mr)
		for t := b.t0; t < b.t1; t++ {
			for c := b.c0; c < b.c1; c++ {
				for i := range mr {
					dst[i] = weight[((b.g0*l.kg+k+i)*l.cg+c-b.g0*l.cg)*l.taps+t]
				}
				dst = dst[mr:]
			}
		}
		k += mr
	}
}

// length says in a sentence that a slice does not have its tensor's length.
func length(name string, s []float32, want int, shape conv.Shape) error {
	if len(s) == want {
		return nil
	}
	return fmt.Errorf("fast: %s has %d elements, its shape %v has %d: %w", name, len(s), shape, want, conv.ErrShape)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
