package spirv

import "strings"

// Target is the environment that a blob is made for. SPIR-V 1.3 is the version
// of Vulkan 1.1, where subgroup operations came in. What needs extensions stays
// with that version, but takes Vulkan 1.2's memory model, on which cooperative
// matrices rest.
func (b Blob) Target() string {
	if b.Needs != nil {
		return "vulkan1.2"
	}
	return "vulkan1.1"
}

// CompileArgs are glslc's arguments before the defines.
func (b Blob) CompileArgs() []string {
	args := []string{"--target-env=" + b.Target()}
	if b.Needs != nil {
		args = append(args, "--target-spv=spv1.3")
	}
	return args
}

// OptimizeArgs are spirv-opt's arguments. The passes before -O take every
// loop marked [[unroll]] apart and the register arrays with them, which -O alone
// does not: it refuses to split arrays of more than 100 elements.
func (b Blob) OptimizeArgs() []string {
	return append([]string{"--target-env=" + b.Target()}, passes...)
}

var passes = []string{
	"--merge-return", "--inline-entry-points-exhaustive", "--eliminate-dead-functions", "--private-to-local",
	"--ssa-rewrite", "--ccp", "--loop-unroll", "--simplify-instructions", "--ccp", "--eliminate-dead-branches",
	"--scalar-replacement=0", "--convert-local-access-chains", "--eliminate-local-single-block",
	"--eliminate-local-single-store", "--ssa-rewrite", "--ccp", "--simplify-instructions", "--eliminate-dead-branches",
	"--merge-blocks", "--eliminate-dead-code-aggressive", "--vector-dce", "-O", "--ccp", "--eliminate-dead-branches", "-O"}

// Recipe is both in one line.
func (b Blob) Recipe() string {
	return strings.Join(b.CompileArgs(), " ") + " | " + strings.Join(b.OptimizeArgs(), " ")
}
