//go:build cgo

package kernels

import (
	"vkconv/conv"
	"vkconv/gpu"
)

// Gradients are tuned one after another. A plan by the cost model says what tiles
// there were to choose from; then plans that have each of them in turn are run
// for the gradient alone that the tile is for.

// tileOf takes the tile that is asked for, or the cheapest that fits.
func (m maker) tileOf(p matrix, prefix string) (tile, error) {
	tiles, c, err := p.tiles(m.traits, prefix)
	if err != nil {
		return tile{}, err
	}
	chosen := guess(c)
	for i, t := range tiles {
		if t.module == m.forced[prefix] {
			chosen = i
		}
	}
	if m.asked != nil && (*m.asked)[prefix] == nil { // of the first part, the largest
		(*m.asked)[prefix] = c
	}
	return tiles[chosen], nil
}

// chosenGradients is a plan that can be told how its tiles were chosen.
type chosenGradients interface {
	Backward
	choose([]Choice)
}

// tiledGradients are the tiles that gradients choose, in the order in which they
// are tuned, and what is run to measure them.
var tiledGradients = []struct {
	prefix, of string
	wants      func(t *gradientTensors) Grads
}{
	{"conv2d_grad_input", "dx", func(t *gradientTensors) Grads { return Grads{X: t.dx} }},
	{"conv2d_grad_weight", "dweight", func(t *gradientTensors) Grads { return Grads{Weight: t.dweight} }},
	{"deform_grad_column", "doffset", func(t *gradientTensors) Grads { return Grads{Offset: t.doffset} }},
	{"deform_grad_weight", "dweight", func(t *gradientTensors) Grads { return Grads{Weight: t.dweight} }},
}

// planGradients plans by plan, with tiles that were measured where m tunes.
func planGradients[G chosenGradients](m maker, p conv.Problem, plan func(m maker) (G, error)) (b G, err error) {
	asked := map[string][]Candidate{}
	m.asked = &asked
	if b, err = plan(m); err != nil {
		return b, err
	}
	if m.asked = nil; m.tuning != nil {
		b.Close() // its workspace may be what the trials need
	}
	var choices []Choice
	var room *gradientTensors
	defer func() { room.free() }()
	m.forced = map[string]string{}
	for _, one := range tiledGradients {
		candidates, ok := asked[one.prefix]
		if !ok {
			continue
		}
		c, err := m.choose(Choice{Of: one.of, Candidates: candidates}, question(one.prefix, p, false), func(i int) (r recorded, err error) {
			if room == nil {
				if room, err = newGradientTensors(m.device, p); err != nil {
					return r, err
				}
			}
			try := m
			try.tuning, try.forced = nil, map[string]string{one.prefix: candidates[i].Name}
			b, err := plan(try)
			if err != nil {
				return r, err
			}
			return recorded{func(s *gpu.Stream) error {
				return b.RecordBackward(s, one.wants(room), room.x, room.offset, room.mask, room.y)
			}, b.Close}, nil
		})
		if err != nil {
			return b, err
		}
		choices = append(choices, c)
		m.forced[one.prefix] = c.Candidates[c.Chosen].Name
	}
	if m.tuning != nil {
		if b, err = plan(m); err != nil {
			return b, err
		}
	}
	b.choose(choices)
	return b, nil
}

// gradientTensors are a problem's and its gradients'.
type gradientTensors struct {
	*tensors
	dx, dweight, doffset Tensor
}

func newGradientTensors(d *gpu.Device, p conv.Problem) (*gradientTensors, error) {
	of, err := newTensors(d, p)
	if err != nil {
		return nil, err
	}
	t := &gradientTensors{tensors: of}
	for to, s := range map[*Tensor]conv.Shape{&t.dx: p.Input(), &t.dweight: p.Weight(), &t.doffset: offsetShape(p)} {
		if s.Len() == 0 {
			continue
		}
		if to.Buf, err = d.NewBuffer(4 * int64(s.Len())); err != nil {
			t.free()
			return nil, err
		}
	}
	return t, nil
}

func offsetShape(p conv.Problem) conv.Shape {
	if !p.Deformable() {
		return conv.Shape{}
	}
	return p.Offset()
}

func (t *gradientTensors) free() {
	if t == nil {
		return
	}
	t.tensors.free()
	for _, b := range []*gpu.Buffer{t.dx.Buf, t.dweight.Buf, t.doffset.Buf} {
		b.Free()
	}
}
