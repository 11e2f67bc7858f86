#version 450
// Global average pooling: a workgroup a channel. Every invocation adds up each
// LocalSize-th pixel, and the first one what they have, in order. The gradient
// gives every pixel its share of dy.
//
//variant pool
//variant pool_grad GRAD
//variant double_pool DOUBLE
//variant double_pool_grad GRAD DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0, local_size_x = 64) in;
#ifdef GRAD
layout(binding = 0) readonly buffer OutputGradientBuffer { real dy[]; };
layout(binding = 1) writeonly buffer InputGradientBuffer { real dx[]; };
#else
layout(binding = 0) readonly buffer InputBuffer { real x[]; };
layout(binding = 1) writeonly buffer OutputBuffer { real y[]; };
shared real part[gl_WorkGroupSize.x];
#endif

#include "scales.glsl"

real scale() {
#ifdef DOUBLE
  return packDouble2x32(uvec2(p.scale, p.scaleHigh));
#else
  return p.scale;
#endif
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return; // the whole workgroup does
  int local = int(gl_WorkGroupSize.x), id = int(gl_LocalInvocationID.x);
#ifdef GRAD
  int item = int(tile) * local + id, plane = p.h * p.w;
  if (item >= p.items) return;
  int channel = item / plane;
  dx[planeX(channel) + item - channel * plane] = dy[planeY(channel)] * scale();
#else
  int first = planeX(int(tile)), plane = p.h * p.w;
  real sum = 0.0;
  for (int i = id; i < plane; i += local) sum += x[first + i];
  part[id] = sum;
  barrier();
  if (id > 0) return;
  sum = 0.0;
  for (int i = 0; i < local; i++) sum += part[i];
  y[planeY(int(tile))] = sum * scale();
#endif
}
