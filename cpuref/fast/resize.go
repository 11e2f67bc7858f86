package fast

import (
	"context"

	"vkconv/conv"
)

// Resize is a bilinear resize or, made by [NewResizeBackward], its gradient: see
// [vkconv/cpuref.Resize].
type Resize struct {
	r             conv.Resize
	pool          *Pool
	rows, columns []step
	// Of the gradient: the outputs that read each row, each column.
	readRows, readColumns []conv.Span
}

// step is a conv.Between in float32, with the next pixel.
type step struct {
	at, next int32
	low, f   float32 // the weights of both
}

func steps(at []conv.Between, n int) []step {
	s := make([]step, len(at))
	for i, b := range at {
		f := float32(b.Fraction)
		s[i] = step{int32(b.At), int32(min(b.At+1, n-1)), 1 - f, f}
	}
	return s
}

// weight is that of pixel i in the output.
func (s *step) weight(i int) (w float32) {
	if int(s.at) == i {
		w = s.low
	}
	if int(s.next) == i {
		w += s.f
	}
	return w
}

// NewResize makes the plan of a resize.
func NewResize(pool *Pool, r conv.Resize) *Resize {
	return &Resize{r: r, pool: pool, rows: steps(r.Rows(), r.H), columns: steps(r.Columns(), r.W)}
}

// NewResizeBackward makes the plan of its gradient, which runs with dx and dy in
// the places of y and x. Every pixel gathers from the outputs that read it.
func NewResizeBackward(pool *Pool, r conv.Resize) *Resize {
	p := NewResize(pool, r)
	p.readRows, p.readColumns = conv.Readers(r.Rows(), r.H), conv.Readers(r.Columns(), r.W)
	return p
}

// Run computes y (N×C×Ho×Wo) from x (N×C×H×W), both with images st apart.
func (p *Resize) Run(ctx context.Context, y, x []float32, st Strides) error {
	if p.readRows != nil {
		return runPlanes(ctx, p.pool, p, p.r.Input(), p.r.Output(), y, x, st)
	}
	return runPlanes(ctx, p.pool, p, p.r.Output(), p.r.Input(), y, x, st)
}

func (p *Resize) plane(y, x []float32, s *scratch) {
	if p.readRows != nil {
		p.gather(y, x, s)
		return
	}
	w := p.r.W
	for oy := range p.rows {
		v := &p.rows[oy]
		above, below := x[int(v.at)*w:][:w], x[int(v.next)*w:][:w]
		to := y[oy*p.r.Wo:][:p.r.Wo]
		for ox := range p.columns {
			h := &p.columns[ox]
			to[ox] = v.low*(h.low*above[h.at]+h.f*above[h.next]) + v.f*(h.low*below[h.at]+h.f*below[h.next])
		}
	}
}

// gather adds up a row's rows of dy, then the columns.
func (p *Resize) gather(dx, dy []float32, s *scratch) {
	sums := grow(&s.sums, p.r.Wo)
	for iy, rows := range p.readRows {
		clear(sums)
		for oy := rows.First; oy < rows.End; oy++ {
			w := p.rows[oy].weight(iy)
			for ox, d := range dy[oy*p.r.Wo:][:p.r.Wo] {
				sums[ox] += w * d
			}
		}
		for ix, columns := range p.readColumns {
			total := float32(0)
			for ox := columns.First; ox < columns.End; ox++ {
				total += p.columns[ox].weight(ix) * sums[ox]
			}
			dx[iy*p.r.W+ix] = total
		}
	}
}

// Workspace returns the bytes that runs need beyond inputs and outputs, which
// plans of one pool share.
func (p *Resize) Workspace() int64 {
	if p.readRows == nil {
		return 0
	}
	return int64(p.pool.workers) * 4 * int64(p.r.Wo)
}

// Describe says how the plan computes.
func (p *Resize) Describe() string { return "bilinear resize, a channel at a time" }
