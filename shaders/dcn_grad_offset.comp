#version 450
// Gradients of DCNv3 and DCNv4 by offset and mask: an invocation computes those
// of all points of a group at one output pixel. Nothing is added across
// invocations.
//
//variant dcn_grad_both   OFFSET MASK
//variant double_dcn_grad_both   OFFSET MASK DOUBLE
//variant dcn_grad_offset OFFSET
//variant double_dcn_grad_offset OFFSET DOUBLE
//variant dcn_grad_mask   MASK
//variant double_dcn_grad_mask   MASK DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { real x[]; };
layout(binding = 1) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 2) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 3) readonly buffer OutputGradBuffer { real dy[]; };
#if defined(OFFSET) && defined(MASK)
layout(binding = 4) writeonly buffer OffsetGradBuffer { real doffset[]; };
layout(binding = 5) buffer MaskGradBuffer { real dmask[]; };
#elif defined(OFFSET)
layout(binding = 4) writeonly buffer OffsetGradBuffer { real doffset[]; };
#else
layout(binding = 4) buffer MaskGradBuffer { real dmask[]; };
#endif

#include "dcn.glsl"
#include "dcn_mask.glsl"

real pixelAt(int plane, int at) { return mix(0.0, x[plane + max(at, 0)], at >= 0); }

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int plane = p.ho * p.wo;
  int pixel = item % plane, group = item / plane;
  int n = group / p.groups, g = group % p.groups;
  int oy = pixel / p.wo, ox = pixel - oy * p.wo;
  Softmax s = softmaxOf(n, g, pixel);
  real mean = 0.0;
  for (int t = 0; t < p.points; t++) {
    int first = offsetOf(n, g, t, pixel);
    Point at = pointAt(t, oy, ox, offset[first], offset[first + plane]);
    ivec4 near = corners(at);
    real hy = 1.0 - at.fy, hx = 1.0 - at.fx;
    real byX = 0.0, byY = 0.0, byMask = 0.0;
    for (int k = 0; k < p.cg; k++) {
      int c = n * p.c + g * p.cg + k;
      int from = c * p.h * p.w;
      real v0 = pixelAt(from, near.x), v1 = pixelAt(from, near.y), v2 = pixelAt(from, near.z), v3 = pixelAt(from, near.w);
      real f = dy[c * plane + pixel];
      byMask += f * mix(hy * hx * v0 + hy * at.fx * v1 + at.fy * hx * v2 + at.fy * at.fx * v3, 0.0, at.border);
      byX += f * (hy * (v1 - v0) + at.fy * (v3 - v2));
      byY += f * (hx * (v2 - v0) + at.fx * (v3 - v1));
    }
    real m = modulation(s, n, g, t, pixel);
#ifdef OFFSET
    doffset[first] = byX * m * p.scale;
    doffset[first + plane] = byY * m * p.scale;
#endif
#ifdef MASK
    dmask[maskOf(n, g, t, pixel)] = byMask;
#endif
    mean += m * byMask;
  }
#ifdef MASK
  if (softmax != 0) {
    for (int t = 0; t < p.points; t++) {
      int i = maskOf(n, g, t, pixel);
      dmask[i] = modulation(s, n, g, t, pixel) * (dmask[i] - mean);
    }
  }
#endif
}
