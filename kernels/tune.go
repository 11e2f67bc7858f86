package kernels

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"vkconv/gpu"
)

// Candidate is one way to compute something, and what was found out about it.
type Candidate struct {
	Name  string
	Unfit string        // why it cannot, in a few words; "" where it can
	Cost  float64       // what the cost model expects, in cycles of one SIMD vector; only ratios mean something
	Time  time.Duration // the best of its runs; 0 where it was not tried
	Runs  int           // how many were timed
}

// Choice says which candidate was taken, and why.
type Choice struct {
	Of         string      // "y", or of which gradient
	By         Reason      // how it was chosen
	Note       string      // why it was not measured although it was to be; mostly ""
	Candidates []Candidate // in the order of the table of variants
	Chosen     int
}

// Reason is what a choice rests on.
type Reason uint8

// The reasons there are.
const (
	ByModel    Reason = iota // the least cost
	ByMeasured               // the least time, measured just now
	ByKept                   // the least time, measured before and kept
)

func (r Reason) String() string {
	return [...]string{"by the cost model", "measured", "measured before and kept"}[r]
}

// guess is the candidate of least cost; −1 where none fits.
func guess(c []Candidate) int {
	best := -1
	for i := range c {
		if c[i].Unfit == "" && (best < 0 || c[i].Cost < c[best].Cost) {
			best = i
		}
	}
	return best
}

// attempt is a candidate made ready to run.
type attempt interface {
	// run computes once, and says how long that took on the device.
	run() (time.Duration, error)
	close()
}

// search tries candidates in the order of their cost until its time is up. A run
// under way is not interrupted.
type search struct {
	budget time.Duration
	now    func() time.Time
	open   func(i int) (attempt, error)
}

const (
	// tries is how many runs of a candidate are timed, behind one that is not:
	// drivers compile then. The best counts, since what disturbs a run makes it
	// longer.
	tries = 5
	// quarter is what part of the budget a candidate may use, so that of slow ones
	// several are tried; one timed run each has.
	quarter = 4
	// hopeless is how many times as long as the best so far a first run may take
	// and be followed by others.
	hopeless = 1.5
	// worthIt is what share of the guess's time another has to stay below: less is
	// noise, and the guess's bits are those without tuning.
	worthIt = 0.98
)

// best fills in what is measured, and returns the fastest. Where no candidate
// works the error is the first one's.
func (s search) best(ctx context.Context, c []Candidate) (int, error) {
	first := guess(c)
	order := make([]int, 0, len(c))
	for i := range c {
		if c[i].Unfit == "" {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(c[a].Cost, c[b].Cost) })
	end := s.now().Add(s.budget)
	open := map[int]attempt{}
	defer func() {
		for _, a := range open {
			a.close()
		}
	}()
	best, failed := -1, error(nil)
	for k, i := range order {
		if k > 0 && best >= 0 && !s.now().Before(end) {
			break
		}
		if err := ctx.Err(); err != nil {
			return -1, err
		}
		a, err := s.open(i)
		if err == nil {
			open[i] = a
			err = s.time(ctx, a, &c[i], c, best, end)
		}
		switch {
		case ctx.Err() != nil || errors.Is(err, gpu.ErrDeviceLost) || errors.Is(err, gpu.ErrClosed) || errors.Is(err, gpu.ErrOutOfMemory):
			return -1, cmp.Or(err, ctx.Err()) // memory may be there another time, and what is kept is kept
		case err != nil:
			c[i].Unfit, c[i].Time, c[i].Runs = "it failed: "+err.Error(), 0, 0
			if failed == nil {
				failed = err
			}
		case best < 0 || c[i].Time < c[best].Time:
			best, i = i, best
		}
		if a := open[i]; i != first && i != best && a != nil { // one of what was the best and what was tried
			a.close()
			delete(open, i)
		}
	}
	if best < 0 {
		return -1, failed
	}
	if best == first || c[first].Unfit != "" {
		return best, nil
	}
	// The two may have been measured at different times of a machine that does
	// other things besides: once more in turns, the first of which is worth its time
	// even when the budget is spent.
	for turn := range tries {
		for _, i := range []int{first, best} {
			if turn > 0 && !s.now().Before(end) {
				break
			}
			if err := s.once(ctx, open[i], &c[i]); err != nil {
				return -1, err
			}
		}
	}
	if float64(c[best].Time) > worthIt*float64(c[first].Time) {
		best = first
	}
	return best, nil
}

// time times a candidate, to be compared with the best so far, c[best].
func (s search) time(ctx context.Context, a attempt, c *Candidate, all []Candidate, best int, end time.Time) error {
	if share := s.now().Add(s.budget / quarter); share.Before(end) {
		end = share
	}
	if _, err := a.run(); err != nil {
		return err
	}
	for c.Runs < tries && (c.Runs == 0 || s.now().Before(end)) {
		if err := s.once(ctx, a, c); err != nil {
			return err
		}
		if best >= 0 && float64(c.Time) > hopeless*float64(all[best].Time) {
			break
		}
	}
	return nil
}

// once is one timed run.
func (s search) once(ctx context.Context, a attempt, c *Candidate) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := a.run()
	if err != nil {
		return err
	}
	t = max(t, 1) // a clock that stood still
	if c.Runs++; c.Runs == 1 || t < c.Time {
		c.Time = t
	}
	return nil
}

// kept is a choice as it lies on disk, in JSON.
type kept struct {
	Chosen string    `json:"chosen"`
	Tried  []keptRun `json:"tried"`
}

type keptRun struct {
	Name string        `json:"name"`
	Time time.Duration `json:"ns"`
	Runs int           `json:"runs"`
}

// encode writes what was measured.
func (c Choice) encode() []byte {
	k := kept{Chosen: c.Candidates[c.Chosen].Name}
	for _, m := range c.Candidates {
		if m.Runs > 0 {
			k.Tried = append(k.Tried, keptRun{m.Name, m.Time, m.Runs})
		}
	}
	data, err := json.Marshal(k)
	if err != nil {
		panic(err) // strings and numbers
	}
	return data
}

// decode fills in what was measured before of these candidates. The file's sum is
// right, but what wrote it may have been another program: what makes no sense is
// refused, and then c is as it was.
func (c *Choice) decode(data []byte) error {
	var k kept
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&k); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something behind the choice")
	}
	place := map[string]int{}
	for i, m := range c.Candidates {
		place[m.Name] = i
	}
	chosen, ok := place[k.Chosen]
	if !ok || c.Candidates[chosen].Unfit != "" {
		return fmt.Errorf("%q was chosen, which does not compute this", k.Chosen)
	}
	all := slices.Clone(c.Candidates)
	for _, r := range k.Tried {
		i, ok := place[r.Name]
		switch {
		case !ok || all[i].Runs > 0:
			return fmt.Errorf("%q was tried, which is no candidate or there twice", r.Name)
		case r.Time <= 0 || r.Runs < 1 || r.Runs > math.MaxInt32:
			return fmt.Errorf("%q took %v in %d runs", r.Name, r.Time, r.Runs)
		}
		all[i].Time, all[i].Runs = r.Time, r.Runs
	}
	if all[chosen].Runs == 0 {
		return fmt.Errorf("%q was chosen and not tried", k.Chosen)
	}
	c.Candidates, c.Chosen, c.By = all, chosen, ByKept
	return nil
}

// String is one sentence.
func (c Choice) String() string {
	fit, tried := 0, 0
	for _, m := range c.Candidates {
		if m.Unfit == "" {
			fit++
		}
		if m.Runs > 0 {
			tried++
		}
	}
	took := c.Candidates[c.Chosen]
	if c.By == ByModel {
		text := fmt.Sprintf("%s for %s, %v, of %d that fit", took.Name, c.Of, c.By, fit)
		if c.Note != "" {
			text += ", " + c.Note
		}
		return text
	}
	text := fmt.Sprintf("%s for %s, %v: %v, the fastest of %d tried, of %d that fit", took.Name, c.Of, c.By, took.Time, tried, fit)
	if g := guess(c.Candidates); g >= 0 && g != c.Chosen && c.Candidates[g].Runs > 0 {
		text += fmt.Sprintf("; the cost model's, %s, takes %v", c.Candidates[g].Name, c.Candidates[g].Time)
	}
	return text
}
