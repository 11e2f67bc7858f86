//go:build cgo

package gpu_test

import (
	"math"
	"slices"
	"testing"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// What Features promises was enabled: shaders that need it compile, run and give right numbers.
func TestCoopMatrix(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		f := d.Info().Features
		m := module(t, "coop")
		m.Bindings = 3
		k := slices.IndexFunc(f.CoopMatrix, func(s gpu.CoopShape) bool {
			return s.A == "f16" && s.B == "f16" && s.C == "f32" && s.Out == "f32" && s.Scope == "subgroup"
		})
		if k < 0 {
			if len(f.CoopMatrix) == 0 {
				_, err := d.Pipeline(m, nil)
				wants(t, "cooperative matrices", err, gpu.ErrLimit, "does not have")
			}
			return
		}
		s := f.CoopMatrix[k]
		consts := []gpu.Constant{{ID: 0, Value: f.SubgroupSize}, {ID: 1, Value: s.M}, {ID: 2, Value: s.N}, {ID: 3, Value: s.K}}
		p := must[*gpu.Pipeline](t)(d.PipelineWith(m, consts, gpu.PipelineOptions{FullSubgroups: f.FullSubgroups}))
		// A[i][k] = i, B[k][j] = k + j, so that D[i][j] = i·(K(K−1)/2 + K·j): small integers, exact.
		half := func(rows, cols uint32, f func(i, j uint32) uint32) []byte {
			var out []byte
			for i := range rows {
				for j := range cols {
					h := halfBits(f(i, j))
					out = append(out, byte(h), byte(h>>8))
				}
			}
			return out
		}
		a := half(s.M, s.K, func(i, _ uint32) uint32 { return i })
		b := half(s.K, s.N, func(k, j uint32) uint32 { return k + j })
		A, B := must[*gpu.Buffer](t)(d.NewBuffer(int64(len(a)))), must[*gpu.Buffer](t)(d.NewBuffer(int64(len(b))))
		check(t, d.Upload(A, 0, a))
		check(t, d.Upload(B, 0, b))
		D := buffer(t, d, slices.Repeat([]uint32{0x7fc00000}, int(s.M*s.N))...)
		st := must[*gpu.Stream](t)(d.NewStream())
		check(t, st.Dispatch(p, [3]uint32{1, 1, 1}, nil, []gpu.Binding{
			{Buffer: A, Access: gpu.Read}, {Buffer: B, Access: gpu.Read}, {Buffer: D, Access: gpu.Write}}))
		finish(t, st)
		got := contents(t, d, D)
		for i := range s.M {
			for j := range s.N {
				if want := bits(float32(i * (s.K*(s.K-1)/2 + s.K*j))); got[i*s.N+j] != want {
					t.Fatalf("D[%d][%d] = %v, want %v", i, j, math.Float32frombits(got[i*s.N+j]), math.Float32frombits(want))
				}
			}
		}
	})
}

// halfBits is the IEEE half of a small non-negative integer.
func halfBits(n uint32) uint32 {
	if n == 0 {
		return 0
	}
	b := math.Float32bits(float32(n))
	return (b>>23-127+15)<<10 | b>>13&0x3ff
}

func TestFloatAtomics(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		m := module(t, "atomic")
		m.Bindings = 1
		p, err := d.Pipeline(m, nil)
		if !d.Info().Features.FloatAtomicAdd {
			wants(t, "float atomics", err, gpu.ErrLimit, "atomic addition")
			return
		}
		check(t, err)
		x := buffer(t, d, 0)
		s := must[*gpu.Stream](t)(d.NewStream())
		check(t, s.Dispatch(p, [3]uint32{10, 1, 1}, nil, []gpu.Binding{{Buffer: x}}))
		finish(t, s)
		if got := contents(t, d, x)[0]; got != bits(160) {
			t.Errorf("320 halves add up to %v", math.Float32frombits(got))
		}
	})
}
