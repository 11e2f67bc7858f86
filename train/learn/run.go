package learn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
	"vkconv/train"
)

// Options say what to train.
type Options struct {
	Data  Data
	Name  string // of the data, to tell one checkpoint from another's
	Steps int    // of each net
	Seeds int    // nets of each kind
	Kinds []string
	State string // the file of the checkpoint
	// Weights is the file for those of the first deformable net, which [Load] reads.
	Weights string
	// Progress is told of every step; accuracy is the latest on pictures for validation.
	Progress func(kind string, seed, step int, loss, accuracy float64)
	Stop     func(step int) bool // for tests: stop as an interruption would
}

// Curve is how one net learned.
type Curve struct {
	Kind      string
	Seed      int
	Loss      []float64 // of each step's batch
	Accuracy  []float64 // on pictures for validation, at every look
	Distances []float64 // of the points from the object there, in shares of the grid's; deformable only
	Test      Measured  // behind training
	frames    [][]float32
}

// Looks are how often a net is looked at while it trains, and the first time before.
const Looks = 24

// How many batches a look measures, and the test.
const (
	looked = 8
	tested = 32
)

// lookAt tells whether a net is looked at behind step, of steps.
func lookAt(step, steps int) bool { return step*Looks/steps != (step-1)*Looks/steps }

// Run trains nets of every kind and seed, in turn, from the checkpoint on where there
// is one of the same options, and keeps the checkpoint when ctx ends: what went on
// from it has the same bits as if nothing had happened. It returns the curves of the
// nets that are done.
func Run(ctx context.Context, e *vkconv.Engine, o Options) ([]Curve, error) {
	r := runner{Options: o, engine: e}
	if err := r.load(); err != nil {
		return nil, err
	}
	for len(r.done) < len(o.Kinds)*o.Seeds {
		if err := r.one(ctx); err != nil {
			return r.done, err
		}
		if err := r.save(nil); err != nil {
			return r.done, err
		}
	}
	return r.done, nil
}

// runner is a run under way.
type runner struct {
	Options
	engine *vkconv.Engine
	done   []Curve
	now    Curve                     // of the net that is being trained
	state  map[string]tensorio.Array // the net's, where it goes on from a checkpoint
}

// one trains the next net.
func (r *runner) one(ctx context.Context) error {
	next := len(r.done)
	kind, seed := r.Kinds[next%len(r.Kinds)], next/len(r.Kinds)+1
	n, err := New(r.engine, kind, len(r.Data.Names()), uint64(seed))
	if err != nil {
		return err
	}
	defer n.Close()
	work := context.WithoutCancel(ctx) // a step is made whole
	if r.state != nil {
		if err := n.SetState(r.state, true); err != nil {
			return fmt.Errorf("%s: %w", r.State, err)
		}
		r.state = nil
	} else {
		r.now = Curve{Kind: kind, Seed: seed}
		if err := r.look(work, n); err != nil {
			return err
		}
	}
	b := newBatch()
	for n.Steps() < r.Steps {
		if ctx.Err() != nil || r.Stop != nil && r.Stop(n.Steps()) {
			return errors.Join(r.save(n), context.Canceled)
		}
		i := n.Steps()
		b.draw(r.Data, Training, (seed*r.Steps+i)*Batch)
		setRates(n, i)
		result, err := n.Step(work, b.pictures, b.classes, rate(i, r.Steps))
		if err != nil {
			return err
		}
		r.now.Loss = append(r.now.Loss, result.Loss)
		if lookAt(i+1, r.Steps) {
			if err := r.look(work, n); err != nil {
				return err
			}
		}
		if r.Progress != nil {
			r.Progress(kind, seed, i+1, result.Loss, r.now.Accuracy[len(r.now.Accuracy)-1])
		}
	}
	test, _, err := Measure(work, n, r.Data, Test, tested)
	if err != nil {
		return err
	}
	if kind == "deformable" && seed == 1 && r.Weights != "" {
		if err := save(work, n, r.Weights, r.Data.Names()); err != nil {
			return err
		}
	}
	r.now.Test = test
	r.done, r.now = append(r.done, r.now), Curve{}
	return nil
}

// look measures the net on some pictures for validation and keeps where its points are.
func (r *runner) look(ctx context.Context, n *train.Net) error {
	m, offsets, err := Measure(ctx, n, r.Data, Validation, looked)
	if err != nil {
		return err
	}
	c := &r.now
	c.Accuracy = append(c.Accuracy, m.Accuracy)
	if offsets != nil {
		c.Distances, c.frames = append(c.Distances, m.Distance), append(c.frames, offsets[:Shown*2*grid*grid])
	}
	return nil
}

// Measured is what a net does on pictures that it was not trained on.
type Measured struct {
	Accuracy float64 // the share that it tells right
	// Distance is how far a deformable net's points are from the object on average, over
	// all points and pictures, in shares of what the regular grid's are. Pattern is the
	// same of points that stand still where the net's are on average: what is below it
	// comes of following the object.
	Distance, Pattern float64
}

// Measure runs a net on the first batches of a split. It returns the offsets besides,
// nil of a net that is not deformable.
func Measure(ctx context.Context, n *train.Net, d Data, split uint64, batches int) (m Measured, offsets []float32, err error) {
	b, right := newBatch(), 0
	at := n.Tensor("look.offset")
	var away [][]float64 // each picture's distances
	for i := range batches {
		b.draw(d, split, i*Batch)
		result, err := n.Test(ctx, b.pictures, b.classes)
		if err != nil {
			return m, nil, err
		}
		right += result.Right
		if at == nil {
			continue
		}
		o := make([]float32, at.Shape().Len())
		if err := at.Download(ctx, o); err != nil {
			return m, nil, err
		}
		offsets = append(offsets, o...)
		for _, mask := range b.masks {
			away = append(away, distances(mask))
		}
	}
	m.Accuracy = float64(right) / float64(batches*Batch)
	if at == nil {
		return m, nil, nil
	}
	mean := make([]float32, 2*grid*grid)
	for i, o := range offsets {
		mean[i%len(mean)] += o / float32(len(away))
	}
	regular, learned, still := 0.0, 0.0, 0.0
	for i, a := range away {
		regular += far(a, points(nil, 0))
		learned += far(a, points(offsets, i))
		still += far(a, points(mean, 0))
	}
	m.Distance, m.Pattern = learned/regular, still/regular
	return m, offsets, nil
}

// what the checkpoint is of.
func (r *runner) what() string {
	return fmt.Sprintf("%s; %d steps; %d seeds; %s; on %s", r.Name, r.Steps, r.Seeds, strings.Join(r.Kinds, ","), r.engine.Name())
}

// save writes the checkpoint; n is the net under way, nil between nets.
func (r *runner) save(n *train.Net) error {
	if r.State == "" {
		return nil
	}
	out := map[string]tensorio.Array{"what": {Shape: []int{len(r.what())}, Data: []uint8(r.what())}}
	curves := r.done
	if n != nil {
		state, err := n.State(context.Background(), true)
		if err != nil {
			return err
		}
		for name, a := range state {
			out["net."+name] = a
		}
		curves = append(append([]Curve{}, curves...), r.now)
	}
	for i, c := range curves {
		key := fmt.Sprintf("curve%d.", i)
		vector := func(name string, v []float64) {
			out[key+name] = tensorio.Array{Shape: []int{len(v)}, Data: append([]float64{}, v...)}
		}
		vector("loss", c.Loss)
		vector("accuracy", c.Accuracy)
		vector("distances", c.Distances)
		vector("test", []float64{c.Test.Accuracy, c.Test.Distance, c.Test.Pattern})
		var frames []float32
		for _, f := range c.frames {
			frames = append(frames, f...)
		}
		out[key+"frames"] = tensorio.Array{Shape: []int{len(frames)}, Data: append([]float32{}, frames...)}
	}
	return tensorio.WriteNPZ(filepath.Clean(r.State), out)
}

// load reads the checkpoint, if there is one.
func (r *runner) load() error {
	if r.State == "" {
		return nil
	}
	a, err := tensorio.ReadNPZ(r.State)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if what, err := a["what"].Text(); err != nil || what != r.what() {
		return fmt.Errorf("%w: %s is the state of another run (%q), not of this (%q); give another -state or remove it", conv.ErrParams, r.State, what, r.what())
	}
	for i := 0; ; i++ {
		key := fmt.Sprintf("curve%d.", i)
		if _, ok := a[key+"loss"]; !ok {
			break
		}
		c := Curve{Kind: r.Kinds[i%len(r.Kinds)], Seed: i/len(r.Kinds) + 1}
		test, frames := []float64(nil), []float32(nil)
		for name, to := range map[string]*[]float64{"loss": &c.Loss, "accuracy": &c.Accuracy, "distances": &c.Distances, "test": &test} {
			v, err := a[key+name].Float64()
			if err != nil {
				return fmt.Errorf("%s: %s: %w", r.State, key+name, err)
			}
			*to = v
		}
		if frames, err = a[key+"frames"].Float32(); err != nil || len(test) != 3 {
			return fmt.Errorf("%w: %s: the curves are cut", conv.ErrShape, r.State)
		}
		const each = Shown * 2 * grid * grid
		for ; len(frames) >= each; frames = frames[each:] {
			c.frames = append(c.frames, frames[:each])
		}
		c.Test = Measured{test[0], test[1], test[2]}
		r.done = append(r.done, c)
	}
	steps, under := a["net.optimizer.steps"]
	if under && len(r.done) > 0 {
		r.now, r.done = r.done[len(r.done)-1], r.done[:len(r.done)-1]
		r.state = map[string]tensorio.Array{}
		for name, v := range a {
			if rest, ok := strings.CutPrefix(name, "net."); ok {
				r.state[rest] = v
			}
		}
	}
	return r.check(steps)
}

// check refuses curves that are not as long as a run of so many steps makes them.
func (r *runner) check(steps tensorio.Array) error {
	fits := func(c Curve, steps int) bool {
		looks := 1
		for i := range steps {
			if lookAt(i+1, r.Steps) {
				looks++
			}
		}
		points := 0
		if c.Kind == "deformable" {
			points = looks
		}
		return len(c.Loss) == steps && len(c.Accuracy) == looks && len(c.Distances) == points && len(c.frames) == points
	}
	whole := len(r.done) <= len(r.Kinds)*r.Seeds
	for _, c := range r.done {
		whole = whole && fits(c, r.Steps)
	}
	if r.state != nil {
		made, err := steps.Ints()
		whole = whole && err == nil && len(made) == 1 && made[0] >= 0 && made[0] <= r.Steps && fits(r.now, made[0]) &&
			len(r.done) < len(r.Kinds)*r.Seeds
	}
	if !whole {
		return fmt.Errorf("%w: %s is damaged: its curves are not those of %d steps", conv.ErrShape, r.State, r.Steps)
	}
	return nil
}

// Summary is what the nets of one kind reached on the pictures of the test.
type Summary struct {
	Kind              string
	Mean, Least, Most float64 // of the accuracy
	Distance, Pattern float64 // means, deformable only
	Nets              int
}

// Summaries are those of the kinds, in their order.
func Summaries(curves []Curve, kinds []string) (out []Summary) {
	for _, k := range kinds {
		s := Summary{Kind: k, Least: math.Inf(1), Most: math.Inf(-1)}
		for _, c := range curves {
			if c.Kind != k {
				continue
			}
			s.Nets++
			a := c.Test.Accuracy
			s.Mean, s.Least, s.Most = s.Mean+a, min(s.Least, a), max(s.Most, a)
			s.Distance, s.Pattern = s.Distance+c.Test.Distance, s.Pattern+c.Test.Pattern
		}
		if s.Nets > 0 {
			s.Mean /= float64(s.Nets)
			s.Distance, s.Pattern = s.Distance/float64(s.Nets), s.Pattern/float64(s.Nets)
			out = append(out, s)
		}
	}
	return out
}

// Verdict says in a sentence which kind won. One has won where its worst net is
// better than the best of every other kind; else the runs cannot tell.
func Verdict(s []Summary) string {
	if len(s) < 2 {
		return "There is nothing to compare."
	}
	best := 0
	for i := range s {
		if s[i].Mean > s[best].Mean {
			best = i
		}
	}
	clear := true
	for i := range s {
		clear = clear && (i == best || s[i].Most < s[best].Least)
	}
	if clear {
		return fmt.Sprintf("The %s layer won: its worst net is better than any other kind's best.", s[best].Kind)
	}
	return fmt.Sprintf("The %s layer is ahead on average, but nets of other kinds reach its range: these runs do not tell which is better.", s[best].Kind)
}
