//go:build cgo

package kernels

import (
	"errors"
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// way is a candidate for a convolution's forward pass, with what builds it.
type way struct {
	launch   launch       // of a variant
	winograd winogradPlan // where launch has no module
}

func (w way) build(d *gpu.Device, p conv.Problem, weight, bias []float32) (forward, error) {
	switch {
	case w.launch.module == nil:
		return orNothing(newWinograd(d, p, w.winograd, weight, bias))
	case w.launch.parts > 1:
		return orNothing(newSplit(d, p, w.launch, weight, bias))
	}
	return orNothing(newOperator(d, w.launch, weight, bias))
}

// orNothing is f, but a nil interface where there is an error.
func orNothing[F forward](f F, err error) (forward, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ways are all variants, splits, and Winograd's algorithm where it is allowed. The error
// is that of the device's limits where they are why none fits.
func ways(p conv.Problem, t traits, winograd bool) (list []way, c []Candidate, err error) {
	fits := false
	for _, v := range variants {
		l, why, failed := plan(p, t, v)
		if failed != nil {
			why, err = failed.Error(), failed
		}
		fits = fits || why == ""
		list = append(list, way{launch: l})
		c = append(c, Candidate{Name: v.String(), Unfit: why, Cost: l.cost})
	}
	if !fits {
		if err == nil {
			err = fmt.Errorf("%w: no kernel for this problem", conv.ErrUnsupported)
		}
		return nil, nil, err
	}
	for _, v := range splits {
		l, why := planSplit(p, t, v)
		list = append(list, way{launch: l})
		c = append(c, Candidate{Name: v.String(), Unfit: why, Cost: l.cost})
	}
	for _, m := range []conv.Winograd{2, 4} {
		if !winograd {
			break
		}
		w, err := planWinograd(p, t, m, winogradRoom)
		why := ""
		if err != nil {
			why = err.Error()
		}
		list = append(list, way{winograd: w})
		c = append(c, Candidate{Name: fmt.Sprintf("winograd_m%d", m), Unfit: why, Cost: w.cost})
	}
	return list, c, nil
}

// algorithms is what a convolution may be computed by.
type algorithms uint8

const (
	onePass      algorithms = iota // an operator alone
	direct                         // and what takes several passes
	withWinograd                   // and Winograd's algorithm
)

// forwardWay decides how p is computed whole.
func (m maker) forwardWay(of string, p conv.Problem, weight, bias []float32, allowed algorithms) (way, Choice, error) {
	winograd := allowed == withWinograd
	list, c, err := ways(p, m.traits, winograd)
	if err != nil {
		return way{}, Choice{}, err
	}
	for i := range c {
		if allowed == onePass && list[i].launch.parts > 1 && c[i].Unfit == "" {
			c[i].Unfit = "this takes kernels of one pass"
		}
	}
	var room *tensors
	defer func() { room.free() }()
	choice, err := m.choose(Choice{Of: of, Candidates: c}, question("forward", p, winograd), func(i int) (r recorded, err error) {
		if room == nil {
			if room, err = newTensors(m.device, p); err != nil {
				return r, err
			}
		}
		f, err := list[i].build(m.device, p, weight, bias)
		if err != nil {
			return r, err
		}
		return recorded{func(s *gpu.Stream) error {
			return f.recordForward(s, View{Tensor: room.y}, View{Tensor: room.x}, room.offset, room.mask)
		}, f.Close}, nil
	})
	if err != nil {
		return way{}, choice, err
	}
	return list[choice.Chosen], choice, nil
}

// newForward plans p: whole where the device's limits allow, else in pieces, whose
// kernel the cost model chooses.
func newForward(m maker, p conv.Problem, weight, bias []float32) (planned, error) {
	if err := m.checkSplit(); err != nil {
		return planned{}, err
	}
	allowed := direct
	if m.winograd {
		allowed = withWinograd
	}
	w, choice, err := m.forwardWay("y", p, weight, bias, allowed)
	switch {
	case err == nil:
		f, err := w.build(m.device, p, weight, bias)
		return planned{f, []Choice{choice}}, err
	case errors.Is(err, gpu.ErrTooLarge) && p.Deformable() && !fitsImage(p, m.traits):
		f, err := orNothing(newBlockedDeform(m, p, weight, bias))
		return planned{f, nil}, err
	case errors.Is(err, gpu.ErrTooLarge):
		f, err := newPiecewise(m.device, p, m.traits, weight, bias)
		return planned{f, nil}, err
	}
	return planned{}, fmt.Errorf("kernels: %w", err)
}
