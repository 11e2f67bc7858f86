//go:build cgo

package kernels

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// Tuner measures which candidate is the fastest on a device, once for each shape,
// and keeps the answer beside the device's pipeline cache (see
// [gpu.Options.CacheDir]): in a file for each shape, which is read by the same
// device, driver and set of shaders alone. So a plan of the same shape is the same
// from then on, also in other programs, and has the same bits. Without a folder
// it lasts as long as the Tuner. It is safe for use by several goroutines.
type Tuner struct {
	device *gpu.Device
	budget time.Duration
	log    *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte][]byte // choices, encoded
}

// NewTuner returns a tuner that measures for about budget a shape; a run that is
// under way then is waited for. log is told what cannot be measured.
func NewTuner(d *gpu.Device, budget time.Duration, log *slog.Logger) *Tuner {
	return &Tuner{device: d, budget: budget, log: log, now: time.Now, known: map[[sha256.Size]byte][]byte{}}
}

// measuring is held by the one who measures: of two at once, in whatever engines,
// each would measure the other, too.
var measuring = make(chan struct{}, 1)

// tuning is a Tuner at work on one plan.
type tuning struct {
	*Tuner
	ctx context.Context
}

// Tuned has a plan's kernels measured by t, unless they were before. Planning
// ends with ctx's error when ctx is done, between one run and the next.
func Tuned(ctx context.Context, t *Tuner) Option {
	return func(m *maker) { m.tuning = &tuning{t, ctx} }
}

// recorded is a candidate that can be recorded.
type recorded struct {
	record func(s *gpu.Stream) error
	close  func()
}

// question identifies what is computed. Bias and activation are no part of it:
// they are a moment at the end of each output.
func question(of string, p conv.Problem, winograd bool) string {
	if p.N == 0 {
		return "" // nothing to measure
	}
	p = normal(p)
	p.Bias, p.Activation = false, conv.Activation{}
	return fmt.Sprintf("%s %+v %t", of, p, winograd)
}

// choose fills a choice in: by measurement where the maker tunes and there is
// something to choose from, else by the cost model.
func (m maker) choose(c Choice, question string, open func(i int) (recorded, error)) (Choice, error) {
	c.Chosen = guess(c.Candidates)
	if c.Chosen < 0 {
		return c, fmt.Errorf("%w: no kernel for this problem", conv.ErrUnsupported)
	}
	if m.tuning == nil || question == "" {
		return c, nil
	}
	measured, err := m.tuning.choose(c, question, open)
	if errors.Is(err, gpu.ErrOutOfMemory) {
		m.tuning.log.Warn("a shape is not tuned for want of memory", "shape", question, "error", err)
		c.Note = "for want of memory to measure in"
		return c, nil
	}
	return measured, err
}

func (t *tuning) choose(c Choice, question string, open func(i int) (recorded, error)) (Choice, error) {
	key := keyOf(question, c.Candidates)
	if data := t.answer(key); data != nil && c.decode(data) == nil {
		return c, nil
	}
	select {
	case measuring <- struct{}{}:
		defer func() { <-measuring }()
	case <-t.ctx.Done():
		return c, t.ctx.Err()
	}
	if data := t.answer(key); data != nil && c.decode(data) == nil { // meanwhile
		return c, nil
	}
	file := t.device.CacheFile("tuned", key[:])
	old := file.Load()
	if old != nil {
		err := c.decode(old)
		if err == nil {
			t.remember(key, old)
			return c, nil
		}
		t.log.Warn("a kept choice is ignored and will be written anew", "file", file.Path(), "why", err)
	}
	if err := t.device.WaitIdle(); err != nil {
		return c, err
	}
	measured := Choice{Of: c.Of, By: ByMeasured, Candidates: append([]Candidate(nil), c.Candidates...)}
	s := search{budget: t.budget, now: t.now, open: func(i int) (attempt, error) {
		r, err := open(i)
		return stopwatch{t.device, r}, err
	}}
	var err error
	if measured.Chosen, err = s.best(t.ctx, measured.Candidates); err != nil {
		return c, err
	}
	data := measured.encode()
	if old != nil {
		file.Replace(data)
	} else if first := file.Keep(data); c.decode(first) == nil { // another program's, if it came first
		data = first
		if string(first) != string(measured.encode()) {
			measured = c
		}
	}
	t.remember(key, data)
	return measured, nil
}

// keyOf identifies a question with the shaders there are and the candidates that
// answer it: with others, the answer may be another.
func keyOf(question string, c []Candidate) [sha256.Size]byte {
	fits := []string{question}
	for _, m := range c {
		if m.Unfit == "" {
			fits = append(fits, m.Name)
		}
	}
	return sha256.Sum256(fmt.Appendf(nil, "%x %q", shaders.Sum(), fits))
}

func (t *Tuner) answer(key [sha256.Size]byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[key]
}

func (t *Tuner) remember(key [sha256.Size]byte, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[key] = data
}

// stopwatch runs a candidate as a submission of its own.
type stopwatch struct {
	device *gpu.Device
	recorded
}

func (w stopwatch) close() { w.recorded.close() }

func (w stopwatch) run() (time.Duration, error) {
	s, err := w.device.NewStream()
	if err != nil {
		return 0, err
	}
	defer s.Discard() // nothing, once it was submitted
	stamps := w.device.Info().Limits.TimestampBits > 0
	stamp := func() error {
		if !stamps {
			return nil
		}
		_, err := s.Timestamp()
		return err
	}
	if err := errors.Join(stamp(), w.record(s), stamp()); err != nil {
		return 0, err
	}
	begun := time.Now()
	u, err := s.Submit()
	if err != nil {
		return 0, err
	}
	// Not the tuning's context: what is given up would still run, and be in the
	// way of whatever comes next.
	if err := u.Wait(context.Background()); err != nil {
		return 0, err
	}
	if !stamps {
		return time.Since(begun), nil
	}
	at, err := u.Timestamps()
	if err != nil {
		return 0, err
	}
	return at[1] - at[0], nil
}

// tensors are a problem's, for candidates to run on: halves, and offsets of up to
// two pixels, since how far samples lie apart decides how fast they are gathered.
type tensors struct{ y, x, offset, mask Tensor }

func newTensors(d *gpu.Device, p conv.Problem) (t *tensors, err error) {
	t = &tensors{}
	defer func() {
		if err != nil {
			t.free()
			t = nil
		}
	}()
	const half = 0x3f000000 // 0.5
	tensor := func(to *Tensor, s conv.Shape) {
		if err == nil && s.Len() > 0 {
			if to.Buf, err = d.NewBuffer(4 * int64(s.Len())); err == nil {
				err = d.Fill(to.Buf, 0, 4*int64(s.Len()), half)
			}
		}
	}
	tensor(&t.y, p.Output())
	tensor(&t.x, p.Input())
	if p.Mask {
		tensor(&t.mask, p.MaskShape())
	}
	if p.Deformable() {
		tensor(&t.offset, p.Offset())
		if err == nil {
			err = d.Upload(t.offset.Buf, 0, bytesOf(spread(p.Offset().Len())))
		}
	}
	if err != nil {
		return t, fmt.Errorf("kernels: tensors to measure with: %w", err)
	}
	return t, nil
}

// spread is n numbers between −2 and 2 that repeat after a long while, the low
// bits of a congruential generator (Knuth, TAOCP 2, 3.2.1) dropped.
func spread(n int) []float32 {
	v, x := make([]float32, n), uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223
		v[i] = float32(x>>8)/(1<<22) - 2
	}
	return v
}

func (t *tensors) free() {
	if t == nil {
		return
	}
	for _, b := range []*gpu.Buffer{t.y.Buf, t.x.Buf, t.offset.Buf, t.mask.Buf} {
		b.Free()
	}
}
