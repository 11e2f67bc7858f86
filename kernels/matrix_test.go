//go:build cgo

package kernels

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
	"vkconv/shaders"
)

// twins are what stands in for bfloat16 where no driver has units for it: the same
// source with float16, as exact for operands near 2⁸, which the tests take.
var twins = []variant{
	{module: "matrix_twin_m2n2", kind: matrixProduct, localSize: 32},
	{module: "matrix_twin_m2n2", kind: matrixProduct, localSize: 128},
	{module: "matrix_twin_deform_m2n2", kind: matrixDeform, localSize: 128},
}

func matrixVariants() (all []variant) {
	for _, v := range variants {
		if v.kind.matrices() {
			all = append(all, v)
		}
	}
	return append(all, twins...)
}

// allowing is a device's traits with v's way of multiplying allowed.
func allowing(t traits, v variant) traits {
	m, err := shaders.Get(v.module)
	if err != nil {
		panic(err)
	}
	if m.Defines["PARTS"] > 1 {
		t.Split = true
	} else {
		t.Operands = elements(m)
	}
	return t
}

// operandsFor makes c's inputs and weights what v multiplies.
func operandsFor(v variant, t traits, c *convtest.Case) {
	for _, values := range [][]float32{c.X, c.Weight} {
		for i := range values {
			values[i] *= 256
			if t.Operands != conv.Float32 {
				values[i] = t.Operands.Round(values[i] / 256)
			}
		}
	}
}

// TestMatrixUnits forces each variant on matrix units on the suite's cases and
// cases made for it, with operands of its type.
func TestMatrixUnits(t *testing.T) {
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for i, v := range matrixVariants() {
			t.Run(v.String(), func(t *testing.T) {
				traits := allowing(traitsOf(d.Info()), v)
				ran, worst, reasons := 0, 0.0, map[string]int{}
				for k := range convtest.Cases(48) {
					c := caseFor(v, convtest.Seed(), k)
					c.Problem.Activation = activations[(i+k%2*4)%len(activations)]
					operandsFor(v, traits, &c)
					l, why, err := plan(c.Problem, traits, v)
					if err != nil {
						t.Fatal(err)
					}
					if why != "" {
						reasons[why]++
						continue
					}
					ran++
					verdict := convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error {
						if err := run(d, l, c, y); err != nil {
							return err
						}
						again := make([]float32, len(y))
						if err := runViews(d, l, c, again); err != nil {
							return fmt.Errorf("between channels of wider tensors: %w", err)
						}
						for i := range y {
							if math.Float32bits(y[i]) != math.Float32bits(again[i]) {
								return fmt.Errorf("y[%d] is %g, and %g the second time", i, y[i], again[i])
							}
						}
						return nil
					})
					if worst = max(worst, verdict.Worst); t.Failed() {
						t.FailNow()
					}
				}
				if ran > 0 {
					t.Logf("%d cases, worst share of the bound %.3f; unfit: %v", ran, worst, reasons)
					return
				}
				for why := range reasons {
					if strings.Contains(why, "no matrix units") {
						t.Skipf("not run: %s: %s", d.Info().Name, why)
					}
				}
				t.Errorf("no case fits: %v", reasons)
			})
		}
	})
}

// bigMatrix is a device with matrix units, for what can be planned without one.
func bigMatrix() traits {
	return traits{Subgroup: 32, Groups: [3]int{65535, 65535, 65535}, Invocations: 1024, SharedMemory: 48 << 10, StorageRange: 1 << 31,
		Units: units{Float16: unit{16, 16, 16}, BFloat16: unit{16, 16, 16}}}
}

// TestMatrixUnfit: without being allowed and without units nothing is computed on
// them, and what is allowed is.
func TestMatrixUnfit(t *testing.T) {
	p, err := conv.Params{}.Problem(conv.Shape{1, 256, 56, 56}, conv.Shape{256, 256, 3, 3}, true)
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := conv.Params{}.Problem(conv.Shape{1, 4, 56, 56}, conv.Shape{256, 4, 1, 1}, true)
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(*traits)) traits { b := bigMatrix(); f(&b); return b }
	for _, c := range []struct {
		module string
		p      conv.Problem
		t      traits
		why    string // "" where it fits
	}{
		{"matrix_f16_m4n4", p, bigMatrix(), "it multiplies float16, the operands are float32"},
		{"matrix_f16_m4n4", p, with(func(t *traits) { t.Operands = conv.BFloat16 }), "the operands are bfloat16"},
		{"matrix_f16_m4n4", p, with(func(t *traits) { t.Operands = conv.Float16 }), ""},
		{"matrix_bf16_m4n4", p, with(func(t *traits) { t.Operands = conv.BFloat16 }), ""},
		{"matrix_bf16_m4n4", p, with(func(t *traits) { t.Operands, t.Units.BFloat16 = conv.BFloat16, unit{} }), "no matrix units for bfloat16"},
		{"matrix_f16_m4n4", p, with(func(t *traits) { t.Operands, t.SharedMemory = conv.Float16, 16<<10 }), "share 21504 bytes"},
		{"matrix_f16_m4n4", p, with(func(t *traits) { t.Operands, t.Subgroup = conv.Float16, 48 }), "subgroups of which"},
		{"matrix_split_m2n2", p, bigMatrix(), "has to be asked for"},
		{"matrix_split_m2n2", p, with(func(t *traits) { t.Split = true }), ""},
		{"matrix_split_m2n2", narrow, with(func(t *traits) { t.Split = true }), "sums so short"},
		{"matrix_split_deform_m2n2", p, with(func(t *traits) { t.Split = true }), "not deformable"},
	} {
		for _, v := range variants {
			if v.module != c.module || v.localSize != 128 {
				continue
			}
			if _, why, err := plan(c.p, c.t, v); err != nil || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
				t.Errorf("%s: %q, %v, want %q", v, why, err, c.why)
			}
		}
	}
	for _, allowed := range []conv.Type{conv.Float32, conv.Float16, conv.BFloat16} {
		l, err := choose(p, with(func(t *traits) { t.Operands = allowed }))
		if err != nil || l.variant.kind.matrices() != (allowed != conv.Float32) {
			t.Errorf("operands of %v: %s is chosen, %v", allowed, l.variant, err)
		}
	}
}

// TestUnitsOf: of what a driver lists the largest with float32 sums is taken, and
// nothing without the memory model.
func TestUnitsOf(t *testing.T) {
	shape := func(m, n, k uint32, a, c string) gpu.CoopShape {
		return gpu.CoopShape{M: m, N: n, K: k, A: a, B: a, C: c, Out: c, Scope: "subgroup"}
	}
	saturating, wide := shape(64, 64, 64, "f16", "f32"), shape(32, 32, 32, "f16", "f32")
	saturating.Saturating, wide.Scope = true, "workgroup"
	f := gpu.Features{MemoryModel: true, Float16: true, BFloat16: true, CoopMatrix: []gpu.CoopShape{saturating, wide, shape(16, 8, 8, "f16", "f32"),
		shape(16, 16, 16, "f16", "f32"), shape(16, 8, 16, "f16", "f32"), shape(16, 16, 32, "f16", "f16"), shape(12, 16, 32, "f16", "f32"), shape(16, 8, 16, "bf16", "f32")}}
	if got, want := unitsOf(f), (units{unit{16, 16, 16}, unit{16, 8, 16}}); got != want {
		t.Errorf("units are %v, want %v", got, want)
	}
	f.BFloat16 = false
	if got, want := unitsOf(f), (units{Float16: unit{16, 16, 16}}); got != want {
		t.Errorf("without bfloat16 units are %v, want %v", got, want)
	}
	f.MemoryModel = false
	if got := unitsOf(f); got != (units{}) {
		t.Errorf("without the memory model units are %v", got)
	}
}

// TestMatrixBlobs: what no driver here runs is at least what the plan counts on.
func TestMatrixBlobs(t *testing.T) {
	for _, v := range matrixVariants() {
		m, err := shaders.Get(v.module)
		if err != nil {
			t.Fatal(err)
		}
		for name := range v.constants() {
			if _, err := m.ConstantID(name); err != nil {
				t.Error(err)
			}
		}
		const float16, bfloat16, memoryModel, matrices, bfloat16Matrices = 9, 5116, 5345, 6022, 5118
		want := map[uint32]bool{memoryModel: true, matrices: true, float16: true,
			bfloat16: elements(m) == conv.BFloat16, bfloat16Matrices: elements(m) == conv.BFloat16}
		for c, wanted := range want {
			has := false
			for _, have := range m.Capabilities {
				has = has || have == c
			}
			if has != wanted {
				t.Errorf("%s: capability %d: %t, want %t", v.module, c, has, wanted)
			}
		}
		if deforms := m.Binding("OffsetBuffer") >= 0; deforms != (v.kind == matrixDeform) || m.Needs == nil || m.PushBytes > 128 {
			t.Errorf("%s: deformable %t, needs %v, %d bytes of push constants", v.module, deforms, m.Needs, m.PushBytes)
		}
		if strings.Contains(m.Compiler, "2023") {
			t.Errorf("%s is made by %s, which knows no cooperative matrices", v.module, m.Compiler)
		}
	}
}

// BenchmarkMatrixUnits measures each layer with every variant on matrix units
// that the device has, beside the one that is chosen without.
func BenchmarkMatrixUnits(b *testing.B) {
	for _, info := range gputest.List(b) {
		d := gputest.Open(b, gpu.Options{Device: info.Name})
		for _, q := range benchProblems {
			p := q.problem(b)
			name := info.Name[:4] + "/" + q.name + "/"
			plain, err := choose(p, traitsOf(info))
			if err != nil {
				b.Fatal(err)
			}
			b.Run(name+"chosen="+plain.variant.String(), func(b *testing.B) { benchmark(b, d, p, plain) })
			for _, v := range matrixVariants() {
				if l, why, err := plan(p, allowing(traitsOf(info), v), v); err == nil && why == "" {
					b.Run(name+v.String(), func(b *testing.B) {
						benchmark(b, d, p, l)
						b.ReportMetric(l.cost/plain.cost, "cost/plain")
					})
				}
			}
		}
	}
}

// TestMatrixInfinities: pixels that are no numbers reach what their windows reach,
// and nothing of what tiles are filled up with.
func TestMatrixInfinities(t *testing.T) {
	p, err := conv.Params{Padding: conv.Pad(1)}.Problem(conv.Shape{2, 21, 13, 14}, conv.Shape{27, 21, 3, 3}, true)
	if err != nil {
		t.Fatal(err)
	}
	inf := float32(math.Inf(1))
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		ran := false
		for _, v := range matrixVariants() {
			traits := allowing(traitsOf(d.Info()), v)
			l, why, err := plan(p, traits, v)
			if err != nil {
				t.Fatal(err)
			}
			if why != "" || traits.Split {
				continue
			}
			ran = true
			c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), 4)), p)
			operandsFor(v, traits, &c)
			c.X[0] = inf // what is loaded where there is nothing to load
			for i := 100; i < len(c.X); i += 611 {
				c.X[i] = []float32{inf, -inf, float32(math.NaN())}[i%3]
			}
			convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error { return run(d, l, c, y) })
		}
		if !ran {
			t.Skipf("not run: %s has no matrix units for float16 or bfloat16 with float32 sums", d.Info().Name)
		}
	})
}

// TestOperands: a plan takes matrix units for operands of their type, by a cost
// model that holds the device to be a GPU, and with new weights; without being
// told of the type it takes none.
func TestOperands(t *testing.T) {
	p, err := conv.Params{Padding: conv.Pad(1)}.Problem(conv.Shape{2, 32, 20, 21}, conv.Shape{40, 32, 3, 3}, true)
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.Fill(rand.New(rand.NewPCG(convtest.Seed(), 3)), p)
	for _, values := range [][]float32{c.X, c.Weight} {
		for i := range values {
			values[i] = conv.Float16.Round(values[i])
		}
	}
	gputest.Devices(t, func(t *testing.T, d *gpu.Device) {
		for _, told := range []conv.Type{conv.Float32, conv.BFloat16, conv.Float16} {
			m := makerFor(d, Operands(told))
			m.traits.Software = false
			f, err := newForward(m, p, make([]float32, len(c.Weight)), make([]float32, p.K))
			if err != nil {
				t.Fatal(err)
			}
			is := told == conv.Float16 && m.traits.Units.Float16.M > 0 || told == conv.BFloat16 && m.traits.Units.BFloat16.M > 0
			if strings.Contains(f.Describe(), "on matrix units of") != is {
				t.Errorf("operands of %v: %s", told, f.Describe())
			}
			if told != conv.Float16 {
				f.Close()
				continue
			}
			convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error {
				if err := f.SetWeights(c.Weight, c.Bias); err != nil {
					return err
				}
				return runForward(d, f, c, y)
			})
			// And in pieces, of a device that binds a third of what there is.
			few := m.traits
			few.StorageRange = largest(p)/3 + granule
			pieces, err := newPiecewise(d, p, few, c.Weight, c.Bias)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(pieces.Describe(), "on matrix units of") != is {
				t.Errorf("in pieces: %s", pieces.Describe())
			}
			convtest.One(t, c, func(c convtest.Case, y, _, _, _, _, _ []float32) error { return runForward(d, pieces, c, y) })
		}
		if _, err := NewConv2D(d, p, c.Weight, c.Bias, AllowSplit); makerFor(d).traits.Units.BFloat16.M == 0 && !errors.Is(err, conv.ErrUnsupported) {
			t.Errorf("AllowSplit without units: %v", err)
		}
		if makerFor(d).traits.Units.Float16.M == 0 {
			t.Skipf("not run on matrix units: %s has none for float16 with float32 sums", d.Info().Name)
		}
	})
}
