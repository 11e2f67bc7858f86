#version 450
// Gradient by the input of a deformable convolution, gathered: a pixel is a
// neighbour of the samples in the four cells around it,
//
//      cell │ cell        dx[c, pixel] = Σ over the cells, over the cell's samples,
//     ──── pixel ────        share of the pixel · mask · column[c, sample]
//      cell │ cell
//
// in the order of the lists that deform_grad_list.comp makes. An invocation takes
// TN channels of one offset group.
//
//variant deform_grad_gather_n8  TN=8
//variant deform_grad_gather_n1  TN=1
#extension GL_GOOGLE_include_directive : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer ColumnBuffer { float column[]; };
layout(binding = 1) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 2) readonly buffer MaskBuffer { float mask[]; };
layout(binding = 3) readonly buffer StartBuffer { int start[]; };
layout(binding = 4) readonly buffer OrderBuffer { int order[]; };
layout(binding = 5) buffer InputGradientBuffer { float dx[]; };

#include "grad.glsl"
#include "grad_place.glsl"

float acc[TN];
int channel[TN]; // where the samples of the channel start

void main() {
  uint tile = tileIndex();
  int block = int(tile % uint(p.blocks)), i = int(tile / uint(p.blocks)) * LOCAL + LOCAL_ID;
  if (tile >= p.tiles || i >= p.items) return;
  int plane = p.h * p.w, cells = (p.h + 1) * (p.w + 1), samples = p.r * p.s * p.pixels;
  int n = i / plane, pixel = i - n * plane, y = pixel / p.w, x = pixel - y * p.w;
  int q = block / p.groupBlocks, inGroup = (block - q * p.groupBlocks) * TN;
  int c0 = q * p.offsetChannels + inGroup, channels = min(TN, p.offsetChannels - inGroup);
  int list = n * p.offsetGroups + q, image = p.firstImage + n;
  UNROLL for (int t = 0; t < TN; t++) {
    channel[t] = (n * p.c + c0 + min(t, channels - 1)) * samples;
    acc[t] = 0.0;
  }
  for (int corner = 0; corner < 4; corner++) { // the pixel is that neighbour
    int below = corner >> 1, right = corner & 1;
    int cell = list * (cells + 1) + (y + 1 - below) * (p.w + 1) + x + 1 - right;
    int end = start[cell + 1];
    bool repeatsY = all(bvec3(p.border == 1, below == 0, y == p.h - 1));
    bool repeatsX = all(bvec3(p.border == 1, right == 0, x == p.w - 1));
    for (int k = start[cell]; k < end; k++) {
      int e = order[list * samples + k];
      int tap = e / p.pixels, from = p.firstPixel + e - tap * p.pixels, at = offsetAt(image, q, tap, from);
      float fy, fx;
      whole(offset[at], fy);
      whole(offset[at + p.ho * p.wo], fx);
      // A repeated last row or column (conv.BorderCut) brings its share as well.
      float wy = mix(1.0 - fy, fy, below == 1) + mix(0.0, fy, repeatsY);
      float wx = mix(1.0 - fx, fx, right == 1) + mix(0.0, fx, repeatsX);
      float share = wy * wx * MODULATION(image, q, tap, from);
      UNROLL for (int t = 0; t < TN; t++) acc[t] += share * column[channel[t] + e];
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    if (t < channels) {
      int to = (image * p.c + c0 + t) * plane + pixel;
      float before = dx[to]; // of parts before; nothing yet in the first
      dx[to] = acc[t] + mix(before, 0.0, p.firstPixel == 0);
    }
  }
}
