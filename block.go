package vkconv

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// block is what [ASPP], [DeformPack], [Pyramid] and their backward passes share where
// their tensors are of another type than float32. [Stored] is an option of them.
// Of 16-bit tensors all between what goes in and what comes out stays float32: inputs
// are widened once, weights rounded to the type, results rounded once, so that
// [conv.Type.Stored] bounds what package cpuref says of the block in float32. Of
// float64 ones everything is in float64. Weights are given in float32, which float64
// holds exactly.
type block struct {
	edge *edge
	typ  conv.Type // of the tensors inside

	until context.Context // of TuneUntil, while the layers inside are planned
}

// newBlock refuses options other than Stored and TuneUntil.
func (e *Engine) newBlock(name string, options []LayerOption) (b block, err error) {
	o := optionsOf(options)
	if o.atomics || o.winograd || o.split || o.double || o.forwardBias != nil {
		return b, fmt.Errorf("%w: %s takes no option but Stored, and its weights in float32", conv.ErrUnsupported, name)
	}
	b.until = o.tuneUntil
	if o.stored == conv.Float64 {
		b.typ = conv.Float64
	}
	b.edge, err = newEdge(e, o.stored)
	return b, err
}

// stored makes a layer of the type inside.
func (b block) stored() LayerOption {
	return func(o *layerOptions) { o.stored, o.tuneUntil = b.typ, b.until }
}

func (b block) filter(f Filter) Filter { return Filter{b.edge.round(f.Weight), b.edge.round(f.Bias)} }

// aspp returns the weights as the type outside holds them.
func (b block) aspp(w ASPPWeights) ASPPWeights {
	w.Point, w.Pool, w.Project = b.filter(w.Point), b.filter(w.Pool), b.filter(w.Project)
	dilated := w.Dilated
	w.Dilated = nil
	for _, f := range dilated {
		w.Dilated = append(w.Dilated, b.filter(f))
	}
	return w
}

func (b block) pack(w PackWeights) PackWeights {
	return PackWeights{b.edge.round(w.Weight), b.edge.round(w.Bias), b.edge.round(w.Offset), b.edge.round(w.OffsetBias)}
}

// bytes is the memory that tensors take, nil ones left out.
func bytes(tensors ...*Tensor) (n int64) {
	for _, t := range tensors {
		if t != nil {
			n += t.bytes()
		}
	}
	return n
}
