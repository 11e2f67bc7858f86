package vkconv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vkconv/conv"
	"vkconv/gpu"
)

// fleetLayer is what the layers of a fleet share.
type fleetLayer struct {
	fleet    *Fleet
	p        conv.Problem // the whole batch's
	unit     int          // images that are computed and shared at once
	operands []fleetOperand
	replicas []*replica    // by member; nil where there is none
	turn     chan struct{} // of one place, taken by who uses the replicas
	closed   bool
	counts   []int // images in the last run, by member
}

// fleetOperand is an operand of a layer of one image, or unit of some. "Image" is either
// below.
type fleetOperand struct {
	name  string
	shape conv.Shape // zero where the layer has none
	role  fleetRole
}

type fleetRole uint8

const (
	perImage fleetRole = iota // an input
	result                    // an output for each image
	wanted                    // one that need not be given
	summed                    // one for the whole batch, the sum over its images; need not be given
)

// newFleetLayer plans a layer on every device that is left, by plan.
func (f *Fleet) newFleetLayer(p conv.Problem, unit int, operands []fleetOperand, options []LayerOption, plan func(*Engine) (replica, error)) (*fleetLayer, error) {
	typ := optionsOf(options).stored
	if sums := slices.ContainsFunc(operands, func(o fleetOperand) bool { return o.role == summed }); typ == conv.Float64 || sums && typ != conv.Float32 {
		return nil, fmt.Errorf("%w: a fleet's layer of %v; forward it takes %v, %v and %v, backward %v", conv.ErrUnsupported,
			typ, conv.Float32, conv.Float16, conv.BFloat16, conv.Float32)
	}
	l := &fleetLayer{fleet: f, p: p, unit: unit, operands: operands, replicas: make([]*replica, len(f.members)), turn: make(chan struct{}, 1),
		counts: make([]int, len(f.members))}
	for i, m := range f.members {
		if f.isLost(i) {
			continue
		}
		r, err := plan(m.engine)
		switch {
		case err == nil:
			r.engine, r.typ, r.operands = m.engine, typ, operands
			l.replicas[i] = &r
		case errors.Is(err, gpu.ErrDeviceLost):
			f.drop(i, err)
		case m.spare && errors.Is(err, conv.ErrUnsupported): // what only devices have
			f.opt.Log.Warn("the CPU could not stand in for lost devices", "error", err)
		default:
			l.Close()
			return nil, err
		}
	}
	if _, _, err := l.live(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Problem returns what the layer computes, the whole batch of it.
func (l *fleetLayer) Problem() conv.Problem { return l.p }

// Shares tells how the last run was spread, a device after the other in the order of
// [OpenFleet], a CPU path that stands by last. It waits for a run under way.
func (l *fleetLayer) Shares() []Share {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	shares := make([]Share, len(l.replicas))
	for i, m := range l.fleet.members {
		shares[i] = Share{Device: m.engine.Name(), Images: l.counts[i] * l.unit}
		if r := l.replicas[i]; r != nil {
			shares[i].Each = r.each
		}
	}
	return shares
}

// SetWeights replaces weight and bias on every device, for the runs from then on.
// It waits for a run under way. bias is as in the layer of an [Engine].
func (l *fleetLayer) SetWeights(weight, bias []float32) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.closed {
		return fmt.Errorf("layer: %w", ErrClosed)
	}
	for i, r := range l.replicas {
		if r == nil || l.fleet.isLost(i) {
			continue
		}
		if err := r.layer.SetWeights(weight, bias); errors.Is(err, gpu.ErrDeviceLost) {
			l.fleet.drop(i, err)
		} else if err != nil {
			return err
		}
	}
	_, _, err := l.live()
	return err
}

// Close gives the plans' memory back on every device. It waits for a run under way.
func (l *fleetLayer) Close() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.closed = true
	for i, r := range l.replicas {
		if r != nil {
			r.close()
		}
		l.replicas[i] = nil
	}
}

// live are the replicas on the devices that may compute.
func (l *fleetLayer) live() (members []int, replicas []*replica, err error) {
	l.fleet.mu.Lock()
	active, closed := l.fleet.active(), l.fleet.closed
	l.fleet.mu.Unlock()
	if closed {
		return nil, nil, fmt.Errorf("fleet: %w", ErrClosed)
	}
	for _, i := range active {
		if r := l.replicas[i]; r != nil {
			members, replicas = append(members, i), append(replicas, r)
		}
	}
	if members == nil {
		return nil, nil, l.fleet.errLost()
	}
	return members, replicas, nil
}

// run computes the operands' batches, given in the operands' order.
func (l *fleetLayer) run(ctx context.Context, data ...[]float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.check(data); err != nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	if l.closed {
		return fmt.Errorf("layer: %w", ErrClosed)
	}
	if _, _, err := l.live(); err != nil { // of an empty batch, too
		return err
	}
	clear(l.counts)
	for j, o := range l.operands {
		if o.role == summed {
			clear(data[j])
		}
	}
	left := make([]int, l.p.N/l.unit)
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 { // again where a device was lost
		var err error
		if left, err = l.spread(ctx, left, data); err != nil {
			return err
		}
	}
	return nil
}

// spread shares images among the devices and computes them, those of a device that
// is lost excepted, which it returns.
func (l *fleetLayer) spread(ctx context.Context, images []int, data [][]float32) (left []int, err error) {
	if err := l.measure(ctx, len(images), data); err != nil {
		return nil, err
	}
	members, replicas, err := l.live()
	if err != nil {
		return nil, err
	}
	parts := make([][]int, len(members))
	rest := images
	costs, measured := l.costs(members)
	for k, n := range apportion(len(images), costs) {
		parts[k], rest = rest[:n], rest[n:]
	}
	sums := make([][][]float32, len(members))
	lost, err := l.each(ctx, members, func(ctx context.Context, k int) (err error) {
		if len(parts[k]) == 0 {
			return nil
		}
		begun := time.Now()
		if sums[k], err = replicas[k].compute(ctx, parts[k], data); err == nil && measured {
			replicas[k].each = smooth(replicas[k].each, time.Since(begun)/time.Duration(len(parts[k])))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for k, i := range members {
		if lost[k] {
			left = append(left, parts[k]...)
			continue
		}
		l.counts[i] += len(parts[k])
		for j, sum := range sums[k] {
			for e, v := range sum {
				data[j][e] += v
			}
		}
	}
	return left, nil
}

// costs are what an image costs each of the members, by their measured speed or by
// [Fleet.FixShares].
func (l *fleetLayer) costs(members []int) (each []float64, measured bool) {
	l.fleet.mu.Lock()
	weights := l.fleet.weights
	l.fleet.mu.Unlock()
	each = make([]float64, len(members))
	for k, i := range members {
		if weights == nil || l.fleet.members[i].spare {
			each[k] = l.replicas[i].each.Seconds()
		} else {
			each[k] = 1 / weights[i]
		}
	}
	return each, weights == nil
}

// measure has all devices compute the first image twice, at the same time, where
// speed is asked for and not known. The second time counts, and the results don't.
func (l *fleetLayer) measure(ctx context.Context, images int, data [][]float32) error {
	members, replicas, err := l.live()
	if err != nil {
		return err
	}
	if _, measured := l.costs(members); !measured || images < 2 || len(members) < 2 || !slices.ContainsFunc(replicas, func(r *replica) bool { return r.each == 0 }) {
		return nil
	}
	_, err = l.each(ctx, members, func(ctx context.Context, k int) error {
		own := slices.Clone(data)
		for j, o := range l.operands {
			if data[j] != nil && (o.role == result || o.role == wanted) {
				own[j] = make([]float32, o.shape.Len())
			}
		}
		for range 2 {
			begun := time.Now()
			if _, err := replicas[k].compute(ctx, []int{0}, own); err != nil {
				return err
			}
			replicas[k].each = max(time.Since(begun), 1)
		}
		return nil
	})
	return err
}

// each calls f for all members at once, with their places, and drops those that are
// lost meanwhile. The first other error ends the rest.
func (l *fleetLayer) each(ctx context.Context, members []int, f func(ctx context.Context, k int) error) (lost []bool, err error) {
	all, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost = make([]bool, len(members))
	var wg sync.WaitGroup
	for k, i := range members {
		wg.Go(func() {
			err := f(all, k)
			if lost[k] = errors.Is(err, gpu.ErrDeviceLost); lost[k] {
				l.fleet.drop(i, err)
			} else if err != nil {
				cancel(fmt.Errorf("%s: %w", l.fleet.members[i].engine.Name(), err))
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return lost, context.Cause(all)
}

// check compares the lengths of the operands' batches with what they must be, and
// refuses results that share memory with anything.
func (l *fleetLayer) check(data [][]float32) error {
	for j, o := range l.operands {
		d, want := data[j], o.shape
		switch optional := o.role == wanted || o.role == summed; {
		case len(d) == 0 && want == conv.Shape{}:
			data[j] = nil
			continue
		case d == nil && optional:
			continue
		case want == conv.Shape{}:
			return fmt.Errorf("%w: %s was given, but the layer was made without one", conv.ErrShape, o.name)
		}
		if o.role != summed {
			want[0] = l.p.N
		}
		if len(d) != want.Len() {
			return fmt.Errorf("%w: %s has %d elements, must have %d for %v", conv.ErrShape, o.name, len(d), want.Len(), want)
		}
		for q, other := range l.operands[:j] {
			if (o.role != perImage || other.role != perImage) && overlap(d, data[q]) {
				return fmt.Errorf("%w: %s and %s share memory, a layer cannot run in place", conv.ErrShape, other.name, o.name)
			}
		}
	}
	return nil
}
