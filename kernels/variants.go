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
	depthwise                   // depthwise.comp
	sharedProduct               // shared.comp
	sharedDeform                // shared.comp with DEFORM
	deform                      // deform.comp
	deformDepthwise             // deform_depthwise.comp
	matrixProduct               // matrix.comp
	matrixDeform                // matrix.comp with DEFORM
)

// variant is one way to run a kernel. Tile sizes are the shader's defines, see
// the sources; what they are is read from the manifest.
type variant struct {
	module    string
	kind      kind
	localSize uint32
	columns   int    // of shared.comp and matrix.comp: outputs of a workgroup
	depth     int    // and channels of a step
	mosaic    mosaic // of matrix.comp
}

// variants is the whole table. Workgroups of 8 and 32: the software drivers
// run one workgroup on one core, so that small ones share the work out best;
// real GPUs want at least a full subgroup.
var variants = []variant{
	{module: "conv2d_m8n4", kind: product, localSize: 32},
	{module: "conv2d_m4n4", kind: product, localSize: 32},
	{module: "conv2d_l8_m8n4", kind: product, localSize: 8},
	{module: "conv2d_l8_m32n4", kind: product, localSize: 8},
	{module: "conv2d_l8_m32n4s3", kind: product, localSize: 8},
	{module: "conv2d_l8_m32n4s7e2", kind: product, localSize: 8},
	{module: "conv2d_l4_m8n8", kind: product, localSize: 8},
	{module: "conv2d_l4_m16n8", kind: product, localSize: 8},
	{module: "conv2d_l4_m16n7s3", kind: product, localSize: 8},
	{module: "conv2d_l4_m16n8s3", kind: product, localSize: 8},
	{module: "conv2d_l4_m16n4s7e2", kind: product, localSize: 8},
	{module: "pointwise_m8n4", kind: pointwise, localSize: 32},
	{module: "pointwise_l8_m32n4", kind: pointwise, localSize: 8},
	{module: "pointwise_l4_m16n8", kind: pointwise, localSize: 8},
	{module: "grouped_n4", kind: grouped, localSize: 32},
	{module: "grouped_r3s3", kind: grouped, localSize: 32},
	{module: "depthwise_r3", kind: depthwise, localSize: 32},
	{module: "depthwise_r3e2", kind: depthwise, localSize: 32},
	{module: "depthwise_flat_r3", kind: depthwise, localSize: 8},
	{module: "depthwise_flat_r3e2", kind: depthwise, localSize: 8},
	{module: "depthwise_l8_r3", kind: depthwise, localSize: 8},
	{module: "depthwise_l8_r3e2", kind: depthwise, localSize: 8},
	{module: "depthwise_l8_r5", kind: depthwise, localSize: 8},
	{module: "depthwise_l4_r3", kind: depthwise, localSize: 8},
	{module: "depthwise_l4_r3e2", kind: depthwise, localSize: 8},
	{module: "shared_conv_32x32", kind: sharedProduct, localSize: 64},
	{module: "shared_conv_64x64", kind: sharedProduct, localSize: 256},
	{module: "shared_conv_64x64m8", kind: sharedProduct, localSize: 64},
	{module: "shared_conv_64x128", kind: sharedProduct, localSize: 128},
	{module: "shared_conv_128x64", kind: sharedProduct, localSize: 128},
	{module: "shared_conv_128x128", kind: sharedProduct, localSize: 256},
	{module: "shared_deform_32x32", kind: sharedDeform, localSize: 64},
	{module: "shared_deform_64x64", kind: sharedDeform, localSize: 256},
	{module: "shared_deform_128x64", kind: sharedDeform, localSize: 128},
	{module: "shared_deform_256x64", kind: sharedDeform, localSize: 256},
	{module: "deform_m8n2", kind: deform, localSize: 32},
	{module: "deform_l8_m8n2", kind: deform, localSize: 8},
	{module: "deform_l8_m32n2", kind: deform, localSize: 8},
	{module: "deform_l8_m64n2", kind: deform, localSize: 8},
	{module: "deform_l4_m16n4", kind: deform, localSize: 8},
	{module: "deform_l4_m32n4", kind: deform, localSize: 8},
	{module: "deform_l4_m64n4", kind: deform, localSize: 8},
	{module: "deform_depthwise_m4n2", kind: deformDepthwise, localSize: 32},
	{module: "deform_depthwise_l8_m8n2", kind: deformDepthwise, localSize: 8},
	{module: "deform_depthwise_l4_m8n2", kind: deformDepthwise, localSize: 8},
	{module: "matrix_f16_m2n2", kind: matrixProduct, localSize: 32},
	{module: "matrix_f16_m2n2", kind: matrixProduct, localSize: 128},
	{module: "matrix_f16_m4n4", kind: matrixProduct, localSize: 128},
	{module: "matrix_bf16_m2n2", kind: matrixProduct, localSize: 128},
	{module: "matrix_bf16_m4n4", kind: matrixProduct, localSize: 128},
	{module: "matrix_split_m2n2", kind: matrixProduct, localSize: 128},
	{module: "matrix_split_deform_m2n2", kind: matrixDeform, localSize: 128},
}

// splits are those whose workgroups share a tile: shared.comp with SPLIT. They
// take a second pass, see split.go.
var splits = []variant{
	{module: "split_conv_32x32", kind: sharedProduct, localSize: 64},
	{module: "split_conv_64x64", kind: sharedProduct, localSize: 64},
	{module: "split_deform_32x32", kind: sharedDeform, localSize: 64},
	{module: "split_deform_64x64", kind: sharedDeform, localSize: 256},
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
	Loops        int   // most rounds of all loops of an invocation; 0: any number
	Units        units
	// What the caller allows to be multiplied on them.
	Operands conv.Type // of all inputs and weights: Float16 and BFloat16 fit as they are
	Split    bool      // float32 operands may be split
}

// costs are cycles that a SIMD vector of invocations (or a GPU's subgroup)
// spends; they only have to rank variants.
type costs struct {
	load    float64 // a load from a buffer
	load4   float64 // a load of four neighbours
	product float64 // a multiplication and an addition
	hand    float64 // one weight from a lane to all
	keep    float64 // per accumulator and loop step: carrying it around the loop
	shared  float64 // a load or store of four neighbours in shared memory
	barrier float64
	place   float64 // working out a sampling position
	pass    float64 // another dispatch that waits for the one before
	index   float64 // per item: working out which it is, mostly divisions of integers
	unit    float64 // a product on matrix units, of each lane
	plane   float64 // a value in a plane of its own, as Winograd's transforms have them, beside its load
}

// machine is what a class of devices costs. The first that fits counts.
type machine struct {
	software bool
	subgroup int // 0: any
	slots    int // workgroups that run side by side; fewer leave it idle. 0: not looked at
	costs
}

// Measured with microbenchmarks of each operation on one 2.6 GHz Zen 4 core.
// 8 lanes is lavapipe of Mesa 22.3: a load is a loop over the lanes, 0.83 G
// lane-loads/s make 25 cycles, of four neighbours 51; a store 26; a constant
// shuffle half a cycle, a broadcast 20. 4 lanes is SwiftShader's Subzero: 19
// cycles a load, 72 for four, 2.7 a broadcast. product, keep and index were fitted
// to whole kernels, TM 16…64 and CHANNELS 1…4: on 8 lanes product and keep lie
// between the fit on that core (1.4 and 1.5) and the one on a Zen 3 core (0.95 and
// 0.13), where with these constants the choice of 69 layers takes 1.004 × the time
// of the fastest kernels (bench/results/tuner.md); unit to those on matrix units, on
// lavapipe of Mesa 26, which makes the products one by one from shuffled values.
// The last two are guesses for devices not measured yet: of the last, slots are
// multiprocessors, with four schedulers each, and a pass is some 3 µs in which all
// of them wait.
var machines = []machine{
	{true, 8, 0, costs{load: 26, load4: 52, product: 1.2, hand: 0.6, keep: 0.8, shared: 52, barrier: 100, place: 250, index: 1850, plane: 180, unit: 21}},
	{true, 4, 0, costs{load: 19, load4: 72, product: 3.2, hand: 2.7, keep: 1.5, shared: 72, barrier: 100, place: 250, index: 2500, unit: 21}},
	{true, 0, 0, costs{load: 30, load4: 90, product: 2, hand: 2, keep: 1, shared: 90, barrier: 100, place: 200, unit: 21}},
	{false, 0, 128, costs{load: 8, load4: 12, product: 1, hand: 2, keep: 0, shared: 1.5, barrier: 20, place: 40, pass: 128 * 5000, unit: 0.125}},
}

func (t traits) machine() machine {
	for _, m := range machines {
		if m.software == t.Software && (m.subgroup == 0 || m.subgroup == t.Subgroup) {
			return m
		}
	}
	return machines[len(machines)-1]
}

// shape is a variant's tile, from its module's defines.
type shape struct {
	tm, ty, tn  int // output channels × rows × columns of one invocation
	rows, taps  int // taps taken together
	step, lanes int
	channels    int // input channels of a step of the loop
	block       int // output channels of a workgroup: tm, but in shared.comp
	modes       bool
	flat        bool // items of several channels in a workgroup
}

func shapeOf(m *shaders.Module) shape {
	d := func(name string) int { return max(m.Defines[name], 1) }
	return shape{d("TM"), d("TY"), d("TN"), d("TROWS"), d("TAPS"), d("ESTEP"), d("LANES"), d("CHANNELS"), d("TM"), m.Defines["MODES"] > 0, m.Defines["FLAT"] > 0}
}

// shape is its module's tile, put together to a workgroup's in shared.comp.
func (v variant) shape(m *shaders.Module) shape {
	s := shapeOf(m)
	switch {
	case v.kind.matrices():
		s.block = s.tm * v.mosaic.M * v.mosaic.down
	case v.columns > 0:
		s.block = m.Defines["ROWS"]
	}
	return s
}

// constants are the variant's specialization constants by name.
func (v variant) constants() map[string]uint32 {
	c := map[string]uint32{"localSizeX": v.localSize}
	if v.kind.matrices() {
		for name, n := range map[string]int{"M": v.mosaic.M, "N": v.mosaic.N, "K": v.mosaic.K, "lanes": v.mosaic.lanes, "across": v.mosaic.across, "depth": v.depth} {
			c[name] = uint32(n)
		}
	}
	return c
}

// sharedBytes is what a workgroup of the variant shares.
func (v variant) sharedBytes(s shape) int64 {
	if v.kind.matrices() {
		return v.mosaic.bytes(v.depth, v.columns, s.block)
	}
	return 2 * 4 * int64(v.depth) * int64(v.columns+s.block) // two tiles of each matrix
}

func (v variant) String() string { return fmt.Sprintf("%s/%d", v.module, v.localSize) }

// unfit says in a few words why a variant cannot compute a problem, "" where it can.
func (v variant) unfit(p conv.Problem, t traits, s shape) string {
	switch v.kind {
	case product, pointwise, grouped, depthwise, sharedProduct, matrixProduct:
		if p.Deformable() {
			return "the convolution is deformable"
		}
	case deform, deformDepthwise, sharedDeform, matrixDeform:
		if !p.Deformable() {
			return "the convolution is not deformable"
		}
	}
	switch {
	case s.lanes > 1 && (t.Subgroup != s.lanes || !t.SubgroupOps):
		return fmt.Sprintf("it needs subgroups of %d with vote, ballot and shuffle", s.lanes)
	case int(v.localSize) > t.Invocations:
		return fmt.Sprintf("its workgroups are of %d invocations", v.localSize)
	case v.columns > 0 && v.sharedBytes(s) > t.SharedMemory:
		return fmt.Sprintf("its workgroups share %d bytes", v.sharedBytes(s))
	case p.Mode != conv.Zeros && !s.modes:
		return fmt.Sprintf("it does not pad by %v", p.Mode)
	case v.kind == pointwise && (p.R != 1 || p.S != 1 || p.StrideY != 1 || p.StrideX != 1 || p.Ho != p.H || p.Wo != p.W || p.H*p.W%4 != 0):
		return "it is for 1×1 kernels that keep the size, of a multiple of four pixels"
	case (v.kind == deformDepthwise || v.kind == depthwise) && p.C != p.Groups:
		return "it takes one input channel a group"
	case v.kind == deform && (p.C/p.Groups%s.channels != 0 || p.C/max(p.OffsetGroups, 1)%s.channels != 0):
		return fmt.Sprintf("it takes %d channels at a time", s.channels)
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
