package onnx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// Plan is a model on a device, ready to run. It is safe for use by several
// goroutines, one run at a time.
type Plan struct {
	m *Model
	e *vkconv.Engine

	mu      sync.Mutex
	inputs  []*value // that are uploaded
	outputs []*value
	uploads []upload
	buffers []*buffer
	steps   []*step
	closed  bool
}

// upload is a constant that a layer reads from the device.
type upload struct {
	to *value
	c  *constant
}

// step is one layer with its operands.
type step struct {
	title  string
	layer  layer
	in     []*value
	out    *value
	queue  func(ctx context.Context) error
	oracle func(in [][]float32) ([]conv.Sum, int)
	every  int // one element in so many is checked
}

// Close gives the plan's memory back when the work queued so far is done with it.
func (p *Plan) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.steps {
		s.layer.Close()
	}
	for _, b := range p.buffers {
		b.tensor.Free()
	}
	p.steps, p.buffers = nil, nil
}

// Run uploads the inputs, runs the model and downloads its outputs. feed has the
// inputs that are not [Value.Planned], in the shapes that the plan was made for.
func (p *Plan) Run(ctx context.Context, feed map[string]tensorio.Array) (map[string]tensorio.Array, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.upload(feed); err != nil {
		return nil, err
	}
	if err := p.queue(ctx); err != nil {
		return nil, err
	}
	return p.download(ctx)
}

// Queue queues all layers on what the last run uploaded, and waits for nothing:
// what [vkconv.Engine.Time] measures.
func (p *Plan) Queue(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue(ctx)
}

func (p *Plan) queue(ctx context.Context) error {
	if p.closed {
		return fmt.Errorf("plan: %w", vkconv.ErrClosed)
	}
	for _, s := range p.steps {
		if err := s.queue(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
	}
	return nil
}

func (p *Plan) upload(feed map[string]tensorio.Array) error {
	if p.closed {
		return fmt.Errorf("plan: %w", vkconv.ErrClosed)
	}
	for name := range feed {
		if !slices.ContainsFunc(p.inputs, func(v *value) bool { return v.name == name }) {
			return misfit("%q is fed, but it is no input of the plan, or one whose value the plan took in", name)
		}
	}
	for _, v := range p.inputs {
		a, ok := feed[v.name]
		data, isFloat := a.Data.([]float32)
		if !ok || !isFloat || !slices.Equal(a.Shape, v.dims) || len(data) != elements(v.dims) {
			return misfit("input %q must be %s of float32, which the plan was made for", v.name, Extents(v.dims))
		}
		if err := v.tensor.Upload(data); err != nil {
			return fmt.Errorf("input %q: %w", v.name, err)
		}
	}
	return nil
}

func (p *Plan) download(ctx context.Context) (map[string]tensorio.Array, error) {
	out := map[string]tensorio.Array{}
	for i, v := range p.outputs {
		name := p.m.outputs[i].Name
		if v.known != nil {
			out[name] = v.known.Array
			continue
		}
		data, err := v.read(ctx)
		if err != nil {
			return nil, fmt.Errorf("output %q: %w", name, err)
		}
		out[name] = tensorio.Array{Shape: slices.Clone(v.dims), Data: data}
	}
	return out, nil
}

// read downloads a value.
func (v *value) read(ctx context.Context) ([]float32, error) {
	d := v.data()
	whole := d.buf.tensor
	data := make([]float32, whole.Shape().Len())
	if err := whole.Download(ctx, data); err != nil {
		return nil, err
	}
	if d.place == nil {
		return data, nil
	}
	all, part := whole.Shape(), shape4(d.dims)
	plane := all[2] * all[3]
	out := make([]float32, 0, part.Len())
	for n := range all[0] {
		out = append(out, data[(n*all[1]+d.first)*plane:][:part[1]*plane]...)
	}
	return out, nil
}

// Checked is what [Plan.Verify] found of one layer.
type Checked struct {
	Layer string // operators and name
	Every int    // one element in so many was compared, of large layers more than 1
	conv.Verdict
}

// ErrMismatch is matched by the error of a result outside its bound.
var ErrMismatch = errors.New("a result is outside its bound")

// Verify runs the model layer by layer and compares each with the float64 oracle, given
// what the layer before it made; of large layers one element in so many. The error matches [ErrMismatch] where one is
// outside its bound; what was found up to there is returned with it.
func (p *Plan) Verify(ctx context.Context, feed map[string]tensorio.Array) (all []Checked, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.upload(feed); err != nil {
		return nil, err
	}
	for _, s := range p.steps {
		sums, got, roundings, err := s.sums(ctx)
		if err != nil {
			return all, fmt.Errorf("%s: %w", s.title, err)
		}
		v := conv.Judge(got, sums, nil, roundings)
		v.Index *= s.every
		all = append(all, Checked{s.title, s.every, v})
		if !v.OK() {
			return all, fmt.Errorf("%s: %w: element %d is %g, must be %g within %.3g", s.title, ErrMismatch, v.Index, v.Got, v.Want, v.Bound)
		}
	}
	return all, nil
}

// sums runs one layer and the oracle on the same inputs.
func (s *step) sums(ctx context.Context) (sums []conv.Sum, got []float32, roundings int, err error) {
	if err := s.queue(ctx); err != nil {
		return nil, nil, 0, err
	}
	var in [][]float32
	for _, v := range s.in {
		data, err := v.read(ctx)
		if err != nil {
			return nil, nil, 0, err
		}
		in = append(in, data)
	}
	if got, err = s.out.read(ctx); err != nil {
		return nil, nil, 0, err
	}
	if s.every > 1 {
		some := got[:0]
		for i := 0; i < len(got); i += s.every {
			some = append(some, got[i])
		}
		got = some
	}
	sums, roundings = s.oracle(in)
	return sums, got, roundings, nil
}

// Layers says of every layer what it is and how it is computed, in the order in which they run.
func (p *Plan) Layers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, s := range p.steps {
		out = append(out, fmt.Sprintf("%s → %s: %s", s.title, Extents(s.out.dims), s.layer.Describe()))
	}
	return out
}

// Memory returns the bytes of device memory that the plan's tensors take, weights
// left out, and what the layers take beyond that.
func (p *Plan) Memory() (tensors, workspace int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.buffers {
		tensors += 4 * int64(b.tensor.Shape().Len())
	}
	for _, s := range p.steps {
		workspace += s.layer.Workspace()
	}
	return tensors, workspace
}
