#version 450
// Gradients by offset and mask of a deformable convolution in double precision:
// an invocation computes those of an (image, offset group, tap, output pixel).
// Terms go by the group's channels.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { double x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { double dy[]; };
layout(binding = 2) readonly buffer WeightBuffer { double weight[]; };
layout(binding = 3) readonly buffer OffsetBuffer { double offset[]; };
layout(binding = 4) readonly buffer MaskBuffer { double mask[]; };
layout(binding = 5) buffer OffsetGradientBuffer { double doffset[]; };
layout(binding = 6) buffer MaskGradientBuffer { double dmask[]; };

#include "double.glsl"
#include "double_place.glsl"
#include "double_deform.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int pixels = p.ho * p.wo, taps = p.r * p.s;
  int point = item / pixels, pixel = item - point * pixels, group = point / taps, tap = point - group * taps;
  int n = group / p.offsetGroups, q = group - n * p.offsetGroups;
  Place here = place(n, q, tap, pixel);
  double ly = here.fy, lx = here.fx, hy = 1.0lf - ly, hx = 1.0lf - lx;
  double byY = 0.0lf, byX = 0.0lf, byMask = 0.0lf;
  for (int j = p.from; j < p.to; j++) {
    int c = q * p.offsetChannels + j, g = c / p.cg;
    double d = 0.0lf;
    for (int k = g * p.kg; k < (g + 1) * p.kg; k++) {
      d += weight[(k * p.cg + c - g * p.cg) * taps + tap] * dy[(n * p.k + k) * pixels + pixel];
    }
    dvec4 v = PIXELS(here, (n * p.c + c) * p.h * p.w);
    byY += d * (hx * (v.z - v.x) + lx * (v.w - v.y));
    byX += d * (hy * (v.y - v.x) + ly * (v.w - v.z));
    byMask += d * bilinear(here, v);
  }
  bool first = starts();
  if (has(OFFSETS)) {
    double m = modulation(n, q, tap, pixel);
    int to = offsetAt(n, q, tap, pixel);
    double beforeY = doffset[to], beforeX = doffset[to + pixels];
    doffset[to] = mix(beforeY, 0.0lf, first) + m * byY;
    doffset[to + pixels] = mix(beforeX, 0.0lf, first) + m * byX;
  }
  if (has(MASKS)) {
    double before = dmask[item];
    dmask[item] = mix(before, 0.0lf, first) + byMask;
  }
}
