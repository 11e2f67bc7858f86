//go:build cgo

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// runCalls lays tensors out in one buffer between guard words, records by f,
// and returns what the tensors of out hold then. Outputs start poisoned; nothing
// but outputs may have changed.
func runCalls(d *gpu.Device, in [callTensors][]float32, out [callTensors][]float32, f func(s *gpu.Stream, t *[callTensors]Tensor) error) error {
	step := max(int(d.Info().Limits.StorageAlign)/4, 16)
	var words []uint32
	var at [callTensors]int
	pad := func(n int) {
		for range n {
			words = append(words, guardAt(len(words)))
		}
	}
	pad((64 + step - 1) / step * step)
	for i := range in {
		at[i] = -1
		data := in[i]
		if out[i] != nil {
			data = out[i]
		}
		if data == nil {
			continue
		}
		pad((step - len(words)%step) % step)
		at[i] = len(words)
		for _, v := range data {
			if out[i] != nil {
				v = float32(math.NaN())
			}
			words = append(words, math.Float32bits(v))
		}
		pad(64)
	}
	bytes := func(w []uint32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), 4*len(w)) }
	buf, err := d.NewBuffer(int64(4 * len(words)))
	if err != nil {
		return err
	}
	defer buf.Free()
	if err := d.Upload(buf, 0, bytes(words)); err != nil {
		return err
	}
	var t [callTensors]Tensor
	for i := range t {
		if at[i] >= 0 {
			t[i] = Tensor{buf, int64(4 * at[i])}
		}
	}
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	if err := f(s, &t); err != nil {
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
	got := make([]uint32, len(words))
	if err := d.Download(bytes(got), buf, 0); err != nil {
		return err
	}
	for i := range out {
		for j := range out[i] {
			out[i][j] = math.Float32frombits(got[at[i]+j])
			got[at[i]+j] = words[at[i]+j]
		}
	}
	for i, w := range got {
		if w != words[i] {
			return fmt.Errorf("word %d outside the outputs changed from %#x to %#x", i, words[i], w)
		}
	}
	return nil
}

// dcnBackward runs a case's gradients, images of the gradient by the input
// grouped to reach goal.
func dcnBackward(d *gpu.Device, goal, limit int, c convtest.DCNCase, g convtest.Grads, dy []float32) error {
	p, err := newDCN(d, c.D, goal, limit)
	if err != nil {
		return err
	}
	defer p.Close()
	if c.D.Packed {
		g.Mask = nil
	}
	return runCalls(d, [callTensors][]float32{callX: c.X, callOffset: c.Offset, callMask: c.Mask, callY: dy},
		[callTensors][]float32{callDX: g.X, callDOffset: g.Offset, callDMask: g.Mask}, func(s *gpu.Stream, t *[callTensors]Tensor) error {
			return p.RecordBackward(s, t[callDX], t[callDOffset], t[callDMask], t[callX], t[callOffset], t[callMask], t[callY])
		})
}

func TestDCN(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for i, random := range []func(uint64, int) convtest.DCNCase{convtest.RandomDCNv3, convtest.RandomDCNv4} {
			convtest.DCNForward(t, convtest.Cases(60), random, func(c convtest.DCNCase, y []float32) error {
				p, err := NewDCN(d, c.D)
				if err != nil {
					return err
				}
				defer p.Close()
				return runCalls(d, [callTensors][]float32{callX: c.X, callOffset: c.Offset, callMask: c.Mask}, [callTensors][]float32{callY: y},
					func(s *gpu.Stream, t *[callTensors]Tensor) error {
						return p.Record(s, t[callY], t[callX], t[callOffset], t[callMask])
					})
			})
			goal := []int{1, workspaceGoal}[i] // an image at a time; all
			convtest.DCNBackward(t, convtest.Cases(60), random, func(c convtest.DCNCase, g convtest.Grads, dy []float32) error {
				return dcnBackward(d, goal, indexLimit(d), c, g, dy)
			})
		}
	})
}

// A case where SwiftShader flushes the product of a tiny mask and a weight that a dy above 1 would have made normal again.
func TestDCNFlushed(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		c := func(uint64, int) convtest.DCNCase { return convtest.RandomDCNv3(2026, 204) }
		convtest.DCNBackward(t, 1, c, func(c convtest.DCNCase, g convtest.Grads, dy []float32) error {
			return dcnBackward(d, workspaceGoal, indexLimit(d), c, g, dy)
		})
	})
}

func TestRoIPool(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, random := range []func(uint64, int) convtest.RoICase{convtest.RandomRoIPool, convtest.RandomPSRoIPool} {
			convtest.RoIForward(t, convtest.Cases(40), random, func(c convtest.RoICase, y []float32) error {
				p, err := NewRoIPool(d, c.Q)
				if err != nil {
					return err
				}
				return runCalls(d, [callTensors][]float32{callX: c.X, callRegions: c.RoIs, callOffset: c.Offset, callMask: c.Mask},
					[callTensors][]float32{callY: y}, func(s *gpu.Stream, t *[callTensors]Tensor) error {
						return p.Record(s, t[callY], t[callX], t[callRegions], t[callOffset], t[callMask])
					})
			})
			convtest.RoIBackward(t, convtest.Cases(40), random, func(c convtest.RoICase, g convtest.Grads, dy []float32) error {
				p, err := NewRoIPool(d, c.Q)
				if err != nil {
					return err
				}
				if !c.Q.Offset {
					g.Offset = nil
				}
				if !c.Q.Mask {
					g.Mask = nil
				}
				return runCalls(d, [callTensors][]float32{callX: c.X, callRegions: c.RoIs, callOffset: c.Offset, callMask: c.Mask, callY: dy},
					[callTensors][]float32{callDX: g.X, callDOffset: g.Offset, callDMask: g.Mask}, func(s *gpu.Stream, t *[callTensors]Tensor) error {
						return p.RecordBackward(s, t[callDX], t[callDOffset], t[callDMask], t[callX], t[callRegions], t[callOffset], t[callMask], t[callY])
					})
			})
		}
	})
}

// Offsets that send every sample into one cell: the longest part to sort, and
// the longest sum.
func TestDCNOneCell(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		q, err := conv.DCNParams{Padding: conv.Pad(1), Groups: 2}.V3(conv.Shape{1, 4, 24, 20})
		if err != nil {
			t.Fatal(err)
		}
		c := convtest.DCNCase{Name: "one cell", D: q, X: make([]float32, q.Input().Len()), Offset: make([]float32, q.Offset().Len()), Mask: make([]float32, q.MaskShape().Len())}
		for i := range c.X {
			c.X[i] = float32(math.Sin(float64(i)))
		}
		for i := range c.Mask {
			c.Mask[i] = float32(math.Cos(float64(i)))
		}
		pixels := q.Ho * q.Wo
		for g := range q.Groups {
			for p := range q.Points() {
				r, s := q.Point(p)
				for out := range pixels {
					y, x, ky, kx := q.Base(out/q.Wo, out%q.Wo, r, s)
					at := q.OffsetChannel(g, p)*pixels + out
					c.Offset[at] = float32(7-x-kx) + 0.25 + float32(out%8)/16
					c.Offset[at+pixels] = float32(5-y-ky) + 0.5
				}
			}
		}
		dy := c.OutputGrad()
		want := c.WantGrads(dy)
		g := convtest.Grads{X: make([]float32, len(c.X)), Offset: make([]float32, len(c.Offset)), Mask: make([]float32, len(c.Mask))}
		if err := dcnBackward(d, workspaceGoal, indexLimit(d), c, g, dy); err != nil {
			t.Fatal(err)
		}
		for i, pair := range []struct {
			got  []float32
			want []conv.Sum
		}{{g.X, want.X}, {g.Offset, want.Offset}, {g.Mask, want.Mask}} {
			if v := conv.Judge(pair.got, pair.want, nil, conv.DCNRoundings); !v.OK() {
				t.Errorf("gradient %d: %+v", i, v)
			}
		}
	})
}

// A batch that is cut gives what it gives whole, to the bit: also where images do
// not start where a binding may, and one at a time.
func TestDCNCut(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for i, version := range []func(conv.DCNParams, conv.Shape) (conv.DCN, error){conv.DCNParams.V3, conv.DCNParams.V4} {
			q, err := version(conv.DCNParams{Kernel: [2]int{1, 3}, Groups: 3, Softmax: i == 0}, conv.Shape{70, 3, 3, 5})
			if err != nil {
				t.Fatal(err)
			}
			c := convtest.DCNCase{D: q, X: noise(q.Input()), Offset: noise(q.Offset()), Mask: noise(q.MaskShape())}
			if q.Packed {
				c.Mask = nil
			}
			dy := c.OutputGrad()
			var want [][]float32
			for _, images := range []int{70, 65, 9, 1} {
				limit := images * q.Offset().Len() / q.N
				p, err := newDCN(d, q, workspaceGoal, limit)
				if err != nil {
					t.Fatal(err)
				}
				if cut := images < 70; cut != (len(p.plans) > 1 || p.images.images == 1) || p.images.images > images {
					t.Errorf("limit %d: %s", limit, p.Describe())
				}
				y := make([]float32, q.Output().Len())
				if err := runCalls(d, [callTensors][]float32{callX: c.X, callOffset: c.Offset, callMask: c.Mask}, [callTensors][]float32{callY: y},
					func(s *gpu.Stream, t *[callTensors]Tensor) error {
						return p.Record(s, t[callY], t[callX], t[callOffset], t[callMask])
					}); err != nil {
					t.Fatal(err)
				}
				p.Close()
				g := convtest.Grads{X: make([]float32, len(c.X)), Offset: make([]float32, len(c.Offset)), Mask: make([]float32, len(c.Mask))}
				if err := dcnBackward(d, workspaceGoal, limit, c, g, dy); err != nil {
					t.Fatal(err)
				}
				all := [][]float32{y, g.X, g.Offset, g.Mask}
				if want == nil {
					want = all
				}
				for j := range all {
					if err := sameBits(all[j], want[j]); err != nil && (j < 3 || !q.Packed) {
						t.Errorf("version %d, %d images at a time, output %d: %v", i+3, images, j, err)
					}
				}
			}
		}
	})
}

// RoI pooling of more images and regions than a binding holds, some of each at a
// time: the bits of the whole. Some regions are of no image.
func TestRoIPoolCut(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		ways := map[[2]bool]int{}
		for k, random := range []func(uint64, int) convtest.RoICase{convtest.RandomRoIPool, convtest.RandomPSRoIPool} {
			for i := range convtest.Cases(60)/10 + 2 {
				c := random(convtest.Seed(), i)
				if i == 0 {
					c = manyRegions(t, k == 1)
				}
				q := c.Q
				dy := noise(q.Output())
				image, region := q.C*q.H*q.W, max(q.K*q.Ho*q.Wo, 2*q.Classes*q.PartY*q.PartX, 5)
				var want [][]float32
				for _, limit := range []int{indexLimit(d), max(image, region), 2*max(image, region) + 1} {
					p, err := newRoIPool(d, q, limit, float32s)
					if err != nil {
						t.Fatal(err)
					}
					ways[[2]bool{p.images.images < q.N, p.regions.images < q.RoIs}]++
					in := [callTensors][]float32{callX: c.X, callRegions: c.RoIs, callOffset: c.Offset, callMask: c.Mask}
					y, g := make([]float32, q.Output().Len()), convtest.Grads{X: make([]float32, len(c.X))}
					if err := runCalls(d, in, [callTensors][]float32{callY: y}, func(s *gpu.Stream, t *[callTensors]Tensor) error {
						return p.Record(s, t[callY], t[callX], t[callRegions], t[callOffset], t[callMask])
					}); err != nil {
						t.Fatal(err)
					}
					if q.Offset {
						g.Offset = make([]float32, len(c.Offset))
					}
					if q.Mask && i%3 > 0 {
						g.Mask = make([]float32, len(c.Mask))
					}
					in[callY] = dy
					if err := runCalls(d, in, [callTensors][]float32{callDX: g.X, callDOffset: g.Offset, callDMask: g.Mask}, func(s *gpu.Stream, t *[callTensors]Tensor) error {
						return p.RecordBackward(s, t[callDX], t[callDOffset], t[callDMask], t[callX], t[callRegions], t[callOffset], t[callMask], t[callY])
					}); err != nil {
						t.Fatal(err)
					}
					all := [][]float32{y, g.X, g.Offset, g.Mask}
					if want == nil {
						want = all
					}
					for j := range all {
						if err := sameBits(all[j], want[j]); err != nil {
							t.Errorf("%s, %s, output %d: %v", c.Name, p.Describe(), j, err)
						}
					}
					p.Close()
				}
			}
		}
		if ways[[2]bool{true, true}] == 0 || ways[[2]bool{true, false}]+ways[[2]bool{false, true}] == 0 {
			t.Errorf("not every way was gone: %v", ways)
		}
	})
}

// More regions than llvmpipe's loops go round for, and larger planes.
func TestManyRegions(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		q, err := conv.RoIPoolParams{Bins: [2]int{7, 7}, SamplingRatio: 2, Offset: true}.Problem(conv.Shape{1, 1, 30, 70}, 300)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []conv.Shape{{1, 1, 30, 70}, {1, 130, 300, 230}} { // one by regions; one by what is cleared
			q.C, q.K, q.H, q.W = x[1], x[1], x[2], x[3]
			if x[1] > 1 {
				q.RoIs = 2
			}
			c := convtest.RoICase{Q: q, X: noise(q.Input()), Offset: noise(q.OffsetShape())}
			for r := range q.RoIs {
				at := float32(r % 20)
				c.RoIs = append(c.RoIs, 0, at, at/2, 30+at, 15+at)
			}
			dy := noise(q.Output())
			want := c.WantGrads(dy)
			p, err := NewRoIPool(d, q)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			dx := make([]float32, len(c.X))
			if err := runCalls(d, [callTensors][]float32{callX: c.X, callRegions: c.RoIs, callOffset: c.Offset, callY: dy}, [callTensors][]float32{callDX: dx},
				func(s *gpu.Stream, t *[callTensors]Tensor) error {
					return p.RecordBackward(s, t[callDX], Tensor{}, Tensor{}, t[callX], t[callRegions], t[callOffset], Tensor{}, t[callY])
				}); err != nil {
				t.Fatal(err)
			}
			if v := conv.Judge(dx, want.X, nil, conv.RoIPoolRoundings); !v.OK() {
				t.Errorf("%v: %s: %+v", x, p.Describe(), v)
			}
		}
	})
}

// manyRegions is a case whose images are larger than what a region takes.
func manyRegions(t *testing.T, sensitive bool) convtest.RoICase {
	q, err := conv.RoIPoolParams{Bins: [2]int{3, 2}, SpatialScale: 0.5, Offset: true, Mask: true}.Problem(conv.Shape{5, 3, 7, 9}, 11)
	if sensitive {
		q, err = conv.PSRoIPoolParams{OutputChannels: 2, PooledSize: 2, SpatialScale: 0.5, Offset: true, Mask: true}.Problem(conv.Shape{5, 8, 5, 3}, 11)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.RoICase{Name: "many regions", Q: q, X: noise(q.Input()), Offset: noise(q.OffsetShape()), Mask: noise(q.MaskShape())}
	for r := range q.RoIs {
		at := float32(r)
		c.RoIs = append(c.RoIs, float32(r*4%7-1), at/3, at/2, 6+at, 7+at) // images −1 … 5
	}
	return c
}

// noise makes values without any meaning.
func noise(s conv.Shape) []float32 {
	v := make([]float32, s.Len())
	for i := range v {
		v[i] = float32(2 * math.Sin(float64(i)*1.7))
	}
	return v
}

// What the kernels cannot index is refused when the plan is made.
func TestDCNRefuses(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		q, err := conv.DCNParams{Padding: conv.Pad(1)}.V4(conv.Shape{1, 1 << 10, 1 << 11, 1 << 11})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewDCN(d, q); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("2^32 pixels: %v", err)
		}
		q, err = conv.DCNParams{Padding: conv.Padding{Left: 1 << 30}, Stride: [2]int{1, 1 << 28}}.V3(conv.Shape{1, 1, 3, 3})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewDCN(d, q); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("a padding of 2^30: %v", err)
		}
		r, err := conv.RoIPoolParams{Bins: [2]int{7, 7}}.Problem(conv.Shape{4, 1 << 10, 1 << 11, 1 << 11}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewRoIPool(d, r); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("2^34 pixels: %v", err)
		}
	})
}
