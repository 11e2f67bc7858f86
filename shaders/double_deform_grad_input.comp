#version 450
// Gradient by the input of a deformable convolution in double precision. An
// invocation owns a channel's plane of one image, which the host has cleared, and
// adds to it the samples' gradients in their order. Terms go by taps and pixels.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OutputGradientBuffer { double dy[]; };
layout(binding = 1) readonly buffer WeightBuffer { double weight[]; };
layout(binding = 2) readonly buffer OffsetBuffer { double offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { double mask[]; };
layout(binding = 4) buffer InputGradientBuffer { double dx[]; };

#include "double.glsl"
#include "double_place.glsl"
#include "double_deform.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int n = item / p.c, c = item - n * p.c, g = c / p.cg, q = c / p.offsetChannels;
  int pixels = p.ho * p.wo, taps = p.r * p.s, to = item * p.h * p.w;
  for (int j = p.from; j < p.to; j++) {
    int tap = j / pixels, pixel = j - tap * pixels;
    double d = 0.0lf;
    for (int k = g * p.kg; k < (g + 1) * p.kg; k++) {
      d += weight[(k * p.cg + c - g * p.cg) * taps + tap] * dy[(n * p.k + k) * pixels + pixel];
    }
    Place here = place(n, q, tap, pixel);
    dvec4 share = weights(here) * (d * modulation(n, q, tap, pixel));
    // Outside, 0 is added to the plane's first element.
    dx[to + here.at.x] += mix(0.0lf, share.x, here.inside.x);
    dx[to + here.at.y] += mix(0.0lf, share.y, here.inside.y);
    dx[to + here.at.z] += mix(0.0lf, share.z, here.inside.z);
    dx[to + here.at.w] += mix(0.0lf, share.w, here.inside.w);
  }
}
