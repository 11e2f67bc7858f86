package fast

import (
	"context"
	"math"

	"vkconv/conv"
)

// Window is a maximum or mean pooling and its gradient: see [vkconv/cpuref.Pool].
type Window struct {
	plain
	pool *Pool
	p    conv.Pool
}

// NewWindow makes the plan of a pooling.
func NewWindow(pool *Pool, p conv.Pool) *Window {
	return &Window{"plain Go, a channel at a time", pool, p}
}

// Run computes y (N×C×Ho×Wo) from x (N×C×H×W), both with images st apart.
func (w *Window) Run(ctx context.Context, y, x []float32, st Strides) error {
	return runPlanes(ctx, w.pool, w, w.p.Output(), w.p.Input(), y, x, st)
}

func (w *Window) plane(y, x []float32, _ *scratch) {
	for oy := range w.p.Ho {
		for ox := range w.p.Wo {
			if w.p.Maximum {
				y[oy*w.p.Wo+ox], _ = w.maximum(x, oy, ox)
			} else {
				y[oy*w.p.Wo+ox] = w.mean(x, oy, ox)
			}
		}
	}
}

// inside returns the taps of a window that start at first which lie in [0, n).
func inside(first, kernel, dilation, n int) (from, to int) {
	if first < 0 {
		from = (-first + dilation - 1) / dilation
	}
	if first >= n {
		return 0, 0
	}
	return from, min(kernel, (n-1-first)/dilation+1)
}

// maximum returns an output and the pixel that it is, −1 where a window steps
// over the image.
func (w *Window) maximum(x []float32, oy, ox int) (best float32, at int) {
	p := &w.p
	top, left := oy*p.StrideY-p.Pad.Top, ox*p.StrideX-p.Pad.Left
	r0, r1 := inside(top, p.R, p.DilationY, p.H)
	s0, s1 := inside(left, p.S, p.DilationX, p.W)
	best, at = float32(math.Inf(-1)), -1
	for r := r0; r < r1; r++ {
		row := (top+r*p.DilationY)*p.W + left
		for s := s0; s < s1; s++ {
			if v := x[row+s*p.DilationX]; v > best || at < 0 || v != v {
				best, at = v, row+s*p.DilationX
			}
		}
	}
	return best, at
}

func (w *Window) mean(x []float32, oy, ox int) (sum float32) {
	p := &w.p
	top, left := oy*p.StrideY-p.Pad.Top, ox*p.StrideX-p.Pad.Left
	r0, r1 := inside(top, p.R, 1, p.H)
	s0, s1 := inside(left, p.S, 1, p.W)
	for r := r0; r < r1; r++ {
		row := (top+r)*p.W + left
		for s := s0; s < s1; s++ {
			sum += x[row+s]
		}
	}
	return sum / float32(p.Divisor(oy, ox))
}

// Backward computes dx from dy, both with images st apart (Y those of dx), and of a
// maximum x, whose images follow each other; it is not read for a mean. Units own
// channels, so that nothing is added by two.
func (w *Window) Backward(ctx context.Context, dx, x, dy []float32, st Strides) error {
	p := &w.p
	if !p.Maximum {
		return runPlanes(ctx, w.pool, (*meanBackward)(w), p.Input(), p.Output(), dx, dy, st)
	}
	if err := length("dx", dx, p.Input().Len(), p.Input()); err != nil {
		return err
	}
	if err := length("x", x, p.Input().Len(), p.Input()); err != nil {
		return err
	}
	if err := length("dy", dy, p.Output().Len(), p.Output()); err != nil {
		return err
	}
	return each(ctx, w.pool, &maxBackwardRuns, p.N*p.C, maxBackward{w, dx, x, dy})
}

// meanBackward is the gradient of a mean, a channel at a time.
type meanBackward Window

func (m *meanBackward) plane(dx, dy []float32, _ *scratch) {
	p := &m.p
	clear(dx)
	for oy := range p.Ho {
		for ox := range p.Wo {
			(*Window)(m).spread(dx, dy[oy*p.Wo+ox], oy, ox)
		}
	}
}

// maxBackward is a run of the gradient of a maximum.
type maxBackward struct {
	w         *Window
	dx, x, dy []float32
}

var maxBackwardRuns freeList[*maxBackward]

func (m *maxBackward) tile(i int, _ *job, _ *scratch) {
	p := &m.w.p
	in, out := p.H*p.W, p.Ho*p.Wo
	dx, x, dy := m.dx[i*in:][:in], m.x[i*in:][:in], m.dy[i*out:][:out]
	clear(dx)
	for oy := range p.Ho {
		for ox := range p.Wo {
			if _, at := m.w.maximum(x, oy, ox); at >= 0 {
				dx[at] += dy[oy*p.Wo+ox]
			}
		}
	}
}

func (w *Window) spread(dx []float32, d float32, oy, ox int) {
	p := &w.p
	top, left := oy*p.StrideY-p.Pad.Top, ox*p.StrideX-p.Pad.Left
	r0, r1 := inside(top, p.R, 1, p.H)
	s0, s1 := inside(left, p.S, 1, p.W)
	d /= float32(p.Divisor(oy, ox))
	for r := r0; r < r1; r++ {
		row := (top+r)*p.W + left
		for s := s0; s < s1; s++ {
			dx[row+s] += d
		}
	}
}
