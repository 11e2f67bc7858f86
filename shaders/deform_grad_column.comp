#version 450
// The first step of a deformable convolution's gradients by input, offset and
// mask: the gradient by each sample, but for its mask,
//
//   column[n, c, t, pixel] = Σ_k weight[k,c,t] · dy[n,k,pixel]
//
// for a part of the pixels that fits the workspace. It is a product of the
// weights as they lie in memory, one row for every (channel, tap), with dy, one
// column for every pixel.
//
//variant deform_grad_column_m8n4      TM=8  TN=4 LANES=1
//variant deform_grad_column_l8_m8n4   TM=8  TN=4 LANES=8
//variant deform_grad_column_l8_m32n4  TM=32 TN=4 LANES=8
//variant deform_grad_column_l4_m8n8   TM=8  TN=8 LANES=4 BROADCAST
//variant deform_grad_column_l4_m16n8  TM=16 TN=8 LANES=4 BROADCAST
#extension GL_GOOGLE_include_directive : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
layout(binding = 2) writeonly buffer ColumnBuffer { float column[]; };

#define FACTOR wt
#include "grad.glsl"
#include "grad_tile.glsl"

int at[TN];

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int block = int(tile % uint(p.blocks));
  int first = int(tile / uint(p.blocks)) * LOCAL * TN + LOCAL_ID;
  int g = block / p.groupBlocks, j0 = (block - g * p.groupBlocks) * TM;
  int plane = p.ho * p.wo, rows = p.cg * p.r * p.s;
  int last = min(TM, rows - j0) - 1;
  clearTile();
  UNROLL for (int t = 0; t < TN; t++) {
    int i = min(first + t * LOCAL, p.items - 1), n = i / p.pixels;
    at[t] = ((p.firstImage + n) * p.k + g * p.kg) * plane + p.firstPixel + i - n * p.pixels;
  }
  int from = g * p.kg * rows + j0;
  for (int k = 0; k < p.kg; k++) {
    UNROLL for (int t = 0; t < TN; t++) {
      value[t] = dy[at[t]];
      at[t] += plane;
    }
    multiplyTile(from, 1, last);
    from += rows;
  }
  UNROLL for (int t = 0; t < TN; t++) {
    int i = first + t * LOCAL, n = i / p.pixels;
    int to = (n * p.c * p.r * p.s + g * rows + j0) * p.pixels + i - n * p.pixels;
    UNROLL for (int m = 0; m < TM; m++) {
      if (i < p.items && m <= last) column[to + m * p.pixels] = acc[m * TN + t];
    }
  }
}
