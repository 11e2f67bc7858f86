#version 450
// Deformable convolution in double precision: an invocation computes an output.
// Terms go by channels and taps.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint activation = 0;
#define ACTIVATION activation
layout(binding = 0) readonly buffer InputBuffer { double x[]; };
layout(binding = 1) readonly buffer WeightBuffer { double weight[]; };
layout(binding = 2) readonly buffer BiasBuffer { double bias[]; };
layout(binding = 3) readonly buffer OffsetBuffer { double offset[]; };
layout(binding = 4) readonly buffer MaskBuffer { double mask[]; };
layout(binding = 5) buffer OutputBuffer { double y[]; };

#include "double.glsl"
#include "double_activation.glsl"
#include "double_place.glsl"
#include "double_deform.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int pixels = p.ho * p.wo, plane = item / pixels, pixel = item - plane * pixels;
  int n = plane / p.k, k = plane - n * p.k, taps = p.r * p.s, first = k / p.kg * p.cg;
  int to = p.firstY + (n * p.cy + k) * pixels + pixel;
  double sum = starts() ? 0.0lf : y[to];
  for (int j = p.from; j < p.to; j++) {
    int c = j / taps, tap = j - c * taps, q = (first + c) / p.offsetChannels;
    Place here = place(n, q, tap, pixel);
    dvec4 v = PIXELS(here, p.firstX + (n * p.cx + first + c) * p.h * p.w);
    sum += weight[k * p.cg * taps + j] * modulation(n, q, tap, pixel) * bilinear(here, v);
  }
  if (has(LAST)) {
    if (has(BIASED)) sum += bias[k];
    sum = activate(sum, double(p.low), double(p.high));
  }
  y[to] = sum;
}
