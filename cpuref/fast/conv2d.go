package fast

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

	"vkconv/conv"
)

// depthwiseOutputs is how many outputs of one input channel are computed one by
// one; more are a matrix product.
const depthwiseOutputs = 7

// Conv2D is a plan of PyTorch's Conv2d: see [vkconv/cpuref.Conv2D] for the
// formula. Make one with [NewConv2D]; its methods may be called from any number
// of goroutines.
type Conv2D struct {
	*layout
	runs      bool // vectors are mostly made of at most two runs of pixels
	depthwise *depthwise
	winograd  transformed // nil where nothing is transformed
}

// transformed is a plan of Winograd's algorithm.
type transformed interface {
	setWeights(weight, bias []float32)
	tile(i int, y, x []float32, s *scratch)
	tiles() int
	bytes() int64
	describe() string
}

// Option changes how a plan computes.
type Option uint8

// AllowWinograd lets a plan compute 3×3 convolutions of stride 1, at any dilation
// up to a quarter of the output, by Winograd's F(4×4, 3×3), dilated and small ones
// by F(2×2, 3×3), where that saves: a quarter or half of the multiplications, but
// sums that cancel, so that results are only within [conv.Winograd.Bounds], not
// within [conv.Sum.Bound], and an infinite input makes NaN. [Conv2D.Describe] tells
// whether a plan does.
const AllowWinograd Option = 1

// NewConv2D packs weight (K×C/groups×R×S) and bias (K elements, only looked at
// with p.Bias) into a plan for the problem. Errors match [conv.ErrShape],
// [conv.ErrParams] or [conv.ErrUnsupported].
func NewConv2D(pool *Pool, p conv.Problem, weight, bias []float32, options ...Option) (*Conv2D, error) {
	if p.Deformable() {
		return nil, fmt.Errorf("fast: the problem has %d offset groups, NewConv2D computes ordinary convolutions: %w",
			p.OffsetGroups, conv.ErrParams)
	}
	l, err := newLayout(pool, p, zonesOf, 64)
	if err != nil {
		return nil, err
	}
	c := &Conv2D{layout: l}
	c.runs = p.Mode == conv.Zeros && (p.StrideX == 1 && l.ks.pack != nil || p.StrideX == 2 && l.ks.packEven != nil)
	switch {
	case slices.Contains(options, AllowWinograd) && winograd4Worth(l.ks, p):
		c.winograd = newWinograd4(l.ks, pool.workers, p)
	case slices.Contains(options, AllowWinograd) && winograd2Worth(l.ks, p):
		c.winograd = newWinograd(l.ks, pool.workers, p)
	case l.cg == 1 && l.kg <= depthwiseOutputs && p.R <= depthRows:
		c.depthwise = newDepthwise(l.ks, pool.workers, p) // nil where its tiles would be too large
	}
	l.plain = c.winograd != nil || c.depthwise != nil
	if err := c.SetWeights(weight, bias); err != nil {
		return nil, err
	}
	return c, nil
}

// Run computes y (N×K×Ho×Wo) from x (N×C×H×W). It allocates nothing once the
// workers' buffers have grown. When ctx ends it returns the context's error
// within the time of a tile, and y holds nothing of use.
func (c *Conv2D) Run(ctx context.Context, y, x []float32) error {
	if err := length("y", y, c.p.Output().Len(), c.p.Output()); err != nil {
		return err
	}
	if err := length("x", x, c.p.Input().Len(), c.p.Input()); err != nil {
		return err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.pool.run(ctx, c, c.tiles(), y, x, nil, nil)
}

// tiles is the number of work units of a run.
func (c *Conv2D) tiles() int {
	switch {
	case c.depthwise != nil:
		return c.depthwise.tiles()
	case c.winograd != nil:
		return c.winograd.tiles()
	}
	return c.layout.tiles()
}

// SetWeights packs other weights (K×C/groups×R×S) and biases (K elements; only
// looked at with a problem that has a bias) into the plan. It waits for runs in
// progress.
func (c *Conv2D) SetWeights(weight, bias []float32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.setWeights(weight, bias); err != nil {
		return err
	}
	if c.winograd != nil {
		c.winograd.setWeights(c.weights, c.bias)
		c.weights = nil
	}
	return nil
}

// Workspace returns the bytes that runs need beyond inputs, outputs and packed
// weights. It does not depend on the image's size, and plans of one pool share it.
func (c *Conv2D) Workspace() int64 {
	l := c.layout
	if c.depthwise != nil {
		return int64(l.pool.workers) * c.depthwise.bytes()
	}
	if c.winograd != nil {
		return int64(l.pool.workers) * c.winograd.bytes()
	}
	return l.workspace() + int64(l.pool.workers)*c.planBytes()
}

// planBytes is what the plans of a tile's vectors take.
func (c *Conv2D) planBytes() int64 {
	n := c.tapChunk() * c.cols / c.ks.lanes
	return int64(n * (int(unsafe.Sizeof(vectorPlan{})) + 4*c.ks.lanes))
}

// workspace is the part of it that does not depend on the kind of convolution.
func (l *layout) workspace() int64 {
	tile := 4*l.panelLen() + 4*l.sumsLen() + 4*l.tapChunk()
	return int64(l.pool.workers) * int64(tile)
}

// panelLen is the number of floats in the panels of the largest block.
func (l *layout) panelLen() int {
	return l.cols * l.tapChunk() * l.blockChannels()
}

// sumsLen is the number of outputs in the largest tile, if they are collected
// outside of y.
func (l *layout) sumsLen() int {
	if l.zones[0].width == l.p.Wo && !l.collect {
		return 0
	}
	return l.cols * l.chunkG * l.chunkK
}

// Describe says how the plan computes: algorithm, instruction set, tile.
func (c *Conv2D) Describe() string {
	if c.depthwise != nil {
		return c.depthwise.describe()
	}
	if c.winograd != nil {
		return c.winograd.describe()
	}
	return fmt.Sprintf("implicit GEMM, %s", c.layout.describe())
}

func (l *layout) describe() string {
	return fmt.Sprintf("%s, micro-tiles of %d channels × %d pixels, tiles of %d pixels, %d units of work an image",
		l.ks.name, l.ks.height(l.kg), l.ks.nv*l.ks.lanes, l.cols, l.spans*l.chunks)
}

func (c *Conv2D) tile(i int, j *job, s *scratch) {
	if c.depthwise != nil {
		c.depthwise.tile(i, j.y, j.x, c.weights, c.bias, s)
		return
	}
	if c.winograd != nil {
		c.winograd.tile(i, j.y, j.x, s)
		return
	}
	u := c.unit(i)
	panel := growAligned(&s.panel, c.panelLen())
	var live []int32
	c.blocks(u.g0, u.g1, func(_, t0, t1 int) {
		live = c.planVectors(&u, s, t0, t1)
	}, func(b block) {
		c.packBlock(&u, s, panel, j.x, b.c0, b.c1, live)
		c.multiply(&u, b, live, panel, j.y, s)
	})
	c.finish(&u, j.y, s)
}

// multiply adds a packed block to the outputs of a unit. Output channels are the
// outer loop: a panel of weights stays in the first-level cache while it meets
// every sub-panel of pixels.
func (l *layout) multiply(u *unit, b block, live []int32, panel, y []float32, s *scratch) {
	p, lanes := &l.p, l.ks.lanes
	rows := (b.c1 - b.c0) * len(live)
	// Outputs that lie together in y are collected there.
	c, ldc := y, p.Ho*p.Wo
	base := 0 // channel of c's first row
	if sums := l.sumsLen(); sums == 0 {
		c = y[u.n*p.K*p.Ho*p.Wo+u.z.y0*p.Wo+u.q0:]
	} else {
		c, ldc = growAligned(&s.sums, sums), l.cols
		base = u.g0*l.kg + u.k0
	}
	together := len(live) > 0 && int(live[len(live)-1]-live[0]) == len(live)-1
	for g := b.g0; g < b.g1; g++ {
		part := l.of(b, g)
		n := part.c1 - part.c0
		first := l.first(part)
		// Taps that follow each other are one long segment: the end of each costs a
		// branch that the processor did not expect.
		segs, segLen, from := live, n, 0
		if together && b.g1-b.g0 == 1 {
			segs, segLen, from = oneSegment, n*len(live), int(live[0])*n
		}
		for k := u.k0; k < u.k1; {
			mr := l.ks.height(u.k1 - k)
			a := l.panel(part, k, mr)[from*mr:]
			channel := g*l.kg + k
			var bias []float32
			if first {
				bias = l.bias[channel:][:mr]
			}
			for i := range u.subs {
				v0, nv := u.sub(i)
				q, width := v0*lanes, nv*lanes
				start := min(rows, 1) * (rows*q + (part.c0-b.c0)*width) // 0 in an empty panel
				tail := min(u.q1-u.q0-q, width) - width + lanes
				l.ks.gemm(c[(channel-base)*ldc+q:], ldc, a, panel[start:],
					bias, segs, segLen, (b.c1-b.c0-n)*width, mr, nv, tail)
			}
			k += mr
		}
	}
}

// finish applies the activation to a unit's outputs and puts them in their places.
func (l *layout) finish(u *unit, y []float32, s *scratch) {
	p := &l.p
	if p.Activation.Kind != conv.Identity {
		n := u.q1 - u.q0
		for g := u.g0; g < u.g1; g++ {
			for k := u.k0; k < u.k1; k++ {
				if l.sumsLen() > 0 {
					l.ks.activate(p.Activation, s.sums[((g-u.g0)*l.kg+k-u.k0)*l.cols:][:n])
				} else {
					l.ks.activate(p.Activation, y[(u.n*p.K+g*l.kg+k)*p.Ho*p.Wo+u.z.y0*p.Wo+u.q0:][:n])
				}
			}
		}
	}
	l.spread(u, y, s)
}

// spread copies outputs that were collected elsewhere to their places: the rest
// of a row, whole rows, the beginning of one.
func (l *layout) spread(u *unit, y []float32, s *scratch) {
	if l.sumsLen() == 0 {
		return
	}
	p := &l.p
	oy, ox := u.z.place(u.q0)
	n := u.q1 - u.q0
	head := min(n, (u.z.x0+u.z.width-ox)%u.z.width)
	rows := (n - head) / u.z.width
	tail := n - head - rows*u.z.width
	for g := u.g0; g < u.g1; g++ {
		for k := u.k0; k < u.k1; k++ {
			from := s.sums[((g-u.g0)*l.kg+k-u.k0)*l.cols:][:n]
			to := y[(u.n*p.K+g*l.kg+k)*p.Ho*p.Wo:][:p.Ho*p.Wo]
			at := oy*p.Wo + ox
			if head > 0 {
				copy(to[at:], from[:head])
				at += p.Wo + u.z.x0 - ox
			}
			if rows > 0 {
				l.ks.copyRows(to[at:], p.Wo, from[head:], u.z.width, rows, u.z.width)
			}
			if tail > 0 {
				copy(to[at+rows*p.Wo:], from[n-tail:])
			}
		}
	}
}
