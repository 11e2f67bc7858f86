package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"vkconv"
	"vkconv/conv"
)

// ErrMismatch is matched by errors about results that are wrong.
var ErrMismatch = errors.New("wrong result")

// DefaultBudget is how long a case is repeated on one engine where nothing else
// is asked for. With it the built-in set takes less than 30 s on two cores
// under a software driver.
const DefaultBudget = 150 * time.Millisecond

// Bench runs cases. GPU is nil where there is only the CPU path.
type Bench struct {
	GPU, CPU *vkconv.Engine
	Budget   time.Duration // for the repetitions of one case on one engine; 0 means DefaultBudget
	Seed     uint64        // of the random data
}

// Measured is what one engine did with a case.
type Measured struct {
	Device, Wall Stats
	Worst        float64 // largest error of any layer as a share of its bound
	Describe     string  // the algorithm, of the first layer
}

// Result is what came out of a case.
type Result struct {
	Case     Case
	Problems []conv.Problem
	Cost     conv.Cost // of all layers together
	GPU      *Measured // nil without a GPU
	CPU      *Measured
}

// Main returns the measurement that a report is about: the GPU's, or without
// one the CPU path's.
func (r Result) Main() *Measured {
	if r.GPU != nil {
		return r.GPU
	}
	return r.CPU
}

// Speedup is how many times faster the device is than the CPU path, by the
// device's time; 0 where there is no GPU.
func (r Result) Speedup() float64 {
	if r.GPU == nil || r.CPU == nil || r.GPU.Device.Median <= 0 {
		return 0
	}
	return float64(r.CPU.Device.Median) / float64(r.GPU.Device.Median)
}

// Run verifies a case on every engine, then times it. An error that matches
// [ErrMismatch] says which element was wrong; then nothing was timed.
func (b *Bench) Run(ctx context.Context, c Case) (Result, error) {
	problems, err := c.Problems()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return Result{}, err
	}
	res := Result{Case: c, Problems: problems, Cost: c.cost(problems)}
	chain := makeData(problems, c.Backward, b.Seed)
	if b.GPU != nil {
		if res.GPU, err = b.measure(ctx, b.GPU, c, chain); err != nil {
			return res, err
		}
	}
	if b.CPU != nil {
		if res.CPU, err = b.measure(ctx, b.CPU, c, chain); err != nil {
			return res, err
		}
	}
	return res, nil
}

// subject is what is measured on one engine.
type subject interface {
	// verify holds every result against the oracle and returns the largest error
	// as a share of its bound.
	verify(ctx context.Context) (worst float64, err error)
	// run queues the work.
	run(ctx context.Context) error
	// output returns what the last run left.
	output(ctx context.Context) ([]float32, error)
	describe() string
	close()
}

// prepare makes a case's subject. It is to be closed even where there is an error.
func prepare(e *vkconv.Engine, c Case, chain []data) (subject, error) {
	if c.Backward {
		return newGrads(e, c.Layers[0], chain[0])
	}
	return newNet(e, c, chain)
}

// measure runs a case on one engine.
func (b *Bench) measure(ctx context.Context, e *vkconv.Engine, c Case, chain []data) (*Measured, error) {
	s, err := prepare(e, c, chain)
	defer s.close()
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Name, e.Name(), err)
	}
	m := &Measured{Describe: s.describe()}
	if m.Worst, err = s.verify(ctx); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Name, e.Name(), err)
	}
	if err := b.time(ctx, e, s, m); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Name, e.Name(), err)
	}
	return m, nil
}

// Repetitions of a case after its verification.
const (
	fewest = 3
	most   = 200
)

// time repeats the work until the budget is used up, and then looks whether
// the last repetition gave the same bits as the first run. A run that is not
// counted warms up before, unless so few runs fill the budget that the
// verification has warmed up enough.
func (b *Bench) time(ctx context.Context, e *vkconv.Engine, s subject, m *Measured) error {
	budget := b.Budget
	if budget == 0 {
		budget = DefaultBudget
	}
	first, err := s.output(ctx)
	if err != nil {
		return err
	}
	var device, wall []time.Duration
	begin := time.Now()
	for i := 0; i < fewest || i < most && time.Since(begin) < budget; i++ {
		t, err := e.Time(ctx, func() error { return s.run(ctx) })
		if err != nil {
			return err
		}
		if i == 0 && device == nil && t.Wall*fewest < budget {
			i, device = -1, []time.Duration{}
			continue
		}
		device, wall = append(device, t.Device), append(wall, t.Wall)
	}
	m.Device, m.Wall = NewStats(device), NewStats(wall)
	last, err := s.output(ctx)
	if err != nil {
		return err
	}
	for i := range first {
		if math.Float32bits(first[i]) != math.Float32bits(last[i]) {
			return fmt.Errorf("%w: element %d is %g after %d runs, was %g after the first", ErrMismatch, i, last[i], len(device), first[i])
		}
	}
	return nil
}
