#version 450
// How many multiply-adds a device makes at most: CHAINS sums an invocation, and
// nothing loaded. A round is so many steps that the loop around them costs little.
//
//   x₀ x₁ x₂ …   a step:  xᵢ ← xᵢ·xᵢ₊₁ + a, all from what the step before left
//
// Each sum takes its neighbour's number so that a compiler keeps the order of the
// steps: with chains apart, LLVM puts one chain's steps in a row, each waiting for
// the one before, and a fifth of the rate is left. At a = 0.24 all numbers come
// to 0.4, so that they stay normal; they start apart, so that none are the same.
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
  float a;
} p;

void main() {
  uint i = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
  NUMBER x[CHAINS], a = NUMBER(p.a);
  [[unroll]] for (int c = 0; c < CHAINS; c++) x[c] = NUMBER(0.3 + 0.01 * float(c) + 0.001 * float(i & 15u));
  for (uint r = 0; r < p.rounds; r++) {
    [[unroll]] for (int s = 0; s < STEPS; s++) {
      NUMBER first = x[0];
      [[unroll]] for (int c = 0; c < CHAINS - 1; c++) x[c] = fma(x[c], x[c + 1], a);
      x[CHAINS - 1] = fma(x[CHAINS - 1], first, a);
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
