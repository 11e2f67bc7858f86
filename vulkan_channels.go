//go:build cgo

package vkconv

import (
	"context"

	"vkconv/gpu"
	"vkconv/kernels"
)

// vulkanViews is a vulkanOperator whose first two operands, output and input,
// may be views.
type vulkanViews struct {
	vulkanOperator
	views func(s *gpu.Stream, y, x kernels.View, t onDevice) error
}

func (o *vulkanViews) run(ctx context.Context, operands []storage) error {
	var t [maxOperands]kernels.Tensor
	var views [maxOperands]kernels.View
	some := false
	for i, s := range operands {
		switch s := s.(type) {
		case view:
			some = true
			t[i].Buf = s.storage.(*deviceTensor).buf
			views[i] = kernels.View{Tensor: t[i], Channels: s.whole[1], First: s.first}
		case *deviceTensor:
			t[i].Buf = s.buf
			views[i].Tensor = t[i]
		}
	}
	if !some {
		return o.vulkanOperator.run(ctx, operands)
	}
	return o.v.record(func(s *gpu.Stream) error { return o.views(s, views[0], views[1], &t) })
}
