#version 450
// Gradients by offset and mask of a deformable convolution: one invocation for
// every (image, offset group, tap, output pixel) sums over the group's channels
//
//   doffset = m · Σ_c column[c] · (∂X_c/∂y, ∂X_c/∂x)       dmask = Σ_c column[c] · X_c
//
// with X_c the bilinear sample and column the gradient by it, see
// deform_grad_column.comp. At whole pixels the slopes are those towards larger
// y and x, as in torchvision.
#extension GL_GOOGLE_include_directive : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer ColumnBuffer { float column[]; };
layout(binding = 2) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { float mask[]; };
layout(binding = 4) writeonly buffer OffsetGradientBuffer { float doffset[]; };
layout(binding = 5) writeonly buffer MaskGradientBuffer { float dmask[]; };

#include "grad.glsl"
#include "grad_place.glsl"

void main() {
  uint tile = tileIndex();
  int i = int(tile) * LOCAL + LOCAL_ID;
  if (tile >= p.tiles || i >= p.items) return;
  int taps = p.r * p.s, plane = p.h * p.w;
  int point = i / p.pixels, inPart = i - point * p.pixels, pixel = p.firstPixel + inPart; // point: (image, group, tap)
  int group = point / taps, tap = point - group * taps, n = group / p.offsetGroups, q = group - n * p.offsetGroups;
  int image = p.firstImage + n;
  Place here = PLACE(image, q, tap, pixel);
  vec4 share = sampleWeights(here);
  bvec4 counts = sampled(here);
  float ly = here.fy, lx = here.fx, hy = 1.0 - ly, hx = 1.0 - lx;
  int at = (image * p.c + q * p.offsetChannels) * plane;
  ivec4 corners = at + ivec4(corner(here, 0), corner(here, 1), corner(here, 2), corner(here, 3));
  int from = ((n * p.c + q * p.offsetChannels) * taps + tap) * p.pixels + inPart;
  float gy = 0.0, gx = 0.0, gm = 0.0;
  for (int c = 0; c < p.offsetChannels; c++) {
    float d = column[from];
    vec4 v = mix(vec4(0), vec4(x[corners.x], x[corners.y], x[corners.z], x[corners.w]), here.inside);
    gy += d * (hx * (v.z - v.x) + lx * (v.w - v.y));
    gx += d * (hy * (v.y - v.x) + ly * (v.w - v.z));
    v = mix(vec4(0), v, counts);
    gm += d * (share.x * v.x + share.y * v.y + share.z * v.z + share.w * v.w);
    corners += plane;
    from += taps * p.pixels;
  }
  if ((p.wants & 1) != 0) {
    float m = MODULATION(image, q, tap, pixel);
    int to = offsetAt(image, q, tap, pixel);
    doffset[to] = m * gy;
    doffset[to + p.ho * p.wo] = m * gx;
  }
  if ((p.wants & 2) != 0) dmask[((image * p.offsetGroups + q) * taps + tap) * p.ho * p.wo + pixel] = gm;
}
