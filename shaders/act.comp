#version 450
// An activation of its own, not behind a convolution: an element an invocation.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const int activation = 0; // conv.ActivationKind
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) writeonly buffer OutputBuffer { float y[]; };

#define EXTRA float low, high;
#include "scales.glsl"
#define ACTIVATION activation
#include "activation.glsl"

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int item = int(tile) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  if (item >= p.items) return;
  int plane = p.h * p.w, channel = item / plane;
  y[planeY(channel) + item - channel * plane] = activate(x[planeX(channel) + item - channel * plane], p.low, p.high);
}
