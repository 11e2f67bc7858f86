//go:build cgo

package kernels

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/tensorio"
)

// TestBackward runs the shared suite: as the device would, with the kernels for
// other devices, and with little room, so that there are many parts.
func TestBackward(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		other, parts, scatter := makerFor(d), makerFor(d), makerFor(d)
		other.traits.Software, other.traits.SubgroupOps = false, false
		parts.column, parts.pixels, parts.lists = 600, 5, 1<<20
		scatter.column, scatter.pixels, scatter.lists = 2000, 5, 0 // and dx by its own kernel
		for _, c := range []struct {
			name string
			m    maker
		}{{"usual", makerFor(d)}, {"other", other}, {"parts", parts}, {"scatter", scatter}} {
			t.Run(c.name, func(t *testing.T) {
				used := map[string]int{}
				convtest.Backward(t, convtest.Cases(60), func(k convtest.Case, g convtest.Grads, dy []float32) error {
					plan, err := gradients(c.m, k, wanted(k.Problem, g), dy)
					if err == nil {
						count(used, plan)
					}
					return err
				})
				t.Log(used)
			})
		}
	})
}

// TestBackwardShapes draws what the suite seldom does and kernels were made
// for: 3×3 depthwise in every mode, padding that keeps the size.
func TestBackwardShapes(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r, used, worst := rand.New(rand.NewPCG(convtest.Seed(), 11)), map[string]int{}, map[string]float64{}
		for ran := 0; ran < convtest.Cases(40); {
			dilation := [2]int{1 + r.IntN(4), 1 + r.IntN(4)}
			params := conv.Params{Dilation: dilation, Groups: 1 + r.IntN(9),
				Padding: conv.Padding{Top: r.IntN(2*dilation[0] + 1), Left: r.IntN(2*dilation[1] + 1), Bottom: r.IntN(9), Right: r.IntN(9)}}
			x, w := conv.Shape{1 + r.IntN(2), params.Groups * (1 + r.IntN(2)), 1 + r.IntN(50), 1 + r.IntN(30)}, conv.Shape{params.Groups * (1 + r.IntN(2)), 0, 3, 3}
			switch w[1] = x[1] / params.Groups; r.IntN(4) {
			case 0: // as it is
			case 1:
				e := 1 + r.IntN(2)
				params.Stride = [2]int{dilation[0] * e, dilation[1] * e}
			case 2:
				params.Stride, params.Mode = [2]int{1 + r.IntN(2), 1 + r.IntN(2)}, conv.PaddingMode(1+r.IntN(3))
			case 3:
				params.Groups = 1
				x[1], w[0], w[1] = 3+r.IntN(20), 1+r.IntN(40), 0
				w[1], w[2], w[3] = x[1], 1+2*r.IntN(2), 1+2*r.IntN(2)
				params.Padding.Top, params.Padding.Left = dilation[0]*(w[2]/2), dilation[1]*(w[3]/2)
			}
			p, err := params.Problem(x, w, r.IntN(2) == 0)
			if err != nil {
				continue
			}
			ran++
			c := convtest.Fill(r, p)
			c.Name = convtest.Describe(p)
			convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
				plan, err := gradients(makerFor(d), c, wanted(p, g), dy)
				if err == nil {
					count(used, plan)
				}
				return err
			}, worst)
			if t.Failed() {
				return
			}
		}
		t.Logf("worst share of the bound %v; %v", worst, used)
	})
}

// TestCrowd drives all samples into few cells, where lists are long.
func TestCrowd(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		p, err := conv.Params{Padding: conv.Pad(1)}.DeformProblem(conv.Deform{OffsetGroups: 2}, conv.Shape{2, 4, 20, 19}, conv.Shape{3, 4, 3, 3}, false)
		if err != nil {
			t.Fatal(err)
		}
		c := convtest.Fill(rand.New(rand.NewPCG(7, 8)), p)
		c.Name = "crowd"
		r := rand.New(rand.NewPCG(9, 10))
		for i := range c.Offset { // towards the middle, wherever the sample is
			channel, pixel := i/(p.Ho*p.Wo)%(2*p.Taps()), i%(p.Ho*p.Wo)
			tap, base := channel/2, 0
			if channel%2 == 0 {
				base = pixel/p.Wo - 1 + tap/3
			} else {
				base = pixel%p.Wo - 1 + tap%3
			}
			c.Offset[i] = float32(8-base) + r.Float32()*float32(1+i%2)
		}
		convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
			_, err := gradients(makerFor(d), c, wanted(p, g), dy)
			return err
		}, map[string]float64{})
		first := blank(p)
		for i := range 5 {
			g := blank(p)
			if _, err := gradients(makerFor(d), c, g, c.OutputGrad()); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = g
			} else if where := differs(first, g); where != "" {
				t.Fatal(where)
			}
		}
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
			if _, err := gradients(makerFor(d), k, g, c.DY); err != nil {
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

// TestBackwardSame asks for the same bits 20 times, with other work in flight.
func TestBackwardSame(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		stop, stopped := make(chan bool), make(chan error)
		go func() {
			c := convtest.Random(convtest.Seed()+9, 2)
			for {
				select {
				case <-stop:
					close(stopped)
					return
				default:
				}
				if _, err := gradients(makerFor(d), c, blank(c.Problem), c.OutputGrad()); err != nil {
					stopped <- err
					return
				}
			}
		}()
		defer func() {
			close(stop)
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		}()
		for i := range convtest.Cases(12) {
			c := convtest.Random(convtest.Seed()+1, i)
			dy := c.OutputGrad()
			first := blank(c.Problem)
			for j := range 20 {
				g := blank(c.Problem)
				if _, err := gradients(makerFor(d), c, g, dy); err != nil {
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
			if _, err := gradients(makerFor(d), c, all, dy); err != nil {
				t.Fatal(err)
			}
			if _, err := gradients(makerFor(d), c, some, dy); err != nil {
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
				_, err := gradients(makerFor(d), c, wanted(c.Problem, g), dy)
				return err
			}, map[string]float64{})
			if t.Failed() {
				return
			}
		}
	})
}

// TestBackwardFaded: exactly at −1 not even an infinite pixel at 0 counts.
func TestBackwardFaded(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, k := range []int{1, 9} { // one output channel and many: two kernels
			p, err := conv.Params{}.DeformProblem(conv.Deform{Mask: true}, conv.Shape{1, 1, 2, 2}, conv.Shape{k, 1, 1, 1}, false)
			if err != nil {
				t.Fatal(err)
			}
			inf := float32(math.Inf(1))
			c := convtest.Case{Problem: p, X: []float32{inf, 1, 1, 1}, Weight: make([]float32, k), Mask: []float32{1, 1, 1, 1},
				Offset: []float32{-1, -1, -2, -9, 0, 0, -1, -1}} // two places at −1, two farther out
			dy, g := make([]float32, 4*k), blank(p)
			for i := range dy {
				dy[i] = 1
			}
			for i := range c.Weight {
				c.Weight[i] = 1
			}
			if _, err := gradients(makerFor(d), c, g, dy); err != nil {
				t.Fatal(err)
			}
			for _, v := range append(g.Weight, g.Mask...) {
				if v != 0 {
					t.Errorf("%d channels: dweight %v, dmask %v, want zeros", k, g.Weight, g.Mask)
					break
				}
			}
		}
	})
}

// TestBackwardBorder: the border rule of the original code.
func TestBackwardBorder(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		gather, scatter := makerFor(d), makerFor(d)
		scatter.lists = 0
		ran, worst := 0, map[string]float64{}
		for i := 0; ran < convtest.Cases(40); i++ {
			c := convtest.Random(convtest.Seed()+4, i)
			if !c.Problem.Deformable() {
				continue
			}
			c.Problem.Border = conv.BorderCut
			for _, m := range []maker{gather, scatter} {
				ran++
				convtest.OneBackward(t, c, func(c convtest.Case, g convtest.Grads, dy []float32) error {
					_, err := gradients(m, c, wanted(c.Problem, g), dy)
					return err
				}, worst)
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%d cases, worst share of the bound %v", ran, worst)
	})
}

// TestBackwardNewWeights: SetWeights reaches every gradient that reads weights.
func TestBackwardNewWeights(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for i := range convtest.Cases(20) {
			c := convtest.Random(convtest.Seed()+5, i)
			dy, old := c.OutputGrad(), make([]float32, len(c.Weight))
			want, got := blank(c.Problem), blank(c.Problem)
			if _, err := gradients(makerFor(d), c, want, dy); err != nil {
				t.Fatal(err)
			}
			in := [4][]float32{c.X, c.Offset, c.Mask, dy}
			var err error
			if c.Problem.Deformable() {
				var b *DeformConv2DBackward
				if b, err = NewDeformConv2DBackward(d, c.Problem, old); err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				err = errors.Join(b.SetWeights(c.Weight), runGradients(d, in, got, func(s *gpu.Stream, g Grads, t [4]Tensor) error {
					return b.Record(s, g, t[0], t[1], t[2], t[3])
				}))
			} else {
				var b *Conv2DBackward
				if b, err = NewConv2DBackward(d, c.Problem, old); err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				err = errors.Join(b.SetWeights(c.Weight), runGradients(d, in, got, func(s *gpu.Stream, g Grads, t [4]Tensor) error {
					return b.Record(s, g, t[0], t[3])
				}))
			}
			if err != nil {
				t.Fatal(err)
			}
			if where := differs(want, got); where != "" {
				t.Fatalf("%s: %s", c.Name, where)
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
		big, err := d.NewBuffer(300)
		if err != nil {
			t.Fatal(err)
		}
		defer big.Free()
		if err := b.Record(s, Grads{X: Tensor{Buf: big}}, Tensor{}, Tensor{Buf: big}); err != nil {
			t.Errorf("dx without x: %v", err)
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
