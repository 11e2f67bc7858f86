package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/shaders"
)

// kind says what a shader computes and how it cuts the work.
type kind uint8

const (
	product         kind = iota // conv2d.comp
	pointwise                   // pointwise.comp
	grouped                     // grouped.comp
	deform                      // deform.comp
	deformDepthwise             // deform_depthwise.comp
)

// variant is one way to run a kernel. Tile sizes are the shader's defines, see
// the sources; what they are is read from the manifest.
type variant struct {
	module    string
	kind      kind
	localSize uint32
}

// variants is the whole table. Workgroups of 8 and 32: the software drivers
// run one workgroup on one core, so that small ones share the work out best;
// real GPUs want at least a full subgroup.
var variants = []variant{
	{"conv2d_m8n4", product, 32},
	{"conv2d_m4n4", product, 32},
	{"conv2d_l8_m8n4", product, 8},
	{"conv2d_l8_m32n4", product, 8},
	{"conv2d_l8_m32n4s3", product, 8},
	{"conv2d_l8_m32n4s7e2", product, 8},
	{"conv2d_l4_m8n8", product, 8},
	{"conv2d_l4_m16n8", product, 8},
	{"conv2d_l4_m8n8s3", product, 8},
	{"conv2d_l4_m16n8s3", product, 8},
	{"conv2d_l4_m16n4s7e2", product, 8},
	{"pointwise_m8n4", pointwise, 32},
	{"pointwise_l8_m32n4", pointwise, 8},
	{"pointwise_l8_m32n8", pointwise, 8},
	{"pointwise_l4_m16n8", pointwise, 8},
	{"grouped_n4", grouped, 32},
	{"grouped_l8_r3s3", grouped, 8},
	{"grouped_l4_r3s3", grouped, 8},
	{"deform_m8n2", deform, 32},
	{"deform_l8_m8n2", deform, 8},
	{"deform_l8_m32n2", deform, 8},
	{"deform_l8_m64n2", deform, 8},
	{"deform_l4_m16n4", deform, 8},
	{"deform_l4_m32n4", deform, 8},
	{"deform_depthwise_m4n2", deformDepthwise, 32},
	{"deform_depthwise_l8_m8n2", deformDepthwise, 8},
	{"deform_depthwise_l4_m8n2", deformDepthwise, 8},
}

// traits is what of a device decides.
type traits struct {
	Software     bool
	Subgroup     int    // invocations of a subgroup
	SubgroupOps  bool   // vote, ballot and shuffle
	Groups       [3]int // most workgroups of a dispatch
	Invocations  int    // most of a workgroup
	SharedMemory int64
	StorageRange int64 // bytes that one binding may span
}

// costs are cycles that a SIMD vector of invocations (or a GPU's subgroup)
// spends; they only have to rank variants.
type costs struct {
	load    float64 // a load from a buffer
	load4   float64 // a load of four neighbours
	product float64 // a multiplication and an addition
	hand    float64 // one weight from a lane to all
	keep    float64 // per accumulator and loop step: carrying it around the loop
	place   float64 // working out a sampling position
}

// machine is what a class of devices costs. The first that fits counts.
type machine struct {
	software bool
	subgroup int // 0: any
	costs
}

// Measured with microbenchmarks of each operation (16,384 invocations, loops of
// 4,000 operations, two Zen 4 cores): 8 lanes is lavapipe of Mesa 22.3, where a
// load is a loop over the lanes, 4 lanes SwiftShader's Subzero.
var machines = []machine{
	{true, 8, costs{load: 45, load4: 104, product: 1.4, hand: 0.6, keep: 2.5, place: 250}},
	{true, 4, costs{load: 28, load4: 90, product: 3.2, hand: 2.7, keep: 0.5, place: 250}},
	{true, 0, costs{load: 30, load4: 90, product: 2, hand: 2, keep: 1, place: 200}},
	{false, 0, costs{load: 8, load4: 12, product: 1, hand: 2, keep: 0, place: 40}},
}

func (t traits) costs() costs {
	for _, m := range machines {
		if m.software == t.Software && (m.subgroup == 0 || m.subgroup == t.Subgroup) {
			return m.costs
		}
	}
	return machines[len(machines)-1].costs
}

// shape is a variant's tile, from its module's defines.
type shape struct {
	tm, ty, tn  int // output channels × rows × columns of one invocation
	rows, taps  int // taps taken together
	step, lanes int
	channels    int // input channels of a step of the loop
	modes       bool
}

func shapeOf(m *shaders.Module) shape {
	d := func(name string) int { return max(m.Defines[name], 1) }
	return shape{d("TM"), d("TY"), d("TN"), d("TROWS"), d("TAPS"), d("ESTEP"), d("LANES"), d("CHANNELS"), m.Defines["MODES"] > 0}
}

// unfit says in a few words why a variant cannot compute a problem, "" where it can.
func (v variant) unfit(p conv.Problem, t traits, s shape) string {
	switch v.kind {
	case product, pointwise, grouped:
		if p.Deformable() {
			return "the convolution is deformable"
		}
	case deform, deformDepthwise:
		if !p.Deformable() {
			return "the convolution is not deformable"
		}
	}
	switch {
	case s.lanes > 1 && (t.Subgroup != s.lanes || !t.SubgroupOps):
		return fmt.Sprintf("it needs subgroups of %d with vote, ballot and shuffle", s.lanes)
	case int(v.localSize) > t.Invocations:
		return fmt.Sprintf("its workgroups are of %d invocations", v.localSize)
	case p.Mode != conv.Zeros && !s.modes:
		return fmt.Sprintf("it does not pad by %v", p.Mode)
	case v.kind == pointwise && (p.R != 1 || p.S != 1 || p.StrideY != 1 || p.StrideX != 1 || p.Ho != p.H || p.Wo != p.W || p.H*p.W%4 != 0):
		return "it is for 1×1 kernels that keep the size, of a multiple of four pixels"
	case v.kind == deformDepthwise && p.C != p.Groups:
		return "it takes one input channel a group"
	case s.taps > 1 && (p.S != s.taps || p.StrideX/gcd(p.StrideX, p.DilationX) != s.step):
		return fmt.Sprintf("it is for kernels %d wide and stride %d times what it shares with the dilation", s.taps, s.step)
	case s.rows > 1 && (p.R != s.rows || p.StrideY/gcd(p.StrideY, p.DilationY) != s.step):
		return fmt.Sprintf("it is for kernels %d high and stride %d times what it shares with the dilation", s.rows, s.step)
	}
	return ""
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func ceil(a, b int) int { return (a + b - 1) / b }
