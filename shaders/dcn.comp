#version 450
// DCNv3 and DCNv4: an invocation computes four channels of a group at one
// output pixel, which share the places of its points.
//
//variant dcn
//variant double_dcn DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { real x[]; };
layout(binding = 1) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 2) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 3) writeonly buffer OutputBuffer { real y[]; };

#include "dcn.glsl"
#include "dcn_mask.glsl"

real4 pixels4(ivec4 plane, int at) {
  int i = max(at, 0);
  real4 v = real4(x[plane.x + i], x[plane.y + i], x[plane.z + i], x[plane.w + i]);
  return mix(real4(0.0), v, bvec4(at >= 0)); // selected, not multiplied by 0: it may be an infinity
}

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int plane = p.ho * p.wo, blocks = (p.cg + 3) / 4;
  int pixel = item % plane;
  int block = item / plane % blocks;
  int group = item / plane / blocks;
  int n = group / p.groups, g = group % p.groups;
  int oy = pixel / p.wo, ox = pixel - oy * p.wo;
  ivec4 c = n * p.c + g * p.cg + min(ivec4(0, 1, 2, 3) + block * 4, p.cg - 1);
  ivec4 planes = c * p.h * p.w;
  Softmax s = softmaxOf(n, g, pixel);
  real4 sum = real4(0.0);
  for (int t = 0; t < p.points; t++) {
    int first = offsetOf(n, g, t, pixel);
    Point at = pointAt(t, oy, ox, offset[first], offset[first + plane]);
    ivec4 near = corners(at);
    real hy = 1.0 - at.fy, hx = 1.0 - at.fx;
    real4 v = hy * hx * pixels4(planes, near.x) + hy * at.fx * pixels4(planes, near.y)
           + at.fy * hx * pixels4(planes, near.z) + at.fy * at.fx * pixels4(planes, near.w);
    sum += modulation(s, n, g, t, pixel) * mix(v, real4(0.0), bvec4(at.border));
  }
  y[c.x * plane + pixel] = sum.x;
  if (c.y > c.x) y[c.y * plane + pixel] = sum.y;
  if (c.z > c.y) y[c.z * plane + pixel] = sum.z;
  if (c.w > c.z) y[c.w * plane + pixel] = sum.w;
}
