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
	// Progress is told of every step; accuracy is the latest on held-out pictures.
	Progress func(kind string, seed, step int, loss, accuracy float64)
	Stop     func(step int) bool // for tests: stop as an interruption would
}

// Curve is how one net learned.
type Curve struct {
	Kind      string
	Seed      int
	Loss      []float64 // of each step's batch
	Accuracy  []float64 // on held-out pictures, at every look
	HeldOut   float64   // behind training, on all held-out pictures
	Distances []float64 // of the points from the object, in shares of the grid's; deformable only
	frames    [][]float32
}

// Looks are how often a net is looked at while it trains, and the first time before.
const Looks = 24

// heldOut is how many batches accuracy and distances are measured on.
const heldOut = 16

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
		if err := r.look(work, n, 1); err != nil {
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
			if err := r.look(work, n, 4); err != nil {
				return err
			}
		}
		if r.Progress != nil {
			r.Progress(kind, seed, i+1, result.Loss, r.now.Accuracy[len(r.now.Accuracy)-1])
		}
	}
	accuracy, _, _, err := Measure(work, n, r.Data, heldOut)
	if err != nil {
		return err
	}
	if kind == "deformable" && seed == 1 && r.Weights != "" {
		if err := save(work, n, r.Weights, r.Data.Names()); err != nil {
			return err
		}
	}
	r.now.HeldOut = accuracy
	r.done, r.now = append(r.done, r.now), Curve{}
	return nil
}

// look measures the net on some held-out batches and keeps where its points are.
func (r *runner) look(ctx context.Context, n *train.Net, batches int) error {
	accuracy, ratio, offsets, err := Measure(ctx, n, r.Data, batches)
	if err != nil {
		return err
	}
	c := &r.now
	c.Accuracy = append(c.Accuracy, accuracy)
	if offsets != nil {
		c.Distances, c.frames = append(c.Distances, ratio), append(c.frames, offsets[:Shown*2*grid*grid])
	}
	return nil
}

// Measure runs a net on held-out pictures: the share that it tells right, and of a
// deformable one how far its points are from the object on average, over all points
// and pictures, in shares of what the regular grid's are; and the first batch's offsets.
func Measure(ctx context.Context, n *train.Net, d Data, batches int) (accuracy, ratio float64, offsets []float32, err error) {
	b, right, learned, regular := newBatch(), 0, 0.0, 0.0
	at := n.Tensor("look.offset")
	for i := range batches {
		b.draw(d, HeldOut, i*Batch)
		result, err := n.Test(ctx, b.pictures, b.classes)
		if err != nil {
			return 0, 0, nil, err
		}
		right += result.Right
		if at == nil {
			continue
		}
		o := make([]float32, at.Shape().Len())
		if err := at.Download(ctx, o); err != nil {
			return 0, 0, nil, err
		}
		if i == 0 {
			offsets = o
		}
		for j, mask := range b.masks {
			away := distances(mask)
			learned += far(away, points(o, j))
			regular += far(away, points(nil, j))
		}
	}
	return float64(right) / float64(batches*Batch), learned / regular, offsets, nil
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
		vector("heldout", []float64{c.HeldOut})
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
		heldOut, frames := []float64(nil), []float32(nil)
		for name, to := range map[string]*[]float64{"loss": &c.Loss, "accuracy": &c.Accuracy, "distances": &c.Distances, "heldout": &heldOut} {
			v, err := a[key+name].Float64()
			if err != nil {
				return fmt.Errorf("%s: %s: %w", r.State, key+name, err)
			}
			*to = v
		}
		if frames, err = a[key+"frames"].Float32(); err != nil || len(heldOut) != 1 {
			return fmt.Errorf("%w: %s: the curves are cut", conv.ErrShape, r.State)
		}
		const each = Shown * 2 * grid * grid
		for ; len(frames) >= each; frames = frames[each:] {
			c.frames = append(c.frames, frames[:each])
		}
		c.HeldOut = heldOut[0]
		r.done = append(r.done, c)
	}
	if _, under := a["net.optimizer.steps"]; under && len(r.done) > 0 {
		r.now, r.done = r.done[len(r.done)-1], r.done[:len(r.done)-1]
		r.state = map[string]tensorio.Array{}
		for name, v := range a {
			if rest, ok := strings.CutPrefix(name, "net."); ok {
				r.state[rest] = v
			}
		}
	}
	return nil
}

// Summary is what the nets of one kind reached on held-out pictures.
type Summary struct {
	Kind              string
	Mean, Least, Most float64
	Distance          float64 // mean of the last distances, deformable only
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
			s.Mean += c.HeldOut
			s.Least, s.Most = min(s.Least, c.HeldOut), max(s.Most, c.HeldOut)
			if len(c.Distances) > 0 {
				s.Distance += c.Distances[len(c.Distances)-1]
			}
		}
		if s.Nets > 0 {
			s.Mean /= float64(s.Nets)
			s.Distance /= float64(s.Nets)
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
