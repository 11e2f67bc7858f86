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

// SampledTerms is how many terms the oracle adds up for a layer in a second or
// so on two cores: a good [Bench.Terms] for sets with large layers.
const SampledTerms = 4e8

// Bench runs cases. GPU or CPU is nil where that is not to be measured.
type Bench struct {
	GPU, CPU *vkconv.Engine
	Seed     uint64   // of the random data
	Offsets  *Offsets // of deformable layers; nil means DefaultOffsets
	// Terms is the most terms that the oracle adds up for a layer: of a larger one
	// it takes a part of the elements, spread evenly. 0 means no limit.
	Terms float64

	Budget time.Duration // for the repetitions of one case on one engine; 0 means DefaultBudget
	Warmup time.Duration // for runs before, which do not count; 0 means one run
	// Spread ends the repetitions early when half the distance between the
	// quartiles of the device's times is at most this share of the median, after
	// at least ten; 0 uses the whole budget.
	Spread float64
	// Most is the most repetitions; 0 means 200.
	Most int
	// Copies measures uploading the operands and downloading the results, too.
	Copies bool
}

// Measured is what one engine did with a case.
type Measured struct {
	Engine, Driver   string
	Device, Wall     Stats
	Devices, Walls   []time.Duration // of every repetition that counts
	Plan             time.Duration   // choosing, packing and uploading weights, building pipelines, of all layers
	Upload, Download Stats           // of all operands but weights, and of all results; N is 0 where they were not measured
	UploadBytes      int64
	DownloadBytes    int64
	Worst            float64 // largest error of any layer as a share of its bound
	Every            int     // one in this many elements, or units of gradients, was compared
	Describe         string  // the algorithm, of the first layer
}

// Result is what came out of a case.
type Result struct {
	Case    Case
	Shape   string    // as [ShapeOf] has it
	Cost    conv.Cost // of all layers together
	Outside float64   // share of the samples of a deformable layer that miss the image
	GPU     *Measured // nil where it was not measured
	CPU     *Measured
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
	if b.Offsets != nil {
		if err := b.Offsets.Validate(); err != nil {
			return Result{}, err
		}
	}
	prepare, res, err := b.draw(ctx, c)
	if err != nil {
		return Result{}, err
	}
	if b.GPU != nil {
		if res.GPU, err = b.measure(ctx, b.GPU, c, prepare); err != nil {
			return res, err
		}
	}
	if b.CPU != nil {
		if res.CPU, err = b.measure(ctx, b.CPU, c, prepare); err != nil {
			return res, err
		}
	}
	return res, nil
}

// preparer makes a case's subject on an engine. It is to be closed even where
// there is an error.
type preparer func(e *vkconv.Engine) (subject, error)

// draw makes a case's data and asks the oracle.
func (b *Bench) draw(ctx context.Context, c Case) (preparer, Result, error) {
	res := Result{Case: c}
	d, err := c.dcn()
	if err != nil {
		return nil, res, err
	}
	if d != nil {
		in, out := d.Input(), d.Output()
		res.Shape = ShapeOf([]conv.Problem{{N: in[0], C: in[1], H: in[2], W: in[3], K: out[1], Ho: out[2], Wo: out[3]}})
		res.Cost = dcnCost(*d, c.Backward)
		chain := makeDCN(*d, c.Backward, b.Seed, b.Offsets)
		return func(e *vkconv.Engine) (subject, error) { return newDCNRun(e, c, chain) }, res, ctx.Err()
	}
	problems, err := c.Problems()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, res, err
	}
	chain := makeData(problems, c.Backward, b.Seed, b.Offsets, b.Terms)
	res.Shape, res.Cost = ShapeOf(problems), c.cost(problems)
	if problems[0].Deformable() {
		res.Outside = outside(problems[0], chain[0].offset)
	}
	return func(e *vkconv.Engine) (subject, error) {
		if c.Backward {
			return newGrads(e, c, chain[0])
		}
		return newNet(e, c, chain)
	}, res, nil
}

// subject is what is measured on one engine.
type subject interface {
	// verify holds every result against the oracle and returns the largest error
	// as a share of its bound.
	verify(ctx context.Context) (worst float64, err error)
	every() int
	// run queues the work.
	run(ctx context.Context) error
	// upload copies all operands but weights to the device again, output what the
	// last run left to the host.
	upload() (bytes int64, err error)
	output(ctx context.Context) ([]float32, error)
	describe() string
	planned() time.Duration
	close()
}

// measure runs a case on one engine.
func (b *Bench) measure(ctx context.Context, e *vkconv.Engine, c Case, prepare preparer) (*Measured, error) {
	s, err := prepare(e)
	defer s.close()
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Name, e.Name(), err)
	}
	m := &Measured{Engine: e.Name(), Driver: e.Driver(), Describe: s.describe(), Plan: s.planned(), Every: s.every()}
	m.Worst, err = s.verify(ctx)
	if err == nil {
		err = b.time(ctx, e, s, m)
	}
	if err == nil && b.Copies {
		err = b.copies(ctx, e, s, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Name, e.Name(), err)
	}
	return m, nil
}

// Repetitions of a case after its verification.
const (
	fewest = 3
	enough = 10 // before a small spread may end them
	most   = 200
)

// time repeats the work until the spread is small or the budget is used up, and
// then looks whether the last repetition gave the same bits as the first run.
// Runs that are not counted warm up before, unless so few runs fill the budget
// that the verification has warmed up enough.
func (b *Bench) time(ctx context.Context, e *vkconv.Engine, s subject, m *Measured) error {
	budget, limit := b.Budget, b.Most
	if budget == 0 {
		budget = DefaultBudget
	}
	if limit == 0 {
		limit = most
	}
	first, err := s.output(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	warm := false
	for i := 0; i < fewest || i < limit && time.Since(begin) < budget; i++ {
		t, err := e.Time(ctx, func() error { return s.run(ctx) })
		if err != nil {
			return err
		}
		if !warm {
			if warm = time.Since(begin) >= b.Warmup; b.Warmup > 0 || t.Wall*fewest < budget {
				i = -1
				if warm {
					begin = time.Now()
				}
				continue
			}
		}
		m.Devices, m.Walls = append(m.Devices, t.Device), append(m.Walls, t.Wall)
		if b.Spread > 0 && len(m.Devices) >= enough && NewStats(m.Devices).Spread() <= b.Spread {
			break
		}
	}
	m.Device, m.Wall = NewStats(m.Devices), NewStats(m.Walls)
	last, err := s.output(ctx)
	if err != nil {
		return err
	}
	for i := range first {
		if math.Float32bits(first[i]) != math.Float32bits(last[i]) {
			return fmt.Errorf("%w: element %d is %g after %d runs, was %g after the first", ErrMismatch, i, last[i], len(m.Devices), first[i])
		}
	}
	return nil
}

// copies times the copies between host and device, a few times each.
func (b *Bench) copies(ctx context.Context, e *vkconv.Engine, s subject, m *Measured) error {
	const times = 5
	var up, down []time.Duration
	for range times {
		begin := time.Now()
		n, err := s.upload()
		if err == nil {
			err = e.Wait(ctx)
		}
		if err != nil {
			return err
		}
		up = append(up, time.Since(begin))
		m.UploadBytes = n
		begin = time.Now()
		y, err := s.output(ctx)
		if err != nil {
			return err
		}
		down = append(down, time.Since(begin))
		m.DownloadBytes = 4 * int64(len(y))
	}
	m.Upload, m.Download = NewStats(up), NewStats(down)
	return nil
}
