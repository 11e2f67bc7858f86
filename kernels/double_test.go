//go:build cgo

package kernels

import (
	"context"
	"errors"
	"slices"
	"testing"
	"unsafe"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// double computes a float64 case by plans of its own, its sums cut into dispatches
// whose loops go round as often as m says.
func double(m maker, c convtest.Case64, y []float64, g convtest.Grads64) error {
	var forward, backward DoubleTensors
	var free []*gpu.Buffer
	defer func() {
		for _, b := range free {
			b.Free()
		}
	}()
	upload := func(v []float64) (View, error) {
		if v == nil {
			return View{}, nil
		}
		b, err := m.device.NewBuffer(8 * int64(max(len(v), 1)))
		if err != nil {
			return View{}, err
		}
		free = append(free, b)
		if len(v) > 0 {
			err = m.device.Upload(b, 0, bytesOf64(v))
		}
		return View{Tensor: Tensor{Buf: b}}, err
	}
	in := [][]float64{c.X}
	out := [][]float64{g.X, g.Weight, g.Bias, g.Offset, g.Mask}
	switch p := c.Problem.(type) {
	case conv.Problem:
		if p.Deformable() {
			in = append(in, c.Offset, c.Mask)
		}
	case conv.Transposed:
	case conv.RoIPool:
		in, out = append(in, c.RoIs, c.Offset, c.Mask), [][]float64{g.X, g.Offset, g.Mask}
	case conv.DCN:
		in, out = append(in, c.Offset, c.Mask), [][]float64{g.X, g.Offset, g.Mask}
	default: // which take dy alone
		in, out = in[:0], [][]float64{g.X}
	}
	plan, err := newDouble(m, c.Problem, false, c.Weight, c.Bias)
	if err != nil {
		return err
	}
	defer plan.Close()
	problem := c.Problem
	if p, ok := problem.(conv.Problem); ok {
		p.Activation = conv.Activation{}
		problem = p
	}
	back, err := newDouble(m, problem, true, c.Weight, nil)
	if err != nil {
		return err
	}
	defer back.Close()
	for i, v := range append(append([][]float64{y, c.X}, in[min(1, len(in)):]...), slices.Concat(out, in, [][]float64{c.Dy})...) {
		t, err := upload(v)
		if err != nil {
			return err
		}
		if k := 2 + max(len(in)-1, 0); i < k {
			forward[i] = t
		} else {
			backward[i-k] = t
		}
	}
	s, err := m.device.NewStream()
	if err != nil {
		return err
	}
	if err := errors.Join(plan.Record(s, forward), back.Record(s, backward)); err != nil {
		return err
	}
	sub, err := s.Submit()
	if err != nil {
		return err
	}
	if err := sub.Wait(context.Background()); err != nil {
		return err
	}
	for i, to := range append([][]float64{y}, out...) {
		if len(to) == 0 {
			continue
		}
		from := forward[0]
		if i > 0 {
			from = backward[i-1]
		}
		if err := m.device.Download(bytesOf64(to), from.Buf, 0); err != nil {
			return err
		}
	}
	return nil
}

func bytesOf64(v []float64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 8*len(v))
}

// Sums that are cut into many dispatches are the same sums.
func TestDoubleSteps(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		m := makerFor(d)
		if !d.Info().Features.Float64 {
			_, err := NewDouble(d, conv.GlobalPool{N: 1, C: 1, H: 1, W: 1}, false, nil, nil)
			if !errors.Is(err, conv.ErrUnsupported) {
				t.Errorf("a device without double precision: %v", err)
			}
			return
		}
		worst := map[string]float64{}
		for i := range convtest.Cases(40) {
			c := convtest.Random64(convtest.Seed()+41, i/3*9+i%3) // convolutions
			width := 0
			switch p := c.Problem.(type) {
			case conv.Problem:
				width = max(p.W, p.Wo*(2+p.S), p.K/p.Groups)
			case conv.Transposed:
				width = max(p.Of.W*functionRounds, p.Of.Wo*(2+p.Of.S))
			}
			m.traits.Loops = functionRounds + 3*width + 5
			convtest.OneDouble(t, c, func(c convtest.Case64, y []float64, g convtest.Grads64) error { return double(m, c, y, g) }, worst)
			if t.Failed() {
				t.Fatalf("stopped at case %d", i)
			}
		}
		t.Logf("worst share of the bound %v", worst)
		m.traits.Loops = 3
		if _, err := newDouble(m, convtest.Random64(1, 0).Problem, false, nil, nil); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("loops of 3 rounds: %v", err)
		}
	})
}
