#version 450
// Gradient by the bias: dy summed over images and pixels. One workgroup a
// channel; every invocation sums each LocalSize-th pixel, and the partial
// results are added up by conv2d_grad_reduce.comp.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 1) writeonly buffer PartBuffer { float db[]; };

#include "grad.glsl"

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int k = int(tile), plane = p.ho * p.wo;
  float sum = 0.0;
  for (int i = LOCAL_ID; i < p.items; i += LOCAL) {
    int n = i / plane;
    sum += dy[(n * p.k + k) * plane + i - n * plane];
  }
  db[LOCAL_ID * p.k + k] = sum;
}
