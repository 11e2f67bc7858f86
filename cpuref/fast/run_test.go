package fast

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vkconv/conv"
	"vkconv/cpuref"
)

// TestConcurrent runs one plan from many goroutines at once.
func TestConcurrent(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	r := rand.New(rand.NewPCG(1, 1))
	p := mustProblem(t, conv.Params{Padding: conv.Pad(1)}, conv.Shape{2, 8, 20, 20}, conv.Shape{16, 8, 3, 3}, true)
	d := randomTensors(r, p)
	plan, err := NewConv2D(pool, p, d.w.s, d.b.s)
	if err != nil {
		t.Fatal(err)
	}
	want := compute(t, pool, p, d)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			y := make([]float32, len(want))
			for range 20 {
				clear(y)
				if err := plan.Run(context.Background(), y, d.x.s); err != nil {
					t.Error(err)
				}
				if !slices.Equal(y, want) {
					t.Error("a concurrent run gave another result")
				}
			}
		})
	}
	wg.Wait()
}

func TestCancel(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	p := mustProblem(t, conv.Params{Padding: conv.Pad(1)}, conv.Shape{4, 64, 64, 64}, conv.Shape{64, 64, 3, 3}, false)
	plan, err := NewConv2D(pool, p, make([]float32, p.Weight().Len()), nil)
	if err != nil {
		t.Fatal(err)
	}
	y, x := make([]float32, p.Output().Len()), make([]float32, p.Input().Len())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := plan.Run(ctx, y, x); !errors.Is(err, context.Canceled) {
		t.Error("a run under a cancelled context returned", err)
	}
	// One that ends in between: its last tile is never reached.
	ctx = &endsAfter{Context: context.Background(), checks: 4}
	y[len(y)-1] = 7
	if err := plan.Run(ctx, y, x); !errors.Is(err, context.Canceled) {
		t.Error("a run cancelled half way returned", err)
	}
	if y[len(y)-1] != 7 {
		t.Error("a cancelled run went on to its last tile")
	}
	if err := plan.Run(context.Background(), y, x); err != nil || y[len(y)-1] != 0 {
		t.Error("the pool is of no use after a cancelled run:", err)
	}
}

// endsAfter is a context that is cancelled at a given look at it.
type endsAfter struct {
	context.Context
	mu     sync.Mutex
	checks int
}

func (c *endsAfter) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.checks--; c.checks < 0 {
		return context.Canceled
	}
	return nil
}

func TestAllocations(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		pool := NewPool(1)
		defer pool.Close()
		r := rand.New(rand.NewPCG(2, 2))
		for seed := range 12 {
			p := randomProblem(r, seed%2 == 1)
			d := randomTensors(r, p)
			y := make([]float32, p.Output().Len())
			ctx := context.Background()
			var run func() error
			if p.Deformable() {
				plan, err := NewDeformConv2D(pool, p, d.w.s, d.b.s)
				if err != nil {
					t.Fatal(err)
				}
				run = func() error { return plan.Run(ctx, y, d.x.s, d.off.s, d.mask.s) }
			} else {
				plan, err := NewConv2D(pool, p, d.w.s, d.b.s)
				if err != nil {
					t.Fatal(err)
				}
				run = func() error { return plan.Run(ctx, y, d.x.s) }
			}
			if n := testing.AllocsPerRun(5, func() {
				if err := run(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%+v: a run allocates %v times", p, n)
			}
		}
	})
}

// TestWorkspace: what a worker's buffers grow to is what the plan told.
func TestWorkspace(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		for seed := range 40 {
			r := rand.New(rand.NewPCG(uint64(seed), 8))
			p := randomProblem(r, seed%2 == 1)
			d := randomTensors(r, p)
			pool := NewPool(1)
			var told int64
			var s scratch
			j := &job{y: make([]float32, p.Output().Len()), x: d.x.s, offset: d.off.s, mask: d.mask.s}
			var plan tiler
			var tiles int
			if p.Deformable() {
				c, err := NewDeformConv2D(pool, p, d.w.s, d.b.s)
				if err != nil {
					t.Fatal(err)
				}
				plan, tiles, told = c, c.tiles(), c.Workspace()
			} else {
				c, err := NewConv2D(pool, p, d.w.s, d.b.s)
				if err != nil {
					t.Fatal(err)
				}
				plan, tiles, told = c, c.tiles(), c.Workspace()
			}
			for i := range tiles {
				plan.tile(i, j, &s)
			}
			if got := s.bytes(); got > told || told > 1<<23 {
				t.Errorf("%+v: a worker has %d bytes, Workspace told %d", p, got, told)
			}
			pool.Close()
		}
	})
}

func TestGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	pool := NewPool(3)
	if n := runtime.NumGoroutine() - before; n > 3 {
		t.Errorf("a pool of 3 has %d goroutines", n)
	}
	pool.Close()
	n := runtime.NumGoroutine() - before
	for range 100 { // a worker that has said goodbye may still be counted
		if n <= 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
		n = runtime.NumGoroutine() - before
	}
	if n > 0 {
		t.Errorf("%d goroutines outlive their pool", n)
	}
}

func TestEmptyBatch(t *testing.T) {
	pool := NewPool(1)
	defer pool.Close()
	p := mustProblem(t, conv.Params{}, conv.Shape{0, 2, 4, 4}, conv.Shape{3, 2, 3, 3}, false)
	plan, err := NewConv2D(pool, p, make([]float32, 54), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Run(context.Background(), nil, nil); err != nil {
		t.Error(err)
	}
	p.OffsetGroups = 1
	deform, err := NewDeformConv2D(pool, p, make([]float32, 54), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := deform.Run(context.Background(), nil, nil, nil, nil); err != nil {
		t.Error(err)
	}
}

// TestFarOffsets: the whole part of a position is not added up in float32,
// where 2^24 + 0.25 would lose its fraction.
func TestFarOffsets(t *testing.T) {
	if testing.Short() {
		t.Skip("an image of 2^24 columns")
	}
	eachSet(t, func(t *testing.T) {
		pool := NewPool(1)
		defer pool.Close()
		p := mustProblem(t, conv.Params{}, conv.Shape{1, 1, 1, 1<<24 + 64}, conv.Shape{1, 1, 1, 1}, false)
		p.OffsetGroups = 1
		d := tensors{x: guard(p.Input().Len()), w: guard(1), off: guard(p.Offset().Len())}
		for i := range d.x.s {
			d.x.s[i] = float32(i % 8)
		}
		d.w.s[0] = 1
		for i := range d.off.s {
			d.off.s[i] = 0
			if i >= len(d.x.s) {
				d.off.s[i] = -0.25
			}
		}
		y := compute(t, pool, p, d)
		for _, ox := range []int{1, 1<<24 + 1, 1<<24 + 62} {
			sum := cpuref.DeformConv2DAt(p, d.x.s, d.off.s, nil, d.w.s, nil, 0, 0, 0, ox)
			if conv.Share(y[ox], sum.Value, sum.Bound(conv.SampleRoundings)) > 1 {
				t.Errorf("at column %d: %v, must be %v", ox, y[ox], sum.Value)
			}
		}
	})
}

// bytes is what a worker's buffers hold.
func (s *scratch) bytes() int64 {
	return int64(4*(cap(s.panel)+cap(s.sums)+cap(s.index)+cap(s.segs)) +
		32*cap(s.vectors) + 160*cap(s.samples))
}

// brokenTiles panics on the caller's seat, or on any other worker; the rest wait for it.
type brokenTiles struct {
	seat    *scratch
	there   bool // on the seat
	once    *sync.Once
	reached chan struct{}
}

func (b brokenTiles) tile(_ int, _ *job, s *scratch) {
	if (s == b.seat) == b.there {
		b.once.Do(func() { close(b.reached) })
		panic("broken on purpose")
	}
	<-b.reached
}

// countedTiles counts its tiles.
type countedTiles struct{ n *atomic.Int64 }

func (c countedTiles) tile(int, *job, *scratch) { c.n.Add(1) }

// TestPanic breaks tiles: the caller gets the panic, wherever it was, and the pool
// has all its workers afterwards.
func TestPanic(t *testing.T) {
	run := func(p *Pool, plan tiler) (broken any) {
		defer func() { broken = recover() }()
		if err := p.run(context.Background(), plan, 8, nil, nil, nil, nil); err != nil {
			t.Error(err)
		}
		return nil
	}
	for _, workers := range []int{1, 2, 3} {
		pool := NewPool(workers)
		for i := range 20 {
			there := workers == 1 || i%2 == 0
			v := run(pool, brokenTiles{pool.scratch[0], there, new(sync.Once), make(chan struct{})})
			if err, ok := v.(error); !ok || !strings.Contains(err.Error(), "broken on purpose") {
				t.Fatalf("%d workers: the caller recovered %v", workers, v)
			}
			var n atomic.Int64
			if v := run(pool, countedTiles{&n}); v != nil || n.Load() != 8 {
				t.Fatalf("%d workers: after a panic %d of 8 tiles ran (%v)", workers, n.Load(), v)
			}
		}
		pool.Close()
	}
}
