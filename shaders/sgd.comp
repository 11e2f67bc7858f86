#version 450
// A step of stochastic gradient descent with momentum, see conv.SGD.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer GradientBuffer { float g[]; };
layout(binding = 1) buffer VelocityBuffer { float v[]; };
layout(binding = 2) buffer ParameterBuffer { float w[]; };
layout(push_constant) uniform Push {
  uint  tiles;
  int   items; // parameters
  float rate, momentum, decay;
  int   nesterov;
} p;

#include "flat.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  float old = w[i], d = g[i] + p.decay * old;
  float speed = p.momentum * v[i] + d;
  v[i] = speed;
  w[i] = old - p.rate * mix(speed, d + p.momentum * speed, p.nesterov == 1);
}
