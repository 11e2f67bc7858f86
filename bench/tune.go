package bench

import (
	"context"
	"fmt"
	"math/rand/v2"

	"vkconv"
	"vkconv/conv"
)

// Tuned is how a layer's kernels were chosen.
type Tuned struct {
	Name     string // of the case, with a number where it has several layers
	Shape    string // as [ShapeOf] has it
	Describe string // what it came to
	Choices  []vkconv.Choice
}

// Choices plans a case's layers on an engine, which tunes them where it was opened
// to, and says how their kernels were chosen. Convolutions may be given options.
func (c Case) Choices(ctx context.Context, e *vkconv.Engine, options ...vkconv.LayerOption) ([]Tuned, error) {
	if d, err := c.dcn(); d != nil || err != nil {
		if err == nil {
			err = fmt.Errorf("%w: %s: DCNv4 has one kernel, there is nothing to choose", conv.ErrUnsupported, c.Name)
		}
		return nil, err
	}
	problems, err := c.Problems()
	if err != nil {
		return nil, err
	}
	var all []Tuned
	for i, p := range problems {
		l, err := c.planLayer(ctx, e, c.Layers[i], p, options)
		if err != nil {
			return all, fmt.Errorf("%s on %s: %w", c.Name, e.Name(), err)
		}
		t := Tuned{Name: c.Name, Shape: ShapeOf([]conv.Problem{p}), Describe: l.Describe(), Choices: l.Choices()}
		if len(problems) > 1 {
			t.Name = fmt.Sprintf("%s, layer %d", c.Name, i+1)
		}
		l.Close()
		all = append(all, t)
	}
	return all, nil
}

// plannedLayer is a layer of whatever kind.
type plannedLayer interface {
	Describe() string
	Choices() []vkconv.Choice
	Close()
}

func (c Case) planLayer(ctx context.Context, e *vkconv.Engine, l Layer, p conv.Problem, options []vkconv.LayerOption) (plannedLayer, error) {
	r := rand.New(rand.NewPCG(1, 0))
	weight := normal(r, p.Weight().Len(), 1)
	var bias []float32
	if p.Bias && !c.Backward {
		bias = normal(r, p.K, 1)
	}
	until := vkconv.TuneUntil(ctx)
	switch {
	case c.Backward && l.Deform != nil:
		return orNone(e.NewDeformConv2DBackward(p.Input(), weight, p.Weight(), l.Params, *l.Deform, until))
	case c.Backward:
		return orNone(e.NewConv2DBackward(p.Input(), weight, p.Weight(), l.Params, until))
	case l.Deform != nil:
		return orNone(e.NewDeformConv2D(p.Input(), weight, bias, p.Weight(), l.Params, *l.Deform, until))
	}
	return orNone(e.NewConv2D(p.Input(), weight, bias, p.Weight(), l.Params, append([]vkconv.LayerOption{until}, options...)...))
}

// orNone is l, but a nil interface where there is an error.
func orNone[L plannedLayer](l L, err error) (plannedLayer, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}
