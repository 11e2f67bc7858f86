package spirv

import "strings"

// CompileArgs are glslc's arguments before the defines. SPIR-V 1.3 is the
// version of Vulkan 1.1, where subgroup operations came in.
var CompileArgs = []string{"--target-env=vulkan1.1"}

// OptimizeArgs are spirv-opt's arguments. The passes before -O take every
// loop marked [[unroll]] apart and the register arrays with them, which -O alone
// does not: it refuses to split arrays of more than 100 elements.
var OptimizeArgs = []string{"--target-env=vulkan1.1",
	"--merge-return", "--inline-entry-points-exhaustive", "--eliminate-dead-functions", "--private-to-local",
	"--ssa-rewrite", "--ccp", "--loop-unroll", "--simplify-instructions", "--ccp", "--eliminate-dead-branches",
	"--scalar-replacement=0", "--convert-local-access-chains", "--eliminate-local-single-block",
	"--eliminate-local-single-store", "--ssa-rewrite", "--ccp", "--simplify-instructions", "--eliminate-dead-branches",
	"--merge-blocks", "--eliminate-dead-code-aggressive", "--vector-dce", "-O", "--ccp", "--eliminate-dead-branches", "-O"}

// Recipe is both in one line.
func Recipe() string {
	return strings.Join(CompileArgs, " ") + " | " + strings.Join(OptimizeArgs, " ")
}
