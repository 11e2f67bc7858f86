//go:build cgo

package kernels

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
)

// strip is one device buffer with tensors between guard words. A tensor that is
// to be written starts as NaN.
type strip struct {
	words   []uint32
	written []bool
	step    int
}

func newStrip(d *gpu.Device) *strip {
	s := &strip{step: max(int(d.Info().Limits.StorageAlign)/4, 16)}
	s.guard()
	return s
}

func (s *strip) guard() {
	for range 64 + (s.step-len(s.words)%s.step)%s.step {
		s.words, s.written = append(s.words, guardAt(len(s.words))), append(s.written, false)
	}
}

// add places a tensor and returns its first word.
func (s *strip) add(v []float32, written bool) int {
	at := len(s.words)
	for _, f := range v {
		w := math.Float32bits(f)
		if written {
			w = 0x7fc00001
		}
		s.words, s.written = append(s.words, w), append(s.written, written)
	}
	s.guard()
	s.guard()
	for len(s.words)%s.step != 0 {
		s.words, s.written = append(s.words, guardAt(len(s.words))), append(s.written, false)
	}
	return at
}

// do uploads the strip, records and runs, and checks that nothing but what is
// to be written was.
func (s *strip) do(d *gpu.Device, record func(s *gpu.Stream, b *gpu.Buffer) error) ([]uint32, error) {
	raw := func(w []uint32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), 4*len(w)) }
	b, err := d.NewBuffer(int64(4 * len(s.words)))
	if err != nil {
		return nil, err
	}
	defer b.Free()
	if err := d.Upload(b, 0, raw(s.words)); err != nil {
		return nil, err
	}
	stream, err := d.NewStream()
	if err != nil {
		return nil, err
	}
	if err := record(stream, b); err != nil {
		stream.Discard()
		return nil, err
	}
	sub, err := stream.Submit()
	if err != nil {
		return nil, err
	}
	if err := sub.Wait(context.Background()); err != nil {
		return nil, err
	}
	got := make([]uint32, len(s.words))
	if err := d.Download(raw(got), b, 0); err != nil {
		return nil, err
	}
	for i, w := range got {
		if !s.written[i] && w != s.words[i] {
			return nil, fmt.Errorf("word %d, of no gradient, changed from %#x to %#x", i, s.words[i], w)
		}
	}
	return got, nil
}

// backwardPlan is what both kinds are to the tests.
type backwardPlan interface {
	Describe() string
	Workspace() int64
	Close()
}

// gradients runs a case's backward pass; gradients of g that are nil are not wanted.
func gradients(m maker, c convtest.Case, g convtest.Grads, dy []float32) (backwardPlan, error) {
	var plan backwardPlan
	var record func(*gpu.Stream, Grads, [4]Tensor) error
	if c.Problem.Deformable() {
		b, err := newDeformConv2DBackward(m, c.Problem, c.Weight)
		if err != nil {
			return nil, err
		}
		plan, record = b, func(s *gpu.Stream, g Grads, t [4]Tensor) error { return b.Record(s, g, t[0], t[1], t[2], t[3]) }
	} else {
		b, err := newConv2DBackward(m, c.Problem, c.Weight, m.lists > 0)
		if err != nil {
			return nil, err
		}
		plan, record = b, func(s *gpu.Stream, g Grads, t [4]Tensor) error { return b.Record(s, g, t[0], t[3]) }
	}
	defer plan.Close()
	return plan, runGradients(m.device, [4][]float32{c.X, c.Offset, c.Mask, dy}, g, record)
}

// runGradients lays out inputs and wanted gradients and fetches the results.
func runGradients(d *gpu.Device, in [4][]float32, g convtest.Grads, record func(*gpu.Stream, Grads, [4]Tensor) error) error {
	s := newStrip(d)
	var inAt [4]int
	for i, v := range in {
		inAt[i] = s.add(v, false)
	}
	out := [5][]float32{g.X, g.Weight, g.Bias, g.Offset, g.Mask}
	var outAt [5]int
	for i, v := range out {
		outAt[i] = s.add(v, true)
	}
	got, err := s.do(d, func(stream *gpu.Stream, b *gpu.Buffer) error {
		tensor := func(at int) Tensor { return Tensor{b, int64(4 * at)} }
		var want Grads
		for i, t := range []*Tensor{&want.X, &want.Weight, &want.Bias, &want.Offset, &want.Mask} {
			if out[i] != nil {
				*t = tensor(outAt[i])
			}
		}
		return record(stream, want, [4]Tensor{tensor(inAt[0]), tensor(inAt[1]), tensor(inAt[2]), tensor(inAt[3])})
	})
	if err != nil {
		return err
	}
	for i, v := range out {
		for j := range v {
			v[j] = math.Float32frombits(got[outAt[i]+j])
		}
	}
	return nil
}

// wanted drops the gradients that a problem does not have: the suite hands
// empty slices for those.
func wanted(p conv.Problem, g convtest.Grads) convtest.Grads {
	if !p.Bias {
		g.Bias = nil
	}
	if !p.Deformable() {
		g.Offset = nil
	}
	if !p.Mask {
		g.Mask = nil
	}
	return g
}

// blank makes room for all gradients of a problem.
func blank(p conv.Problem) convtest.Grads {
	g := convtest.Grads{X: make([]float32, p.Input().Len()), Weight: make([]float32, p.Weight().Len()), Bias: make([]float32, p.K)}
	if p.Deformable() {
		g.Offset, g.Mask = make([]float32, p.Offset().Len()), make([]float32, p.MaskShape().Len())
	}
	return wanted(p, g)
}

type judged struct {
	name string
	got  []float32
	sums []conv.Sum
	want []float64
}

func judge(t *testing.T, name string, worst map[string]float64, roundings int, all []judged) {
	t.Helper()
	for _, j := range all {
		if j.sums == nil || j.got == nil {
			continue
		}
		v := conv.Judge(j.got, j.sums, j.want, roundings)
		worst[j.name] = max(worst[j.name], v.Worst)
		if !v.OK() {
			t.Errorf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", name, j.name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
		}
	}
}

// differs says where bits differ, in gradients that both have.
func differs(a, b convtest.Grads) string {
	names := []string{"dx", "dweight", "dbias", "doffset", "dmask"}
	others := [][]float32{b.X, b.Weight, b.Bias, b.Offset, b.Mask}
	for i, v := range [][]float32{a.X, a.Weight, a.Bias, a.Offset, a.Mask} {
		for j := range others[i] {
			if math.Float32bits(v[j]) != math.Float32bits(others[i][j]) {
				return fmt.Sprintf("%s[%d] is %g and %g", names[i], j, v[j], others[i][j])
			}
		}
	}
	return ""
}

// count counts the kernels that a plan names.
func count(used map[string]int, plan backwardPlan) {
	for _, word := range strings.FieldsFunc(plan.Describe(), func(r rune) bool { return strings.ContainsRune(" ;,:", r) }) {
		if strings.Contains(word, "_") {
			used[word]++
		}
	}
}
