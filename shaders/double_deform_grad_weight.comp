#version 450
// Gradient by the weight of a deformable convolution in double precision: an
// invocation computes an element. Terms go by images and output rows.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { double x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { double dy[]; };
layout(binding = 2) readonly buffer OffsetBuffer { double offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { double mask[]; };
layout(binding = 4) buffer WeightGradientBuffer { double dweight[]; };

#include "double.glsl"
#include "double_place.glsl"
#include "double_deform.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int taps = p.r * p.s, kernel = item / taps, tap = item - kernel * taps;
  int k = kernel / p.cg, c = k / p.kg * p.cg + kernel - k * p.cg, q = c / p.offsetChannels;
  double sum = starts() ? 0.0lf : dweight[item];
  for (int j = p.from; j < p.to; j++) {
    int n = j / p.ho, oy = j - n * p.ho, plane = (n * p.c + c) * p.h * p.w;
    for (int ox = 0; ox < p.wo; ox++) {
      int pixel = oy * p.wo + ox;
      Place here = place(n, q, tap, pixel);
      dvec4 v = PIXELS(here, plane);
      sum += modulation(n, q, tap, pixel) * bilinear(here, v) * dy[(n * p.k + k) * p.ho * p.wo + pixel];
    }
  }
  dweight[item] = sum;
}
