package vkconv_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
)

// FuzzParams draws parameters from bytes. What is accepted gives results on every device and the CPU within the bound of
// the oracle's; what is not is refused with an error of the kinds that the docs name; nothing crashes or is read outside
// a buffer.
func FuzzParams(f *testing.F) {
	var engines []*vkconv.Engine
	infos := []string{"cpu"}
	if all, err := vkconv.Devices(); err == nil {
		for _, i := range all {
			if i.Unusable == "" {
				infos = append(infos, i.Name)
			}
		}
	}
	for _, name := range infos {
		e, err := vkconv.Open(vkconv.Options{Device: name, CacheDir: f.TempDir()})
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { e.Close() })
		engines = append(engines, e)
	}
	f.Add(uint8(1), uint8(3), uint8(5), uint8(6), uint8(4), uint8(3), uint8(3), int8(1), int8(1), int8(1), int8(1), int8(1), int8(1), int8(1), int8(1), uint8(1), uint8(0), uint8(0), uint64(1))
	f.Add(uint8(2), uint8(4), uint8(1), uint8(9), uint8(6), uint8(1), uint8(5), int8(3), int8(2), int8(2), int8(7), int8(0), int8(4), int8(1), int8(9), uint8(2), uint8(5), uint8(3), uint64(7))
	f.Add(uint8(0), uint8(2), uint8(8), uint8(8), uint8(2), uint8(2), uint8(2), int8(-1), int8(0), int8(1), int8(1), int8(1), int8(1), int8(1), int8(1), uint8(1), uint8(2), uint8(9), uint64(3))
	f.Fuzz(func(t *testing.T, n, c, h, w, k, r, s uint8, strideY, strideX, dilationY, dilationX, top, left, bottom, right int8, groups, mode, deform uint8, seed uint64) {
		if int(n)*int(c)*int(h)*int(w) > 40000 || int(k)*int(c)*int(r)*int(s) > 20000 {
			return // larger ones take long and are no different
		}
		params := conv.Params{Stride: [2]int{int(strideY), int(strideX)}, Dilation: [2]int{int(dilationY), int(dilationX)},
			Padding: conv.Padding{Top: int(top), Left: int(left), Bottom: int(bottom), Right: int(right)}, Groups: int(groups),
			Mode: conv.PaddingMode(mode & 7)}
		x, weight := conv.Shape{int(n), int(c), int(h), int(w)}, conv.Shape{int(k), int(c), int(r), int(s)}
		if groups > 0 {
			weight[1] = int(c) / int(groups)
		}
		var p conv.Problem
		var err error
		if deform&1 == 0 {
			p, err = params.Problem(x, weight, deform&2 != 0)
		} else {
			p, err = params.DeformProblem(conv.Deform{OffsetGroups: int(deform >> 3), Mask: deform&4 != 0}, x, weight, deform&2 != 0)
		}
		if err != nil {
			if !errors.Is(err, conv.ErrParams) && !errors.Is(err, conv.ErrShape) && !errors.Is(err, conv.ErrUnsupported) {
				t.Fatalf("%v %v %+v: %v is of no kind that the docs name", x, weight, params, err)
			}
			return
		}
		if p.Output().Len() > 40000 || p.Output().Len()*p.C/p.Groups*p.Taps() > 4e6 || p.Deformable() && p.Offset().Len() > 100000 {
			return
		}
		q := convtest.Fill(rand.New(rand.NewPCG(seed, 5)), p)
		if len(q.Offset) > 0 && seed%3 == 0 { // wherever offsets may point
			for i, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), -1e30, 3e9, -1} {
				q.Offset[(int(seed%97)+i*31)%len(q.Offset)] = v
			}
		}
		want := q.Want()
		for _, e := range engines {
			y := make([]float32, p.Output().Len())
			err := run(e, q, y, q.X, q.Weight, q.Bias, q.Offset, q.Mask)
			if errors.Is(err, gpu.ErrTooLarge) && e.OnGPU() {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", convtest.Describe(p), e.Name(), err)
			}
			if v := conv.Judge(y, want, nil, q.Roundings()); !v.OK() {
				t.Fatalf("%s: %s: %+v", convtest.Describe(p), e.Name(), v)
			}
		}
	})
}
