#version 450
// Gradient by the weight with few channels in a group, depthwise above all: an
// invocation sums TN taps of one kernel over every LocalSize-th pixel of its
// workgroup's part, so that each dy is loaded once for all of them. Every
// invocation's sums are a partial result, see conv2d_grad_reduce.comp.
//
//variant conv2d_grad_depthwise_n9   TN=9 MODES
//variant conv2d_grad_depthwise_n9z  TN=9
#extension GL_GOOGLE_include_directive : require
#define SPLIT

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) writeonly buffer PartBuffer { float dw[]; };

#include "grad.glsl"
#include "grad_pad.glsl"

float acc[TN];
int offsetY[TN], offsetX[TN];

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kernel = int(tile % uint(p.blocks)), rest = int(tile / uint(p.blocks)); // (k, c) in its group
  int part = rest / p.rowItems, tap0 = (rest - part * p.rowItems) * TN;
  int k = kernel / p.cg, c = k / p.kg * p.cg + kernel - k * p.cg;
  int taps = p.r * p.s, plane = p.ho * p.wo;
  UNROLL for (int t = 0; t < TN; t++) {
    int tap = min(tap0 + t, taps - 1), r = tap / p.s;
    offsetY[t] = r * p.dilationY - p.top;
    offsetX[t] = (tap - r * p.s) * p.dilationX - p.left;
    acc[t] = 0.0;
  }
  int end = min((part + 1) * p.share, p.items);
  for (int i = part * p.share + LOCAL_ID; i < end; i += LOCAL) { // pixels of dy
    int n = i / plane, pixel = i - n * plane, oy = pixel / p.wo, ox = pixel - oy * p.wo;
    float d = dy[(n * p.k + k) * plane + pixel];
    int image = (n * p.c + c) * p.h * p.w;
    UNROLL for (int t = 0; t < TN; t++) {
      int iy = mapPad(oy * p.strideY + offsetY[t], p.h), ix = mapPad(ox * p.strideX + offsetX[t], p.w);
      bool inside = min(iy, ix) >= 0;
      float v = x[image + mix(0, iy * p.w + ix, inside)];
      acc[t] += d * mix(0.0, v, inside);
    }
  }
  int first = ((part * LOCAL + LOCAL_ID) * p.blocks + kernel) * taps + tap0;
  UNROLL for (int t = 0; t < TN; t++) {
    if (tap0 + t < taps) dw[first + t] = acc[t];
  }
}
