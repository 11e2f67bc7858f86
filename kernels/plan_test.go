package kernels

import (
	"errors"
	"math"
	"testing"

	"vkconv/conv"
	"vkconv/gpu"
)

// big is a device that refuses nothing but what 32-bit indices cannot hold.
var big = traits{Subgroup: 32, SubgroupOps: true, Groups: [3]int{65535, 65535, 65535}, Invocations: 1024,
	SharedMemory: 48 << 10, StorageRange: math.MaxUint32}

func problem(t *testing.T, p conv.Params, x, w conv.Shape) conv.Problem {
	t.Helper()
	q, err := p.Problem(x, w, false)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestTooLarge(t *testing.T) {
	wide := conv.Params{Padding: conv.Padding{Left: 1 << 30}}
	small := big
	small.StorageRange = 4 * 64 * 64 * 64
	for _, c := range []struct {
		name string
		t    traits
		p    conv.Problem
	}{
		{"input beyond a binding", small, problem(t, conv.Params{}, conv.Shape{1, 65, 64, 64}, conv.Shape{1, 65, 3, 3})},
		{"output beyond a binding", small, problem(t, conv.Params{}, conv.Shape{1, 1, 64, 64}, conv.Shape{65, 1, 1, 1})},
		{"weight beyond a binding", small, problem(t, conv.Params{}, conv.Shape{1, 512, 3, 3}, conv.Shape{512, 512, 3, 3})},
		{"more than 2^31 elements", big, problem(t, conv.Params{}, conv.Shape{1 << 10, 1 << 9, 64, 64}, conv.Shape{1, 1 << 9, 64, 64})},
		{"positions beyond 2^29", big, problem(t, wide, conv.Shape{1, 1, 1, 8}, conv.Shape{1, 1, 1, 1 << 20})},
	} {
		if _, err := choose(c.p, c.t); !errors.Is(err, gpu.ErrTooLarge) {
			t.Errorf("%s: error is %v", c.name, err)
		}
	}
	if _, err := choose(problem(t, conv.Params{}, conv.Shape{1, 64, 64, 64}, conv.Shape{64, 64, 1, 1}), small); err != nil {
		t.Errorf("what just fits: %v", err)
	}
}

// TestHugeSteps: a stride where there is one output and a dilation where there
// is one tap may be anything.
func TestHugeSteps(t *testing.T) {
	p := conv.Params{Stride: [2]int{conv.MaxExtent, 1 << 30}, Dilation: [2]int{conv.MaxExtent, 1 << 30}}
	if _, err := choose(problem(t, p, conv.Shape{1, 3, 5, 7}, conv.Shape{2, 3, 1, 1}), big); err != nil {
		t.Error(err)
	}
}

func TestFold(t *testing.T) {
	limits := traits{Groups: [3]int{10, 4, 1}}
	for tiles := range 41 {
		g, err := fold(tiles, limits)
		if err != nil {
			t.Fatal(tiles, err)
		}
		n := int(g[0] * g[1] * g[2])
		if n < tiles || n >= tiles+10 || g[0] > 10 || g[1] > 4 {
			t.Errorf("%d workgroups are dispatched as %v", tiles, g)
		}
	}
	if _, err := fold(41, limits); !errors.Is(err, gpu.ErrTooLarge) {
		t.Errorf("41 workgroups: %v", err)
	}
}

// TestEveryProblemHasAKernel on a device without subgroup operations and with
// the smallest limits that Vulkan allows.
func TestEveryProblemHasAKernel(t *testing.T) {
	least := traits{Subgroup: 1, Groups: [3]int{65535, 65535, 65535}, Invocations: 128, SharedMemory: 16 << 10, StorageRange: 1 << 27}
	for _, mode := range []conv.PaddingMode{conv.Zeros, conv.Reflect, conv.Replicate, conv.Circular} {
		for _, groups := range []int{1, 2, 12} {
			p := conv.Params{Mode: mode, Groups: groups, Padding: conv.Pad(1)}
			x, w := conv.Shape{1, 12, 9, 9}, conv.Shape{24, 12 / groups, 3, 3}
			if _, err := choose(problem(t, p, x, w), least); err != nil {
				t.Errorf("%v, %d groups: %v", mode, groups, err)
			}
			if mode != conv.Zeros {
				continue
			}
			q, err := p.DeformProblem(conv.Deform{OffsetGroups: 3}, x, w, true)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := choose(q, least); err != nil {
				t.Errorf("deformable, %d groups: %v", groups, err)
			}
		}
	}
}
