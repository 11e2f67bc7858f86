package fast

import (
	"context"

	"vkconv/conv"
)

// GlobalPool is global average pooling or, made by [NewGlobalPoolBackward], its
// gradient: see [vkconv/cpuref.GlobalPool].
type GlobalPool struct {
	p        conv.GlobalPool
	pool     *Pool
	backward bool
}

// NewGlobalPool makes the plan of a pooling.
func NewGlobalPool(pool *Pool, p conv.GlobalPool) *GlobalPool { return &GlobalPool{p, pool, false} }

// NewGlobalPoolBackward makes the plan of its gradient, which runs with dx and dy
// in the places of y and x.
func NewGlobalPoolBackward(pool *Pool, p conv.GlobalPool) *GlobalPool {
	return &GlobalPool{p, pool, true}
}

// Run computes y (N×C×1×1) from x (N×C×H×W), both with images st apart.
func (g *GlobalPool) Run(ctx context.Context, y, x []float32, st Strides) error {
	to, from := g.p.Output(), g.p.Input()
	if g.backward {
		to, from = from, to
	}
	return runPlanes(ctx, g.pool, g, to, from, y, x, st)
}

func (g *GlobalPool) plane(y, x []float32, _ *scratch) {
	if g.backward {
		v := x[0] / float32(len(y))
		for i := range y {
			y[i] = v
		}
		return
	}
	// Eight sums, which the processor adds up side by side.
	var sums [8]float32
	rest := x
	for ; len(rest) >= 8; rest = rest[8:] {
		for i := range sums {
			sums[i] += rest[i]
		}
	}
	total := float32(0)
	for _, v := range rest {
		total += v
	}
	for _, v := range sums {
		total += v
	}
	y[0] = total / float32(len(x))
}

// Workspace returns the bytes that runs need beyond inputs and outputs: none.
func (g *GlobalPool) Workspace() int64 { return 0 }

// Describe says how the plan computes.
func (g *GlobalPool) Describe() string { return "global average pooling, a channel at a time" }

// planer is a plan whose work units are the channels of images.
type planer interface {
	plane(y, x []float32, s *scratch)
}

// planes is a run of one.
type planes struct {
	channels                       int
	sizeY, sizeX, strideY, strideX int
	plan                           planer
}

var planesRuns freeList[*planes]

func (p *planes) tile(i int, j *job, s *scratch) {
	n, c := i/p.channels, i%p.channels
	p.plan.plane(j.y[n*p.strideY+c*p.sizeY:][:p.sizeY], j.x[n*p.strideX+c*p.sizeX:][:p.sizeX], s)
}

// runPlanes runs plan on every channel of every image, of y and of x.
func runPlanes(ctx context.Context, pool *Pool, plan planer, to, from conv.Shape, y, x []float32, st Strides) error {
	gapY, err := gap("y", y, st.Y, to)
	if err != nil {
		return err
	}
	gapX, err := gap("x", x, st.X, from)
	if err != nil {
		return err
	}
	p := planesRuns.get()
	if p == nil {
		p = new(planes)
	}
	*p = planes{to[1], to[2] * to[3], from[2] * from[3], 0, 0, plan}
	p.strideY, p.strideX = gapY+to[1]*p.sizeY, gapX+from[1]*p.sizeX
	err = pool.run(ctx, p, to[0]*to[1], y, x, nil, nil)
	*p = planes{}
	planesRuns.put(p)
	return err
}
