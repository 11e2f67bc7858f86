//go:build cgo

package kernels

import (
	"vkconv/conv"
	"vkconv/gpu"
)

// The operators without weights have simple kernels in float32 already, and are
// compiled for both precisions: the plans are the same, with wider tensors.

func (b *Double) planDCN(m maker, d conv.DCN, backward bool) error {
	plan, err := newDCNOf(m.device, d, workspaceGoal, indexLimit(m.device), float64s)
	if err != nil {
		return err
	}
	b.describe, b.closeSampling = "double_"+plan.Describe(), plan.Close
	b.record = func(s *gpu.Stream, t DoubleTensors) error {
		return plan.Record(s, t[0].Tensor, t[1].Tensor, t[2].Tensor, t[3].Tensor)
	}
	if backward {
		b.workspace = plan.Workspace()
		b.record = func(s *gpu.Stream, t DoubleTensors) error {
			return plan.RecordBackward(s, t[0].Tensor, t[1].Tensor, t[2].Tensor, t[3].Tensor, t[4].Tensor, t[5].Tensor, t[6].Tensor)
		}
	}
	return nil
}

func (b *Double) planRoIPool(m maker, q conv.RoIPool, backward bool) error {
	plan, err := newRoIPool(m.device, q, indexLimit(m.device)/2, float64s)
	if err != nil {
		return err
	}
	b.describe, b.closeSampling, b.workspace = "double_"+plan.Describe(), plan.Close, plan.Workspace()
	b.record = func(s *gpu.Stream, t DoubleTensors) error {
		return plan.Record(s, t[0].Tensor, t[1].Tensor, t[2].Tensor, t[3].Tensor, t[4].Tensor)
	}
	if backward {
		b.record = func(s *gpu.Stream, t DoubleTensors) error {
			return plan.RecordBackward(s, t[0].Tensor, t[1].Tensor, t[2].Tensor, t[3].Tensor, t[4].Tensor, t[5].Tensor, t[6].Tensor, t[7].Tensor)
		}
	}
	return nil
}

// planScale takes a resize or a pooling, or the gradient of one.
func (b *Double) planScale(plan *Resize, err error) error {
	if err != nil {
		return err
	}
	b.describe, b.closeSampling, b.workspace, b.views = plan.Describe(), plan.Close, plan.Workspace(), true
	b.record = func(s *gpu.Stream, t DoubleTensors) error { return plan.Record(s, t[0], t[1]) }
	return nil
}

// planPair plans a pass of two tensors, element by element.
func (b *Double) planPair(m maker, p conv.Elementwise) error {
	m.traits.StorageRange *= 2 // below, elements are two float32 wide
	values := map[string]int{"activation": int(p.Activation.Kind), "gradient": 1}
	if p.Sum {
		values["gradient"] = 0
	}
	values["low"], values["high"] = activationParameters(p.Activation)
	n := p.Shape.Len()
	f, err := newFlat(m, "double_pair", n, []string{"a", "b", "y"}, []int{2 * n, 2 * n, 2 * n}, values)
	b.describe = "double_pair"
	b.record = func(s *gpu.Stream, t DoubleTensors) error { return f.record(s, t[1].Tensor, t[2].Tensor, t[0].Tensor) }
	return err
}
