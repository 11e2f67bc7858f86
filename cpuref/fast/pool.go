package fast

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrClosed is returned by runs on a pool that was closed.
var ErrClosed = errors.New("fast: the worker pool is closed")

// Pool is a fixed set of worker goroutines, each with buffers of its own that
// all plans share. It belongs to an engine; plans of one pool may run
// concurrently and then take turns on the workers.
type Pool struct {
	workers int
	mu      sync.Mutex
	wake    sync.Cond
	jobs    []*job // with tiles left to hand out, oldest first
	free    []*job // finished, kept so that a run allocates nothing
	closed  bool
	scratch []*scratch // one a worker
	exited  sync.WaitGroup
}

// tiler is what a plan is to the pool: independent units of work.
type tiler interface {
	tile(i int, j *job, s *scratch)
}

// job is one run of one plan.
type job struct {
	ctx          context.Context
	plan         tiler
	y, x         []float32
	offset, mask []float32
	gradArgs
	tiles   int64
	next    atomic.Int64
	stopped atomic.Bool // the context ended before the last tile began
	active  int         // workers inside, under Pool.mu
	listed  bool        // in Pool.jobs, under Pool.mu
	done    chan struct{}
}

// NewPool starts workers goroutines; 0 means runtime.GOMAXPROCS(0).
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{workers: workers}
	p.wake.L = &p.mu
	for range workers {
		s := new(scratch)
		p.scratch = append(p.scratch, s)
		p.exited.Go(func() { p.work(s) })
	}
	return p
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return p.workers }

// Close waits for runs in progress and ends the workers. Later runs return [ErrClosed].
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake.Broadcast()
	p.exited.Wait()
}

// run hands tiles 0 … tiles−1 of a plan to the workers and waits.
func (p *Pool) run(ctx context.Context, plan tiler, tiles int, y, x, offset, mask []float32) error {
	return p.runGrad(ctx, plan, tiles, gradArgs{}, y, x, offset, mask)
}

// runGrad is run for backward plans, which have more tensors.
func (p *Pool) runGrad(ctx context.Context, plan tiler, tiles int, g gradArgs, y, x, offset, mask []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if tiles == 0 {
		p.mu.Unlock()
		return nil
	}
	var j *job
	if n := len(p.free); n > 0 {
		j, p.free = p.free[n-1], p.free[:n-1]
	} else {
		j = &job{done: make(chan struct{}, 1)}
	}
	j.ctx, j.plan, j.tiles = ctx, plan, int64(tiles)
	j.y, j.x, j.offset, j.mask, j.gradArgs = y, x, offset, mask, g
	j.next.Store(0)
	j.stopped.Store(false)
	j.listed = true
	p.jobs = append(p.jobs, j)
	p.mu.Unlock()
	if tiles == 1 {
		p.wake.Signal()
	} else {
		p.wake.Broadcast()
	}

	<-j.done
	stopped := j.stopped.Load()
	j.ctx, j.plan, j.y, j.x, j.offset, j.mask, j.gradArgs = nil, nil, nil, nil, nil, nil, gradArgs{}
	p.mu.Lock()
	p.free = append(p.free, j)
	p.mu.Unlock()
	if stopped {
		return ctx.Err()
	}
	return nil
}

// work is a worker's life: take the oldest job, run its tiles until none is left.
func (p *Pool) work(s *scratch) {
	p.mu.Lock()
	for {
		for len(p.jobs) == 0 {
			if p.closed {
				p.mu.Unlock()
				return
			}
			p.wake.Wait()
		}
		j := p.jobs[0]
		j.active++
		p.mu.Unlock()
		for i := j.next.Add(1) - 1; i < j.tiles; i = j.next.Add(1) - 1 {
			if j.ctx.Err() != nil {
				j.stopped.Store(true)
				break
			}
			j.plan.tile(int(i), j, s)
		}
		p.mu.Lock()
		if j.listed { // nothing left in it: nobody else shall enter
			j.listed = false
			for i, other := range p.jobs {
				if other == j {
					p.jobs = append(p.jobs[:i], p.jobs[i+1:]...)
					break
				}
			}
		}
		if j.active--; j.active == 0 {
			j.done <- struct{}{}
		}
	}
}
