package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// unit is what a subgroup multiplies on matrix units: M×K by K×N numbers of 16
// bits, added to M×N float32 sums. The zero value is none.
type unit struct{ M, N, K int }

func (u unit) product() int { return u.M * u.N * u.K }

// units are a device's, by the type of what is multiplied.
type units struct{ Float16, BFloat16 unit }

func (u units) of(t conv.Type) unit {
	if t == conv.BFloat16 {
		return u.BFloat16
	}
	return u.Float16
}

// unitsOf picks of each type the largest that the shaders can use: lines of whole
// 16 bytes, rounded sums, a subgroup's own.
func unitsOf(f gpu.Features) (all units) {
	if !f.MemoryModel || !f.Float16 { // glslang names float16 in modules of bfloat16, too
		return all
	}
	for _, s := range f.CoopMatrix {
		u := unit{int(s.M), int(s.N), int(s.K)}
		if s.A != s.B || s.C != "f32" || s.Out != "f32" || s.Saturating || s.Scope != "subgroup" || u.M%8 != 0 || u.N%8 != 0 {
			continue
		}
		switch {
		case s.A == "f16" && u.product() > all.Float16.product():
			all.Float16 = u
		case s.A == "bf16" && f.BFloat16 && u.product() > all.BFloat16.product():
			all.BFloat16 = u
		}
	}
	return all
}

// mosaic is how a workgroup of matrix.comp cuts its work; see matrix.glsl.
type mosaic struct {
	unit
	parts  int // of an operand
	lanes  int // of a subgroup
	down   int // subgroups along the output channels
	across int // and along the outputs
}

// matrices is whether the kernel runs on matrix units.
func (k kind) matrices() bool { return k == matrixProduct || k == matrixDeform }

// elements is the type that a module of matrix.comp multiplies.
func elements(m *shaders.Module) conv.Type {
	if m.Defines["BF16"] > 0 {
		return conv.BFloat16
	}
	return conv.Float16
}

// on is the variant on a device: where it runs on matrix units their sizes make
// its tile, of which there is none if the device has no such units.
func (v variant) on(t traits, m *shaders.Module) variant {
	if v.kind == sharedProduct || v.kind == sharedDeform {
		v.columns, v.depth = m.Defines["COLUMNS"], m.Defines["DEPTH"]
		return v
	}
	u := t.Units.of(elements(m))
	if !v.kind.matrices() || u.M == 0 || t.Subgroup == 0 || int(v.localSize)%t.Subgroup != 0 {
		return v
	}
	subgroups := int(v.localSize) / t.Subgroup
	tn := m.Defines["TN"]
	v.mosaic = mosaic{unit: u, parts: m.Defines["PARTS"], lanes: t.Subgroup, down: subgroups, across: 1}
	// As square as may be, of whole rounds of loading a row of columns.
	for a := 2; a*a <= subgroups*2; a *= 2 {
		if columns := u.N * tn * a; subgroups%a == 0 && int(v.localSize)%columns == 0 {
			v.mosaic.across, v.mosaic.down = a, subgroups/a
		}
	}
	v.columns, v.depth = u.N*tn*v.mosaic.across, u.K
	if v.mosaic.parts == 1 {
		v.depth *= 2
	}
	return v
}

// bytes is what a workgroup shares: a tile of each part, its lines 16 bytes
// longer, and a matrix of sums of each subgroup.
func (t mosaic) bytes(depth, columns, block int) int64 {
	return int64(2*t.parts*depth*(columns+8+block+8) + 4*t.M*t.N*t.down*t.across)
}

// fullest is how many times as many products as there are to make a matrix unit
// may be given: more, as of a depthwise convolution, take so long that even trying
// them is too much (on lavapipe of Mesa 26 some 500 times as long as the plain
// kernel).
const fullest = 8

// unfitMatrix is unfit of what matrix units ask for.
func (v variant) unfitMatrix(p conv.Problem, t traits, m *shaders.Module) string {
	e, u := elements(m), v.mosaic
	cg, kg := p.C/p.Groups, p.K/p.Groups
	switch {
	case u.M == 0:
		return fmt.Sprintf("the device has no matrix units for %v with float32 sums and subgroups of which workgroups of %d are made", e, v.localSize)
	case int(v.localSize)%v.columns != 0:
		return fmt.Sprintf("its %d invocations load rows of %d outputs", v.localSize, v.columns)
	case u.parts == 1 && t.Operands != e:
		return fmt.Sprintf("it multiplies %v, the operands are %v", e, t.Operands)
	case u.parts > 1 && !t.Split:
		return "it splits float32 operands, which has to be asked for"
	case fullest*cg*kg < rounded(cg, v.depth)*rounded(kg, u.M):
		return fmt.Sprintf("less than 1/%d of its products would be of channels that exist", fullest)
	case u.parts > 1 && splitError(p, u.K) > p.Taps()*cg:
		return "sums so short may miss the bound when operands are split"
	}
	return ""
}

// splitError is the n of the bound γ(n)·Σ|terms| that split operands meet, see
// matrix.glsl: 9K/8 roundings inside a step, twice for units that cut off, one for
// each step, and one for the bias and the product left out.
func splitError(p conv.Problem, k int) int {
	cg, segments := p.C/p.Groups, 1
	if p.OffsetGroups > 1 {
		segments += p.OffsetGroups / p.Groups // a weight group may begin amid one
	}
	steps := p.Taps() * (segments - 1 + ceil(cg, k))
	return ceil(9*min(k, cg), 4) + steps + 1
}
