#version 450
// Gradient of DCNv3 and DCNv4 by the input: an invocation computes four channels
// of a pixel, from the samples in the four cells around it in the order of the
// list (dcn_cells.comp). Masks come after softmax.
//
//variant dcn_grad_input
//variant double_dcn_grad_input DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 1) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 2) readonly buffer OutputGradBuffer { real dy[]; };
layout(binding = 3) readonly buffer CellBuffer { uint cell[]; };
layout(binding = 4) readonly buffer OrderBuffer { uint order[]; };
layout(binding = 5) writeonly buffer InputGradBuffer { real dx[]; };

#include "dcn.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int plane = p.h * p.w, out_ = p.ho * p.wo, blocks = (p.cg + 3) / 4;
  int pixel = item % plane;
  int block = item / plane % blocks;
  int group = item / plane / blocks; // of this submission's images
  int n = p.first + group / p.groups, g = group % p.groups;
  int iy = pixel / p.w, ix = pixel - iy * p.w;
  ivec4 c = n * p.c + g * p.cg + min(ivec4(0, 1, 2, 3) + block * 4, p.cg - 1);
  ivec4 outs = c * out_;
  real4 sum = real4(0.0);
  int base = group * out_ * p.points;
  int cells = (p.h + 1) * (p.w + 1);
  for (int corner = 0; corner < 4; corner++) {
    bool below = corner < 2, after = (corner & 1) == 0; // this pixel is the lower one, the right one of the cell's
    int at = (iy + int(!below)) * (p.w + 1) + ix + int(!after);
    int from = mix(int(cell[group * cells + max(at - 1, 0)]), 0, at == 0), to = int(cell[group * cells + at]);
    for (int i = from; i < to; i++) {
      int sample_ = int(order[base + i]);
      int o = sample_ / p.points;
      int t = sample_ - o * p.points;
      int first = offsetOf(n, g, t, o);
      int oy = o / p.wo;
      Point where = pointAt(t, oy, o - oy * p.wo, offset[first], offset[first + out_]);
      real f = mix(1.0 - where.fy, where.fy, below) * mix(1.0 - where.fx, where.fx, after) * mask[maskOf(n, g, t, o)];
      sum += f * real4(dy[outs.x + o], dy[outs.y + o], dy[outs.z + o], dy[outs.w + o]);
    }
  }
  dx[c.x * plane + pixel] = sum.x;
  if (c.y > c.x) dx[c.y * plane + pixel] = sum.y;
  if (c.z > c.y) dx[c.z * plane + pixel] = sum.z;
  if (c.w > c.z) dx[c.w * plane + pixel] = sum.w;
}
