package fast

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is returned by runs on a pool that was closed.
var ErrClosed = errors.New("fast: the worker pool is closed")

// Pool is a fixed set of workers with buffers of their own that all plans share.
// It belongs to an engine; plans of one pool may run concurrently and then take
// turns on the workers.
//
// One worker's seat has no goroutine: whoever calls a run takes it, so that work
// begins without waiting for anybody to wake up. The others are goroutines, which
// look out for the next job a little while after one before they sleep:
//
//	caller    │ post ▪▪▪▪▪▪▪▪▪▪▪▪▪▪ wait │ post ▪▪▪▪▪▪
//	goroutine │ sleep … wake ▪▪▪▪▪▪▪▪▪▪▪▪ look ▪▪▪▪▪▪▪
//
// A caller who finds the seat taken waits for the seat or for its job's end. A tile
// that panics, on whichever worker, does so in its caller, when the others have left.
type Pool struct {
	workers int
	mu      sync.Mutex
	wake    sync.Cond
	posted  atomic.Int64 // jobs ever, for workers that look out
	seated  bool         // a caller works
	patient bool         // there is a core for each worker to look out on
	jobs    []*job       // with tiles left to hand out, oldest first
	free    []*job       // finished, kept so that a run allocates nothing
	closed  bool
	scratch []*scratch // one a worker, the seat's first
	exited  sync.WaitGroup
	running sync.WaitGroup // callers, for Close
}

// lookout is how long a worker looks out for more work before it sleeps, and a
// caller for its last tiles. The length itself is a guess: no other one was measured.
const lookout = 40 * time.Microsecond

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
	stopped atomic.Bool   // the context ended before the last tile began
	broken  error         // a tile panicked, under Pool.mu; its caller shall
	active  int           // workers inside, under Pool.mu
	listed  bool          // in Pool.jobs, under Pool.mu
	over    atomic.Bool   // neither listed nor active
	news    chan struct{} // over, or the seat is free: the caller shall look
}

// NewPool makes workers, of which the caller of a run is one; 0 means runtime.GOMAXPROCS(0).
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{workers: workers, patient: workers <= runtime.GOMAXPROCS(0)}
	p.wake.L = &p.mu
	for range workers {
		s := new(scratch)
		p.scratch = append(p.scratch, s)
		if len(p.scratch) > 1 {
			p.exited.Go(func() { p.work(s) })
		}
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
	p.running.Wait()
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
	p.running.Add(1)
	defer p.running.Done()
	var j *job
	if n := len(p.free); n > 0 {
		j, p.free = p.free[n-1], p.free[:n-1]
	} else {
		j = &job{news: make(chan struct{}, 1)}
	}
	j.ctx, j.plan, j.tiles = ctx, plan, int64(tiles)
	j.y, j.x, j.offset, j.mask, j.gradArgs = y, x, offset, mask, g
	j.next.Store(0)
	j.stopped.Store(false)
	j.over.Store(false)
	j.listed = true
	p.jobs = append(p.jobs, j)
	p.posted.Add(1)
	if p.workers > 1 && (tiles > 1 || p.seated) {
		p.wake.Broadcast()
	}
	for !j.over.Load() {
		if j.listed && !p.seated {
			p.seated = true
			p.serve(j, p.scratch[0])
			p.seated = false
			if len(p.jobs) > 0 {
				p.jobs[0].tell()
			}
			continue
		}
		soon := p.patient && !j.listed
		p.mu.Unlock()
		if !soon || !j.soon() {
			<-j.news
		}
		p.mu.Lock()
	}
	stopped, broken := j.stopped.Load(), j.broken
	select { // what was told and not waited for
	case <-j.news:
	default:
	}
	j.ctx, j.plan, j.y, j.x, j.offset, j.mask, j.gradArgs, j.broken = nil, nil, nil, nil, nil, nil, gradArgs{}, nil
	p.free = append(p.free, j)
	p.mu.Unlock()
	if broken != nil {
		panic(broken)
	}
	if stopped {
		return ctx.Err()
	}
	return nil
}

// soon looks out for the job's end and reports whether it came.
func (j *job) soon() bool {
	for start := time.Now(); time.Since(start) < lookout; {
		for range 64 {
			if j.over.Load() {
				return true
			}
		}
	}
	return false
}

// tell makes the job's caller look.
func (j *job) tell() {
	select {
	case j.news <- struct{}{}:
	default: // it was told and has not looked yet
	}
}

// work is a goroutine's life: serve the oldest job until it has none left.
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
		p.serve(p.jobs[0], s)
		if len(p.jobs) > 0 || !p.patient {
			continue
		}
		seen := p.posted.Load()
		p.mu.Unlock()
		for start := time.Now(); p.posted.Load() == seen && time.Since(start) < lookout; {
		}
		p.mu.Lock()
	}
}

// serve runs a listed job's tiles until none is left. The pool is locked, but not meanwhile.
func (p *Pool) serve(j *job, s *scratch) {
	j.active++
	p.mu.Unlock()
	defer func() {
		broken := recover()
		p.mu.Lock()
		if broken != nil {
			j.next.Store(j.tiles)
			j.broken = fmt.Errorf("fast: a tile broke: %v\n%s", broken, debug.Stack())
		}
		if j.listed { // nothing left in it: nobody else shall enter
			j.listed = false
			p.jobs = slices.DeleteFunc(p.jobs, func(other *job) bool { return other == j })
		}
		if j.active--; j.active == 0 {
			j.over.Store(true)
			j.tell()
		}
	}()
	for i := j.next.Add(1) - 1; i < j.tiles; i = j.next.Add(1) - 1 {
		if j.ctx.Err() != nil {
			j.stopped.Store(true)
			break
		}
		j.plan.tile(int(i), j, s)
	}
}
