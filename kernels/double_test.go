//go:build cgo

package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// Convolutions of which a device binds part of an image, and sums and activations:
// within the bound; the bits of the whole but of deformable gradients by input, offset and mask.
func TestDoublePieces(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		if !d.Info().Features.Float64 {
			t.Skip("no double precision")
		}
		ways, worst := map[string]int{}, map[string]float64{}
		for i := range convtest.Cases(40) {
			c := convtest.Random64(convtest.Seed()+43, i/3*9+i%3) // convolutions
			p, ordinary := c.Problem.(conv.Problem)
			if !ordinary {
				p = c.Problem.(conv.Transposed).Of
			}
			one := p
			one.N = 1
			least := max(p.H*p.W, p.Ho*p.Wo, p.Weight().Len(), p.K*p.Wo, one.Input().Len()/3, one.Output().Len()/3)
			if p.Deformable() {
				least = max(p.H*p.W, p.Weight().Len(), p.K*p.Wo, 2*p.OffsetGroups*p.Taps()*p.Wo, one.Input().Len()/3)
			}
			m := binding(d, 8*int64(least)+2*granule)
			convtest.OneDouble(t, c, func(c convtest.Case64, y []float64, g convtest.Grads64) error {
				plan, err := newDouble(m, c.Problem, false, c.Weight, c.Bias)
				if err != nil {
					return err
				}
				plan.Close()
				if plan.pieces != nil {
					ways[fmt.Sprint("deformable ", p.Deformable(), " transposed ", !ordinary)]++
				}
				if err := double(m, c, y, g); err != nil {
					return err
				}
				again := convtest.Grads64{X: slices.Clone(g.X), Weight: slices.Clone(g.Weight), Bias: slices.Clone(g.Bias), Offset: slices.Clone(g.Offset), Mask: slices.Clone(g.Mask)}
				z := slices.Clone(y)
				if err := double(makerFor(d), c, z, again); err != nil {
					return err
				}
				same := func(a, b []float64) bool { return bytes.Equal(bytesOf64(a), bytesOf64(b)) }
				if !same(y, z) || !same(g.X, again.X) && !p.Deformable() || !same(g.Weight, again.Weight) || !same(g.Bias, again.Bias) {
					return errors.New("other bits than the whole's")
				}
				return nil
			}, worst)
			if t.Failed() {
				t.Fatalf("stopped at case %d", i)
			}
		}
		const n = 5*runStep + 77
		sum := conv.Elementwise{Shape: conv.Shape{1, 1, 1, n}, Sum: true}
		whole, err := newDouble(makerFor(d), sum, false, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		runs, err := newDouble(binding(d, 8*(2*runStep+9)), sum, false, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(convtest.Seed(), 46)) // two float32 make some float64
		in := [][]float32{convtest.Normal(r, 2*n), convtest.Normal(r, 2*n)}
		var got [2][][]float32
		for i, plan := range []*Double{whole, runs} {
			got[i] = [][]float32{make([]float32, 2*n)}
			if err := onDeviceLayer(d, got[i], in, func(s *gpu.Stream, out, in []Tensor) error {
				return plan.Record(s, DoubleTensors{{Tensor: out[0]}, {Tensor: in[0]}, {Tensor: in[1]}})
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := sameBits(got[1][0], got[0][0]); err != nil {
			t.Errorf("a sum in runs: %v", err)
		}
		if len(ways) < 3 && convtest.Cases(40) >= 40 {
			t.Errorf("not every way was gone: %v", ways)
		}
		t.Logf("%v, worst share of the bound %v", ways, worst)
	})
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
