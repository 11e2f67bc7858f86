//go:build cgo

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"unsafe"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/tensorio"
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
		s.words, s.written = append(s.words, guard), append(s.written, false)
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
		s.words, s.written = append(s.words, guard), append(s.written, false)
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

// recorder is what both kinds of backward plan are to the tests.
type backwardPlan interface {
	Describe() string
	Workspace() int64
	Close()
}

// gradients runs a case's backward pass; gradients of g that are nil are not wanted.
func gradients(d *gpu.Device, c convtest.Case, g convtest.Grads, dy []float32) (backwardPlan, error) {
	var plan backwardPlan
	var record func(*gpu.Stream, Grads, [4]Tensor) error
	if c.Problem.Deformable() {
		b, err := NewDeformConv2DBackward(d, c.Problem, c.Weight)
		if err != nil {
			return nil, err
		}
		plan, record = b, func(s *gpu.Stream, g Grads, t [4]Tensor) error { return b.Record(s, g, t[0], t[1], t[2], t[3]) }
	} else {
		b, err := NewConv2DBackward(d, c.Problem, c.Weight)
		if err != nil {
			return nil, err
		}
		plan, record = b, func(s *gpu.Stream, g Grads, t [4]Tensor) error { return b.Record(s, g, t[0], t[3]) }
	}
	defer plan.Close()
	return plan, runGradients(d, [4][]float32{c.X, c.Offset, c.Mask, dy}, g, record)
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

// TestBackward runs the shared suite.
func TestBackward(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		convtest.Backward(t, convtest.Cases(60), func(c convtest.Case, g convtest.Grads, dy []float32) error {
			_, err := gradients(d, c, wanted(c.Problem, g), dy)
			return err
		})
	})
}

// TestBackwardOutside compares with PyTorch's and torchvision's gradients.
func TestBackwardOutside(t *testing.T) {
	paths, err := filepath.Glob("../convtest/testdata/cases/*.npz")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		worst, compared := map[string]float64{}, 0
		for _, path := range paths {
			c, err := tensorio.ReadCase(path)
			if err != nil {
				t.Fatal(err)
			}
			if !c.HasBackward() {
				continue
			}
			compared++
			k := convtest.Case{Name: c.Name, Problem: c.Problem, X: c.X, Weight: c.Weight, Bias: c.Bias, Offset: c.Offset, Mask: c.Mask}
			g := blank(c.Problem)
			if _, err := gradients(d, k, g, c.DY); err != nil {
				t.Errorf("%s: %v", c.Name, err)
				continue
			}
			want := k.WantGrads(c.DY)
			judge(t, c.Name, worst, k.Roundings(), []judged{{"dx", g.X, want.X, c.DX}, {"dweight", g.Weight, want.Weight, c.DWeight},
				{"dbias", g.Bias, want.Bias, c.DBias}, {"doffset", g.Offset, want.Offset, c.DOffset}, {"dmask", g.Mask, want.Mask, c.DMask}})
		}
		t.Logf("%d outside cases, worst share of the bound %v", compared, worst)
	})
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

// TestBackwardSame asks for the same bits 20 times.
func TestBackwardSame(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for i := range convtest.Cases(12) {
			c := convtest.Random(convtest.Seed()+1, i)
			dy := c.OutputGrad()
			first := blank(c.Problem)
			for j := range 20 {
				g := blank(c.Problem)
				if _, err := gradients(d, c, g, dy); err != nil {
					t.Fatal(err)
				}
				if j == 0 {
					first = g
				} else if where := differs(first, g); where != "" {
					t.Fatalf("%s: run %d: %s", c.Name, j, where)
				}
			}
		}
	})
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

// TestBackwardSubsets wants some gradients only: they must have the bits that
// they have among all.
func TestBackwardSubsets(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range convtest.Cases(30) {
			c := convtest.Random(convtest.Seed()+2, i)
			dy := c.OutputGrad()
			all, some := blank(c.Problem), blank(c.Problem)
			for _, v := range []*[]float32{&some.X, &some.Weight, &some.Bias, &some.Offset, &some.Mask} {
				if r.IntN(2) == 0 {
					*v = nil
				}
			}
			if _, err := gradients(d, c, all, dy); err != nil {
				t.Fatal(err)
			}
			if _, err := gradients(d, c, some, dy); err != nil {
				t.Fatal(err)
			}
			if where := differs(all, some); where != "" {
				t.Fatalf("%s: %s", c.Name, where)
			}
		}
	})
}

// TestBackwardExtremeOffsets: nothing outside is read or written, and NaN
// arrives where the oracle has it.
func TestBackwardExtremeOffsets(t *testing.T) {
	inf := float32(math.Inf(1))
	extremes := []float32{float32(math.NaN()), inf, -inf, 1e30, -1e30, math.MaxFloat32, -math.MaxFloat32, 2147483648, -2147483648, 1 << 30, -1}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r, ran := rand.New(rand.NewPCG(5, 6)), 0
		for i := 0; ran < convtest.Cases(20); i++ {
			c := convtest.Random(convtest.Seed()+3, i)
			if !c.Problem.Deformable() || c.Problem.N == 0 {
				continue
			}
			ran++
			for j := range c.Offset {
				if r.IntN(4) == 0 {
					c.Offset[j] = extremes[r.IntN(len(extremes))]
				}
			}
			convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
				_, err := gradients(d, c, wanted(c.Problem, g), dy)
				return err
			}, map[string]float64{})
			if t.Failed() {
				return
			}
		}
	})
}

// TestBackwardRefuses: what cannot be, is said.
func TestBackwardRefuses(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p, err := conv.Params{}.Problem(conv.Shape{1, 2, 5, 5}, conv.Shape{3, 2, 3, 3}, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewConv2DBackward(d, p, make([]float32, 5)); !errors.Is(err, conv.ErrShape) {
			t.Errorf("a short weight: %v", err)
		}
		if _, err := NewDeformConv2DBackward(d, p, make([]float32, 54)); !errors.Is(err, conv.ErrParams) {
			t.Errorf("an ordinary problem as a deformable one: %v", err)
		}
		b, err := NewConv2DBackward(d, p, make([]float32, 54))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		buf, err := d.NewBuffer(108)
		if err != nil {
			t.Fatal(err)
		}
		defer buf.Free()
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Discard()
		tensor := Tensor{Buf: buf}
		if err := b.Record(s, Grads{X: tensor}, Tensor{}, tensor); !errors.Is(err, conv.ErrShape) {
			t.Errorf("a short dx: %v", err)
		}
		if err := b.Record(s, Grads{Weight: tensor}, Tensor{}, tensor); !errors.Is(err, conv.ErrShape) {
			t.Errorf("dweight without x: %v", err)
		}
		if err := b.Record(s, Grads{Offset: tensor}, tensor, tensor); !errors.Is(err, conv.ErrParams) {
			t.Errorf("doffset of an ordinary convolution: %v", err)
		}
		if err := b.Record(s, Grads{Bias: tensor}, Tensor{}, tensor); err != nil {
			t.Errorf("dbias alone: %v", err)
		}
	})
}

// TestRecordBackwardAllocates nothing once it has run.
func TestRecordBackwardAllocatesNothing(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		x, w := conv.Shape{2, 8, 9, 9}, conv.Shape{8, 8, 3, 3}
		p, err := conv.Params{Padding: conv.Pad(1)}.DeformProblem(conv.Deform{Mask: true}, x, w, true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewDeformConv2DBackward(d, p, make([]float32, w.Len()))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		var tensors [9]Tensor
		for i := range tensors {
			buf, err := d.NewBuffer(4 * int64(p.Offset().Len()))
			if err != nil {
				t.Fatal(err)
			}
			defer buf.Free()
			if err := d.Fill(buf, 0, buf.Size(), 0); err != nil {
				t.Fatal(err)
			}
			tensors[i].Buf = buf
		}
		g := Grads{tensors[0], tensors[1], tensors[2], tensors[3], tensors[4]}
		s, err := d.NewStream()
		if err != nil {
			t.Fatal(err)
		}
		record := func() {
			if err := b.Record(s, g, tensors[5], tensors[6], tensors[7], tensors[8]); err != nil {
				t.Fatal(err)
			}
		}
		for range 40 { // the stream's own pools grow
			record()
		}
		if n := testing.AllocsPerRun(10, record); n > 0.5 {
			t.Errorf("recording allocates %g times", n)
		}
		sub, err := s.Submit()
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
