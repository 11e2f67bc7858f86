package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// dcnData is what a DCNv4 computes with; the oracle is quick enough for all of it.
type dcnData struct {
	d             conv.DCN
	x, packed, dy []float32
	want          []conv.Sum       // forward
	grads         cpuref.Gradients // backward
}

func makeDCN(d conv.DCN, backward bool, seed uint64, offsets *Offsets) dcnData {
	if offsets == nil {
		offsets = &DefaultOffsets
	}
	r := rand.New(rand.NewPCG(seed, 0))
	// Offsets and masks share a tensor. Samples that are to miss the image are sent
	// far beyond it: a DCNv4's own points reach over a few pixels.
	q := dcnData{d: d, x: normal(r, d.Input().Len(), 1), packed: normal(r, d.Offset().Len(), 1)}
	plane, channels := d.Ho*d.Wo, d.Offset()[1]
	for n := range d.N {
		for g := range d.Groups {
			for t := range d.Points() {
				for out := range plane {
					at := func(channel int) *float32 { return &q.packed[(n*channels+channel)*plane+out] }
					x, y := at(d.OffsetChannel(g, t)), at(d.OffsetChannel(g, t)+1)
					*x, *y = float32(r.NormFloat64()*offsets.Sigma), float32(r.NormFloat64()*offsets.Sigma)
					if r.Float64() < offsets.Outside {
						*x = float32(d.W + d.S*d.DilationX + d.StrideX*d.Wo)
					}
					*at(d.MaskChannel(g, t)) = r.Float32()
				}
			}
		}
	}
	if backward {
		q.dy = normal(r, d.Output().Len(), 1)
		q.grads = cpuref.DCNv4Backward(d, q.x, q.packed, q.dy)
	} else {
		q.want = cpuref.DCNv4(d, q.x, q.packed)
	}
	return q
}

// dcnCost is the operator's cost. Backward multiplies and adds twice as much:
// by the mask for dx and by the sample for the mask and the offsets; it reads
// what forward reads and dy, and writes a gradient for each.
func dcnCost(d conv.DCN, backward bool) conv.Cost {
	cost := d.Cost()
	if backward {
		output := 4 * int64(d.Output().Len())
		cost.MACs, cost.SampleMACs = 2*cost.MACs, 2*cost.SampleMACs
		cost.Bytes = 2*(cost.Bytes-output) + output
	}
	return cost
}

// dcnRun is a DCNv4 planned on an engine, with its tensors.
type dcnRun struct {
	q       dcnData
	op      *vkconv.DCNv4
	in      []*vkconv.Tensor // x, packed, and backward dy
	out     []*vkconv.Tensor // forward y, backward dx and that by packed
	call    func(ctx context.Context) error
	plan    time.Duration
	release []func()
}

func newDCNRun(e *vkconv.Engine, c Case, q dcnData) (*dcnRun, error) {
	s := &dcnRun{q: q}
	tensor := func(to *[]*vkconv.Tensor, shape conv.Shape) error {
		t, err := e.NewTensor(shape)
		if err == nil {
			*to = append(*to, t)
			s.release = append(s.release, t.Free)
		}
		return err
	}
	shapes, results := []conv.Shape{q.d.Input(), q.d.Offset()}, []conv.Shape{q.d.Output()}
	if c.Backward {
		shapes, results = append(shapes, q.d.Output()), shapes
	}
	for _, shape := range shapes {
		if err := tensor(&s.in, shape); err != nil {
			return s, err
		}
	}
	for _, shape := range results {
		if err := tensor(&s.out, shape); err != nil {
			return s, err
		}
	}
	if _, err := s.upload(); err != nil {
		return s, err
	}
	begin := time.Now()
	op, err := e.NewDCNv4(c.Input, *c.Layers[0].DCN)
	if err != nil {
		return s, err
	}
	s.plan, s.op, s.release = time.Since(begin), op, append(s.release, op.Close)
	s.call = func(ctx context.Context) error { return op.Run(ctx, s.out[0], s.in[0], s.in[1]) }
	if c.Backward {
		g := vkconv.Gradients{X: s.out[0], Offset: s.out[1]}
		s.call = func(ctx context.Context) error { return op.RunBackward(ctx, g, s.in[0], s.in[1], s.in[2]) }
	}
	return s, nil
}

func (s *dcnRun) run(ctx context.Context) error { return s.call(ctx) }
func (s *dcnRun) describe() string              { return s.op.Describe() }
func (s *dcnRun) planned() time.Duration        { return s.plan }
func (s *dcnRun) every() int                    { return 1 }

func (s *dcnRun) close() {
	for _, f := range s.release {
		f()
	}
}

func (s *dcnRun) upload() (bytes int64, err error) {
	for i, from := range [][]float32{s.q.x, s.q.packed, s.q.dy} {
		if from == nil {
			continue
		}
		if err := s.in[i].Upload(from); err != nil {
			return 0, err
		}
		bytes += 4 * int64(len(from))
	}
	return bytes, nil
}

func (s *dcnRun) output(ctx context.Context) (all []float32, err error) {
	return downloadAll(ctx, s.out)
}

func (s *dcnRun) verify(ctx context.Context) (worst float64, err error) {
	if err := poison(s.out); err != nil {
		return 0, err
	}
	if err := s.run(ctx); err != nil {
		return 0, err
	}
	all, err := s.output(ctx)
	if err != nil {
		return 0, err
	}
	wants, names := [][]conv.Sum{s.q.want}, []string{"y"}
	if s.q.want == nil {
		wants, names = [][]conv.Sum{s.q.grads.X, s.q.grads.Offset}, []string{"dx", "dpacked"}
	}
	for i, want := range wants {
		v := conv.Judge(all[:len(want)], want, nil, conv.DCNRoundings)
		if !v.OK() {
			return 0, mismatch(names[i], v)
		}
		all, worst = all[len(want):], max(worst, v.Worst)
	}
	return worst, nil
}

// mismatch says which element is wrong.
func mismatch(name string, v conv.Verdict) error {
	return fmt.Errorf("%w: %s[%d] is %g, must be %g within %.3g (%.3g times the bound)", ErrMismatch, name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
}

// poison fills tensors with NaN, so that what is left unwritten shows; nil ones are absent.
func poison(tensors []*vkconv.Tensor) error {
	for _, t := range tensors {
		if t == nil {
			continue
		}
		v := make([]float32, t.Shape().Len())
		for i := range v {
			v[i] = float32(math.NaN())
		}
		if err := t.Upload(v); err != nil {
			return err
		}
	}
	return nil
}

// downloadAll returns tensors one behind the other; nil ones are absent.
func downloadAll(ctx context.Context, tensors []*vkconv.Tensor) (all []float32, err error) {
	n := 0
	for _, t := range tensors {
		if t != nil {
			n += t.Shape().Len()
		}
	}
	all = make([]float32, n)
	rest := all
	for _, t := range tensors {
		if t == nil {
			continue
		}
		n := t.Shape().Len()
		if err := t.Download(ctx, rest[:n]); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return all, nil
}
