#version 450
// How many multiply-adds a device makes at most: CHAINS sums an invocation, each of
// which waits for itself alone, and nothing loaded. A round is so many steps that
// the loop around them costs nothing:
//
//   chain 0   x₀ → x₀·m + a → … → y
//   chain 1   x₁ → x₁·m + a → …      m = ½, a = 1: all stay normal numbers near 2
//
// They start apart, so that no compiler finds two of them to be the same.
//
//variant peak_fma     CHAINS=8
//variant peak_fma_16  CHAINS=16
//variant peak_half    CHAINS=8 HALF
#extension GL_EXT_control_flow_attributes : require
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define NUMBER f16vec2
#else
#define NUMBER float
#endif
#define STEPS 32

layout(local_size_x_id = 0) in;
layout(binding = 0) writeonly buffer OutputBuffer { float y[]; };
layout(push_constant) uniform Push {
  uint  rounds;
  float m, a;
} p;

void main() {
  uint i = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
  NUMBER x[CHAINS], m = NUMBER(p.m), a = NUMBER(p.a);
  [[unroll]] for (int c = 0; c < CHAINS; c++) x[c] = NUMBER(1.0 + 0.01 * float(c) + 0.001 * float(i & 15u));
  for (uint r = 0; r < p.rounds; r++) {
    [[unroll]] for (int s = 0; s < STEPS; s++) {
      [[unroll]] for (int c = 0; c < CHAINS; c++) x[c] = fma(x[c], m, a);
    }
  }
  NUMBER sum = x[0];
  [[unroll]] for (int c = 1; c < CHAINS; c++) sum += x[c];
#ifdef HALF
  y[i] = float(sum.x) + float(sum.y);
#else
  y[i] = sum;
#endif
}
