package onnx

import (
	"context"
	"fmt"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
)

// countUses counts how often each value's data is read, and marks inputs and outputs.
func (p *planner) countUses() {
	for _, q := range p.planned {
		if q.same != nil {
			continue
		}
		for _, v := range q.in {
			v.data().uses++
		}
	}
}

// build makes buffers and layers in the order in which they run. A buffer serves
// values of its shape one after the other: the layers run in this order, and so
// does the device where they touch the same memory.
func (p *planner) build(ctx context.Context) error {
	for _, v := range p.plan.inputs {
		if err := p.allocate(v); err != nil {
			return err
		}
	}
	for _, u := range p.plan.uploads {
		if err := p.allocate(u.to); err != nil {
			return err
		}
		if err := u.to.tensor.Upload(u.c.Data.([]float32)); err != nil {
			return fmt.Errorf("%q: %w", u.to.name, err)
		}
	}
	p.plan.uploads = nil
	for _, q := range p.planned {
		if q.same != nil {
			continue
		}
		err := ctx.Err()
		switch {
		case err != nil:
		case q.concat:
			err = p.buildConcat(q)
		case !q.slice:
			err = p.buildLayer(q)
		case shape4(q.in[0].dims) != shape4(q.in[0].data().dims):
			err = unsupported("%v reads %q as %s, but on the device it is %s", q.n, q.in[0].name, Extents(q.in[0].dims), Extents(q.in[0].data().dims))
		default:
			err = p.allocate(q.out)
		}
		if err != nil {
			return err
		}
		for _, v := range q.in {
			p.release(v.data())
		}
	}
	return nil
}

// allocate gives a value its tensor.
func (p *planner) allocate(v *value) error {
	if v.tensor != nil {
		return nil
	}
	if v.place != nil {
		if err := p.allocate(v.place.of); err != nil {
			return err
		}
		channels := shape4(v.dims)[1]
		part, err := v.place.of.tensor.Channels(v.place.first, v.place.first+channels)
		if err != nil {
			return fmt.Errorf("%q: %w", v.name, err)
		}
		v.buf, v.tensor, v.first = v.place.of.buf, part, v.place.of.first+v.place.first
		v.buf.uses += v.uses
		v.buf.keep = v.buf.keep || v.keep
		return nil
	}
	shape := shape4(v.dims)
	if list := p.free[shape]; len(list) > 0 && !v.keep {
		v.buf, p.free[shape] = list[len(list)-1], list[:len(list)-1]
	} else {
		if p.taken += 4 * int64(shape.Len()); p.taken > p.options.budget() {
			return misfit("the tensors up to %q take %d bytes, more than the plan's budget of %d", v.name, p.taken, p.options.budget())
		}
		t, err := p.e.NewTensor(shape)
		if err != nil {
			return fmt.Errorf("%q: %w", v.name, err)
		}
		v.buf = &buffer{tensor: t}
		p.plan.buffers = append(p.plan.buffers, v.buf)
	}
	v.buf.keep, v.tensor = v.keep, v.buf.tensor
	v.buf.uses += v.uses
	return nil
}

// release notes that a value was read once more, and hands its buffer on after the last time.
func (p *planner) release(v *value) {
	b := v.buf
	if b.uses--; b.uses == 0 && !b.keep {
		shape := b.tensor.Shape()
		p.free[shape] = append(p.free[shape], b)
	}
}

// buildLayer makes a layer and its output.
func (p *planner) buildLayer(q *planned) error {
	in := make([]*vkconv.Tensor, len(q.in))
	for i, v := range q.in {
		d := v.data()
		other := shape4(d.dims) != shape4(v.dims) // a flattened value, say
		if d.place != nil && (other || q.whole>>i&1 != 0) {
			copied := &value{name: v.name, dims: d.dims, uses: 1}
			if err := p.copy(d, copied, q.n.title()); err != nil {
				return err
			}
			defer p.release(copied)
			d = copied
		}
		in[i] = d.tensor
		if other {
			var err error
			if in[i], err = d.tensor.Reshape(shape4(v.dims)); err != nil {
				return q.n.wrap(err)
			}
		}
	}
	if err := p.allocate(q.out); err != nil {
		return err
	}
	l, err := q.make()
	if err != nil {
		return q.n.wrap(err)
	}
	y := q.out.tensor
	p.step(&step{title: q.n.title(), layer: l, in: q.in, out: q.out, oracle: q.oracle, every: max(q.every, 1), queue: func(ctx context.Context) error { return l.run(ctx, y, in) }})
	if q.out.uses == 0 && !q.out.keep { // nobody reads it
		q.out.buf.uses++
		p.release(q.out)
	}
	return nil
}

func (p *planner) step(s *step) { p.plan.steps = append(p.plan.steps, s) }

// buildConcat copies those values that were not written in place.
func (p *planner) buildConcat(q *planned) error {
	if err := p.allocate(q.out); err != nil {
		return err
	}
	first := 0
	for _, v := range q.in {
		d := v.data()
		channels := shape4(v.dims)[1]
		if d.place == nil || d.place.of != q.out || d.place.first != first {
			if shape4(d.dims) != shape4(v.dims) && d.place != nil {
				return unsupported("%v reads %q as %s, but it lies in channels of another concatenation as %s", q.n, v.name, Extents(v.dims), Extents(d.dims))
			}
			part := &value{name: v.name, dims: v.dims, place: &place{q.out, first}}
			if err := p.copy(d, part, q.n.title()); err != nil {
				return err
			}
		}
		first += channels
	}
	if q.out.uses == 0 && !q.out.keep && q.out.place == nil {
		q.out.buf.uses++
		p.release(q.out)
	}
	return nil
}

// copy makes a step that copies a value: an activation that does nothing.
func (p *planner) copy(from, to *value, title string) error {
	if err := p.allocate(to); err != nil {
		return err
	}
	x, y := from.tensor, to.tensor
	l, err := p.e.NewActivation(shape4(to.dims), conv.Activation{})
	made, err := single(l, err)
	if err == nil && x.Shape() != y.Shape() {
		x, err = x.Reshape(y.Shape())
	}
	if err != nil {
		return fmt.Errorf("copy for %s: %w", title, err)
	}
	p.step(&step{title: "copy for " + title, layer: made, in: []*value{from}, out: to, every: 1,
		oracle: func(in [][]float32) ([]conv.Sum, int) { return cpuref.Activation(conv.Activation{}, in[0]), 0 },
		queue:  func(ctx context.Context) error { return l.Run(ctx, y, x) }})
	return nil
}
