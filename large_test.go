package vkconv_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/gpu"
)

// sampled compares single outputs of a large stride-1 convolution with the oracle, each on the window it is made of.
func sampled(t *testing.T, p conv.Problem, x, w, y []float32, samples int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range samples {
		n, oy, ox := r.IntN(p.N), r.IntN(p.Ho), r.IntN(p.Wo)
		if i < 8 { // corners and edges first
			oy, ox = (p.Ho-1)*(i&1), (p.Wo-1)*(i>>1&1)
			n = (p.N - 1) * (i >> 2)
		}
		window := p
		window.N, window.H, window.W, window.Ho, window.Wo = 1, conv.Reach(p.R, p.DilationY), conv.Reach(p.S, p.DilationX), 1, 1
		window.Pad = conv.Padding{}
		crop := make([]float32, window.Input().Len())
		for c := range p.C {
			for v := range window.H {
				for u := range window.W {
					if iy, ix := oy-p.Pad.Top+v, ox-p.Pad.Left+u; iy >= 0 && iy < p.H && ix >= 0 && ix < p.W {
						crop[(c*window.H+v)*window.W+u] = x[((n*p.C+c)*p.H+iy)*p.W+ix]
					}
				}
			}
		}
		got := make([]float32, p.K)
		for k := range got {
			got[k] = y[((n*p.K+k)*p.Ho+oy)*p.Wo+ox]
		}
		if v := conv.Judge(got, cpuref.Conv2D(window, crop, w, nil), nil, conv.ProductRoundings); !v.OK() {
			t.Fatalf("image %d, row %d, column %d: %v", n, oy, ox, v)
		}
	}
}

// noise fills large tensors fast: numbers of 12 bits in [−1, 1).
func noise(n int) []float32 {
	v, s := make([]float32, n), uint32(1)
	for i := range v {
		s = s*1664525 + 1013904223
		v[i] = float32(int32(s)>>20) / 2048
	}
	return v
}

// A convolution whose input and output pass what software drivers bind, 128 MiB, and with VKCONV_LARGE=1 four times that
// in one image, in a batch, and on the CPU path 6 GiB.
func TestBeyondABinding(t *testing.T) {
	type layer struct {
		x, w  conv.Shape
		where string // "" everywhere
	}
	layers := []layer{{x: conv.Shape{1, 2, 4200, 4100}, w: conv.Shape{2, 2, 3, 3}}}
	if os.Getenv("VKCONV_LARGE") != "" {
		layers = append(layers,
			layer{conv.Shape{1, 4, 6000, 6001}, conv.Shape{2, 4, 3, 3}, "gpu"},
			layer{conv.Shape{37, 4, 1000, 1001}, conv.Shape{4, 4, 3, 3}, "gpu"},
			layer{conv.Shape{1, 24, 8192, 8192}, conv.Shape{1, 24, 3, 3}, "cpu"})
	}
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, l := range layers {
			if l.where == "gpu" && !e.OnGPU() || l.where == "cpu" && e.OnGPU() {
				continue
			}
			p := conv.Params{Padding: conv.Pad(2), Dilation: [2]int{2, 2}}
			w := noise(l.w.Len())
			plan, err := e.NewConv2D(l.x, w, nil, l.w, p)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v, %d MiB in, %d MiB out: %s; workspace %d MiB", l.x, l.x.Len()>>18, plan.Problem().Output().Len()>>18, plan.Describe(), plan.Workspace()>>20)
			in := noise(l.x.Len())
			x, err := e.TensorOf(l.x, in)
			if err != nil {
				t.Fatal(err)
			}
			y, err := e.NewTensor(plan.Problem().Output())
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.Run(ctx, y, x); err != nil {
				t.Fatal(err)
			}
			out := make([]float32, y.Shape().Len())
			if err := y.Download(ctx, out); err != nil {
				t.Fatal(err)
			}
			sampled(t, plan.Problem(), in, w, out, 500)
			x.Free()
			y.Free()
			plan.Close()
		}
	})
}

// A budget is kept, and said before anything runs.
func TestMemoryBudget(t *testing.T) {
	for _, device := range devices(t) {
		if device == "cpu" {
			continue
		}
		e, err := vkconv.Open(vkconv.Options{Device: device, CacheDir: "off", MemoryBudget: 40 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.NewTensor(conv.Shape{1, 1, 4096, 4096}); !errors.Is(err, gpu.ErrOutOfMemory) {
			t.Errorf("64 MiB of a budget of 40: %v", err)
		}
		x, err := e.NewTensor(conv.Shape{1, 1, 1024, 1024})
		if err != nil {
			t.Errorf("4 MiB of a budget of 40: %v", err)
		} else {
			x.Free()
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
