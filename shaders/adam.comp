#version 450
// A step of Adam, see conv.Adam.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer GradientBuffer { float g[]; };
layout(binding = 1) buffer FirstBuffer { float m[]; };
layout(binding = 2) buffer SecondBuffer { float v[]; };
layout(binding = 3) buffer ParameterBuffer { float w[]; };
layout(push_constant) uniform Push {
  uint  tiles;
  int   items; // parameters
  float beta1, beta2, rest1, rest2; // rests: 1 − beta
  float size, root, eps;            // lr/(1 − beta1ᵗ), √(1 − beta2ᵗ)
  float decay, shrink;              // weight decay by the gradient, or decoupled
} p;

#include "flat.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  float old = w[i], d = g[i] + p.decay * old;
  float first = p.beta1 * m[i] + p.rest1 * d, second = p.beta2 * v[i] + p.rest2 * (d * d);
  m[i] = first;
  v[i] = second;
  w[i] = old - (p.shrink * old + p.size * (first / (sqrt(second) / p.root + p.eps)));
}
