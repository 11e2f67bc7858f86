package vkconv

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"vkconv/conv"
)

// sampling is what the layers without weights share: DCNv3, DCNv4 and RoI
// pooling. They run forward and backward, over any number of tensors.
type sampling struct {
	engine *Engine

	mu sync.RWMutex
	op samplingOp // nil after Close
}

// samplingOp is a planned layer. out and in are its tensors in the operator's
// order, nil where there is none.
type samplingOp interface {
	forward(ctx context.Context, out, in []storage) error
	backward(ctx context.Context, out, in []storage) error
	describe() string
	workspace() int64
	close()
}

// samplingBackend is a backend with these operators.
type samplingBackend interface {
	dcn(d conv.DCN) (samplingOp, error)
	roiPool(q conv.RoIPool) (samplingOp, error)
}

// newSampling plans a layer by make.
func (e *Engine) newSampling(name string, make func(samplingBackend) (samplingOp, error)) (*sampling, error) {
	done, err := e.use()
	if err != nil {
		return nil, err
	}
	defer done()
	back, ok := e.back.(samplingBackend)
	if !ok {
		return nil, fmt.Errorf("%s: %w on %s; it runs on the CPU path", name, conv.ErrUnsupported, e.back.name())
	}
	op, err := make(back)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &sampling{engine: e, op: op}, nil
}

// Workspace returns the bytes of device memory that a run, forward or backward,
// uses beyond its tensors.
func (l *sampling) Workspace() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.op == nil {
		return 0
	}
	return l.op.workspace()
}

// Describe says how the layer runs.
func (l *sampling) Describe() string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.op == nil {
		return "closed"
	}
	return l.op.describe()
}

// Close gives the plan's memory back when the work queued so far is done with it.
func (l *sampling) Close() {
	l.engine.mu.RLock()
	defer l.engine.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.op != nil && !l.engine.closed {
		l.op.close()
	}
	l.op = nil
}

// run checks the operands, keeps them alive and queues the operator. An output
// that is nil is not computed; an input whose tensor and shape are both zero is
// absent.
func (l *sampling) run(ctx context.Context, how func(samplingOp, context.Context, []storage, []storage) error, out, in []operand) error {
	done, err := l.engine.use()
	if err != nil {
		return err
	}
	defer done()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.op == nil {
		return fmt.Errorf("layer: %w", ErrClosed)
	}
	all := slices.Concat(out, in)
	stores := make([]storage, len(all))
	shared := layer{engine: l.engine}
	for i, o := range all {
		if o.t == nil && (i < len(out) || o.want == (conv.Shape{})) {
			continue
		}
		if err := shared.check(o); err != nil {
			return err
		}
		for j, q := range all[:i] {
			if j < len(out) && q.t == o.t {
				return fmt.Errorf("%w: %s and %s are the same tensor, one is written", conv.ErrShape, q.name, o.name)
			}
		}
		if !slices.ContainsFunc(all[:i], func(q operand) bool { return q.t == o.t }) {
			o.t.mu.RLock() // once a tensor, see layer.run
			defer o.t.mu.RUnlock()
		}
		if o.t.store == nil {
			return fmt.Errorf("%s: %w", o.name, ErrClosed)
		}
		stores[i] = o.t.store
	}
	return how(l.op, ctx, stores[:len(out)], stores[len(out):])
}

// forward queues y from the inputs.
func (l *sampling) forward(ctx context.Context, y operand, in ...operand) error {
	if y.t == nil {
		return fmt.Errorf("%w: output is nil, must be %v", conv.ErrShape, y.want)
	}
	return l.run(ctx, samplingOp.forward, []operand{y}, in)
}

// backward queues the gradients out that are not nil.
func (l *sampling) backward(ctx context.Context, out, in []operand) error {
	return l.run(ctx, samplingOp.backward, out, in)
}
