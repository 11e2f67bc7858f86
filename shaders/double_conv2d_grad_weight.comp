#version 450
// Gradient by the weight of a convolution in double precision: an invocation
// computes an element. Terms go by images and output rows.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { double x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { double dy[]; };
layout(binding = 2) buffer WeightGradientBuffer { double dweight[]; };

#include "double.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int taps = p.r * p.s, kernel = item / taps, tap = item - kernel * taps, r = tap / p.s, s = tap - r * p.s;
  int k = kernel / p.cg, c = k / p.kg * p.cg + kernel - k * p.cg;
  double sum = starts() ? 0.0lf : dweight[item];
  for (int j = p.from; j < p.to; j++) {
    int n = j / p.ho, oy = j - n * p.ho;
    int iy = mapPad(oy * p.strideY - p.top + r * p.dilationY, p.h);
    int row = ((n * p.c + c) * p.h + max(iy, 0)) * p.w, from = ((n * p.k + k) * p.ho + oy) * p.wo;
    for (int ox = 0; ox < p.wo; ox++) {
      int ix = mapPad(ox * p.strideX - p.left + s * p.dilationX, p.w);
      sum += mix(0.0lf, x[row + max(ix, 0)] * dy[from + ox], all(bvec2(iy >= 0, ix >= 0)));
    }
  }
  dweight[item] = sum;
}
