//go:build cgo

package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/cpuref"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// binding is a maker for a device that binds so many bytes at most.
func binding(d *gpu.Device, bytes int64) maker {
	m := makerFor(d)
	m.traits.StorageRange = bytes
	return m
}

func sameBits(got, want []float32) error {
	for i, v := range got {
		if math.Float32bits(v) != math.Float32bits(want[i]) {
			return fmt.Errorf("element %d is %g, of the whole %g", i, v, want[i])
		}
	}
	return nil
}

// Pooling and resizing, and their gradients, on a device that binds less than
// they take: the bits of the whole, nothing written beside, also between channels
// of wider tensors.
func TestScalesInPieces(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r := rand.New(rand.NewPCG(convtest.Seed(), 41))
		kinds := map[string]int{}
		for i := range 16 {
			x := conv.Shape{1 + r.IntN(4), 1 + r.IntN(7), 5 + r.IntN(9), 5 + r.IntN(11)}
			var plan func(m maker, backward bool) (*scaler, error)
			switch i % 4 {
			case 0:
				p, err := conv.NewGlobalPool(x)
				if err != nil {
					t.Fatal(err)
				}
				plan = func(m maker, backward bool) (*scaler, error) {
					return newScaler(m, "pool", p.Input(), p.Output(), backward, true, float32s)
				}
			case 1:
				p := conv.Resize{N: x[0], C: x[1], H: x[2], W: x[3], Ho: 1 + r.IntN(12), Wo: 1 + r.IntN(12), AlignCorners: r.IntN(2) == 0}
				plan = func(m maker, backward bool) (*scaler, error) {
					s, err := newResize(m, p, backward, float32s)
					if err != nil {
						return nil, err
					}
					return s.scaler, nil
				}
			default:
				params, name := conv.PoolParams{Kernel: [2]int{2, 3}, Stride: [2]int{1 + r.IntN(2), 2}, Padding: conv.Pad(1)}, "window_mean"
				p, err := params.Average(x)
				if i%4 == 3 {
					name = "window_max"
					p, err = params.Max(x)
				}
				if err != nil {
					t.Fatal(err)
				}
				plan = func(m maker, backward bool) (*scaler, error) {
					if backward && p.Maximum {
						return nil, nil // reads two tensors: TestMaximumInPieces
					}
					return newWindow(m, name, p, backward, 1)
				}
			}
			for _, backward := range []bool{false, true} {
				whole, err := plan(makerFor(d), backward)
				if err != nil {
					t.Fatal(err)
				}
				if whole == nil {
					continue
				}
				in := convtest.Normal(r, whole.from.Len())
				want := make([]float32, whole.to.Len())
				if err := scale(d, whole, want, in, 0); err != nil {
					t.Fatal(err)
				}
				most := 4 * int64(max(whole.from.Len(), whole.to.Len()))
				for _, part := range []int64{2, 9} {
					m := binding(d, most/part+granule)
					for _, wider := range []int{0, 3} {
						few, err := plan(m, backward)
						if errors.Is(err, gpu.ErrTooLarge) {
							kinds["refused"]++
							continue
						}
						if err != nil {
							t.Fatal(err)
						}
						images, channels, err := few.most(few.to[1]+wider, few.from[1]+wider)
						switch {
						case err != nil:
							t.Fatal(err)
						case channels < few.to[1]:
							kinds["channels"]++
						case images < few.to[0]:
							kinds["images"]++
						}
						got := make([]float32, len(want))
						if err := scale(d, few, got, in, wider); err != nil {
							t.Fatalf("%s of %v in %d bytes, %d channels wider: %v", few.Describe(), x, m.traits.StorageRange, wider, err)
						}
						if err := sameBits(got, want); err != nil {
							t.Fatalf("%s of %v in %d bytes, %d channels wider: %v", few.Describe(), x, m.traits.StorageRange, wider, err)
						}
					}
				}
			}
		}
		if kinds["channels"] == 0 || kinds["images"] == 0 {
			t.Errorf("not every way was gone: %v", kinds)
		}
		t.Log(kinds)
	})
}

// The same of a maximum's gradient, which reads x besides.
func TestMaximumInPieces(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r := rand.New(rand.NewPCG(convtest.Seed(), 42))
		for _, x := range []conv.Shape{{5, 3, 7, 9}, {1, 9, 6, 5}, {3, 8, 5, 5}} {
			p, err := conv.PoolParams{Kernel: [2]int{3, 2}, Stride: [2]int{2, 1}, Padding: conv.Pad(1)}.Max(x)
			if err != nil {
				t.Fatal(err)
			}
			in, dy := convtest.Normal(r, x.Len()), convtest.Normal(r, p.Output().Len())
			var want []float32
			for _, m := range []maker{makerFor(d), binding(d, int64(4*x.Len()/2)), binding(d, int64(4*x[2]*x[3]*3/2+granule))} {
				s, err := newWindow(m, "window_max", p, true, 1)
				if err != nil {
					t.Fatal(err)
				}
				out := [][]float32{make([]float32, x.Len())}
				err = onDeviceLayer(d, out, [][]float32{in, dy}, func(stream *gpu.Stream, out, in []Tensor) error {
					return (&MaxBackward{s}).Record(stream, out[0], in[0], in[1])
				})
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = out[0]
				}
				if err := sameBits(out[0], want); err != nil {
					t.Errorf("%v in %d bytes: %v", x, m.traits.StorageRange, err)
				}
			}
		}
	})
}

// Batch normalization in pieces of images, channels and pixels: moments, gradients
// and outputs have the bits of the whole, since sums go on from piece to piece.
func TestBatchNormInPieces(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r := rand.New(rand.NewPCG(convtest.Seed(), 45))
		for _, x := range []conv.Shape{{5, 3, 7, 9}, {2, 6, 11, 13}, {3, 2, 40, 37}} {
			b, err := conv.BatchNormParams{}.BatchNorm(x)
			if err != nil {
				t.Fatal(err)
			}
			in := [][]float32{convtest.Normal(r, x.Len()), convtest.Normal(r, x.Len()), convtest.Normal(r, b.C), convtest.Normal(r, b.C)}
			var want [][]float32
			for _, elements := range []int{x.Len(), 2 * x.Len() / x[0], 2 * x[2] * x[3], x[2] * x[3] / 3} {
				m := binding(d, 4*int64(elements)+granule)
				var plans [3]*BatchNorm
				for i, of := range [][]string{{"batchnorm"}, {"batchnorm", "_mean", "_var"}, {"batchnorm_grad", "_grad"}} {
					if plans[i], err = newBatchNormOf(m, b, of[0], of[1:]...); err != nil {
						t.Fatal(err)
					}
					defer plans[i].Close()
				}
				if cut := elements < x.Len(); cut != (len(plans[0].pieces) > 1) {
					t.Errorf("%v in %d elements: %s", x, elements, plans[0].Describe())
				}
				c := b.C // y, mean, variance, running ones, dx, dweight, dbias, y once more
				out := make([][]float32, 9)
				for i, n := range []int{x.Len(), c, c, c, c, x.Len(), c, c, x.Len()} {
					out[i] = make([]float32, n)
				}
				err := onDeviceLayer(d, out, in, func(s *gpu.Stream, out, in []Tensor) error {
					for i := range 2 {
						if err := s.Fill(out[3+i].Buf, out[3+i].Offset, 4*int64(c), math.Float32bits(0.5)); err != nil {
							return err
						}
					}
					moments := Moments{out[1], out[2]}
					return errors.Join(plans[1].RecordTraining(s, out[0], moments, Moments{out[3], out[4]}, in[0], in[2], in[3]),
						plans[2].RecordBackward(s, Grads{X: out[5], Weight: out[6], Bias: out[7]}, in[0], in[1], in[2], moments),
						plans[0].Record(s, out[8], in[0], in[2], in[3], moments))
				})
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = out
				}
				for i := range out {
					if err := sameBits(out[i], want[i]); err != nil {
						t.Errorf("%v in %d elements, output %d: %v", x, elements, i, err)
					}
				}
			}
		}
	})
}

// Passes element by element in runs: sums, a step of an optimizer in place, casts.
func TestRuns(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r := rand.New(rand.NewPCG(convtest.Seed(), 43))
		const n = 5*runStep + 77
		a, b, c := convtest.Normal(r, n), convtest.Normal(r, n), convtest.Normal(r, n)
		small := binding(d, 4*(2*runStep+9))
		run := func(m maker, out, in [][]float32, record func(m maker, s *gpu.Stream, out, in []Tensor) error) []float32 {
			t.Helper()
			out = [][]float32{slices.Clone(out[0])}
			if err := onDeviceLayer(d, out, in, func(s *gpu.Stream, out, in []Tensor) error { return record(m, s, out, in) }); err != nil {
				t.Fatal(err)
			}
			return out[0]
		}
		for name, record := range map[string]func(m maker, s *gpu.Stream, out, in []Tensor) error{
			"add": func(m maker, s *gpu.Stream, out, in []Tensor) error {
				f, err := newFlat(m, "add", n, []string{"a", "b", "y"}, []int{n, n, n}, nil)
				if err != nil {
					return err
				}
				return (&Add{f}).Record(s, out[0], in[0], in[1])
			},
			"sgd": func(m maker, s *gpu.Stream, out, in []Tensor) error {
				f, err := newFlat(m, "sgd", n, []string{"gradient", "velocity", "parameters"}, []int{n, n, n},
					map[string]int{"rate": 0, "momentum": bits(0.9), "decay": bits(0.01), "nesterov": 1})
				if err != nil {
					return err
				}
				if err := s.Copy(out[0].Buf, out[0].Offset, in[0].Buf, in[0].Offset, 4*n); err != nil {
					return err
				}
				velocity, err := d.NewBuffer(4 * n)
				if err != nil {
					return err
				}
				defer velocity.Free()
				if err := s.Copy(velocity, 0, in[1].Buf, in[1].Offset, 4*n); err != nil {
					return err
				}
				return (&SGD{f}).Record(s, out[0], Tensor{Buf: velocity}, in[2], 0.1)
			},
			"casts": func(m maker, s *gpu.Stream, out, in []Tensor) error {
				half, err := d.NewBuffer((2*n + 3) / 4 * 4)
				if err != nil {
					return err
				}
				defer half.Free()
				for _, narrow := range []bool{true, false} {
					cast, err := newCast(m, conv.Float16, n, narrow)
					if err != nil {
						return err
					}
					to, from := Tensor{Buf: half}, in[0]
					if !narrow {
						to, from = out[0], to
					}
					if err := cast.Record(s, to, from); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			in, out := [][]float32{a, b, c}, [][]float32{make([]float32, n)}
			if err := sameBits(run(small, out, in, record), run(makerFor(d), out, in, record)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := newFlat(binding(d, 100), "add", n, []string{"a", "b", "y"}, []int{n, n, n}, nil); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("a binding of 100 bytes: %v", err)
		}
	})
}

// Transposed convolutions of batches that pass a binding, some images at a time:
// the output and the gradient by the input have the bits of the whole, those by
// weight and bias lie within the bound. Images of the last shape start where a
// binding may.
func TestTransposedInParts(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		r, worst := rand.New(rand.NewPCG(convtest.Seed(), 44)), map[string]float64{}
		for i, x := range []conv.Shape{{5, 4, 9, 11}, {7, 6, 7, 9}, {3, 5, 6, 7}, {5, 4, 8, 8}} {
			params := conv.Params{Stride: [2]int{2, 1 + i}, Padding: conv.Pad(1), Groups: 1 + i&1}
			w := conv.Shape{x[1], 3, 3, 2}
			q, err := params.TransposedProblem(x, w, [2]int{1, 0}, true)
			if err != nil {
				t.Fatal(err)
			}
			in, weight, bias, dy := convtest.Normal(r, x.Len()), convtest.Normal(r, w.Len()), convtest.Normal(r, q.Of.C), convtest.Normal(r, q.Output().Len())
			var wantY, wantDX []float32
			largest := max(q.Input().Len(), q.Output().Len()) / x[0]
			for _, images := range []int{x[0], 2, 1, 0} {
				m := makerFor(d)
				switch {
				case images == 0: // bands of one
					m = binding(d, int64(4*max(largest/2, w.Len(), q.Of.H*q.Of.W)+granule))
				case images < x[0]:
					m = binding(d, int64(4*largest*images))
				}
				plan, err := newConvTranspose2D(m, q, weight, bias)
				if err != nil {
					t.Fatal(err)
				}
				back, err := newTransposedBackward(m, q, weight)
				if err != nil {
					t.Fatal(err)
				}
				if b, ok := back.(*batchwise); ok != (images < x[0]) || ok && b.images > max(images, 1) || (plan.bands != nil) != (images == 0) {
					t.Errorf("%s; %s: not cut as it should be", plan.Describe(), back.Describe())
				}
				y := convtest.Grads{X: make([]float32, q.Output().Len())}
				err = runGradients(d, [4][]float32{in}, y, func(s *gpu.Stream, g Grads, in [4]Tensor) error { return plan.Record(s, g.X, in[0]) })
				if err != nil {
					t.Fatal(err)
				}
				g := convtest.Grads{X: make([]float32, x.Len()), Weight: make([]float32, w.Len()), Bias: make([]float32, q.Of.C)}
				err = runGradients(d, [4][]float32{in, nil, nil, dy}, g, func(s *gpu.Stream, g Grads, in [4]Tensor) error {
					return back.RecordBackward(s, g, in[0], Tensor{}, Tensor{}, in[3])
				})
				if err != nil {
					t.Fatal(err)
				}
				if wantY == nil {
					wantY, wantDX = y.X, g.X
				}
				if err := errors.Join(sameBits(y.X, wantY), sameBits(g.X, wantDX)); err != nil {
					t.Errorf("%v, %d images at a time: %v", x, images, err)
				}
				want := cpuref.ConvTranspose2DBackward(q, in, weight, dy)
				judge(t, fmt.Sprint(x), worst, conv.ProductRoundings, []judged{{"y", y.X, cpuref.ConvTranspose2D(q, in, weight, bias), nil}, {"dx", g.X, want.X, nil},
					{"dweight", g.Weight, want.Weight, nil}, {"dbias", g.Bias, want.Bias, nil}})
				plan.Close()
				back.Close()
			}
			if _, err := newConvTranspose2D(binding(d, int64(4*q.Of.C*q.Of.W-4)), q, weight, bias); !errors.Is(err, gpu.ErrTooLarge) {
				t.Errorf("%v where no row fits: %v", x, err)
			}
		}
		t.Log(worst)
	})
}
