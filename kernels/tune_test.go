package kernels

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"vkconv/gpu"
)

// staged is a search over candidates whose times are given, by a clock that only
// they move.
type staged struct {
	t          testing.TB
	clock      time.Time
	candidates []Candidate
	times      []time.Duration // of a run
	fails      map[int]error   // of those that do not run
	ran        []int           // in order, runs that are not timed among them
	open       int
	stop       func() // called by each run
}

func stage(t testing.TB, costs []float64, times ...time.Duration) *staged {
	s := &staged{t: t, clock: time.Unix(0, 0), times: times, fails: map[int]error{}, stop: func() {}}
	for i, c := range costs {
		s.candidates = append(s.candidates, Candidate{Name: fmt.Sprint(i), Cost: c})
	}
	return s
}

func (s *staged) best(ctx context.Context, budget time.Duration) (int, error) {
	chosen, err := search{budget: budget, now: func() time.Time { return s.clock }, open: func(i int) (attempt, error) {
		s.open++
		return &stagedAttempt{s, i}, nil
	}}.best(ctx, s.candidates)
	if s.open != 0 {
		s.t.Errorf("%d attempts were left open", s.open)
	}
	return chosen, err
}

type stagedAttempt struct {
	*staged
	i int
}

func (a *stagedAttempt) close() { a.open-- }

func (a *stagedAttempt) run() (time.Duration, error) {
	a.stop()
	a.ran = append(a.ran, a.i)
	a.clock = a.clock.Add(a.times[a.i])
	return a.times[a.i], a.fails[a.i]
}

// TestSearch tries in the order of cost and takes the fastest.
func TestSearch(t *testing.T) {
	s := stage(t, []float64{3, 1, 2, 9}, 70, 100, 90, 80)
	s.candidates[3].Unfit = "of no use here"
	chosen, err := s.best(t.Context(), time.Hour)
	if err != nil || chosen != 0 {
		t.Errorf("chose %d, %v", chosen, err)
	}
	var order []int
	for _, i := range s.ran {
		if !slices.Contains(order, i) {
			order = append(order, i)
		}
	}
	if !slices.Equal(order, []int{1, 2, 0}) {
		t.Errorf("tried in the order %v", order)
	}
	for i, want := range []time.Duration{70, 100, 90, 0} {
		if c := s.candidates[i]; c.Time != want || (c.Runs > 0) != (want > 0) {
			t.Errorf("%d: %v in %d runs, want %v", i, c.Time, c.Runs, want)
		}
	}
}

// TestSearchBudget counts what is run until the time is up.
func TestSearchBudget(t *testing.T) {
	for _, c := range []struct {
		budget time.Duration
		runs   []int // of each candidate, the one that is not timed included
	}{
		{0, []int{2, 0, 0}},
		{1, []int{2, 0, 0}},           // even the guess's: without one there is nothing to compare
		{350, []int{3, 3, 0}},         // a quarter is less than a run; up at 200 + 160, one turn follows
		{601, []int{3, 3, 2}},         // up at 200 + 160 + 300, with a run under way
		{906, []int{4, 4, 2}},         // a quarter is up in the third run; 840 leave time for one turn
		{1260, []int{6, 5, 2}},        // 1020 leave time for a turn and a half
		{time.Hour, []int{11, 11, 2}}, // the slow one is given up at once
	} {
		s := stage(t, []float64{1, 2, 3}, 100, 80, 150)
		chosen, err := s.best(t.Context(), c.budget)
		if err != nil {
			t.Fatal(err)
		}
		counts := make([]int, 3)
		for _, i := range s.ran {
			counts[i]++
		}
		want := 0
		if c.runs[1] > 0 {
			want = 1
		}
		if !slices.Equal(counts, c.runs) || chosen != want {
			t.Errorf("budget %d: runs %v, want %v; chose %d, want %d", c.budget, counts, c.runs, chosen, want)
		}
	}
}

// TestSearchKeepsTheGuess where another is hardly faster.
func TestSearchKeepsTheGuess(t *testing.T) {
	for saved, want := range map[time.Duration]int{10: 0, 19: 0, 21: 1} {
		s := stage(t, []float64{1, 2}, 1000, 1000-saved)
		if chosen, err := s.best(t.Context(), time.Hour); err != nil || chosen != want {
			t.Errorf("%d of 1000 faster: chose %d, %v", saved, chosen, err)
		}
	}
}

// TestSearchFailures: what does not run is no candidate, a device that is lost ends it.
func TestSearchFailures(t *testing.T) {
	broken := fmt.Errorf("%w: the driver does not build it", gpu.ErrShader)
	s := stage(t, []float64{1, 2, 3}, 50, 100, 90)
	s.fails[0] = broken
	if chosen, err := s.best(t.Context(), time.Hour); err != nil || chosen != 2 || s.candidates[0].Unfit == "" {
		t.Errorf("chose %d, %v; the guess: %+v", chosen, err, s.candidates[0])
	}
	s = stage(t, []float64{1, 2}, 50, 100)
	s.fails[0], s.fails[1] = broken, errors.New("another")
	if _, err := s.best(t.Context(), time.Hour); !errors.Is(err, gpu.ErrShader) {
		t.Errorf("all fail: %v", err)
	}
	s = stage(t, []float64{1, 2}, 50, 100)
	s.fails[0] = gpu.ErrDeviceLost
	if _, err := s.best(t.Context(), time.Hour); !errors.Is(err, gpu.ErrDeviceLost) || len(s.ran) != 1 {
		t.Errorf("lost: %v after %v", err, s.ran)
	}
}

// TestSearchCancelled ends within a run of where the context does, whenever that is.
func TestSearchCancelled(t *testing.T) {
	const all = 11 + 11 + 2 // runs, see TestSearchBudget
	for after := range all - 1 {
		ctx, cancel := context.WithCancel(t.Context())
		s := stage(t, []float64{1, 2, 3}, 100, 80, 150)
		s.stop = func() {
			if len(s.ran) == after {
				cancel()
			}
		}
		_, err := s.best(ctx, time.Hour)
		cancel()
		if !errors.Is(err, context.Canceled) || len(s.ran) != after+1 {
			t.Errorf("cancelled in run %d: %v after %d runs", after, err, len(s.ran))
		}
	}
}

// TestVariantsHaveNames: a kept choice is a name, so no two variants share one.
func TestVariantsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range slices.Concat(variants, splits) {
		if seen[v.String()] {
			t.Errorf("two variants are called %s", v)
		}
		seen[v.String()] = true
	}
}

// someChoice is what a search found.
func someChoice() Choice {
	return Choice{Of: "y", By: ByMeasured, Chosen: 1, Candidates: []Candidate{
		{Name: "a", Cost: 1, Time: 100, Runs: 5}, {Name: "b", Cost: 2, Time: 80, Runs: 9}, {Name: "c", Cost: 3}, {Name: "d", Unfit: "of no use here"}}}
}

// untried is the same before.
func untried() Choice {
	c := someChoice()
	c.By, c.Chosen = ByModel, 0
	for i := range c.Candidates {
		c.Candidates[i].Time, c.Candidates[i].Runs = 0, 0
	}
	return c
}

// TestChoiceKept writes and reads, and refuses what makes no sense.
func TestChoiceKept(t *testing.T) {
	c, want := untried(), someChoice()
	if err := c.decode(want.encode()); err != nil {
		t.Fatal(err)
	}
	if want.By = ByKept; c.Chosen != 1 || c.By != ByKept || !slices.Equal(c.Candidates, want.Candidates) {
		t.Errorf("%+v came back as %+v", want, c)
	}
	for _, bad := range []string{
		``, `{}`, `null`, `[]`, `{"chosen":"a"}`, `{"chosen":"d","tried":[{"name":"d","ns":1,"runs":1}]}`, `{"chosen":"x","tried":[{"name":"x","ns":1,"runs":1}]}`,
		`{"chosen":"a","tried":[{"name":"b","ns":1,"runs":1}]}`, `{"chosen":"a","tried":[{"name":"a","ns":0,"runs":1}]}`,
		`{"chosen":"a","tried":[{"name":"a","ns":-5,"runs":1}]}`, `{"chosen":"a","tried":[{"name":"a","ns":1,"runs":-1}]}`,
		`{"chosen":"a","tried":[{"name":"a","ns":1,"runs":1},{"name":"a","ns":1,"runs":1}]}`, `{"chosen":"a","tried":[{"name":"a","ns":1,"runs":1}]} {}`,
		`{"chosen":"a","tried":[{"name":"a","ns":1,"runs":1}],"more":1}`,
	} {
		c := untried()
		if err := c.decode([]byte(bad)); err == nil || !slices.Equal(c.Candidates, untried().Candidates) || c.By != ByModel {
			t.Errorf("%s gives %v and %+v", bad, err, c)
		}
	}
}

// FuzzChoice: whatever a kept file holds, what comes of it is a candidate that fits
// and was tried, or an error and nothing changed.
func FuzzChoice(f *testing.F) {
	f.Add(someChoice().encode())
	f.Add([]byte(`{"chosen":"a","tried":[{"name":"a","ns":1,"runs":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := untried()
		if err := c.decode(data); err != nil {
			if !slices.Equal(c.Candidates, untried().Candidates) || c.Chosen != 0 || c.By != ByModel {
				t.Fatalf("%v, and yet %+v", err, c)
			}
			return
		}
		if got := c.Candidates[c.Chosen]; got.Unfit != "" || got.Runs < 1 || got.Time <= 0 || c.By != ByKept {
			t.Fatalf("%+v was taken", got)
		}
		if again := untried(); again.decode(c.encode()) != nil || !slices.Equal(again.Candidates, c.Candidates) || again.Chosen != c.Chosen {
			t.Fatalf("%+v is written and read as %+v", c, again)
		}
	})
}
