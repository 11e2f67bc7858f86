//go:build cgo

package kernels

import (
	"context"
	"fmt"
	"math"
	"testing"

	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// onDeviceLayer runs record with a tensor for each output and input of a case, all
// between guard words of one buffer, and reads the outputs.
func onDeviceLayer(d *gpu.Device, out, in [][]float32, record func(s *gpu.Stream, out, in []Tensor) error) error {
	const gap = 64
	align := int(max(d.Info().Limits.StorageAlign/4, 1))
	var words []uint32
	var starts []int
	place := func(v []float32) {
		for range gap {
			words = append(words, guardAt(len(words)))
		}
		for len(words)%align != 0 {
			words = append(words, guardAt(len(words)))
		}
		starts = append(starts, len(words))
		for _, f := range v {
			words = append(words, math.Float32bits(f))
		}
	}
	for _, v := range append(append([][]float32{}, out...), in...) {
		place(v)
	}
	place(nil)
	buf, err := d.NewBuffer(int64(4 * len(words)))
	if err != nil {
		return err
	}
	defer buf.Free()
	bytes := func(w []uint32) []byte {
		f := make([]byte, 0, 4*len(w))
		for _, v := range w {
			f = append(f, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
		return f
	}
	if err := d.Upload(buf, 0, bytes(words)); err != nil {
		return err
	}
	tensors := make([]Tensor, len(out)+len(in))
	for i := range tensors {
		tensors[i] = Tensor{buf, int64(4 * starts[i])}
	}
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	if err := record(s, tensors[:len(out)], tensors[len(out):]); err != nil {
		s.Discard()
		return err
	}
	sub, err := s.Submit()
	if err != nil {
		return err
	}
	if err := sub.Wait(context.Background()); err != nil {
		return err
	}
	got := make([]byte, 4*len(words))
	if err := d.Download(got, buf, 0); err != nil {
		return err
	}
	word := func(i int) uint32 {
		return uint32(got[4*i]) | uint32(got[4*i+1])<<8 | uint32(got[4*i+2])<<16 | uint32(got[4*i+3])<<24
	}
	at := 0
	for i, v := range out {
		for ; at < starts[i]; at++ {
			if word(at) != words[at] {
				return fmt.Errorf("word %d before output %d was written", at, i)
			}
		}
		for j := range v {
			v[j] = math.Float32frombits(word(at + j))
		}
		at += len(v)
	}
	for ; at < len(words); at++ {
		if word(at) != words[at] {
			return fmt.Errorf("word %d behind the outputs was written", at)
		}
	}
	return nil
}

// recordLayer plans a case and records it.
func recordLayer(d *gpu.Device, c convtest.LayerCase, s *gpu.Stream, out, in []Tensor) (closers []func(), err error) {
	whole := func(t Tensor) View { return View{Tensor: t} }
	switch {
	case c.Add:
		p, err := NewAdd(d, c.Shape.Len())
		if err != nil {
			return nil, err
		}
		return nil, p.Record(s, out[0], in[0], in[1])
	case c.Activation != nil:
		f, err := NewActivation(d, c.Shape, *c.Activation)
		if err != nil {
			return nil, err
		}
		b, err := NewActivationBackward(d, c.Shape.Len(), *c.Activation)
		if err != nil {
			return nil, err
		}
		if err := f.Record(s, whole(out[0]), whole(in[0])); err != nil {
			return nil, err
		}
		return nil, b.Record(s, out[1], in[0], in[1])
	case c.Pool != nil:
		f, err := NewWindow(d, *c.Pool)
		if err != nil {
			return nil, err
		}
		if err := f.Record(s, whole(out[0]), whole(in[0])); err != nil {
			return nil, err
		}
		if !c.Pool.Maximum {
			b, err := NewMeanBackward(d, *c.Pool)
			if err != nil {
				return nil, err
			}
			return nil, b.Record(s, whole(out[1]), whole(in[1]))
		}
		b, err := NewMaxBackward(d, *c.Pool)
		if err != nil {
			return nil, err
		}
		return nil, b.Record(s, out[1], in[0], in[1])
	}
	if c.SGD != nil || c.Adam != nil {
		for i := range out { // in place
			if err := s.Copy(out[i].Buf, out[i].Offset, in[i+1].Buf, in[i+1].Offset, 4*int64(c.Shape.Len())); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case c.Entropy != nil:
		p, err := NewCrossEntropy(d, *c.Entropy)
		if err != nil {
			return nil, err
		}
		if err := p.Record(s, out[0], Tensor{}, in[0], in[1]); err != nil {
			return nil, err
		}
		return nil, p.Record(s, out[0], out[1], in[0], in[1])
	case c.SGD != nil:
		p, err := NewSGD(d, c.Shape.Len(), *c.SGD)
		if err != nil {
			return nil, err
		}
		return nil, p.Record(s, out[0], out[1], in[0], c.Rate)
	case c.Adam != nil:
		p, err := NewAdam(d, c.Shape.Len(), *c.Adam)
		if err != nil {
			return nil, err
		}
		return nil, p.Record(s, out[0], out[1], out[2], in[0], c.Rate, c.Step)
	}
	var plans [3]*BatchNorm
	for i, plan := range []func() (*BatchNorm, error){
		func() (*BatchNorm, error) { return NewBatchNorm(d, *c.Norm) },
		func() (*BatchNorm, error) { return NewBatchNormTraining(d, *c.Norm) },
		func() (*BatchNorm, error) { return NewBatchNormBackward(d, *c.Norm) },
	} {
		if plans[i], err = plan(); err != nil {
			return closers, err
		}
		closers = append(closers, plans[i].Close)
	}
	for i := range 2 { // running moments are changed in place
		if err := s.Copy(out[4+i].Buf, out[4+i].Offset, in[4+i].Buf, in[4+i].Offset, 4*int64(c.Norm.C)); err != nil {
			return closers, err
		}
	}
	if err := plans[0].Record(s, out[0], in[0], in[2], in[3], Moments{in[4], in[5]}); err != nil {
		return closers, err
	}
	if err := plans[1].RecordTraining(s, out[1], Moments{out[2], out[3]}, Moments{out[4], out[5]}, in[0], in[2], in[3]); err != nil {
		return closers, err
	}
	return closers, plans[2].RecordBackward(s, Grads{X: out[6], Weight: out[7], Bias: out[8]}, in[0], in[1], in[2], Moments{in[6], in[7]})
}

// TestLayers holds the small operators to the oracle, twice with the same bits.
func TestLayers(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		convtest.Layers(t, convtest.Cases(150), func(c convtest.LayerCase, out, in [][]float32) error {
			var first []float32
			for again := range 2 {
				var closers []func()
				err := onDeviceLayer(d, out, in, func(s *gpu.Stream, out, in []Tensor) (err error) {
					closers, err = recordLayer(d, c, s, out, in)
					return err
				})
				for _, f := range closers {
					f()
				}
				if err != nil {
					return err
				}
				var all []float32
				for _, o := range out {
					all = append(all, o...)
				}
				for i, v := range all {
					if again > 0 && math.Float32bits(v) != math.Float32bits(first[i]) {
						return fmt.Errorf("element %d is %g, before %g", i, v, first[i])
					}
				}
				first = all
			}
			return nil
		})
	})
}
