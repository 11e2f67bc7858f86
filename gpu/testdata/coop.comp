#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
// One tile: D[M×N] = A[M×K]·B[K×N], f16 in, f32 out, by one subgroup.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(binding = 0) readonly buffer A { float16_t a[]; };
layout(binding = 1) readonly buffer B { float16_t b[]; };
layout(binding = 2) writeonly buffer D { float d[]; };
void main() {
	coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> x;
	coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> y;
	coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> z = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0);
	coopMatLoad(x, a, 0, K, gl_CooperativeMatrixLayoutRowMajor);
	coopMatLoad(y, b, 0, N, gl_CooperativeMatrixLayoutRowMajor);
	z = coopMatMulAdd(x, y, z);
	coopMatStore(z, d, 0, N, gl_CooperativeMatrixLayoutRowMajor);
}
