#version 450
// Convolution in double precision: an invocation computes an output. Terms go by
// channels and kernel rows.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint activation = 0;
#define ACTIVATION activation
layout(binding = 0) readonly buffer InputBuffer { double x[]; };
layout(binding = 1) readonly buffer WeightBuffer { double weight[]; };
layout(binding = 2) readonly buffer BiasBuffer { double bias[]; };
layout(binding = 3) buffer OutputBuffer { double y[]; };

#include "double.glsl"
#include "double_activation.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int pixels = p.ho * p.wo, plane = item / pixels, pixel = item - plane * pixels;
  int n = plane / p.k, k = plane - n * p.k, oy = pixel / p.wo, ox = pixel - oy * p.wo;
  int to = p.firstY + (n * p.cy + k) * pixels + pixel;
  int first = n * p.cx + k / p.kg * p.cg; // channel, of all images
  double sum = starts() ? 0.0lf : y[to];
  for (int j = p.from; j < p.to; j++) {
    int c = j / p.r, r = j - c * p.r;
    int iy = mapPad(oy * p.strideY - p.top + r * p.dilationY, p.h);
    int row = p.firstX + ((first + c) * p.h + max(iy, 0)) * p.w, w = ((k * p.cg + c) * p.r + r) * p.s;
    for (int s = 0; s < p.s; s++) {
      int ix = mapPad(ox * p.strideX - p.left + s * p.dilationX, p.w);
      sum += mix(0.0lf, x[row + max(ix, 0)] * weight[w + s], all(bvec2(iy >= 0, ix >= 0)));
    }
  }
  if (has(LAST)) {
    if (has(BIASED)) sum += bias[k];
    sum = activate(sum, double(p.low), double(p.high));
  }
  y[to] = sum;
}
