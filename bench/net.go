package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"vkconv"
)

// net is a chain of layers planned on an engine, with its tensors.
type net struct {
	e       *vkconv.Engine
	layers  []layer
	tensors []*vkconv.Tensor // input, then each layer's output
	chain   []data
	plan    time.Duration
}

// layer hides which kind of convolution it is.
type layer struct {
	run      func(ctx context.Context, y, x *vkconv.Tensor) error
	upload   func() (bytes int64, err error) // offsets and masks
	describe func() string
	close    func()
}

// newNet plans the layers and uploads what they need. The net is to be closed
// even where there is an error.
func newNet(e *vkconv.Engine, c Case, chain []data) (*net, error) {
	n := &net{e: e, chain: chain}
	x, err := e.TensorOf(chain[0].p.Input(), chain[0].x)
	if err != nil {
		return n, err
	}
	n.tensors = append(n.tensors, x)
	for i, d := range chain {
		l, err := n.makePlan(c.Layers[i], d)
		if err != nil {
			return n, err
		}
		n.layers = append(n.layers, l)
		y, err := e.NewTensor(d.p.Output())
		if err != nil {
			return n, err
		}
		n.tensors = append(n.tensors, y)
	}
	return n, nil
}

func (n *net) makePlan(l Layer, d data) (layer, error) {
	p := d.p
	if l.Deform == nil {
		begin := time.Now()
		op, err := n.e.NewConv2D(p.Input(), d.weight, d.bias, p.Weight(), l.Params)
		if err != nil {
			return layer{}, err
		}
		n.plan += time.Since(begin)
		return layer{op.Run, func() (int64, error) { return 0, nil }, op.Describe, op.Close}, nil
	}
	offset, err := n.e.TensorOf(p.Offset(), d.offset)
	if err != nil {
		return layer{}, err
	}
	var mask *vkconv.Tensor
	if p.Mask {
		if mask, err = n.e.TensorOf(p.MaskShape(), d.mask); err != nil {
			offset.Free()
			return layer{}, err
		}
	}
	free := func() {
		offset.Free()
		if mask != nil {
			mask.Free()
		}
	}
	begin := time.Now()
	op, err := n.e.NewDeformConv2D(p.Input(), d.weight, d.bias, p.Weight(), l.Params, *l.Deform)
	if err != nil {
		free()
		return layer{}, err
	}
	n.plan += time.Since(begin)
	run := func(ctx context.Context, y, x *vkconv.Tensor) error { return op.Run(ctx, y, x, offset, mask) }
	upload := func() (int64, error) {
		if err := offset.Upload(d.offset); err != nil || mask == nil {
			return 4 * int64(len(d.offset)), err
		}
		return 4 * int64(len(d.offset)+len(d.mask)), mask.Upload(d.mask)
	}
	return layer{run, upload, op.Describe, func() { op.Close(); free() }}, nil
}

func (n *net) describe() string       { return n.layers[0].describe() }
func (n *net) planned() time.Duration { return n.plan }
func (n *net) every() int             { return n.chain[0].every }

func (n *net) upload() (bytes int64, err error) {
	if err := n.tensors[0].Upload(n.chain[0].x); err != nil {
		return 0, err
	}
	bytes = 4 * int64(len(n.chain[0].x))
	for _, l := range n.layers {
		more, err := l.upload()
		if err != nil {
			return 0, err
		}
		bytes += more
	}
	return bytes, nil
}

func (n *net) close() {
	for _, l := range n.layers {
		l.close()
	}
	for _, t := range n.tensors {
		t.Free()
	}
}

// run queues the whole chain.
func (n *net) run(ctx context.Context) error {
	for i, l := range n.layers {
		if err := l.run(ctx, n.tensors[i+1], n.tensors[i]); err != nil {
			return err
		}
	}
	return nil
}

// output returns what the last layer left.
func (n *net) output(ctx context.Context) ([]float32, error) {
	last := n.tensors[len(n.tensors)-1]
	y := make([]float32, last.Shape().Len())
	return y, last.Download(ctx, y)
}

// verify holds every layer against the oracle, and then the chain as one
// submission against the same layers run one by one: they must give the same
// bits. It returns the largest error as a share of its bound, and leaves the
// chain's result in the tensors.
func (n *net) verify(ctx context.Context) (worst float64, err error) {
	for i, d := range n.chain {
		y := n.tensors[i+1]
		if err := n.tensors[i].Upload(d.x); err != nil {
			return 0, err
		}
		got := make([]float32, y.Shape().Len())
		for j := range got { // what is left unwritten must show
			got[j] = float32(math.NaN())
		}
		if err := y.Upload(got); err != nil {
			return 0, err
		}
		if err := n.layers[i].run(ctx, y, n.tensors[i]); err != nil {
			return 0, err
		}
		if err := y.Download(ctx, got); err != nil {
			return 0, err
		}
		v := d.judge(got)
		if !v.OK() {
			return 0, fmt.Errorf("%w: layer %d, y[%d] is %g, must be %g within %.3g (%.3g times the bound)",
				ErrMismatch, i+1, v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
		worst = max(worst, v.Worst)
	}
	if len(n.layers) == 1 { // the chain has just been run
		return worst, nil
	}
	if err := n.tensors[0].Upload(n.chain[0].x); err != nil {
		return 0, err
	}
	for i, l := range n.layers {
		if err := l.run(ctx, n.tensors[i+1], n.tensors[i]); err != nil {
			return 0, err
		}
		if err := n.e.Wait(ctx); err != nil {
			return 0, err
		}
	}
	steps, err := n.output(ctx)
	if err != nil {
		return 0, err
	}
	if err := n.run(ctx); err != nil {
		return 0, err
	}
	whole, err := n.output(ctx)
	if err != nil {
		return 0, err
	}
	for i := range steps {
		if math.Float32bits(steps[i]) != math.Float32bits(whole[i]) {
			return 0, fmt.Errorf("%w: y[%d] is %g with all layers in one submission, %g layer by layer", ErrMismatch, i, whole[i], steps[i])
		}
	}
	return worst, nil
}
